import type { EventView, ProgressView, RunDetail, RunNow, TaskRunDetail } from './wire';

/** `waiting` before the first hello, `reconnecting` while it is worth waiting, `offline` when it has been long. */
export type Link = 'waiting' | 'live' | 'reconnecting' | 'offline';

export interface Connection {
  link: Link;
  /** Why the server starts nothing new just now, or why it cannot be understood. */
  trouble: string | null;
  /** Id of the server's store, once it is known. */
  store: string | null;
}

export interface EventSink {
  /** Committed changes in their order; some may be known already (compare `seq`). */
  events(events: EventView[]): void;
  /**
   * Events come from here on without a gap: read the run now. Called when the connection stands for the first time,
   * and again when what was missed cannot be had as events (another store, a restored one).
   */
  reset(): void;
  /** How far tasks of the one run that is listened to are: what is known at first, then what changed. */
  progress?(told: Record<string, ProgressView>): void;
}

export interface LogSink {
  /** The next bytes: `offset` is always where the last call ended. */
  bytes(offset: number, bytes: Uint8Array): void;
  /** All bytes are there. */
  end(): void;
  problem(message: string): void;
}

/** What is asked of a log, as the last part of the address says it. */
export type LogQuestion = 'lines' | 'times' | 'search';

/** Whose log. */
export interface LogOf {
  run: string;
  task: string;
  attempt: string;
}

export type Verb =
  | { verb: 'cancel' }
  | { verb: 'retry' }
  | { verb: 'delete' }
  | { verb: 'undelete' }
  | { verb: 'stop-task'; task: string }
  | { verb: 'retry-task'; task: string };

/** Where a view gets its data from. Everything that is asked for ends with its signal. */
export interface Feed {
  /** Calls back at once and then at every change. */
  watch(on: (connection: Connection) => void, signal: AbortSignal): void;
  run(run: string, signal: AbortSignal): Promise<RunDetail & Partial<RunNow>>;
  task(run: string, task: string, signal: AbortSignal): Promise<TaskRunDetail>;
  /** Of one run or, with null, of all there is; from now on, across lost connections. */
  events(run: string | null, sink: EventSink, signal: AbortSignal): void;
  /** The bytes of an attempt's log from `offset` on, across lost connections. */
  log(attempt: string, offset: number, sink: LogSink, signal: AbortSignal): void;
  /** Of a log: its lines from any byte on, when they were written, those that match. */
  logAsk<T>(of: LogOf, what: LogQuestion, query: Record<string, string>, signal: AbortSignal): Promise<T>;
  act(run: string, verb: Verb): Promise<void>;
  /** Where the whole log can be downloaded; null where the page does not reach the server itself. */
  logUrl(of: LogOf): string | null;
}
