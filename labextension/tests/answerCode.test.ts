import { describe, expect, it } from 'vitest';

import { codeOf } from '../src/commands/answerCode';

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
