import type { Connection, EventSink, Link, LogSink } from './feed';
import { after, type After } from './lifetime';
import { API_VERSION, type ClientMessage, type HelloMessage, type ProgressMessage, type ServerMessage } from './wire';

/** One connection, whatever carries it: a WebSocket, or a kernel's comm. */
export interface Wire {
  send(text: string): void;
  close(): void;
}

export interface WireEvents {
  text(text: string): void;
  binary(frame: ArrayBuffer): void;
  closed(): void;
}

/** Opens a wire. Failing to open is `closed`, never an exception. */
export type Open = (on: WireEvents) => Wire;

export interface Clock {
  after: After;
  random(): number;
}

const browserClock: Clock = { after, random: Math.random };

const FIRST_DELAY = 250; // ms
const LONGEST_DELAY = 15_000;
const HELLO_WITHIN = 10_000;
const TRIES_BEFORE_OFFLINE = 5; // about ten seconds
const MOST_WATCHED = 1000; // runs, as the server takes
const TOO_MANY = 10_000; // events that were missed: to read anew costs less than to hear them all

interface Reader {
  sink: LogSink;
  next: number;
  ended: boolean;
}

interface Listener {
  run: string | null;
  sink: EventSink;
  /** It knows from where on its events come. */
  begun: boolean;
}

/** The readers of one attempt's log share one subscription; `from` is where the newest one began to answer. */
interface LogFlow {
  readers: Set<Reader>;
  /** A subscription was sent and its first bytes have not come yet. */
  asked: number | null;
}

/**
 * Events and logs over a connection that may break at any time.
 *
 * It opens when somebody listens and closes when nobody does. After a break it goes on after the newest event and at
 * the next byte of each log, so nothing is lost; what comes twice is dropped by number and offset. After a long one
 * listeners are told to read anew.
 */
export class Socket {
  private wire: Wire | null = null;
  private connection: Connection = { link: 'waiting', trouble: null, store: null };
  private readonly watchers = new Set<(connection: Connection) => void>();
  private readonly sinks = new Set<Listener>();
  private readonly flows = new Map<string, LogFlow>();
  private seq: number | null = null;
  private watching = ''; // the runs of which the server says how far their tasks are
  private tries = 0;
  private timerIsDue = true; // the back-off is over
  private timing = new AbortController(); // of the one timer there is at a time
  private resting = false;

  constructor(
    private readonly open: Open,
    private readonly clock: Clock = browserClock
  ) {}

  watch(on: (connection: Connection) => void, signal: AbortSignal): void {
    this.during(signal, this.watchers, on);
    on(this.connection);
  }

  events(run: string | null, sink: EventSink, signal: AbortSignal): void {
    const begun = this.connection.link === 'live';
    this.during(signal, this.sinks, { run, sink, begun });
    this.watchProgress();
    signal.addEventListener('abort', () => this.watchProgress(), { once: true });
    if (begun && !signal.aborted) sink.reset();
  }

  log(attempt: string, offset: number, sink: LogSink, signal: AbortSignal): void {
    if (signal.aborted) return;
    const flow = this.flows.get(attempt) ?? { readers: new Set(), asked: null };
    const reader: Reader = { sink, next: offset, ended: false };
    flow.readers.add(reader);
    this.flows.set(attempt, flow);
    this.subscribe(attempt, flow);
    this.connect();
    signal.addEventListener('abort', () => this.drop(attempt, flow, reader), { once: true });
  }

  /** Try again now instead of when the back-off is over: the network is back, or somebody asks. */
  retryNow(): void {
    if (this.wire !== null || !this.wanted) return;
    this.cancelTimer();
    this.timerIsDue = true;
    this.connect();
  }

  /** Nobody can see what comes: end the connection. Everybody's place is kept. */
  rest(): void {
    if (this.resting) return;
    this.resting = true;
    this.hangUp();
  }

  /** Somebody can see it again: go on where it stopped. */
  wake(): void {
    this.resting = false;
    this.retryNow();
  }

