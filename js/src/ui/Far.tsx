import { hundredths, percent } from '../core/progress';
import type { ProgressView } from '../core/wire';
import { trans } from '../core/words';

/** A bar of how far a task is. */
export function FarBar({ told, task }: { told: ProgressView; task: string }) {
  const words = [percent(told.fraction), told.text].filter(Boolean).join(', ');
  return (
    <span class="jp-wattle-far jp-mod-running" role="progressbar" aria-label={trans.__('Progress of %1', task)} aria-valuemin={0} aria-valuemax={100} aria-valuenow={hundredths(told.fraction)} aria-valuetext={words}>
      <i style={{ width: `${told.fraction * 100}%` }} />
    </span>
  );
}
