import { describe, expect, it } from 'vitest';

import { bytes } from '../src/sizes';

describe('bytes', () => {
  it('writes sizes as the command line and the magics do', () => {
    const counts = [0, 512, 2000, 91_739_104, 4_100_000_000, 5e12];
    expect(counts.map(bytes)).toEqual(['0 B', '512 B', '2 kB', '92 MB', '4.1 GB', '5 TB']);
  });
});
