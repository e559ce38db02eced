/**
 * What travels between server and browser, the same names as in the Python package's `wire`.
 *
 * Times are UTC ISO 8601 strings with `Z` and milliseconds, durations seconds, sizes bytes. A key that may be unknown
 * is present and `null`.
 */

export const API_VERSION = 1;
export const RUN_MIME = 'application/vnd.wattle.run.v1+json';

export type StateName =
  | 'created'
  | 'queued'
  | 'waiting'
  | 'running'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'skipped';
export type AttemptStateName =
  | 'starting'
  | 'running'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'lost'
  | 'never_started';
export type Counts = Record<StateName, number>;

export interface RunSummary {
  id: string;
  workflow: string;
  workflow_hash: string;
  state: StateName;
  reason: string;
  mode: string;
  priority: string;
  params: Record<string, unknown>;
  user: string;
  cause: string;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  cancel_at: string | null;
  total: number;
  counts: Counts;
}

export interface Edge {
  src: string;
  dst: string;
  kind: 'data' | 'order';
}

/** A task's fate in one run. `attempt` is the newest attempt's id, the key of its log. */
export interface TaskRunView {
  task: string;
  state: StateName;
  reason: string;
  attempts: number;
  attempt: string | null;
  queued_at: string | null;
  started_at: string | null;
  ended_at: string | null;
  not_before: string | null;
  exit_code: number | null;
  signal: number | null;
}

/** A run with its tasks. `seq` is the newest event that it contains. */
export interface RunDetail extends RunSummary {
  tasks: TaskRunView[];
  edges: Edge[];
  seq: number;
}

export interface AttemptView {
  id: string;
  n: number;
  round: number;
  state: AttemptStateName;
  reason: string;
  host: string;
  pid: number | null;
  exit_code: number | null;
  signal: number | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  peak_rss: number | null;
  log_size: number | null;
}

/** A piece of a log as text. `next_offset` is where to go on; `end` is true once nothing more can come. */
export interface LogPage {
  attempt: string;
  offset: number;
  next_offset: number;
  size: number;
  end: boolean;
  text: string;
}

/** Lines of a log that match: how many in its first `size` bytes, and the offsets of the first of them. */
export interface LogSearch {
  attempt: string;
  size: number;
  count: number;
  lines: number[];
}

export interface ValueView {
  name: string;
  kind: 'file' | 'json' | 'object';
  value: unknown;
  size: number | null;
  kept: string | null;
}

export interface TaskRunDetail extends TaskRunView {
  command: string;
  working_dir: string;
  needs: string[];
  history: AttemptView[];
  outputs: ValueView[];
}

/** `status` is the state of the latest run, `created` before any. */
export interface VariableView {
  name: string;
  value: string;
  source: 'wattle' | 'spec';
  secret: boolean;
}

export interface TaskEnvironment {
  argv: string[];
  cwd: string;
  python: string | null;
  variables: VariableView[];
  removed: string[];
  missing: string[];
}

export interface WorkflowSummary {
  name: string;
  hash: string;
  version: number;
  status: StateName;
  description: string;
  mode: string;
  total: number;
  created_at: string;
  updated_at: string;
  latest_run: string | null;
}

export interface Pagination {
  page: number;
  page_size: number;
  total: number;
  total_pages: number;
  has_next: boolean;
  has_prev: boolean;
}

/** A request that was to change something. `outcome` is `done` or the class of the error. */
export interface AuditEntry {
  at: string;
  user: string;
  verb: string;
  target: string;
  status: number;
  outcome: string;
}

/** Runs of one workflow, and the bytes that their attempts left. */
export interface CleanupLine {
  workflow: string;
  runs: number;
  bytes: number;
}

/** What a cleanup hides. */
export interface CleanupView {
  runs: number;
  bytes: number;
  workflows: CleanupLine[];
}

/** A copy of the database. `name` is what `wattle restore` takes. */
export interface BackupView {
  name: string;
  path: string;
  why: string;
  created_at: string;
  size: number;
}

/** One committed change. What `body` holds follows from `kind`. */
export type EventView = { seq: number; run: string | null; at: string } & (
  | { kind: 'run.created'; body: { run: RunDetail } }
  | { kind: 'run.changed'; body: { run: RunSummary; tasks: TaskRunView[] } }
  | { kind: 'run.deleted'; body: Record<string, never> }
  | { kind: 'workflow.changed' | 'workflow.deleted'; body: { name: string } }
);

export interface ErrorBody {
  success: false;
  error: string;
  message: string;
  details: Record<string, unknown>;
}

export interface HelloMessage {
  type: 'hello';
  server: string;
  api: number;
  seq: number;
  store: string;
  generation: string;
  trouble: string | null;
}
export interface EventsMessage {
  type: 'events';
  events: EventView[];
}
/** All bytes of this log were sent; `size` is their number. */
export interface LogEndMessage {
  type: 'log_end';
  log: string;
  size: number;
}
export interface TroubleMessage {
  type: 'trouble';
  trouble: string | null;
}
/** Something that was asked for cannot be done; the socket stays open. */
export interface ProblemMessage {
  type: 'problem';
  error: string;
  message: string;
  log?: string;
}
export type ServerMessage = HelloMessage | EventsMessage | LogEndMessage | TroubleMessage | ProblemMessage;

export interface SinceMessage {
  type: 'since';
  seq: number;
  run?: string;
}
export interface SubscribeMessage {
  type: 'subscribe';
  log: string;
  offset: number;
}
export interface UnsubscribeMessage {
  type: 'unsubscribe';
  log: string;
}
export type ClientMessage = SinceMessage | SubscribeMessage | UnsubscribeMessage;

/** What a saved output holds: no ids, so that runs that went the same way are saved byte-equal. */
export interface SavedRun {
  version: 1;
  workflow: string;
  /** States are null in a plan: nothing has run yet. */
  state: StateName | null;
  tasks: { task: string; state: StateName | null; reason: string }[];
  edges: { src: string; dst: string; kind?: 'data' | 'order' }[];
}
