// Numbers, sizes and times for people.

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat('en', { dateStyle: 'medium' });
const clock = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });

/** Seconds by which the server's clock is ahead of this one. */
let ahead = 0;

export function setServerTime(seconds) {
  ahead = seconds - Date.now() / 1000;
}

export function serverTime() {
  return Date.now() / 1000 + ahead;
}

export function count(value) {
  return value === null || value === undefined
    ? '–'
    : value < 100_000
      ? whole.format(value)
      : short.format(value);
}

export function bytes(size) {
  if (!size) {
    return '–';
  }
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const at = Math.min(units.length - 1, Math.floor(Math.log2(size) / 10));
  const value = size / 1024 ** at;
  return `${value < 10 && at ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

export function seconds(value) {
  const left = Math.max(0, Math.round(value));
  if (left < 60) {
    return `${left} s`;
  }
  if (left < 3600) {
    return `${Math.floor(left / 60)} min ${left % 60} s`;
  }
  if (left < 172_800) {
    return `${Math.floor(left / 3600)} h ${Math.floor((left % 3600) / 60)} min`;
  }
  return `${Math.round(left / 86_400)} days`;
}

export function ago(time) {
  const passed = serverTime() - time;
  return passed < 5 ? 'now' : `${seconds(passed)} ago`;
}

export function moment(text) {
  return text ? clock.format(new Date(text)) : '';
}

export function date(text) {
  return text ? day.format(new Date(text)) : '';
}

export const PERIODS = {
  minute: 'a minute',
  day: '24 hours',
  week: '7 days',
  month: 'this month',
  term: 'this term'
};

export function holder(of) {
  const [kind, ...rest] = of.split(':');
  const name = rest.join(':');
  return kind === 'user' ? name : kind === 'group' ? `group ${name}` : 'all users';
}
