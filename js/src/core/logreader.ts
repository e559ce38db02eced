import { ApiError } from './api';
import type { Feed, LogOf } from './feed';
import { LogWindow } from './logwindow';
import type { LogLinesPage } from './wire';

const TAIL = 128 * 1024; // bytes of its end that a log is opened with
const PIECE = 128 * 1024; // bytes that are read at a time
const NUMBERS_AFTER = 300; // ms: until then the server has counted on
const SIZE_AFTER = 2_000; // ms between two looks at a log that grows elsewhere
const FLOOD = 3_000_000; // bytes a second that nobody can read, and a page can hardly draw
const SKIM_AFTER = 200; // ms between two looks at the end of such a log
const SKIMMED = 32 * 1024; // bytes
const FIRST_RETRY = 500; // ms
const LONGEST_RETRY = 10_000;

/** A place in a log: its end, the line that holds a byte, or the line of this number (from 0). */
export type LogPlace = { end: true } | { byte: number } | { line: number };

/**
 * Reads a log of any size through a window: its end as it grows, or any other part of it. What is in sight is said by
 * `seen`; the window reads on in both directions as that comes near its ends, and forgets what is far.
 */
export class LogReader {
  readonly window = new LogWindow();
  /** Something was read, or cannot be. */
  opened = false;
  problem: string | null = null;
  /** The log is final. */
  ended = false;
  /** Lines are being read that were asked for. */
  loading = false;
  /** Whoever reads stays at the end, and does not mind what is passed over while more comes than can be read. */
  following = false;
  private skimming: AbortController | null = null;
  private readonly flow = new Flow();
  private live: AbortController | null = null;
  private jump: AbortController | null = null;
  private readonly asking = new Set<'before' | 'after'>();
  private sight = { first: 0, last: 0 };
  private timers = new Set<ReturnType<typeof setTimeout>>();
  private counting = false;
  private watching = false;

  constructor(
    private readonly feed: Feed,
    readonly of: LogOf,
    private readonly changed: () => void,
    private readonly signal: AbortSignal
  ) {
    signal.addEventListener('abort', () => this.stop(), { once: true });
  }

  /** The window holds the end of the log as far as it is known. */
  get atEnd(): boolean {
    return this.opened && (this.live !== null || this.skimming !== null || this.window.next >= this.window.size);
  }

  /** Go there. The byte where that line begins; null if it was not reached. */
  async go(place: LogPlace): Promise<number | null> {
    const known = this.known(place);
    if (known !== null) return known;
    this.jump?.abort();
    const jump = (this.jump = new AbortController());
    this.loading = true;
    this.changed();
    for (let wait = FIRST_RETRY; !this.over(jump); wait = Math.min(2 * wait, LONGEST_RETRY)) {
      try {
        const page = await this.ask('end' in place ? { before: 'end', limit: TAIL } : { ...asked(place), limit: PIECE }, jump.signal);
        if (this.over(jump)) return null;
        this.arrive(page);
        return 'end' in place ? page.next_offset : page.offset;
      } catch (error) {
        if (this.over(jump)) return null;
        this.complain(error);
        if (this.opened || refused(error)) break;
        await this.pause(wait);
      }
    }
    if (this.jump === jump) this.loading = false;
    return null;
  }

  /** Indexes of the first and last line in sight. */
  seen(first: number, last: number): void {
    this.sight = { first, last };
    const { window } = this;
    const near = Math.max(200, 3 * (last - first));
    if (first < near && window.start > 0) void this.extend('before');
    if (window.length - last < near && window.next < window.size && this.live === null) void this.extend('after');
  }

  /** The line of a place, if it is here. */
  private known(place: LogPlace): number | null {
    const { window } = this;
    if (!this.opened) return null;
    if ('end' in place) return this.atEnd ? window.next : null;
    if ('line' in place) {
      const index = window.line === null ? -1 : place.line - window.line;
      const steady = !window.lines.slice(0, Math.max(0, index)).some(line => line.broken);
      return (steady ? window.lines[index]?.offset : undefined) ?? null;
    }
    return window.lines[window.indexOf(place.byte)]?.offset ?? null;
  }

  private arrive(page: LogLinesPage): void {
    this.disconnect();
    this.show(page);
    this.heard(page);
  }

  private show(page: LogLinesPage): void {
    this.asking.clear();
    this.window.show(page);
    this.opened = true;
    this.loading = false;
    this.problem = null;
    this.sight = { first: 0, last: 0 };
  }

  /** After each answer: go on live at the end, else look now and then how long the log has become. */
  private heard(page: LogLinesPage): void {
    this.ended = page.end;
    if (this.window.next >= this.window.size) this.connect();
    if (this.window.line === null || this.window.total === null) this.later(NUMBERS_AFTER, () => this.count());
    this.watch();
    this.changed();
  }

