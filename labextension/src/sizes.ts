const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Write a number of bytes as people read it. */
export function bytes(count: number): string {
  let unit = 0;
  while (count >= 1000 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${UNITS[unit]}`;
}
