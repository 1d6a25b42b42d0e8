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

  it('measures the rate of what arrives, and the time left', async () => {
    let now = 0;
    const steps: StatusEvent[] = [
      { status: 'pulling manifest' },
      // These bytes were there before.
      { status: 'pulling', digest: 'sha256:aa', total: 1000, completed: 400 },
      { status: 'pulling', digest: 'sha256:bb', total: 100, completed: 0 },
      { status: 'pulling', digest: 'sha256:aa', total: 1000, completed: 600 }
    ];
    const transfers = new Transfers(
      () => undefined,
      () => now
    );
    const seen: number[][] = [];
    transfers.changed.connect(() => {
      const [view] = transfers.all;
      if (view?.status === 'pulling') {
        seen.push([view.rate, view.secondsLeft]);
      }
    });
    transfers.start('m', async function* () {
      for (const step of steps) {
        yield step;
        now += 1000;
      }
    });
    await turn();
    // 200 bytes in two seconds; 400 and 100 are left.
    expect(seen).toEqual([
      [0, 0],
      [0, 0],
      [100, 5]
    ]);
  });
});
