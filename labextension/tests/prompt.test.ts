import { describe, expect, it } from 'vitest';

import { type ISpan, promptOf, variableOf } from '../src/prompts/prompt';

const parts = (source: string) => {
  const prompt = promptOf(source);
  const text = (span?: ISpan) => span && source.slice(span.from, span.to);
  return prompt && [text(prompt.model), ...prompt.fields.map(field => text(field))];
};

describe('a cell that asks a model', () => {
  it('begins with the magic', () => {
    for (const other of [
      '',
      'x',
      ' %%chat',
      '%%chatter',
      '%chat',
      '# %%chat\n%%chat',
      '%%ollama'
    ]) {
      expect(promptOf(other)).toBeUndefined();
    }
    expect(parts('%%chat')).toEqual([undefined]);
  });

  it('names a model before its options', () => {
    expect(parts('%%chat hf.co/a/b:Q4 --new\nHello')).toEqual(['hf.co/a/b:Q4']);
    expect(parts('%%chat --temperature 0\nHello')).toEqual([undefined]);
    expect(parts('%%chat\nHello')).toEqual([undefined]);
  });

  it('has fields where interpolation replaces them', () => {
    const source = '%%chat m\n{place} {df.shape[0]:>4} {ö!r} {{not}} {{{yes}}} {1} {"a": 1} {a b}';
    expect(parts(source)).toEqual(['m', '{place}', '{df.shape[0]:>4}', '{ö!r}', '{{{yes}}}']);
    expect(promptOf(source)!.fields.map(field => field.name)).toEqual(['place', 'df', 'ö', 'yes']);
  });

  it('has no fields in its first line, nor with --raw', () => {
    expect(parts('%%chat m --system "{no}"\n{yes}')).toEqual(['m', '{yes}']);
    expect(parts('%%chat m --raw\n{no}')).toEqual(['m']);
  });
});

describe('the text of a kernel about a variable', () => {
  it('has a type and a value', () => {
    const red =
      '\x1b[31mType:\x1b[39m        str\n\x1b[31mString form:\x1b[39m a city\nLength: 6\n';
    expect(variableOf(red)).toEqual({ type: 'str', value: 'a city' });
    const frame = 'Type:  DataFrame\nString form:\n   a  b\n0  1  2\nLength:  1\nDocstring: x';
    expect(variableOf(frame)).toEqual({ type: 'DataFrame', value: '   a  b\n0  1  2' });
    expect(variableOf('Type: int\nString form: 5')).toEqual({ type: 'int', value: '5' });
    expect(variableOf('Signature: f()\nDocstring: x')).toBeUndefined();
  });

  it('is cut', () => {
    expect(variableOf(`Type: str\nString form: ${'x'.repeat(1000)}`)!.value).toMatch(/^x{400}…$/);
  });
});
