import type { ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';
import { trans } from '../core/words';

interface Props {
  top: ComponentChildren;
  /** Null: the top has all the room. */
  bottom: ComponentChildren | null;
  /** The top's share, 0 to 1. */
  share: number;
  onShare: (share: number) => void;
  /** The bottom is as high as what it holds, and there is no bar. */
  fits: boolean;
}

const LEAST = 0.12;
const STEP = 0.05;
const HALF = 0.5;

const within = (share: number): number => Math.min(1 - LEAST, Math.max(LEAST, share));

/** Two panes, one above the other, with a bar between them that the pointer and the arrow keys move. */
export function Split({ top, bottom, share, onShare, fits }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const move = (event: PointerEvent): void => {
    const bar = event.currentTarget as HTMLElement;
    const frame = box.current?.getBoundingClientRect();
    if (frame === undefined || frame.height === 0 || !bar.hasPointerCapture(event.pointerId)) return;
    onShare(within((event.clientY - frame.top) / frame.height));
  };
  const key = (event: KeyboardEvent): void => {
    const to = { ArrowUp: share - STEP, ArrowDown: share + STEP, Home: LEAST, End: 1 - LEAST, Enter: HALF }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    onShare(within(to));
  };
  return (
    <div class="jp-wattle-split" ref={box}>
      <div class="jp-wattle-split-pane" style={{ flexGrow: bottom === null || fits ? 1 : share }}>{top}</div>
      {bottom !== null && !fits && (
        <div
          class="jp-wattle-split-bar"
          role="separator"
          aria-orientation="horizontal"
          aria-label={trans.__('Size of the panes')}
          aria-valuemin={Math.round(LEAST * 100)}
          aria-valuemax={Math.round((1 - LEAST) * 100)}
          aria-valuenow={Math.round(share * 100)}
          tabindex={0}
          onPointerDown={event => event.currentTarget.setPointerCapture(event.pointerId)}
          onPointerMove={move}
          onDblClick={() => onShare(HALF)}
          onKeyDown={key}
        />
      )}
      {bottom !== null && <div class={`jp-wattle-split-pane${fits ? ' jp-mod-fits' : ''}`} style={fits ? {} : { flexGrow: 1 - share }}>{bottom}</div>}
    </div>
  );
}
