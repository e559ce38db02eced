import type { AttemptStateName, RunSummary, StateName, TaskRunView } from './wire';
import { trans } from './words';

/** How a state looks: told apart by shape and word, never by colour alone. */
export interface Look {
  word: string;
  /** Path in a 16 × 16 box, stroked with round ends. */
  icon: string;
}

const CHECK = 'M3.5 8.5 L6.8 11.7 L12.7 4.8';
const CROSS = 'M4.4 4.4 L11.6 11.6 M11.6 4.4 L4.4 11.6';

export const LOOKS: Record<StateName, Look> = {
  created: { word: 'not started', icon: 'M8 3.4 A4.6 4.6 0 1 1 7.99 3.4' },
  queued: { word: 'queued', icon: 'M8 2.8 A5.2 5.2 0 1 1 7.99 2.8 M8 5.4 L8 8.3 L10 9.6' },
  waiting: { word: 'waiting', icon: 'M5.9 4.2 L5.9 11.8 M10.1 4.2 L10.1 11.8' },
  running: { word: 'running', icon: 'M8 2.8 A5.2 5.2 0 1 1 2.8 8' },
  completed: { word: 'completed', icon: CHECK },
  failed: { word: 'failed', icon: CROSS },
  cancelled: { word: 'cancelled', icon: 'M8 2.8 A5.2 5.2 0 1 1 7.99 2.8 M4.5 11.5 L11.5 4.5' },
  skipped: { word: 'skipped', icon: 'M4.6 4.4 L8.2 8 L4.6 11.6 M8.6 4.4 L12.2 8 L8.6 11.6' }
};

const WORDS: Record<StateName, () => string> = {
  created: () => trans.__('not started'),
  queued: () => trans.__('queued'),
  waiting: () => trans.__('waiting'),
  running: () => trans.__('running'),
  completed: () => trans.__('completed'),
  failed: () => trans.__('failed'),
  cancelled: () => trans.__('cancelled'),
  skipped: () => trans.__('skipped')
};

export const stateWord = (state: StateName): string => WORDS[state]();

const ATTEMPT_WORDS: Record<AttemptStateName, () => string> = {
  starting: () => trans.__('starting'),
  running: () => trans.__('running'),
  completed: () => trans.__('completed'),
  failed: () => trans.__('failed'),
  cancelled: () => trans.__('cancelled'),
  lost: () => trans.__('lost'),
  never_started: () => trans.__('never started')
};

export const attemptWord = (state: AttemptStateName): string => ATTEMPT_WORDS[state]();

const FINAL: ReadonlySet<StateName> = new Set(['completed', 'failed', 'cancelled', 'skipped']);

export const isFinal = (state: StateName): boolean => FINAL.has(state);

/** The order in which a bar of all tasks shows them. */
export const BAR_ORDER: readonly StateName[] = ['completed', 'failed', 'cancelled', 'skipped', 'running', 'waiting', 'queued'];

/** Whether something of the run can be run again. */
export function canRetry({ state, counts }: RunSummary): boolean {
  return counts.failed > 0 || (isFinal(state) && state !== 'completed' && counts.cancelled + counts.skipped > 0);
}

export const canCancel = ({ state, cancel_at }: RunSummary): boolean => !isFinal(state) && cancel_at === null;

/** Why a run cannot be cancelled; null if it can. */
export function cancelOff(run: RunSummary): string | null {
  if (isFinal(run.state)) return trans.__('It has ended');
  return run.cancel_at === null ? null : trans.__('It is being cancelled');
}

/** Why nothing of a run can be run again; null if something can. */
export function retryOff(run: RunSummary): string | null {
  if (canRetry(run)) return null;
  return run.state === 'completed' ? trans.__('All its tasks completed') : trans.__('Nothing has failed');
}

/** Why a run cannot be deleted; null if it can. */
export const deleteOff = ({ state }: RunSummary): string | null => (isFinal(state) ? null : trans.__('It has not ended: cancel it first'));

/** Why a task cannot be stopped; null if it can. */
export const stopTaskOff = ({ state }: TaskRunView): string | null => (isFinal(state) ? trans.__('It has ended') : null);

/** Why a task cannot be run again; null if it can. */
export function retryTaskOff({ state }: TaskRunView): string | null {
  if (state === 'failed' || state === 'cancelled' || state === 'skipped') return null;
  return state === 'completed' ? trans.__('It completed') : trans.__('It has not ended');
}
