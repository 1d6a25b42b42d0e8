const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Return a number of bytes as text, with at most one decimal: 4.1 GB, 98 MB, 512 B. */
export function bytes(count: number): string {
  let unit = 0;
  while (count >= 1000 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  const digits = count < 10 && !Number.isInteger(count) ? 1 : 0;
  return `${count.toFixed(digits)} ${UNITS[unit]}`;
}

/** Return a length of time as text: 0:07, 12:30, 1:02:03. */
export function clock(seconds: number): string {
  const whole = Math.ceil(seconds);
  const minutes = Math.floor(whole / 60);
  const two = (count: number) => String(count).padStart(2, '0');
  const start = minutes < 60 ? String(minutes) : `${Math.floor(minutes / 60)}:${two(minutes % 60)}`;
  return `${start}:${two(whole % 60)}`;
}
