import { useEffect, useRef, useState } from 'preact/hooks';
import { trans } from '../core/words';

const SMALLEST = 0.02;
const LARGEST = 3;
const LEGIBLE = 0.85; // of the natural size: names can be read
const READABLE = 0.6; // at which nothing has to be brought nearer
const STEP = 1.25;
const EDGE = 24; // px between what is shown and the frame
const NOTCH = 60; // px of a turn of a mouse wheel; touch pads report less at once

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Pan {
  x: number;
  y: number;
  scale: number;
  zoom: (factor: number) => void;
  fit: () => void;
  /** Bring it into sight with the least move; `close`: in the middle, and large enough to be read. */
  show: (box: Box, close?: boolean) => void;
  /** The reader has zoomed or moved it, or not all of it is in sight. */
  moved: boolean;
}

interface Place {
  x: number;
  y: number;
  scale: number;
}

export interface Home {
  /** Where it stands until the reader moves it. */
  place: Place;
  /** Where all of it is in sight. */
  all: Place;
}

/**
 * Zoom with the wheel, two fingers or the buttons, move by dragging. Until the reader does, it is at home.
 * Unless `owns`, a wheel without Ctrl and one finger up and down scroll the page as elsewhere.
 */
export function usePan(box: { current: HTMLElement | null }, home: Home, owns: boolean): Pan {
  const [place, setPlace] = useState<Place | null>(null);
  const now: Place = place ?? home.place;
  const current = useRef(now);
  current.current = now;
  const move = (to: Place): void => {
    current.current = to; // several moves may come before it is drawn
    setPlace(to);
  };
  const zoomAt = (factor: number, x: number, y: number): void => move(zoomed(current.current, factor, x, y));
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const ended = new AbortController();
    const { signal } = ended;
    element.addEventListener('wheel', event => wheel(event, element, owns, () => current.current, move), { passive: false, signal });
    fingers(element, () => current.current, move, signal);
    return () => ended.abort();
  }, [owns]);
  const width = (): number => box.current?.clientWidth ?? 0;
  const height = (): number => box.current?.clientHeight ?? 0;
  return {
    ...now,
    moved: place !== null || home.place !== home.all,
    zoom: factor => zoomAt(factor, width() / 2, height() / 2),
    fit: () => setPlace(home.place === home.all || same(now, home.all) ? null : home.all),
    show: (target, close = false) => {
      const to = shown(current.current, target, width(), height(), close);
      if (to !== current.current) move(to);
    }
  };
}

const same = (a: Place, b: Place): boolean => a.x === b.x && a.y === b.y && a.scale === b.scale;

function zoomed(old: Place, factor: number, x: number, y: number): Place {
  const scale = Math.min(LARGEST, Math.max(SMALLEST, old.scale * factor));
  const ratio = scale / old.scale;
  return { scale, x: x - (x - old.x) * ratio, y: y - (y - old.y) * ratio };
}

/** The place from which all of `target` is seen. */
function shown(old: Place, target: Box, width: number, height: number, close: boolean): Place {
  const room = Math.min((width - 2 * EDGE) / target.width, (height - 2 * EDGE) / target.height);
  const seen = (start: number, length: number, from: number, space: number): boolean => start * old.scale + from >= 0 && (start + length) * old.scale + from <= space;
  if (old.scale >= READABLE && seen(target.x, target.width, old.x, width) && seen(target.y, target.height, old.y, height)) return old;
  const scale = close ? Math.max(old.scale, Math.min(LEGIBLE, room)) : old.scale;
  const at = (start: number, length: number, from: number, space: number): number => {
    const begin = from + start * scale;
    if (close || length * scale > space - 2 * EDGE) return (space - length * scale) / 2 - start * scale;
    if (begin < EDGE) return EDGE - start * scale;
    return begin + length * scale > space - EDGE ? space - EDGE - (start + length) * scale : from;
  };
  const to = { scale, x: at(target.x, target.width, old.x, width), y: at(target.y, target.height, old.y, height) };
  return same(to, old) ? old : to;
}