  private async extend(side: 'before' | 'after'): Promise<void> {
    if (this.asking.has(side)) return;
    this.asking.add(side);
    const { window } = this;
    const [start, next] = [window.start, window.next];
    try {
      const page = await this.ask(side === 'before' ? { before: start, limit: PIECE } : { next, limit: PIECE }, this.signal);
      this.asking.delete(side);
      if (this.signal.aborted || (side === 'before' ? window.start !== start : window.next !== next)) return;
      const count = window.length;
      if (!(side === 'before' ? window.prepend(page) : window.append(page))) return;
      if (side === 'before') this.sight = { first: this.sight.first + window.length - count, last: this.sight.last + window.length - count };
      this.trim();
      this.heard(page);
    } catch (error) {
      this.asking.delete(side);
      if (!this.signal.aborted) this.complain(error);
    }
  }

  private trim(): void {
    if (this.window.trim(this.sight.first, this.sight.last) === 'end') {
      this.disconnect();
      this.watch();
    }
  }

  /** What follows comes by itself, as it is written. */
  private connect(): void {
    if (this.live !== null || this.skimming !== null || this.signal.aborted) return;
    if (this.ended && this.window.next >= this.window.size) return;
    const live = (this.live = new AbortController());
    const { window } = this;
    this.feed.log(
      this.of.attempt,
      window.next,
      {
        bytes: (_, bytes) => {
          if (live.signal.aborted) return;
          this.problem = null;
          window.write(bytes);
          this.trim();
          this.changed();
          if (this.flow.add(bytes.length) > FLOOD && this.following) this.skim();
        },
        end: () => {
          this.ended = true;
          this.changed();
        },
        problem: message => {
          this.problem = message;
          this.changed();
        }
      },
      live.signal
    );
  }

  private disconnect(): void {
    this.live?.abort();
    this.skimming?.abort();
    this.live = this.skimming = null;
  }

  /** From now on look at the newest lines only, now and then, until less comes again. */
  private skim(): void {
    this.disconnect();
    const skim = (this.skimming = new AbortController());
    const flow = new Flow();
    let size = this.window.size;
    const look = async (): Promise<void> => {
      const page = document.hidden ? null : await this.ask({ before: 'end', limit: SKIMMED }, skim.signal).catch(() => null);
      if (this.over(skim)) return;
      if (!this.following) {
        this.disconnect();
        return this.connect();
      }
      if (page !== null) {
        const rate = flow.add(page.size - size);
        size = page.size;
        if (page.end || (rate >= 0 && rate < FLOOD / 2)) return this.arrive(page);
        this.show(page);
        this.changed();
      }
      this.later(SKIM_AFTER, () => !this.over(skim) && look());
    };
    this.later(SKIM_AFTER, () => !this.over(skim) && look());
  }

  /** Ask for the numbers of lines that were still being counted. */
  private async count(): Promise<void> {
    if (this.counting || this.signal.aborted) return;
    this.counting = true;
    const page = await this.ask({ next: this.window.start, limit: 1 }, this.signal).catch(() => null);
    this.counting = false;
    if (page === null || this.signal.aborted) return;
    this.window.know(page);
    if (this.window.line === null || this.window.total === null) this.later(NUMBERS_AFTER, () => this.count());
    this.changed();
  }

  private watch(): void {
    if (this.watching || this.live !== null || this.ended) return;
    this.watching = true;
    this.later(SIZE_AFTER, async () => {
      this.watching = false;
      if (this.live !== null || this.ended) return;
      const page = document.hidden ? null : await this.ask({ before: 'end', limit: 1 }, this.signal).catch(() => null);
      if (this.signal.aborted) return;
      if (page !== null) {
        this.ended = page.end;
        this.window.know(page);
        this.changed();
      }
      this.watch();
    });
  }

  private ask(query: Record<string, string | number>, signal: AbortSignal): Promise<LogLinesPage> {
    const text = Object.fromEntries(Object.entries(query).map(([name, value]) => [name, String(value)]));
    return this.feed.logAsk<LogLinesPage>(this.of, 'lines', text, signal);
  }

  private complain(error: unknown): void {
    this.problem = error instanceof Error ? error.message : String(error);
    this.changed();
  }

  private over(jump: AbortController): boolean {
    return jump.signal.aborted || this.signal.aborted;
  }

  private later(ms: number, run: () => unknown): void {
    if (this.signal.aborted) return;
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      void run();
    }, ms);
    this.timers.add(timer);
  }

  private pause(ms: number): Promise<void> {
    return new Promise(done => {
      this.later(ms, () => done());
      this.signal.addEventListener('abort', () => done(), { once: true });
    });
  }

  private stop(): void {
    this.disconnect();
    this.jump?.abort();
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }
}

/** How fast a log grows. */
class Flow {
  private since = performance.now();
  private bytes = 0;

  /** So many bytes more. Bytes a second over the last half second or longer; -1 until that is over. */
  add(bytes: number): number {
    this.bytes += bytes;
    const seconds = (performance.now() - this.since) / 1_000;
    if (seconds < 0.5) return -1;
    const rate = this.bytes / seconds;
    this.since = performance.now();
    this.bytes = 0;
    return rate;
  }
}

const asked = (place: { byte: number } | { line: number }): Record<string, number> => ('byte' in place ? { offset: place.byte } : { line: place.line });

/** The server answered: to ask again changes nothing. */
const refused = (error: unknown): boolean => error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
