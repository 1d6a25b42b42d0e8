/** A line of a diff, and whether it is removed, added or unchanged. */
export interface IDiffLine {
  readonly kind: '-' | '+' | ' ';
  readonly text: string;
}

/** Return the line diff of two texts, by their longest common subsequence. */
export function diffLines(before: string, after: string): IDiffLine[] {
  const a = before.split('\n');
  const b = after.split('\n');
  // kept[i][j]: the length of the longest common subsequence of a[i:] and b[j:].
  const kept = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      kept[i][j] =
        a[i] === b[j] ? kept[i + 1][j + 1] + 1 : Math.max(kept[i + 1][j], kept[i][j + 1]);
    }
  }
  const lines: IDiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ kind: ' ', text: a[i++] });
      j++;
    } else if (i < a.length && (j === b.length || kept[i + 1][j] >= kept[i][j + 1])) {
      lines.push({ kind: '-', text: a[i++] });
    } else {
      lines.push({ kind: '+', text: b[j++] });
    }
  }
  return lines;
}

/** Return the code of an answer: its longest code fence, or the whole text without one. */
export function codeOf(answer: string): string {
  const blocks = [...answer.matchAll(/^(`{3,})[^\n`]*\n([\s\S]*?)(?:^\1`*[ \t]*$|(?![\s\S]))/gm)];
  const codes = blocks.map(block => block[2]);
  const longest = codes.sort((one, other) => other.length - one.length)[0] ?? answer;
  return longest.replace(/\n+$/, '').replace(/^\n+/, '');
}