  private get wanted(): boolean {
    return this.sinks.size > 0 || this.flows.size > 0 || this.watchers.size > 0;
  }

  private during<T>(signal: AbortSignal, all: Set<T>, one: T): void {
    if (signal.aborted) return;
    all.add(one);
    this.connect();
    const gone = (): void => {
      all.delete(one);
      this.closeIfUnwanted();
    };
    signal.addEventListener('abort', gone, { once: true });
  }

  private drop(attempt: string, flow: LogFlow, reader: Reader): void {
    flow.readers.delete(reader);
    if (flow.readers.size > 0) return;
    if (this.flows.get(attempt) === flow) {
      this.flows.delete(attempt);
      this.say({ type: 'unsubscribe', log: attempt });
    }
    this.closeIfUnwanted();
  }

  private closeIfUnwanted(): void {
    if (this.wanted) return;
    this.hangUp();
    this.seq = null; // nobody follows: the next one begins with what the server says then
  }

  private hangUp(): void {
    this.cancelTimer();
    const wire = this.wire;
    this.wire = null;
    wire?.close();
    this.connection = { ...this.connection, link: 'waiting' };
    this.tries = 0;
  }

  private cancelTimer(): void {
    this.timing.abort();
    this.timing = new AbortController();
  }

  // ------------------------------------------------------------------------------------------------- connecting

  private connect(): void {
    if (this.wire !== null || this.resting || (this.tries > 0 && !this.timerIsDue)) return;
    this.timerIsDue = false;
    const on: WireEvents = {
      text: text => this.wire === wire && this.hear(JSON.parse(text) as ServerMessage),
      binary: frame => this.wire === wire && this.hearFrame(frame),
      closed: () => this.wire === wire && this.lost()
    };
    let wire: Wire | null = null;
    wire = this.open(on);
    this.wire = wire;
    // also finds a wire that failed before `open` returned
    this.clock.after(HELLO_WITHIN, () => this.giveUp(), this.timing.signal);
  }

  private giveUp(): void {
    const wire = this.wire;
    this.lost();
    wire?.close();
  }

