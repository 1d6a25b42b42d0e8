/** A line of a comparison, and whether it is gone, new or kept. */
export interface IDiffLine {
  readonly kind: '-' | '+' | ' ';
  readonly text: string;
}

/** Compare two texts line by line, keeping as many lines as can be kept. */
export function diffLines(before: string, after: string): IDiffLine[] {
  const a = before.split('\n');
  const b = after.split('\n');
  // kept[i][j]: how many lines of a from i on and of b from j on can be kept.
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

/** Return the code of an answer: that of its longest fence, or all of it if it has none. */
export function codeOf(answer: string): string {
  const blocks = [...answer.matchAll(/^(`{3,})[^\n`]*\n([\s\S]*?)(?:^\1`*[ \t]*$|(?![\s\S]))/gm)];
  const codes = blocks.map(block => block[2]);
  const longest = codes.sort((one, other) => other.length - one.length)[0] ?? answer;
  return longest.replace(/\n+$/, '').replace(/^\n+/, '');
}
