/**
 * What travels between server and browser. Made by `python3 dev.py wire` from the server's OpenAPI document: change
 * the Python package's `wire` instead.
 *
 * Times are UTC ISO 8601 strings with `Z` and milliseconds, durations seconds, sizes bytes. A key that may be unknown
 * is present and `null`.
 */

export const API_VERSION = 1;
export const RUN_MIME = 'application/vnd.wattle.run.v1+json';

export const STATE_NAMES = [
  'created',
  'queued',
  'waiting',
  'running',
  'completed',
  'failed',
  'cancelled',
  'skipped'
] as const;
export type StateName = (typeof STATE_NAMES)[number];

export const ATTEMPT_STATE_NAMES = [
  'starting',
  'running',
  'completed',
  'failed',
  'cancelled',
  'lost',
  'never_started'
] as const;
export type AttemptStateName = (typeof ATTEMPT_STATE_NAMES)[number];

export type EventView = RunCreatedEvent | RunChangedEvent | RunDeletedEvent | WorkflowEvent;

export type ServerMessage = HelloMessage | EventsMessage | LogEndMessage | ProgressMessage | TroubleMessage | ProblemMessage;

export type ClientMessage = SinceMessage | WatchMessage | SubscribeMessage | UnsubscribeMessage;

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

/**
 * A request that was to change something. `target` is the id or name of what it changed or named, `outcome` `done` or
 * the class of the error.
 */
export interface AuditEntry {
  at: string;
  user: string;
  verb: string;
  target: string;
  status: number;
  outcome: string;
}

/** A copy of the database. `name` is what `wattle restore` takes. */
export interface BackupView {
  name: string;
  path: string;
  why: string;
  created_at: string;
  size: number;
}

/** Runs of one workflow, and the bytes that their attempts left. */
export interface CleanupLine {
  workflow: string;
  runs: number;
  bytes: number;
}

/** What a cleanup hides, and what it deletes: objects that nothing has named for a day. */
export interface CleanupView {
  runs: number;
  bytes: number;
  workflows: CleanupLine[];
  objects: number;
  object_bytes: number;
}

/** How many task runs are in each state. */
export interface Counts {
  created: number;
  queued: number;
  waiting: number;
  running: number;
  completed: number;
  failed: number;
  cancelled: number;
  skipped: number;
}

export interface Edge {
  src: string;
  dst: string;
  kind: 'data' | 'order';
}

export interface ErrorBody {
  success: false;
  error: string;
  message: string;
  details: Record<string, unknown>;
}

export interface EventsMessage {
  type: 'events';
  events: EventView[];
}

export interface Health {
  live: boolean;
  ready: boolean;
  state: 'ok' | 'degraded' | 'failed';
  reasons: string[];
  checks: HealthCheck[];
}

