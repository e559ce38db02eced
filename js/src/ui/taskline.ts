import { duration, elapsed, plainReason } from '../core/format';
import { stateWord } from '../core/states';
import type { TaskRunView } from '../core/wire';

/** How long the task took, or has taken by `now`; '' if there is nothing to say. */
export function tookOf(task: TaskRunView, now: number): string {
  const took = elapsed(task.started_at, task.ended_at, now);
  return took === null || task.state === 'skipped' ? '' : duration(took);
}

/** A task in one line of words. */
export function taskLine(task: TaskRunView, now = Date.now()): string {
  return [task.task, stateWord(task.state), tookOf(task, now), plainReason(task.reason)].filter(Boolean).join(' · ');
}
