import type { Feed, LogOf } from './feed';
import type { Range } from './marks';
import type { LogSearch } from './wire';

export interface LogQuery {
  text: string;
  regex: boolean;
  matchCase: boolean;
}

export type Way = 'next' | 'previous';

const MOST = 10_000; // hits whose places are known; beyond, the next one is looked up when it is asked for
const GROWS_AFTER = 1_500; // ms between two looks at what a log gained
const MARKS_AFTER = 120; // ms: who scrolls is not followed line by line

/** What the server finds in a log: how often, where next, and which characters. Text is looked for on the server only. */
export class LogHits {
  query: LogQuery | null = null;
  /** The line (byte) that was gone to last. */
  current: number | null = null;
  count: number | null = null;
  busy = false;
  problem: string | null = null;
  /** Looking went on from the other end. */
  wrapped: Way | null = null;
  /** Characters that match, by line; of regular expressions. */
  readonly spans = new Map<number, Range[]>();
  private lines: number[] = [];
  private searched = 0; // bytes
  private looking: AbortController | null = null;
  private counting: AbortController | null = null;
  private growing: ReturnType<typeof setTimeout> | undefined;
  private marking: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly feed: Feed,
    private readonly of: LogOf,
    private readonly changed: () => void,
    private readonly signal: AbortSignal
  ) {
    signal.addEventListener('abort', () => this.stop(), { once: true });
  }

  /** Look for something else. The first hit from the byte `from` on; null if there is none. */
  async search(query: LogQuery, from: number): Promise<number | null> {
    this.clear();
    if (query.text === '') return null;
    this.query = query;
    const found = await this.step('next', from);
    if (this.query === query && this.problem === null) void this.countAll(query);
    return found;
  }

  clear(): void {
    this.stop();
    this.query = this.current = this.count = this.problem = this.wrapped = null;
    this.busy = false;
    this.lines = [];
    this.searched = 0;
    this.spans.clear();
    this.changed();
  }

  /** Which of how many hits the current one is; null if that is not known. */
  get ordinal(): number | null {
    if (this.current === null || !this.complete) return null;
    const at = lowerBound(this.lines, this.current);
    return this.lines[at] === this.current ? at + 1 : null;
  }

  /** The line of the next or previous hit from the byte `from` on; from the other end if there is none on this side. */
  async step(way: Way, from: number): Promise<number | null> {
    if (this.query === null) return null;
    const known = this.complete ? this.neighbour(way, from) : null;
    if (known !== null) return this.arrive(known.line, known.wrapped);
    return this.near(way, from, this.pattern(this.query));
  }

  /** The next line that looks like an error. */
  error(way: Way, from: number): Promise<number | null> {
    return this.near(way, from, { errors: '1' });
  }

  /** The log has grown to `size`. */
  grow(size: number, ended: boolean): void {
    if (this.query === null || this.count === null || size <= this.searched || this.growing !== undefined) return;
    const { query } = this;
    this.growing = setTimeout(() => {
      this.growing = undefined;
      if (this.query === query && query !== null) void this.countMore(query, ended);
    }, GROWS_AFTER);
  }

  /** Lines from the byte `from` to `to` are in sight: their matching characters are wanted. */
  see(from: number, to: number): void {
    const { query } = this;
    if (query?.regex !== true || this.problem !== null) return;
    clearTimeout(this.marking);
    this.marking = setTimeout(() => void this.mark(query, from, to), MARKS_AFTER);
  }

  private get complete(): boolean {
    return this.count !== null && this.count === this.lines.length;
  }

  private neighbour(way: Way, from: number): { line: number; wrapped: boolean } | null {
    const { lines } = this;
    if (lines.length === 0) return null;
    const at = lowerBound(lines, from);
    const line = way === 'next' ? lines[at] : lines[at - 1];
    const other = way === 'next' ? lines[0] : lines.at(-1);
    return line === undefined ? { line: other ?? 0, wrapped: true } : { line, wrapped: false };
  }

  private async near(way: Way, from: number, pattern: Record<string, string>): Promise<number | null> {
    this.looking?.abort();
    const looking = (this.looking = new AbortController());
    this.busy = true;
    this.problem = null;
    this.changed();
    try {
      const side = way === 'next' ? { from: String(Math.max(0, from)) } : { to: String(Math.max(0, from)), last: '1' };
      const found = await this.ask({ ...pattern, ...side, near: '1', limit: '1' }, looking.signal);
      if (found.lines[0] !== undefined) return this.arrive(found.lines[0], false, found);
      const again = await this.ask({ ...pattern, ...(way === 'next' ? {} : { last: '1' }), near: '1', limit: '1' }, looking.signal);
      if (again.lines[0] !== undefined) return this.arrive(again.lines[0], true, again);
    } catch (error) {
      if (!looking.signal.aborted && !this.signal.aborted) this.problem = said(error);
    } finally {
      if (this.looking === looking) this.busy = false;
      if (!this.signal.aborted) this.changed();
    }
    return null;
  }

  private arrive(line: number, wrapped: boolean, found?: LogSearch): number {
    this.current = line;
    this.wrapped = wrapped ? 'next' : null;
    if (found !== undefined) this.learn(found);
    this.changed();
    return line;
  }

  private async countAll(query: LogQuery): Promise<void> {
    const ended = (this.counting = new AbortController());
    try {
      const found = await this.ask({ ...this.pattern(query), limit: String(MOST), finished: '1' }, ended.signal);
      if (this.query !== query) return;
      this.count = found.count;
      this.lines = found.lines;
      this.searched = found.size;
      this.learn(found);
    } catch (error) {
      if (this.query === query && !ended.signal.aborted) this.problem = said(error);
    }
    if (!this.signal.aborted) this.changed();
  }

  private async countMore(query: LogQuery, ended: boolean): Promise<void> {
    const found = await this.ask({ ...this.pattern(query), from: String(this.searched), limit: String(MOST), ...(ended ? {} : { finished: '1' }) }, this.signal).catch(() => null);
    if (found === null || this.query !== query || this.count === null) return;
    if (this.complete && this.lines.length < MOST) this.lines.push(...found.lines.slice(0, MOST - this.lines.length));
    this.count += found.count;
    this.searched = Math.max(this.searched, found.size);
    this.learn(found);
    this.changed();
  }

  private async mark(query: LogQuery, from: number, to: number): Promise<void> {
    const found = await this.ask({ ...this.pattern(query), from: String(from), to: String(to), near: '1', limit: '500' }, this.signal).catch(() => null);
    if (found === null || this.query !== query) return;
    this.learn(found);
    this.changed();
  }

  private learn(found: LogSearch): void {
    found.lines.forEach((line, i) => this.spans.set(line, (found.spans[i] ?? []).map(([start = 0, end = 0]) => [start, end] as const)));
  }

  private pattern({ text, regex, matchCase }: LogQuery): Record<string, string> {
    return { pattern: text, ...(regex ? { regex: '1' } : {}), ...(matchCase ? { case: '1' } : {}) };
  }

  private ask(query: Record<string, string>, signal: AbortSignal): Promise<LogSearch> {
    return this.feed.logAsk<LogSearch>(this.of, 'search', query, signal);
  }

  private stop(): void {
    this.looking?.abort();
    this.counting?.abort();
    this.looking = this.counting = null;
    clearTimeout(this.growing);
    clearTimeout(this.marking);
    this.growing = undefined;
  }
}

const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Index of the first number that is not below `value`. */
function lowerBound(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
