/** How far a task is, in numbers and words. */
import type { TaskState } from './reduce';
import type { ProgressView } from './wire';
import { trans } from './words';

/** What a task that runs said last of how far it is; null if there is nothing. */
export function progressOf({ state, attempt, progress }: TaskState): ProgressView | null {
  return state === 'running' && progress !== undefined && progress.attempt === attempt ? progress : null;
}

/** 0 to 100; only the end is 100. */
export const hundredths = (fraction: number): number => Math.floor(fraction * 100 + 1e-9);

export const percent = (fraction: number): string => trans.__('%1 %', hundredths(fraction));

const SOON = 5; // seconds: before, a rate says nothing
const LITTLE = 0.01;

/** `about 3 min left`, if it goes on as it went for so many seconds; '' where that cannot be said. */
export function timeLeft(fraction: number, seconds: number): string {
  if (fraction < LITTLE || fraction >= 1 || seconds < SOON) return '';
  const left = (seconds * (1 - fraction)) / fraction;
  if (left < 10) return trans.__('a few seconds left');
  if (left < 55) return trans.__('about %1 s left', Math.round(left / 10) * 10);
  if (left < 90 * 60) return trans.__('about %1 min left', Math.round(left / 60));
  if (left < 36 * 3600) return trans.__('about %1 h left', Math.round(left / 3600));
  return trans.__('about %1 d left', Math.round(left / 86400));
}
