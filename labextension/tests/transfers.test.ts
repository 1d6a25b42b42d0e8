import { describe, expect, it } from 'vitest';

import type { StatusEvent } from '../src/api';
import { Transfers } from '../src/models/pulls';

const turn = () => new Promise(resolve => setTimeout(resolve, 1));

describe('Transfers', () => {
  async function* halfway(signal: AbortSignal): AsyncGenerator<StatusEvent> {
    yield { status: 'pulling', digest: 'sha256:aa', total: 10, completed: 5 };
    yield { status: 'pulling', digest: 'sha256:bb', total: 20, completed: 1 };
    yield { status: 'pulling', digest: 'sha256:aa', total: 10, completed: 7 };
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  }

  it('keeps the progress of each layer over a pause', async () => {
    const transfers = new Transfers(() => undefined);
    let begun = 0;
    transfers.start('m', signal => (begun++, halfway(signal)));
    await turn();
    transfers.pause('m');
    await turn();
    expect(transfers.all).toMatchObject([
      {
        state: 'paused',
        layers: [
          { digest: 'sha256:aa', completed: 7 },
          { digest: 'sha256:bb', completed: 1 }
        ]
      }
    ]);
    transfers.resume('m');
    expect(transfers.all[0]).toMatchObject({ state: 'running', layers: [{ completed: 7 }, {}] });
    expect(begun).toBe(2);
    transfers.cancel('m');
    await turn();
    expect(transfers.all).toEqual([]);
  });

  it('emits the end and the reason of a failure', async () => {
    const done: string[] = [];
    const transfers = new Transfers(name => done.push(name));
    transfers.start('good', async function* () {
      yield { status: 'success' };
    });
    transfers.start('bad', async function* () {
      yield { status: 'pulling manifest' };
      throw new Error('no such model');
    });
    await turn();
    expect(done).toEqual(['good']);
    expect(transfers.all).toMatchObject([
      { name: 'bad', state: 'failed', status: 'no such model' }
    ]);
  });
});
