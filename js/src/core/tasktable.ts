/** The tasks of a run as rows of a table: which, and in what order. */
import { elapsed, instant } from './format';
import { found } from './trace';
import type { StateName, TaskRunView } from './wire';

export type Column = 'order' | 'task' | 'state' | 'start' | 'duration';

export interface Choice {
  text: string;
  /** Empty: all states. */
  states: ReadonlySet<StateName>;
  by: Column;
  /** The largest first. */
  down: boolean;
}

export const ALL_TASKS: Choice = { text: '', states: new Set(), by: 'order', down: false };

// what needs an eye first
const STATE_ORDER: readonly StateName[] = ['failed', 'running', 'waiting', 'queued', 'cancelled', 'created', 'skipped', 'completed'];

/** The tasks that the choice leaves, in its order. Where it says nothing they stand as in the workflow. */
export function chosen(tasks: readonly TaskRunView[], { text, states, by, down }: Choice, now: number): readonly TaskRunView[] {
  let rows = tasks;
  if (text.trim() !== '') rows = found(tasks.map(task => task.task), text).map(i => tasks[i]!);
  if (states.size > 0) rows = rows.filter(task => states.has(task.state));
  if (by === 'order') return down ? [...rows].reverse() : rows;
  const keys = rows.map((task, i) => ({ task, i, key: keyOf(task, by, now) }));
  const sign = down ? -1 : 1;
  // what has no key, like the duration of what never started, comes last both ways
  keys.sort((a, b) => Number(a.key === null) - Number(b.key === null) || sign * compared(a.key, b.key) || a.i - b.i);
  return keys.map(({ task }) => task);
}

const names = new Intl.Collator(undefined, { numeric: true });

function compared(a: string | number | null, b: string | number | null): number {
  if (a === null || b === null) return 0;
  return typeof a === 'string' ? names.compare(a, String(b)) : a - Number(b);
}

function keyOf(task: TaskRunView, by: Column, now: number): string | number | null {
  if (by === 'task') return task.task;
  if (by === 'state') return STATE_ORDER.indexOf(task.state);
  if (by === 'start') return instant(task.started_at);
  return task.state === 'skipped' ? null : elapsed(task.started_at, task.ended_at, now);
}

/** How many tasks there are in each state that there is, in the order of the filter. */
export function inStates(tasks: readonly TaskRunView[]): [StateName, number][] {
  const counts = new Map<StateName, number>();
  for (const { state } of tasks) counts.set(state, (counts.get(state) ?? 0) + 1);
  return STATE_ORDER.flatMap(state => (counts.has(state) ? [[state, counts.get(state) ?? 0] as [StateName, number]] : []));
}
