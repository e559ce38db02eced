import { useEffect, useRef, useState } from 'preact/hooks';
import { trans } from '../core/words';

const SMALLEST = 0.02;
const LARGEST = 3;

export interface Pan {
  x: number;
  y: number;
  scale: number;
  zoom: (factor: number) => void;
  fit: () => void;
  /** The reader has zoomed or moved it. */
  moved: boolean;
}

interface Place {
  x: number;
  y: number;
  scale: number;
}

/** Zoom with Ctrl + wheel or the buttons, move by dragging. Until the reader does, the whole graph is in sight. */
export function usePan(box: { current: HTMLElement | null }, home: { fit: number; x: number; y: number }): Pan {
  const [place, setPlace] = useState<Place | null>(null);
  const now: Place = place ?? { x: home.x, y: home.y, scale: home.fit };
  const current = useRef(now);
  current.current = now;
  const zoomAt = (factor: number, x: number, y: number): void => {
    const old = current.current;
    const scale = Math.min(LARGEST, Math.max(SMALLEST, old.scale * factor));
    const ratio = scale / old.scale;
    setPlace({ scale, x: x - (x - old.x) * ratio, y: y - (y - old.y) * ratio });
  };
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const ended = new AbortController();
    element.addEventListener('wheel', event => wheel(event, element, zoomAt), { passive: false, signal: ended.signal });
    drag(element, () => current.current, setPlace, ended.signal);
    return () => ended.abort();
  }, []);
  return {
    ...now,
    moved: place !== null,
    zoom: factor => zoomAt(factor, (box.current?.clientWidth ?? 0) / 2, (box.current?.clientHeight ?? 0) / 2),
    fit: () => setPlace(null)
  };
}

function wheel(event: WheelEvent, element: HTMLElement, zoomAt: (factor: number, x: number, y: number) => void): void {
  if (!event.ctrlKey && !event.metaKey) return; // the notebook scrolls
  event.preventDefault();
  const box = element.getBoundingClientRect();
  zoomAt(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
}

function drag(element: HTMLElement, place: () => Place, move: (to: Place) => void, signal: AbortSignal): void {
  let from: { px: number; py: number; place: Place } | null = null;
  let dragged = false;
  const on = <K extends keyof HTMLElementEventMap>(type: K, run: (event: HTMLElementEventMap[K]) => void, capture = false): void =>
    element.addEventListener(type, run, { signal, capture });
  on('pointerdown', event => {
    if (event.button === 0) from = { px: event.clientX, py: event.clientY, place: place() };
    dragged = false;
  });
  on('pointermove', event => {
    if (from === null) return;
    const [dx, dy] = [event.clientX - from.px, event.clientY - from.py];
    if (!dragged && Math.hypot(dx, dy) < 4) return;
    if (!dragged) element.setPointerCapture(event.pointerId);
    dragged = true;
    move({ ...from.place, x: from.place.x + dx, y: from.place.y + dy });
  });
  on('pointerup', () => (from = null));
  on('pointercancel', () => (from = null));
  // the click at the end of a drag is not meant for the box under the pointer
  on('click', event => dragged && event.stopPropagation(), true);
}

export function ZoomBar({ pan }: { pan: Pan }) {
  return (
    <div class="jp-wattle-zoom" role="group" aria-label={trans.__('Zoom')}>
      <button type="button" title={trans.__('Zoom out')} aria-label={trans.__('Zoom out')} onClick={() => pan.zoom(1 / 1.25)}>
        −
      </button>
      <button type="button" title={trans.__('Show the whole graph')} aria-label={trans.__('Fit')} disabled={!pan.moved} onClick={pan.fit}>
        {trans.__('Fit')}
      </button>
      <button type="button" title={trans.__('Zoom in (Ctrl + wheel)')} aria-label={trans.__('Zoom in')} onClick={() => pan.zoom(1.25)}>
        +
      </button>
    </div>
  );
}
