import { describe, expect, it } from 'vitest';

import { bytes, clock } from '../src/sizes';

describe('bytes', () => {
  it('writes sizes as the command line and the magics do', () => {
    const counts = [0, 512, 2000, 91_739_104, 4_100_000_000, 5e12];
    expect(counts.map(bytes)).toEqual(['0 B', '512 B', '2 kB', '92 MB', '4.1 GB', '5 TB']);
  });
});

describe('clock', () => {
  it('shows minutes and seconds, and hours where there are some', () => {
    expect([0, 6.2, 61, 3599, 3723].map(clock)).toEqual([
      '0:00',
      '0:07',
      '1:01',
      '59:59',
      '1:02:03'
    ]);
  });
});
