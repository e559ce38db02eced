import type { Clock, Open, Wire, WireEvents } from '../src/core/socket';
import type { ClientMessage, Counts, EventView, Info, RunDetail, RunSummary, StateName, TaskRunView } from '../src/core/wire';

export const RUN = '0123456789abcdef0123456789abcdef';

export function taskRun(task: string, state: StateName = 'created', more: Partial<TaskRunView> = {}): TaskRunView {
  return {
    task, state, reason: '', attempts: 0, attempt: null, queued_at: null, started_at: null, ended_at: null, not_before: null, exit_code: null, signal: null,
    ...more
  };
}

export function infoOf(version: string): Info {
  return { name: 'wattle-jupyter', version, api: { min: 1, max: 1 }, store: 's', generation: 'g', epoch: 1, role: 'owner', trouble: null, user: 'ada' };
}

export function countsOf(tasks: readonly TaskRunView[]): Counts {
  const counts: Counts = { created: 0, queued: 0, waiting: 0, running: 0, completed: 0, failed: 0, cancelled: 0, skipped: 0 };
  for (const task of tasks) counts[task.state] += 1;
  return counts;
}

export function detailOf(tasks: TaskRunView[], edges: [string, string][] = [], more: Partial<RunDetail> = {}): RunDetail {
  return {
    id: RUN, workflow: 'etl', workflow_hash: 'h', state: 'running', reason: '', mode: 'dependency', priority: 'normal', params: {}, user: 'ada', cause: 'cell',
    created_at: '2026-01-01T10:00:00.000Z', started_at: '2026-01-01T10:00:00.000Z', ended_at: null, cancel_at: null,
    total: tasks.length, counts: countsOf(tasks), tasks, edges: edges.map(([src, dst]) => ({ src, dst, kind: 'data' })), seq: 10,
    ...more
  };
}

export function changed(seq: number, run: RunSummary, tasks: TaskRunView[], id = RUN): EventView {
  return { seq, run: id, at: '2026-01-01T10:00:01.000Z', kind: 'run.changed', body: { run, tasks } };
}

/** Time that passes only when told to. */
export class ManualClock implements Clock {
  private timers: { at: number; run: () => void }[] = [];
  now = 0;
  random = (): number => 0.5;

  after = (ms: number, run: () => void, signal: AbortSignal): void => {
    if (signal.aborted) return;
    const timer = { at: this.now + ms, run };
    this.timers.push(timer);
    signal.addEventListener('abort', () => (this.timers = this.timers.filter(one => one !== timer)));
  };

  /** How many timers there are. */
  get waiting(): number {
    return this.timers.length;
  }

  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const due = this.timers.filter(timer => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.timers = this.timers.filter(one => one !== due);
      this.now = due.at;
      due.run();
    }
    this.now = until;
  }
}

interface Line {
  on: WireEvents;
  since: number | null;
  logs: Map<string, number>; // next byte to send
}

/** A server of events and logs as `docs/http.md` describes it, whose connection can be cut at any time. */
export class FakeServer {
  store = 'store-1';
  events: EventView[] = [];
  logs = new Map<string, { bytes: number[]; ended: boolean }>();
  line: Line | null = null;
  opened = 0;
  heard: ClientMessage[] = [];
  refuse = false;

  readonly open: Open = on => {
    this.opened += 1;
    const line: Line = { on, since: null, logs: new Map() };
    this.line = line;
    const wire: Wire = { send: text => this.hear(line, JSON.parse(text) as ClientMessage), close: () => this.end(line) };
    queueMicrotask(() => (this.refuse ? this.end(line) : this.line === line && this.hello(line)));
    return wire;
  };

  get seq(): number {
    return this.events.at(-1)?.seq ?? 0;
  }

  cut(): void {
    if (this.line !== null) this.end(this.line);
  }

  /** Send what is due, at most `most` bytes of each log. */
  flush(most = Infinity): void {
    const line = this.line;
    if (line === null) return;
    if (line.since !== null) {
      const due = this.events.filter(event => event.seq > (line.since ?? 0));
      if (due.length > 0) line.on.text(JSON.stringify({ type: 'events', events: due }));
      line.since = this.seq;
    }
    this.flushLogs(line, most);
  }

  private flushLogs(line: Line, most: number): void {
    const header: [string, number, number][] = [];
    const body: number[] = [];
    for (const [log, next] of line.logs) {
      const piece = (this.logs.get(log)?.bytes ?? []).slice(next, next + most);
      if (piece.length === 0) continue;
      header.push([log, next, piece.length]);
      body.push(...piece);
      line.logs.set(log, next + piece.length);
    }
    if (header.length > 0) line.on.binary(frame(header, body));
    for (const [log, next] of line.logs) {
      const known = this.logs.get(log);
      if (known?.ended !== true || next < known.bytes.length) continue;
      line.logs.delete(log);
      line.on.text(JSON.stringify({ type: 'log_end', log, size: next }));
    }
  }

  private hello(line: Line): void {
    line.on.text(JSON.stringify({ type: 'hello', server: '0.1.0', api: 1, seq: this.seq, store: this.store, generation: 'g', trouble: null }));
  }

  private hear(line: Line, message: ClientMessage): void {
    this.heard.push(message);
    if (message.type === 'since') line.since = message.seq;
    else if (message.type === 'subscribe') line.logs.set(message.log, message.offset);
    else if (message.type === 'unsubscribe') line.logs.delete(message.log);
  }

  private end(line: Line): void {
    if (this.line !== line) return;
    this.line = null;
    line.on.closed();
  }
}

export function frame(header: [string, number, number][], body: number[]): ArrayBuffer {
  const head = new TextEncoder().encode(JSON.stringify(header));
  const whole = new Uint8Array(4 + head.length + body.length);
  new DataView(whole.buffer).setUint32(0, head.length);
  whole.set(head, 4);
  whole.set(body, 4 + head.length);
  return whole.buffer;
}
