import { describe, expect, it } from 'vitest';

import known from '../../tests/data/token_estimates.json';
import { cutTo, estimateTokens } from '../src/context/tokens';

describe('estimateTokens', () => {
  it.each(known)('counts as the magics do: $text', ({ text, tokens }) => {
    expect(estimateTokens(text)).toBe(tokens);
  });
});

describe('cutTo', () => {
  it.each(known)('keeps to the tokens: $text', ({ text, tokens }) => {
    for (let fewer = 2; fewer < tokens; fewer++) {
      const cut = cutTo(text, fewer);
      expect(estimateTokens(cut)).toBeLessThanOrEqual(fewer);
      expect(cut.endsWith('…')).toBe(true);
    }
    expect(cutTo(text, tokens)).toBe(text);
  });
});
