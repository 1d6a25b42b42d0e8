import { describe, expect, it } from 'vitest';

import { capacityOf, fitOf, fits, memoryOf, needs, recommended } from '../src/models/fit';
import { LIBRARY } from '../src/models/library';

const GB = 1e9;
const best = (host: number, gpu = 0) => recommended(LIBRARY, { host, gpu })?.name;

describe('the memory of a server', () => {
  it('is the sum of its devices', () => {
    const devices = [
      { name: 'CUDA0', description: 'H100', free: 5, total: 9, is_cpu: false },
      { name: 'CUDA1', description: 'H100', free: 6, total: 9, is_cpu: false },
      { name: 'CPU', description: 'EPYC', free: 7, total: 9, is_cpu: true }
    ];
    expect(memoryOf(devices)).toEqual({ host: 7, gpu: 11 });
    expect(capacityOf(devices)).toEqual({ host: 9, gpu: 18 });
  });

  it('holds weights, a context and a process', () => {
    const model = LIBRARY.find(one => one.name === 'qwen3:8b')!;
    expect(needs(model)).toBeGreaterThan(5.2 * GB);
    expect(fits(model, { host: 4 * GB, gpu: 4 * GB })).toBe(true);
    expect(fits(model, { host: 6 * GB, gpu: 0 })).toBe(false);
  });
});

describe('the place of a model', () => {
  it.each([
    ['on the GPU', 4, 8, 'gpu'],
    ['in the free memory of both', 4, 4, 'free'],
    ['after others are unloaded', 2, 2, 'busy'],
    ['nowhere', 0, 0, 'never']
  ])('is %s', (_, host, gpu, place) => {
    const model = LIBRARY.find(one => one.name === 'qwen3:8b')!;
    const capacity = { host: 2 * host * GB, gpu: 2 * gpu * GB };
    expect(fitOf(model, { host: host * GB, gpu: gpu * GB }, capacity)).toBe(place);
  });
});

describe('the recommended model', () => {
  it('is fast on a processor and leaves half of the memory', () => {
    expect(best(64 * GB)).toBe('gemma3:1b');
    expect(best(1.5 * GB)).toBe('gemma3:270m');
  });

  it('fills a GPU', () => {
    expect(best(8 * GB, 23 * GB)).toBe('gpt-oss:20b');
    expect(best(8 * GB, 7.5 * GB)).toBe('qwen3:8b');
    expect(best(64 * GB, 0.1 * GB)).toBe('gemma3:1b');
  });

  it('is the smallest where little fits, and none where nothing does', () => {
    expect(best(0.7 * GB)).toBe('smollm2:135m');
    expect(best(0.1 * GB)).toBeUndefined();
  });
});
