import { describe, expect, it } from 'vitest';

import type { ModelSummary } from '../src/api';
import { withCapability } from '../src/models/capability';

const model = (name: string, capabilities?: ModelSummary['capabilities']) =>
  ({ name, capabilities }) as ModelSummary;

describe('the models for a setting', () => {
  it('have the capability, or a server that reports none', () => {
    const models = [
      model('chats', ['completion']),
      model('embeds', ['embedding']),
      model('unknown')
    ];
    const names = withCapability(models, 'completion').map(one => one.name);
    expect(names).toEqual(['chats', 'unknown']);
  });
});
