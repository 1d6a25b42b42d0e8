import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { description, LIBRARY } from '../src/models/library';

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
});
