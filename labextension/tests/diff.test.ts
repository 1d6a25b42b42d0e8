import { describe, expect, it } from 'vitest';

import { codeOf, diffLines } from '../src/commands/diff';

describe('diffLines', () => {
  it.each([
    ['a\nb\nc', 'a\nx\nc', ' a|-b|+x| c'],
    ['a\nb', 'a\nb', ' a| b'],
    ['a\nb\nc\nd', 'b\nd\ne', '-a| b|-c| d|+e'],
    ['', 'a', '-|+a']
  ])('compares %j with %j', (before, after, lines) => {
    const found = diffLines(before, after);
    expect(found.map(({ kind, text }) => kind + text).join('|')).toBe(lines);
    expect(found.filter(one => one.kind !== '+').map(one => one.text)).toEqual(before.split('\n'));
    expect(found.filter(one => one.kind !== '-').map(one => one.text)).toEqual(after.split('\n'));
  });
});

describe('codeOf', () => {
  it.each([
    ['Sure:\n```python\nx = 1\n```\nDone.', 'x = 1'],
    ['```\na\n```\n\n```py\na\nb\n```', 'a\nb'],
    ['```python\nx = 1\ny =', 'x = 1\ny ='],
    ['x = 1\n', 'x = 1']
  ])('finds the code in %j', (answer, code) => {
    expect(codeOf(answer)).toBe(code);
  });
});
