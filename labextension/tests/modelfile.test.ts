import { describe, expect, it } from 'vitest';

import { readModelfile } from '../src/models/modelfile';

describe('readModelfile', () => {
  it('reads every instruction', () => {
    const text = `# mine
FROM ./model.gguf
ADAPTER lora.gguf
PARAMETER temperature 0.5
PARAMETER stop "<|end|>"
parameter stop User:
SYSTEM """You are
brief."""
TEMPLATE "{{ .Prompt }}"
LICENSE MIT
MESSAGE user Hello there
`;
    expect(readModelfile(text)).toEqual({
      from: './model.gguf',
      adapters: ['lora.gguf'],
      request: {
        parameters: { temperature: 0.5, stop: ['<|end|>', 'User:'] },
        system: 'You are\nbrief.',
        template: '{{ .Prompt }}',
        license: ['MIT'],
        messages: [{ role: 'user', content: 'Hello there' }]
      }
    });
  });

  it.each([
    ['FROM a\nFRUM b', 'Line 2: no such instruction: FRUM'],
    ['SYSTEM """open', 'Line 1: """ is not closed']
  ])('refuses %j', (text, message) => {
    expect(() => readModelfile(text)).toThrow(message);
  });
});
