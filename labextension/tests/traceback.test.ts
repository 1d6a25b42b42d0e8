import { describe, expect, it } from 'vitest';

import recorded from '../../tests/data/tracebacks.json';
import { estimateTokens } from '../src/context/tokens';
import { around, shortError } from '../src/context/traceback';

/** Return the short form of a traceback that IPython 9 wrote. */
function short(name: keyof typeof recorded): string {
  const { traceback, count } = recorded[name];
  return shortError(traceback, count).text;
}

describe('shortError', () => {
  it('keeps the frames of cells and the place in the last library frame', () => {
    expect(short('pandas')).toBe(
      [
        "KeyError: 'pric'",
        'Cell In[2], line 3:',
        '    total += df[name].mean()',
        'raised in pandas/core/indexes/base.py:3823, Index.get_loc'
      ].join('\n')
    );
    const { traceback, count } = recorded.pandas;
    expect(shortError(traceback, count).line).toBe(3);
    expect(estimateTokens(traceback) / estimateTokens(short('pandas'))).toBeGreaterThan(10);
  });

  it('keeps the frames of files of the user', () => {
    expect(short('file')).toContain(
      [
        'Cell In[3], line 1:',
        "    load(df, 'pric')",
        '/home/ada/project/helper.py, line 2, in load:',
        '    return frame[column]'
      ].join('\n')
    );
  });

  it('keeps causes that say something else', () => {
    expect(short('chained')).toMatch(
      /^RuntimeError: The price is no number\.\nCell In\[4\], line 4/
    );
    expect(short('chained')).toContain(
      "It was caused by:\nValueError: invalid literal for int() with base 10: 'x'\nCell In[4], line 4"
    );
  });

  it('keeps the code of a syntax error and its line', () => {
    expect(short('syntax')).toContain('for x in\n');
    expect(short('syntax')).toContain('SyntaxError: invalid syntax');
    const { traceback, count } = recorded.syntax;
    expect(shortError(traceback, count).line).toBe(2);
  });

  it('cuts many calls and long messages', () => {
    expect(short('deep')).toContain('… 6 more calls');
    expect(short('deep').match(/, in down/g)).toHaveLength(4);
    expect(short('message')).toContain('ValueError: first line\nsecond line long');
    for (const name of Object.keys(recorded) as (keyof typeof recorded)[]) {
      expect(estimateTokens(short(name))).toBeLessThanOrEqual(220);
    }
  });

  it('keeps the beginning and the end of a text of another kernel', () => {
    expect(short('other')).toBe(recorded.other.traceback.trim());
    const long = ['Error in f(x): too large', ...Array(500).fill('at frame of R'), 'Halted'];
    const cut = shortError(long.join('\n')).text;
    expect(cut).toMatch(/^Error in f\(x\): too large\n/);
    expect(cut).toMatch(/…\n[\s\S]*Halted$/);
    expect(estimateTokens(cut)).toBeLessThanOrEqual(220);
  });
});

describe('around', () => {
  const source = Array.from({ length: 100 }, (_, at) => `value_${at + 1} = ${at + 1}`).join('\n');

  it('keeps the lines around the failing one', () => {
    const part = around(source, 50, 120);
    expect(part).toContain('\nvalue_50 = 50\n');
    expect(part).toMatch(/^# … \d+ lines before\n/);
    expect(part).toMatch(/\n# … \d+ lines after$/);
    expect(estimateTokens(part)).toBeLessThanOrEqual(120);
    const [, before, after] = /^# … (\d+)[\s\S]*# … (\d+)/.exec(part) ?? [];
    const kept = part.split('\n').length - 2;
    expect(Number(before) + kept + Number(after)).toBe(100);
  });

  it('keeps a short source, and a part of one long line', () => {
    expect(around('x = 1', 1, 100)).toBe('x = 1');
    expect(estimateTokens(around(`x = "${'ab '.repeat(1000)}"`, 1, 50))).toBeLessThanOrEqual(50);
    expect(around(source, 0, 60, '//')).toMatch(/^value_1 = 1\n[\s\S]*\/\/ … \d+ lines after$/);
  });
});
