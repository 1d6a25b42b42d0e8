/** Return the code of an answer: its longest code fence, or the whole text without one. */
export function codeOf(answer: string): string {
  const blocks = [...answer.matchAll(/^(`{3,})[^\n`]*\n([\s\S]*?)(?:^\1`*[ \t]*$|(?![\s\S]))/gm)];
  const codes = blocks.map(block => block[2]);
  const longest = codes.sort((one, other) => other.length - one.length)[0] ?? answer;
  return longest.replace(/\n+$/, '').replace(/^\n+/, '');
}
