import { LOOKS } from '../core/states';
import type { StateName } from '../core/wire';

/** The state as a shape. Its word stands beside it, so it is hidden from screen readers. */
export function StateIcon({ state, x, y }: { state: StateName; x?: number; y?: number }) {
  return (
    <svg class={`jp-wattle-icon jp-mod-${state}`} x={x} y={y} width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
      <path d={LOOKS[state].icon} />
    </svg>
  );
}
