import type { Edge, EventView, ProgressView, RunDetail, RunNow, RunSummary, SavedRun, TaskRunView } from './wire';

/** A task run, and how far its newest attempt is if that said so. */
export interface TaskState extends TaskRunView {
  progress?: ProgressView;
}

/** A run as the views see it. Objects of tasks that did not change stay the same objects. */
export interface RunState {
  summary: RunSummary;
  /** In the workflow's order. */
  tasks: TaskState[];
  edges: Edge[];
  /** Number of the newest event that this contains; -1 for a saved run. */
  seq: number;
  deleted: boolean;
}

export function fromDetail(detail: RunDetail & Partial<RunNow>): RunState {
  const { tasks, edges, seq, progress = {}, ...summary } = detail;
  return progressed({ summary, tasks, edges, seq, deleted: false }, progress);
}

/** The run with how far some of its tasks are. What is of another attempt than the newest is passed over. */
export function progressed(state: RunState, told: Record<string, ProgressView>): RunState {
  const news = new Map(Object.entries(told));
  if (news.size === 0) return state;
  const next = state.tasks.map(task => {
    const progress = news.get(task.task);
    return progress !== undefined && progress.attempt === task.attempt ? { ...task, progress } : task;
  });
  return { ...state, tasks: next };
}

/** The run with the events applied. What it contains already is passed over, so a repeat changes nothing. */
export function reduce(state: RunState, events: readonly EventView[]): RunState {
  let { summary, edges, seq, deleted } = state;
  let tasks = state.tasks;
  const changed = new Map<string, TaskRunView>();
  for (const event of events) {
    if (event.run !== summary.id || event.seq <= seq) continue;
    seq = event.seq;
    if (event.kind === 'run.changed') {
      summary = event.body.run;
      deleted = false; // it was brought back
      for (const task of event.body.tasks) changed.set(task.task, task);
    } else if (event.kind === 'run.created') {
      ({ summary, tasks, edges } = fromDetail(event.body.run));
      changed.clear();
    } else if (event.kind === 'run.deleted') deleted = true;
  }
  if (seq === state.seq) return state;
  return { summary, tasks: replaced(tasks, changed), edges, seq, deleted };
}

function replaced(tasks: TaskState[], changed: Map<string, TaskRunView>): TaskState[] {
  if (changed.size === 0) return tasks;
  const known = new Set(tasks.map(task => task.task));
  const added = [...changed.values()].filter(task => !known.has(task.task)); // a plan may grow
  return tasks.map(task => follow(task, changed.get(task.task))).concat(added);
}

/** Events do not say how far it is: that stays, for as long as the same attempt runs. */
function follow(before: TaskState, now: TaskRunView | undefined): TaskState {
  if (now === undefined) return before;
  const same = before.progress !== undefined && now.state === 'running' && now.attempt === before.attempt;
  return same ? { ...now, progress: before.progress! } : now;
}

const NO_COUNTS = { created: 0, queued: 0, waiting: 0, running: 0, completed: 0, failed: 0, cancelled: 0, skipped: 0 };

/** The run that a saved output tells of: names, states and edges, without times. */
export function fromSaved(saved: SavedRun): RunState {
  const tasks = saved.tasks.map(task => savedTask(task));
  const counts = { ...NO_COUNTS };
  for (const task of tasks) counts[task.state] += 1;
  const summary: RunSummary = {
    ...{ id: '', workflow: saved.workflow, workflow_hash: '', state: saved.state ?? 'created', reason: '', mode: '', priority: '' },
    ...{ params: {}, user: '', cause: '', created_at: '', started_at: null, ended_at: null, cancel_at: null },
    ...{ total: tasks.length, counts }
  };
  const edges = saved.edges.map(edge => ({ src: edge.src, dst: edge.dst, kind: edge.kind ?? 'data' }));
  return { summary, tasks, edges, seq: -1, deleted: false };
}

function savedTask({ task, state, reason }: SavedRun['tasks'][number]): TaskRunView {
  const unknown = { attempts: 0, attempt: null, queued_at: null, started_at: null, ended_at: null, not_before: null };
  return { task, state: state ?? 'created', reason, ...unknown, exit_code: null, signal: null };
}

/** The opposite of `fromSaved`: what an output keeps of a run. */
export function toSaved(state: RunState): SavedRun {
  return {
    version: 1,
    workflow: state.summary.workflow,
    state: state.summary.state,
    tasks: state.tasks.map(({ task, state: is, reason }) => ({ task, state: is, reason })),
    edges: state.edges.map(({ src, dst, kind }) => ({ src, dst, kind }))
  };
}

const isState = (state: unknown): boolean => state === null || (typeof state === 'string' && Object.hasOwn(NO_COUNTS, state));

const isKind = (kind: unknown): boolean => kind === undefined || kind === 'data' || kind === 'order';

/** Whether it is the id of a run: what comes from files becomes part of addresses. */
export const isRunId = (id: unknown): id is string => typeof id === 'string' && /^[0-9a-f]{32}$/.test(id);

/** Data of an output, if it is what this version can draw. */
export function isSavedRun(data: unknown): data is SavedRun {
  const saved = data as Partial<SavedRun> | null;
  return (
    typeof saved === 'object' &&
    saved !== null &&
    saved.version === 1 &&
    typeof saved.workflow === 'string' &&
    Array.isArray(saved.tasks) &&
    saved.tasks.every(task => typeof task?.task === 'string' && typeof task.reason === 'string' && isState(task.state)) &&
    isState(saved.state) &&
    Array.isArray(saved.edges) &&
    saved.edges.every(edge => typeof edge?.src === 'string' && typeof edge.dst === 'string' && isKind(edge.kind))
  );
}