  private lost(): void {
    this.wire = null;
    this.cancelTimer();
    if (!this.wanted) return;
    this.tries += 1;
    this.become(this.tries > TRIES_BEFORE_OFFLINE ? 'offline' : 'reconnecting');
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** (this.tries - 1));
    this.timerIsDue = false;
    const again = (): void => {
      this.timerIsDue = true;
      this.connect();
    };
    this.clock.after(delay * (0.5 + this.clock.random() / 2), again, this.timing.signal);
  }

  private become(link: Link, more: Partial<Connection> = {}): void {
    this.connection = { ...this.connection, ...more, link };
    for (const watcher of [...this.watchers]) watcher(this.connection);
  }

  private say(message: ClientMessage): void {
    if (this.connection.link === 'live') this.wire?.send(JSON.stringify(message));
  }

  // ---------------------------------------------------------------------------------------------------- hearing

  private hear(message: ServerMessage): void {
    if (message.type === 'hello') this.greet(message);
    else if (message.type === 'events') this.deliver(message.events);
    else if (message.type === 'progress') this.deliverProgress(message);
    else if (message.type === 'log_end') this.endLog(message.log, message.size);
    else if (message.type === 'trouble') this.become(this.connection.link, { trouble: message.trouble });
    else if (message.type === 'problem') this.tell(message.log, message.message);
  }

  private greet(hello: HelloMessage): void {
    this.cancelTimer();
    if (hello.api !== API_VERSION) {
      const cure = 'reload the page to get the view that belongs to it';
      this.become('offline', { trouble: `This server speaks version ${hello.api} of the API: ${cure}.` });
      return;
    }
    const other = this.connection.store !== null && this.connection.store !== hello.store;
    // an older or other store: what we knew is not its past
    const past = this.seq !== null && !other && this.seq <= hello.seq && hello.seq - this.seq <= TOO_MANY;
    if (!past) this.seq = hello.seq;
    this.tries = 0;
    this.become('live', { trouble: hello.trouble, store: hello.store });
    this.say({ type: 'since', seq: this.seq ?? hello.seq });
    this.watching = '';
    this.watchProgress();
    for (const [attempt, flow] of this.flows) this.subscribe(attempt, flow);
    for (const listener of [...this.sinks]) {
      if (past && listener.begun) continue;
      listener.begun = true;
      listener.sink.reset();
    }
  }

  private deliver(events: ServerEvents): void {
    const known = this.seq ?? -1;
    const fresh = events.filter(event => event.seq > known);
    const newest = fresh.at(-1);
    if (newest === undefined) return;
    this.seq = newest.seq;
    for (const { run, sink } of [...this.sinks]) {
      const own = run === null ? fresh : fresh.filter(event => event.run === run);
      if (own.length > 0) sink.events(own);
    }
  }

  /** Ask for how far the tasks are of those runs, and only those, that somebody listens to one by one. */
  private watchProgress(): void {
    if (this.connection.link !== 'live') return;
    const runs = new Set([...this.sinks].flatMap(({ run, sink }) => (run !== null && sink.progress !== undefined ? [run] : [])));
    const asked = [...runs].slice(0, MOST_WATCHED).join();
    if (asked === this.watching) return;
    this.watching = asked;
    this.say({ type: 'watch', runs: asked === '' ? [] : asked.split(',') });
  }

  private deliverProgress({ run, tasks }: ProgressMessage): void {
    for (const one of [...this.sinks]) if (one.run === run) one.sink.progress?.(tasks);
  }

  private hearFrame(frame: ArrayBuffer): void {
    const length = new DataView(frame).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(frame, 4, length))) as [string, number, number][];
    let at = 4 + length;
    for (const [attempt, offset, size] of header) {
      this.deliverLog(attempt, offset, new Uint8Array(frame, at, size));
      at += size;
    }
  }

  // ------------------------------------------------------------------------------------------------------- logs

  /** Ask for the log from where the reader that is furthest behind stands. */
  private subscribe(attempt: string, flow: LogFlow): void {
    const open = [...flow.readers].filter(reader => !reader.ended);
    if (open.length === 0 || this.connection.link !== 'live') return;
    if (flow.asked !== null || flow.readers.size > 1) this.say({ type: 'unsubscribe', log: attempt });
    flow.asked = Math.min(...open.map(reader => reader.next));
    this.say({ type: 'subscribe', log: attempt, offset: flow.asked });
  }

  private deliverLog(attempt: string, offset: number, bytes: Uint8Array): void {
    const flow = this.flows.get(attempt);
    if (flow === undefined) return; // unsubscribed, this was on its way
    if (flow.asked !== null && offset <= flow.asked && flow.asked < offset + bytes.length) flow.asked = null;
    let gap = false;
    for (const reader of [...flow.readers]) {
      if (reader.ended || offset + bytes.length <= reader.next) continue;
      if (offset > reader.next) gap = true;
      else {
        const fresh = bytes.subarray(reader.next - offset);
        const from = reader.next;
        reader.next = offset + bytes.length;
        reader.sink.bytes(from, fresh);
      }
    }
    // bytes of an older subscription may be ahead of the newest one; without one on its way, something is missing
    if (gap && flow.asked === null) this.subscribe(attempt, flow);
  }

  private endLog(attempt: string, size: number): void {
    const flow = this.flows.get(attempt);
    if (flow === undefined) return;
    for (const reader of [...flow.readers]) {
      if (reader.ended || reader.next < size) continue;
      reader.ended = true;
      reader.sink.end();
    }
    const behind = [...flow.readers].some(reader => !reader.ended);
    if (behind && flow.asked === null) this.subscribe(attempt, flow);
  }

  private tell(attempt: string | undefined, message: string): void {
    const flow = attempt === undefined ? undefined : this.flows.get(attempt);
    for (const reader of flow?.readers ?? []) reader.sink.problem(message);
  }
}

type ServerEvents = Extract<ServerMessage, { type: 'events' }>['events'];
