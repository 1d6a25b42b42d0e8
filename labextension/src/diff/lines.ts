/**
 * Lines `from` to `to` (exclusive, counted from 0) of a text, and the lines that would replace them.
 *
 * `at` is the place of the first of these `lines` in the proposed text.
 */
export interface IPart {
  readonly from: number;
  readonly to: number;
  readonly at: number;
  readonly lines: readonly string[];
}

/** A change of a text: its lines `from` to `to` have become `count` lines. */
export interface ILineChange {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** Characters `from` to `to` of a text, and what replaces them. */
export interface IEdit {
  readonly from: number;
  readonly to: number;
  readonly insert: string;
}

/** Return the smallest change of lines between two texts; null if they are equal. */
export function changeBetween(before: string, after: string): ILineChange | null {
  if (before === after) {
    return null;
  }
  const [a, b] = [before.split('\n'), after.split('\n')];
  const { start, end } = commonEnds(a, b);
  return { from: start, to: a.length - end, count: b.length - end - start };
}

/** Return a part after a change of the text around it; null if the change touches the part. */
export function moved(part: IPart, { from, to, count }: ILineChange): IPart | null {
  if (to <= part.from) {
    const by = count - (to - from);
    return { ...part, from: part.from + by, to: part.to + by };
  }
  return from >= part.to ? part : null;
}

/** Return the change that accepting a part makes. */
export function changeOf({ from, to, lines }: IPart): ILineChange {
  return { from, to, count: lines.length };
}

/** Return the edit of the characters of a text that replaces the lines of a part. */
export function editOf(text: string, { from, to, lines }: IPart): IEdit {
  const all = text.split('\n');
  const start = (line: number) => all.slice(0, line).reduce((sum, one) => sum + one.length + 1, 0);
  if (to < all.length) {
    return { from: start(from), to: start(to), insert: lines.map(one => `${one}\n`).join('') };
  }
  if (from === 0) {
    return { from: 0, to: text.length, insert: lines.join('\n') };
  }
  // The last line has no line break after it; the one before it goes or comes instead.
  return { from: start(from) - 1, to: text.length, insert: lines.map(one => `\n${one}`).join('') };
}

/** Return a text with all parts of it replaced. */
export function replaced(text: string, parts: readonly IPart[]): string {
  return backwards(parts).reduce((current, part) => {
    const { from, to, insert } = editOf(current, part);
    return current.slice(0, from) + insert + current.slice(to);
  }, text);
}

/** Return parts from the last to the first: replacing one leaves the lines of the next alone. */
export function backwards(parts: readonly IPart[]): IPart[] {
  return [...parts].sort((one, other) => other.from - one.from);
}

function commonEnds(
  a: readonly string[],
  b: readonly string[]
): { readonly start: number; readonly end: number } {
  const most = Math.min(a.length, b.length);
  let start = 0;
  while (start < most && a[start] === b[start]) {
    start++;
  }
  let end = 0;
  while (end < most - start && a[a.length - 1 - end] === b[b.length - 1 - end]) {
    end++;
  }
  return { start, end };
}
