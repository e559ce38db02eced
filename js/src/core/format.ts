/** Seconds as people say them: `< 0.1 s`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`. */
export function duration(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 0.1) return '< 0.1 s';
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A whole number as people read it: `12,345`. */
export const count = (n: number): string => n.toLocaleString('en');

const pad = (n: number): string => String(n).padStart(2, '0');

/** Milliseconds since the epoch of a time on the wire; null stays null. */
export function instant(time: string | null): number | null {
  if (!time) return null;
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? null : ms;
}

/** How long something took, or has taken by `now` (ms); null if it did not start. A clock that lags behind gives 0. */
export function elapsed(start: string | null, end: string | null, now: number): number | null {
  const from = instant(start);
  if (from === null) return null;
  return Math.max(0, ((instant(end) ?? now) - from) / 1000);
}

const HOUR = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const MINUTE = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const DATE = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const NUMERIC = new Intl.DateTimeFormat();

/** A time on the wire as the reader's local time; the day only if it is not that of `now`. */
export function clock(time: string | null, now: number): string {
  const ms = instant(time);
  if (ms === null) return '';
  const date = new Date(ms);
  const hour = HOUR.format(date);
  return date.toDateString() === new Date(now).toDateString() ? hour : `${NUMERIC.format(date)} ${hour}`;
}

/** A time on the wire, short: the hour if it was on the day of `now`, else the date. */
export function moment(time: string | null, now: number): string {
  const ms = instant(time);
  if (ms === null) return '';
  const [date, today] = [new Date(ms), new Date(now)];
  if (date.toDateString() === today.toDateString()) return MINUTE.format(date);
  return (date.getFullYear() === today.getFullYear() ? DAY : DATE).format(date);
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit] ?? ''}`;
}

/** Who, for people: a server without accounts makes up a name of 32 hex digits, which says nothing. */
export const person = (user: string): string => (/^[0-9a-f]{32}$/.test(user) ? '' : user);

/** A reason, for people: likewise without made-up names. */
export const plainReason = (reason: string): string => reason.replace(/ by [0-9a-f]{32}$/, '');
