import { troubleOf, type Catalog, type Trouble } from './catalog';
import type { Connection, EventSink, Feed } from './feed';
import { after, type After } from './lifetime';
import { fromDetail } from './reduce';
import { ALL, RunList, type RunQuery } from './runlist';
import type { EventView, Info, RunDetail, RunSummary, WorkflowSummary } from './wire';

export interface Problem {
  kind: Trouble;
  /** In the server's words. */
  message: string;
}

export interface BoardState {
  connection: Connection | null;
  /** Why there is nothing to show, or nothing newer. */
  problem: Problem | null;
  /** Null until it was read. */
  runs: RunList | null;
  query: RunQuery;
  workflows: WorkflowSummary[] | null;
  info: Info | null;
  /** How many runs are running. */
  running: number;
}

const FIRST_LOOK = 1_200; // ms: without a connection by then, a request says what is wrong
const GATHER = 40; // ms in which rows that come into sight are asked for together
const AGAIN = 3_000; // ms until a list is asked for again that could not be read though the connection stands

/**
 * All runs and workflows of a server, kept current by its events: nothing is asked for twice unless it must be.
 *
 * It follows the server while `follow` holds; the lists are read only while somebody looks (`look`).
 */
export class Board {
  private state: BoardState = { connection: null, problem: null, runs: null, query: ALL, workflows: null, info: null, running: 0 };
  private readonly listeners = new Set<(state: BoardState) => void>();
  private readonly runListeners = new Set<(run: RunSummary) => void>();
  private running = new Set<string>();
  /** Runs that events told of while an answer was on its way: they may be newer than it. */
  private readonly meanwhile = new Set<Map<string, RunSummary | null>>();
  private readonly wanted = new Map<number, number>(); // rows in sight that are not known
  private readonly asked = new Set<number>(); // pages
  private session: AbortController | null = null;
  private reading: AbortController | null = null;
  private gathering = false;
  private looking = false;
  private stale = false; // events are missing between the list and now

  constructor(
    private readonly feed: Feed,
    private readonly catalog: Catalog,
    /** Rows that one request brings. */
    private readonly pageSize: () => number = () => 100,
    private readonly timer: After = after
  ) {}

  get current(): BoardState {
    return this.state;
  }

  listen(on: (state: BoardState) => void): () => void {
    this.listeners.add(on);
    return () => this.listeners.delete(on);
  }

  /** Every run that events tell of. */
  onRun(on: (run: RunSummary) => void): () => void {
    this.runListeners.add(on);
    return () => this.runListeners.delete(on);
  }

  /** Connect and stay connected, until `rest`. */
  follow(): void {
    if (this.session !== null) return;
    const session = (this.session = new AbortController());
    const sink: EventSink = { events: events => this.hear(events), reset: () => this.read() };
    this.feed.watch(connection => this.connected(connection), session.signal);
    this.feed.events(null, sink, session.signal);
    this.later(FIRST_LOOK, () => this.reading ?? this.read());
  }

  private connected(connection: Connection): void {
    const back = connection.link === 'live' && this.state.connection?.link !== 'live';
    this.become({ connection });
    // the events go on where they stopped, but what could not be read meanwhile is still missing
    if (back && this.state.problem !== null) this.read();
  }

  /** No more connection, no requests; what is known stays. */
  rest(): void {
    this.reading?.abort();
    this.reading = null;
    this.session?.abort();
    this.session = null;
    this.gathering = false;
    this.asked.clear();
  }

  /** Whether somebody looks at the lists. */
  look(looking: boolean): void {
    if (this.looking === looking) return;
    this.looking = looking;
    if (looking && this.reading !== null) this.readLists(this.reading.signal);
  }

  search(query: RunQuery): void {
    this.asked.clear();
    this.become({ query });
    if (this.reading !== null) this.readPage(0, this.reading.signal);
  }

  /** Ask for all of it again. */
  refresh(): void {
    if (this.session === null) this.follow();
    this.read();
  }

  /** A row that is not known came into sight. Returns what to call when it is no longer. */
  want(index: number): () => void {
    this.wanted.set(index, (this.wanted.get(index) ?? 0) + 1);
    this.gatherSoon();
    return () => {
      const left = (this.wanted.get(index) ?? 1) - 1;
      if (left > 0) this.wanted.set(index, left);
      else this.wanted.delete(index);
    };
  }

  // ---------------------------------------------------------------------------------------------------- reading

  private read(): void {
    if (this.session === null) return;
    this.reading?.abort();
    const { signal } = (this.reading = new AbortController());
    this.asked.clear();
    this.stale = true;
    void this.ask(signal, async () => {
      const [info, running] = await Promise.all([this.catalog.info(signal), this.catalog.runs({ states: ['running'], text: '' }, 1, 200, signal)]);
      return () => {
        this.running = new Set(running.data.map(run => run.id));
        this.become({ info, problem: null, running: running.pagination.total });
      };
    });
    if (this.looking) this.readLists(signal);
  }

