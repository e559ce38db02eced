import { duration, elapsed, plainReason } from '../core/format';
import { percent, progressOf } from '../core/progress';
import type { TaskState } from '../core/reduce';
import { stateWord } from '../core/states';
import type { TaskRunView } from '../core/wire';

/** How long the task took, or has taken by `now`; '' if there is nothing to say. */
export function tookOf(task: TaskRunView, now: number): string {
  const took = elapsed(task.started_at, task.ended_at, now);
  return took === null || task.state === 'skipped' ? '' : duration(took);
}

/** `42 %` of a task that runs and says so, else ''. */
export function farOf(task: TaskState): string {
  const told = progressOf(task);
  return told === null ? '' : percent(told.fraction);
}

/** A task in one line of words. */
export function taskLine(task: TaskState, now = Date.now()): string {
  return [task.task, stateWord(task.state), farOf(task), tookOf(task, now), plainReason(task.reason)].filter(Boolean).join(' · ');
}
