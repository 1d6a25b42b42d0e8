import { describe, expect, it } from 'vitest';

import {
  fileWord,
  fitting,
  type IMention,
  mentionOf,
  typedWord,
  withWord,
  wordsOf
} from '../src/context/words';

const mention = (kind: IMention['kind'], word: string): IMention => ({ kind, word, detail: '' });
const MENTIONS = [
  mention('variable', 'df'),
  mention('variable', 'old_df'),
  mention('cell', 'cell:3'),
  mention('file', 'file:data/sales.csv'),
  mention('error', 'error')
];

describe('typedWord', () => {
  it.each([
    ['look at @d', { from: 8, typed: 'd' }],
    ['@', { from: 0, typed: '' }],
    ['(@cell:', { from: 1, typed: 'cell:' }],
    ['@file:"my da', { from: 0, typed: 'file:"my da' }],
    ['me@example.org', null],
    ['`@d', { from: 1, typed: 'd' }],
    ['@@d', null],
    ['@df is', null]
  ])('finds the word at the end of %j', (text, expected) => {
    // A backtick before the sign makes it code.
    expect(typedWord(text, text.length)).toEqual(text.startsWith('`') ? null : expected);
  });

  it('looks at the text before the cursor only', () => {
    expect(typedWord('@df and more', 3)).toEqual({ from: 0, typed: 'df' });
  });
});

describe('wordsOf', () => {
  it('finds words outside of code', () => {
    const text = 'Plot @df and @cell:3, not `@df2` or a@b.c\n```\n@error\n```\n@file:"a b.csv"';
    expect(wordsOf(text)).toEqual(['df', 'cell:3,', 'file:"a b.csv"']);
  });
});

describe('mentionOf', () => {
  it.each([
    ['df', 'df'],
    ['df.', 'df'],
    ['df.price', 'df'],
    ['cell:3,', 'cell:3'],
    ['error!', 'error'],
    ['dataclass', undefined],
    ['d', undefined]
  ])('finds what %j names', (word, expected) => {
    expect(mentionOf(word, MENTIONS)?.word).toBe(expected);
  });
});

describe('fitting', () => {
  it('takes the beginnings first, names in paths, and keeps groups together', () => {
    const words = (typed: string) => fitting(MENTIONS, typed).map(one => one.word);
    expect(words('')).toHaveLength(5);
    expect(words('df')).toEqual(['df', 'old_df']);
    expect(words('sal')).toEqual(['file:data/sales.csv']);
    expect(words('CELL')).toEqual(['cell:3']);
    expect(words('nothing')).toEqual([]);
  });
});

describe('withWord', () => {
  it('replaces what was typed and puts the cursor behind it', () => {
    const typed = { from: 5, typed: 'd' };
    expect(withWord('look @d', 7, typed, 'df')).toEqual({ text: 'look @df ', cursor: 9 });
    expect(withWord('look @d now', 7, typed, 'df')).toEqual({ text: 'look @df now', cursor: 9 });
  });
});

describe('fileWord', () => {
  it('quotes paths in which the word would end', () => {
    expect(fileWord('a.csv')).toBe('file:a.csv');
    expect(fileWord('a b.csv')).toBe('file:"a b.csv"');
    expect(wordsOf(`@${fileWord("a b's.csv")} x`)).toEqual(['file:"a b\'s.csv"']);
  });
});
