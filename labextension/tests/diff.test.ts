import { describe, expect, it } from 'vitest';

import { changeBetween, changeOf, editOf, type IPart, moved, replaced } from '../src/diff/lines';
import { differences, partsOf } from '../src/diff/parts';

const shown = (parts: IPart[]) =>
  parts.map(({ from, to, lines }) => `${from}-${to}:${lines.join('|')}`).join(' ');

describe('partsOf', () => {
  it.each([
    ['a\nb\nc', 'a\nx\nc', '1-2:x'],
    ['a\nb', 'a\nb', ''],
    ['a\nb\nc\nd', 'b\nd\ne', '0-1: 2-3: 4-4:e'],
    ['x', 'x\ny', '1-1:y'],
    ['x', 'y\nx', '0-0:y'],
    ['', 'a\nb', '0-1:a|b'],
    ['a', '', '0-1:'],
    ['a\n\nb', 'a\nb', '1-2:']
  ])('compares %j with %j', (before, after, parts) => {
    const found = partsOf(before, after);
    expect(shown(found)).toBe(parts);
    expect(replaced(before, found)).toBe(after);
  });

  it('keeps the lines that an unfinished proposal has not reached', () => {
    const before = 'a\nb\nc\nd';
    expect(shown(partsOf(before, 'a\nB', true))).toBe('1-1:B');
    expect(shown(partsOf(before, 'a\nB\nc\nD', true))).toBe('1-2:B 3-3:D');
    expect(shown(partsOf('', 'a', true))).toBe('0-1:a');
  });

  it('makes the proposed text of all parts, whatever the texts are', () => {
    let seed = 1;
    const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
    const text = () => Array.from({ length: random(8) }, () => 'abc'[random(3)]).join('\n');
    for (let round = 0; round < 2000; round++) {
      const [before, after] = [text(), text()];
      const parts = partsOf(before, after);
      expect(replaced(before, parts)).toBe(after);
      expect(
        parts.every(({ at, lines }) => lines.every((one, k) => one === after.split('\n')[at + k]))
      ).toBe(true);
    }
  });
});

describe('a part', () => {
  const part: IPart = { from: 2, to: 4, at: 2, lines: ['x'] };
  const text = 'a\nb\nc\nd\ne';
  const after = (changed: string) => {
    const change = changeBetween(text, changed);
    return change && moved(part, change);
  };

  it('moves with the lines around it', () => {
    expect(after('new\na\nb\nc\nd\ne')).toMatchObject({ from: 3, to: 5 });
    expect(after('b\nc\nd\ne')).toMatchObject({ from: 1, to: 3 });
    expect(after('a\nb\nc\nd\ne\nf')).toMatchObject({ from: 2, to: 4 });
    expect(after('a\nB\nc\nd\ne')).toMatchObject({ from: 2, to: 4 });
  });

  it('is withdrawn where it is edited', () => {
    expect(after('a\nb\nC\nd\ne')).toBeNull();
    expect(after('a\nb\nc\nnew\nd\ne')).toBeNull();
    expect(after('')).toBeNull();
  });

  it('of added lines is withdrawn only if both neighbours change', () => {
    const added: IPart = { from: 1, to: 1, at: 1, lines: ['x'] };
    const follow = (changed: string) => moved(added, changeBetween('a\nb', changed)!);
    expect(follow('A\nb')).toMatchObject({ from: 1, to: 1 });
    expect(follow('a\nB')).toMatchObject({ from: 1, to: 1 });
    expect(follow('A\nB')).toBeNull();
  });

  it('moves the parts after it when it is accepted', () => {
    const last: IPart = { from: 4, to: 5, at: 3, lines: ['y', 'z'] };
    const rest = moved(last, changeOf(part));
    const once = replaced(text, [part]);
    expect(replaced(once, [rest!])).toBe(replaced(text, [part, last]));
    expect(editOf(once, rest!)).toEqual({ from: 5, to: 7, insert: '\ny\nz' });
  });
});

describe('differences', () => {
  it('are the words that differ, if lines are alike', () => {
    const found = differences('total = sum(xs)', 'total = max(xs)')!;
    expect(found.removed).toEqual([{ from: 8, to: 11 }]);
    expect(found.added).toEqual([{ from: 8, to: 11 }]);
    expect(differences('import os', 'x = frame.mean()')).toBeNull();
  });
});