  private readLists(signal: AbortSignal): void {
    this.readPage(0, signal);
    this.readWorkflows(signal);
  }

  private readWorkflows(signal: AbortSignal): void {
    void this.ask(signal, async () => {
      const workflows = await this.catalog.workflows(signal);
      return () => this.become({ workflows });
    });
  }

  private readPage(page: number, signal: AbortSignal): void {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    const { query } = this.state;
    const size = this.pageSize();
    void this.ask(signal, async () => {
      const { data, pagination } = await this.catalog.runs(query, page + 1, size, signal);
      return () => {
        this.asked.delete(page);
        if (query !== this.state.query) return;
        const known = this.state.runs;
        const runs = known !== null && known.query === query && !this.stale ? known : new RunList(query);
        this.stale = false;
        runs.place(page * size, data, pagination.total);
        this.become({ runs, problem: null });
        if (this.wanted.size > 0) this.gatherSoon();
      };
    });
  }

  private gatherSoon(): void {
    if (this.gathering || this.session === null) return;
    this.gathering = true;
    this.timer(GATHER, () => this.gather(), this.session.signal);
  }

  private gather(): void {
    this.gathering = false;
    const { runs } = this.state;
    if (runs === null || this.reading === null) return;
    const size = this.pageSize();
    const missing = [...this.wanted.keys()].filter(index => index < runs.length && runs.at(index) === undefined);
    for (const page of new Set(missing.map(index => Math.floor(index / size)))) this.readPage(page, this.reading.signal);
  }

  /** Ask, put the answer in place, then what events said while it was on its way. */
  private async ask(signal: AbortSignal, request: () => Promise<() => void>): Promise<void> {
    const told = new Map<string, RunSummary | null>();
    this.meanwhile.add(told);
    try {
      const put = await request();
      if (signal.aborted) return;
      put();
      this.take(told);
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    } finally {
      this.meanwhile.delete(told);
    }
  }

  private fail(error: unknown): void {
    const kind = troubleOf(error);
    this.asked.clear();
    this.become({ problem: { kind, message: error instanceof Error ? error.message : String(error) } });
    if (kind === 'missing' || kind === 'denied') this.rest(); // nothing will come: do not keep knocking
    else if (this.state.connection?.link === 'live') this.later(AGAIN, () => this.state.problem !== null && this.read());
  }

  private later(ms: number, run: () => void): void {
    if (this.session !== null) this.timer(ms, run, this.session.signal);
  }

  // ---------------------------------------------------------------------------------------------------- hearing

  private hear(events: readonly EventView[]): void {
    const told = new Map<string, RunSummary | null>();
    let definitions = false;
    for (const event of events) {
      if (event.kind === 'run.created') told.set(event.body.run.id, this.begun(summaryOf(event.body.run)));
      else if (event.kind === 'run.changed') told.set(event.body.run.id, event.body.run);
      else if (event.kind === 'run.deleted' && event.run !== null) told.set(event.run, null);
      else definitions = true;
    }
    for (const waiting of this.meanwhile) for (const [id, run] of told) waiting.set(id, run);
    this.take(told);
    if (definitions && this.looking && this.reading !== null) this.readWorkflows(this.reading.signal);
    for (const run of told.values()) if (run !== null) for (const on of [...this.runListeners]) on(run);
  }

  /** A run that is new, hence the latest of its workflow. */
  private begun(run: RunSummary): RunSummary {
    const workflows = this.state.workflows?.map(one => (one.name === run.workflow ? { ...one, latest_run: run.id } : one)) ?? null;
    this.state = { ...this.state, workflows };
    return run;
  }

  private take(told: ReadonlyMap<string, RunSummary | null>): void {
    if (told.size === 0) return;
    const { runs } = this.state;
    let { running, workflows } = this.state;
    for (const [id, run] of told) {
      if (run === null) runs?.remove(id);
      else runs?.apply(run);
      const was = this.running.has(id);
      const is = run?.state === 'running';
      if (is) this.running.add(id);
      else this.running.delete(id);
      running = Math.max(0, running + Number(is) - Number(was));
      if (run !== null && workflows !== null) workflows = withStatus(workflows, run);
    }
    this.become({ running, workflows });
  }

  private become(more: Partial<BoardState>): void {
    this.state = { ...this.state, ...more };
    for (const listener of [...this.listeners]) listener(this.state);
  }
}

function summaryOf(run: RunDetail): RunSummary {
  return fromDetail(run).summary;
}

/** The workflows, that of which `run` is the latest in the run's state. */
function withStatus(workflows: WorkflowSummary[], run: RunSummary): WorkflowSummary[] {
  const other = workflows.findIndex(one => one.latest_run === run.id && one.status !== run.state);
  return other < 0 ? workflows : workflows.map((one, i) => (i === other ? { ...one, status: run.state } : one));
}
