import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { quickstartNotebook } from '../src/quickstart/notebook';

const trans = nullTranslator.load('jupyter_ollama');
const kernel = { name: 'python3', display_name: 'Python 3' };
const code = (models: Parameters<typeof quickstartNotebook>[0]) =>
  quickstartNotebook(models, kernel, trans)
    .cells.filter(cell => cell.cell_type === 'code')
    .map(cell => cell.source as string);

describe('the quickstart notebook', () => {
  it('pulls a model only where none is installed', () => {
    const first = code({ chat: 'gemma3:1b', mustPull: true });
    expect(first[1]).toBe('%ollama pull gemma3:1b');
    expect(first[2]).toMatch(/^%%chat gemma3:1b --new\n/);
    expect(code({ chat: 'gemma3:1b', mustPull: false }).join('\n')).not.toContain('pull');
  });

  it('searches only with a model for it', () => {
    const models = { chat: 'a', mustPull: false };
    expect(code(models).join('\n')).not.toContain('similar');
    expect(code({ ...models, embed: 'b' }).at(-1)).toContain('model="b"');
  });

  it('names the kernel and gives each cell an id', () => {
    const { metadata, cells } = quickstartNotebook({ chat: 'a', mustPull: true }, kernel, trans);
    expect(metadata.kernelspec).toEqual(kernel);
    expect(new Set(cells.map(cell => cell.id)).size).toBe(cells.length);
  });
});
