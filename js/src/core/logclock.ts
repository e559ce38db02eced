import type { Feed, LogOf } from './feed';
import type { LogTimes } from './wire';

export type ClockMode = 'off' | 'clock' | 'since';

const AGAIN_AFTER = 400; // ms
const AROUND = 64 * 1024; // bytes around what is in sight that are asked for too

/** When lines of a log were written, as far as somebody looks. */
export class LogClock {
  private points: number[][] = [];
  private from = 0;
  private to = -1;
  private started: number | null = null;
  private asking = false;

  constructor(
    private readonly feed: Feed,
    private readonly of: LogOf,
    private readonly changed: () => void,
    private readonly signal: AbortSignal
  ) {}

  /** Bytes `from` to `to` of `size` are in sight. */
  see(from: number, to: number, size: number): void {
    if (this.asking || this.signal.aborted || (from >= this.from && to <= this.to)) return;
    this.asking = true;
    const [first, last] = [Math.max(0, from - AROUND), Math.min(size, to + AROUND)];
    const done = (): void => {
      this.asking = false;
      if (!this.signal.aborted) this.changed();
    };
    this.feed.logAsk<LogTimes>(this.of, 'times', { offset: String(first), end: String(last) }, this.signal).then(
      ({ started_at, points }) => {
        this.points = points;
        [this.from, this.to] = [first, last];
        this.started = started_at === null ? null : Date.parse(started_at) / 1000;
        setTimeout(done, AGAIN_AFTER); // of a log that grows the next bytes come at once
        this.changed();
      },
      () => setTimeout(done, AGAIN_AFTER)
    );
  }

  /** Seconds since 1970 at which the byte was there; null if that is not known. */
  at(offset: number): number | null {
    let [low, high] = [0, this.points.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.points[middle]?.[1] ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return offset < this.from ? null : (this.points[low]?.[0] ?? null);
  }

  /** The same for people; '' if it is not known. */
  text(offset: number, mode: ClockMode): string {
    const at = this.at(offset);
    if (at === null || mode === 'off') return '';
    return mode === 'clock' ? hour(at) : this.started === null ? '' : since(Math.max(0, at - this.started));
  }
}

const two = (n: number): string => String(n).padStart(2, '0');

function hour(seconds: number): string {
  const date = new Date(seconds * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${Math.floor(date.getMilliseconds() / 100)}`;
}

function since(seconds: number): string {
  const tenths = Math.floor(seconds * 10);
  const whole = Math.floor(tenths / 10);
  return `+${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}.${tenths % 10}`;
}