export interface HealthCheck {
  name: string;
  state: 'ok' | 'degraded' | 'failed';
  reason: string;
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

export interface Info {
  name: string;
  version: string;
  api: Record<string, number>;
  store: string;
  generation: string;
  epoch: number;
  role: 'owner' | 'follower';
  trouble: string | null;
  user: string;
}

/** How long something took since the engine was opened, in seconds. */
export interface Latency {
  count: number;
  p50: number | null;
  p95: number | null;
  max: number;
}

/** All bytes of this log were sent; `size` is their number. */
export interface LogEndMessage {
  type: 'log_end';
  log: string;
  size: number;
}

/**
 * Lines of a log. `offsets` says where each begins; `next_offset` where the last one ends. Of the lines `cut` (by their
 * place in `text`) only the beginning is there; those `broken` have no line feed: they are not finished, or go on in
 * the next piece. `line` is the number of the first one, from 0, and `lines` how many the log has; both are null while
 * they are being counted.
 */
export interface LogLinesPage {
  attempt: string;
  offset: number;
  next_offset: number;
  size: number;
  end: boolean;
  line: number | null;
  lines: number | null;
  offsets: number[];
  text: string[];
  cut: number[];
  broken: number[];
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

/**
 * Lines of a log that match: how many in its first `size` bytes, and where the first (or last) of them begin. `spans`
 * says, for each of `lines`, which characters match (from, to; as UTF-16, without escape codes).
 */
export interface LogSearch {
  attempt: string;
  size: number;
  count: number;
  lines: number[];
  spans: number[][][];
}

/** When bytes of a log were written: `points` are seconds since 1970 and the size of the log then. */
export interface LogTimes {
  attempt: string;
  started_at: string | null;
  points: number[][];
}

export type NothingMore = Record<string, never>;

export interface Pagination {
  page: number;
  page_size: number;
  total: number;
  total_pages: number;
  has_next: boolean;
  has_prev: boolean;
}

/** Something that the client sent cannot be done; the socket stays open. */
export interface ProblemMessage {
  type: 'problem';
  error: string;
  message: string;
  log?: string;
}

/**
 * How far running tasks of a run are, by their names: all at first, then what changed. It has no number and comes once:
 * an answer about the run says the same.
 */
export interface ProgressMessage {
  type: 'progress';
  run: string;
  tasks: Record<string, ProgressView>;
}

/**
 * How far an attempt is, as its log says: `fraction` is 0 to 1. `text` says it in short, as in `42/100`; it is empty
 * where only the fraction is known.
 */
export interface ProgressView {
  attempt: string;
  fraction: number;
  done: number | null;
  total: number | null;
  text: string;
}

/** Whole objects, and only those tasks that changed. */
export interface RunChangedBody {
  run: RunSummary;
  tasks: TaskRunView[];
}

export interface RunChangedEvent {
  seq: number;
  run: string;
  kind: 'run.changed';
  at: string;
  body: RunChangedBody;
}

export interface RunCreatedBody {
  run: RunDetail;
}

export interface RunCreatedEvent {
  seq: number;
  run: string;
  kind: 'run.created';
  at: string;
  body: RunCreatedBody;
}

export interface RunDeletedEvent {
  seq: number;
  run: string;
  kind: 'run.deleted';
  at: string;
  body: NothingMore;
}

/** A run with its tasks. `seq` is the newest event that it contains: follow with `since` that number. */
export interface RunDetail {
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
  tasks: TaskRunView[];
  edges: Edge[];
  seq: number;
}

/** The same with what is of the moment and in no event: how far those running tasks are that say it, by name. */
export interface RunNow {
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
  tasks: TaskRunView[];
  edges: Edge[];
  seq: number;
  progress: Record<string, ProgressView>;
}

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

export interface SavedEdge {
  src: string;
  dst: string;
  kind?: 'data' | 'order';
}

/**
 * What a saved output holds: no ids, so that runs that went the same way are saved byte-equal. States are null in a
 * plan: nothing has run yet.
 */
export interface SavedRun {
  version: 1;
  workflow: string;
  state: StateName | null;
  tasks: SavedTask[];
  edges: SavedEdge[];
}

export interface SavedTask {
  task: string;
  state: StateName | null;
  reason: string;
}

/** Send all events after `seq`, then live; only those of `run` if it is given. */
export interface SinceMessage {
  type: 'since';
  seq: number;
  run?: string;
}

export interface Stats {
  runs: Record<string, number>;
  runs_ended: Record<string, number>;
  attempts_ended: Record<string, number>;
  events: number;
  log_bytes: number;
  now: Record<string, number>;
  latency: Record<string, Latency>;
}

export interface SubscribeMessage {
  type: 'subscribe';
  log: string;
  offset: number;
}

/** How a task is started. What is not known before it starts stands as it is written, and in `missing`. */
export interface TaskEnvironment {
  argv: string[];
  cwd: string;
  python: string | null;
  variables: VariableView[];
  removed: string[];
  missing: string[];
}

export interface TaskRunDetail {
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
  progress: ProgressView | null;
  command: string;
  working_dir: string;
  needs: string[];
  history: AttemptView[];
  outputs: ValueView[];
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

export interface TroubleMessage {
  type: 'trouble';
  trouble: string | null;
}

export interface UnsubscribeMessage {
  type: 'unsubscribe';
  log: string;
}

export interface ValueView {
  name: string;
  kind: 'file' | 'json' | 'object';
  value: unknown;
  size: number | null;
  kept: string | null;
}

/** A variable of a task's environment that is not as the server's. `secret`: `value` is masked. */
export interface VariableView {
  name: string;
  value: string;
  source: 'wattle' | 'spec';
  secret: boolean;
}

/** Say how far the running tasks of these runs are, by their whole ids, and of no others any more. */
export interface WatchMessage {
  type: 'watch';
  runs: string[];
}

/** A task in the words of the Wattle Scheduler: `status` is that of its latest run. */
export interface WorkerView {
  name: string;
  workflow: string;
  command: string;
  args: string[];
  working_dir: string;
  env_vars: Record<string, string>;
  inputs: Record<string, string>;
  outputs: Record<string, string>;
  status: StateName;
  reason: string;
  run: string | null;
  attempt: string | null;
  exit_code: number | null;
  started_at: string | null;
  ended_at: string | null;
}

export interface WorkflowBody {
  name: string;
}

export interface WorkflowDetail {
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
  spec: Record<string, unknown>;
  warnings: string[];
}

export interface WorkflowEvent {
  seq: number;
  run: null;
  kind: 'workflow.changed' | 'workflow.deleted';
  at: string;
  body: WorkflowBody;
}

/** `status` is the state of the latest run, `created` before any. */
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
