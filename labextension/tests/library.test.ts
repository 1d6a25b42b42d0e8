import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { description, isInstalled, LIBRARY, matching } from '../src/models/library';

const trans = nullTranslator.load('jupyter_ollama');
const find = (name: string) => LIBRARY.find(model => model.name === name)!;

describe('the library list', () => {
  it('shows the uses and the size of each model', () => {
    expect(description(find('gemma3:4b'), trans)).toBe('chat, images · 3.3 GB');
    expect(description(find('embeddinggemma'), trans)).toBe('embeddings · 622 MB');
    for (const model of LIBRARY) {
      expect(description(model, trans)).toMatch(/^[a-z]+(, [a-z]+)* · [\d.]+ [MG]B$/);
    }
  });

  it('has a translation for every use', () => {
    const shout = { __: (text: string) => text.toUpperCase() } as typeof trans;
    for (const model of LIBRARY) {
      expect(description(model, shout)).toBe(description(model, trans).toUpperCase());
    }
  });

  it('is searched by names and uses', () => {
    const found = (search: string) => matching(LIBRARY, search, trans).map(one => one.name);
    expect(found('')).toHaveLength(LIBRARY.length);
    expect(found('GEMMA3 images')).toEqual(['gemma3:4b']);
    expect(found('embeddings')).toContain('all-minilm');
    expect(found('hf.co/user/model')).toEqual([]);
  });

  it('knows installed models by their tags', () => {
    const installed = new Set(['gemma3:4b', 'all-minilm:latest', 'qwen3:latest']);
    const names = LIBRARY.filter(one => isInstalled(one, installed)).map(one => one.name);
    expect(names).toEqual(['gemma3:4b', 'all-minilm']);
  });
});