function wheel(event: WheelEvent, element: HTMLElement, owns: boolean, place: () => Place, move: (to: Place) => void): void {
  const zooms = event.ctrlKey || event.metaKey;
  if (!zooms && !owns) return; // the notebook scrolls
  event.preventDefault();
  const box = element.getBoundingClientRect();
  const old = place();
  const pixels = event.deltaMode === 1 ? 16 : 1;
  const [dx, dy] = [event.deltaX * pixels, event.deltaY * pixels];
  const pads = !zooms && (dx !== 0 || Math.abs(dy) < NOTCH);
  if (pads) move({ ...old, x: old.x - dx, y: old.y - dy });
  else move(zoomed(old, Math.exp(-Math.max(-120, Math.min(120, dy)) / 300), event.clientX - box.left, event.clientY - box.top));
}

/** Moves with one pointer, moves and zooms with two. */
function fingers(element: HTMLElement, place: () => Place, move: (to: Place) => void, signal: AbortSignal): void {
  const down = new Map<number, { x: number; y: number }>();
  let from: { x: number; y: number; spread: number; place: Place } | null = null;
  let dragged = false;
  const middle = (): { x: number; y: number; spread: number } => {
    const [a = { x: 0, y: 0 }, b = a] = [...down.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, spread: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
  };
  const begin = (): void => {
    from = down.size === 0 ? null : { ...middle(), place: place() };
  };
  const on = <K extends keyof HTMLElementEventMap>(type: K, run: (event: HTMLElementEventMap[K]) => void, options: AddEventListenerOptions = {}): void =>
    element.addEventListener(type, run, { ...options, signal });
  const lift = (event: PointerEvent): void => {
    if (down.delete(event.pointerId)) begin();
  };
  on('pointerdown', event => {
    if (down.size === 0) dragged = false;
    if (event.button !== 0 || (event.target as Element).closest('.jp-wattle-tools') !== null) return;
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    begin();
  });
  on('pointermove', event => {
    if (from === null || !down.has(event.pointerId)) return;
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const now = middle();
    if (!dragged && down.size === 1 && Math.hypot(now.x - from.x, now.y - from.y) < 4) return;
    if (!dragged) element.setPointerCapture(event.pointerId);
    dragged = true;
    const box = element.getBoundingClientRect();
    const factor = down.size > 1 ? now.spread / from.spread : 1;
    const zoom = zoomed(from.place, factor, from.x - box.left, from.y - box.top);
    move({ ...zoom, x: zoom.x + now.x - from.x, y: zoom.y + now.y - from.y });
  });
  on('pointerup', lift);
  on('pointercancel', lift);
  // two fingers are for the graph, also where one scrolls the page
  on('touchmove', event => event.touches.length > 1 && event.preventDefault(), { passive: false });
  // the click at the end of a drag is not meant for the box under the pointer
  on('click', event => dragged && event.stopPropagation(), { capture: true });
}

/** What a key does to the graph, if anything. */
export function zoomKey(key: string, pan: Pan): boolean {
  if (key === '+' || key === '=') pan.zoom(STEP);
  else if (key === '-') pan.zoom(1 / STEP);
  else if (key === '0') pan.fit();
  else return false;
  return true;
}

export function ZoomBar({ pan }: { pan: Pan }) {
  return (
    <div class="jp-wattle-zoom" role="group" aria-label={trans.__('Zoom')}>
      <button type="button" title={trans.__('Zoom out (−)')} aria-label={trans.__('Zoom out')} onClick={() => pan.zoom(1 / STEP)}>
        −
      </button>
      <button type="button" title={trans.__('Show the whole graph (0)')} aria-label={trans.__('Fit')} disabled={!pan.moved} onClick={pan.fit}>
        {trans.__('Fit')}
      </button>
      <button type="button" title={trans.__('Zoom in (+, or Ctrl + wheel)')} aria-label={trans.__('Zoom in')} onClick={() => pan.zoom(STEP)}>
        +
      </button>
    </div>
  );
}
