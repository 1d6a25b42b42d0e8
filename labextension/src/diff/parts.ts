import { diff, presentableDiff } from '@codemirror/merge';

import type { IPart } from './lines';

/** Bounds on the comparison of two texts; beyond them it becomes coarse. */
const BOUNDS = { scanLimit: 1000, timeout: 200 };
/** The share of a text that may differ before the differences within its lines say nothing. */
const ALIKE = 0.6;

/** A range of characters. */
export interface IRange {
  readonly from: number;
  readonly to: number;
}

/**
 * Return the parts in which a proposed text differs from a text.
 *
 * While the proposal is `unfinished`, the lines that it has not reached yet are kept.
 */
export function partsOf(text: string, proposed: string, unfinished = false): IPart[] {
  const [a, b] = [text.split('\n'), proposed.split('\n')];
  const parts: IPart[] = [];
  const letters = new Map<string, string>();
  const spell = (lines: string[]) => lines.map(line => letterOf(line, letters)).join('');
  for (const { fromA, toA, fromB, toB } of diff(spell(a), spell(b), BOUNDS)) {
    const previous = parts[parts.length - 1];
    if (previous && a.slice(previous.to, fromA).every(line => !line.trim())) {
      // Blank lines do not separate changes.
      const { from, at } = previous;
      parts[parts.length - 1] = { from, to: toA, at, lines: b.slice(at, toB) };
    } else {
      parts.push({ from: fromA, to: toA, at: fromB, lines: b.slice(fromB, toB) });
    }
  }
  const last = parts[parts.length - 1];
  if (unfinished && last?.to === a.length && a.length > 0 && text) {
    parts.pop();
    if (last.lines.length) {
      parts.push({ ...last, to: last.from });
    }
  }
  return parts;
}

/** Return the characters that differ in two texts; null if the texts have little in common. */
export function differences(
  before: string,
  after: string
): { readonly removed: IRange[]; readonly added: IRange[] } | null {
  const changes = presentableDiff(before, after, BOUNDS);
  const removed = changes.map(({ fromA, toA }) => ({ from: fromA, to: toA }));
  const added = changes.map(({ fromB, toB }) => ({ from: fromB, to: toB }));
  const length = (ranges: IRange[]) => ranges.reduce((sum, { from, to }) => sum + to - from, 0);
  const share = (length(removed) + length(added)) / (before.length + after.length || 1);
  return share > ALIKE ? null : { removed, added };
}

/** Return a character that stands for a line, so that lines are compared as wholes. */
function letterOf(line: string, letters: Map<string, string>): string {
  const known = letters.get(line);
  if (known) {
    return known;
  }
  // The characters before the halves of surrogate pairs; there are more of them than lines.
  const letter = String.fromCharCode(1 + (letters.size % 0xd7ff));
  letters.set(line, letter);
  return letter;
}
