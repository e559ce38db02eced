import { useEffect, useRef, useState, type MutableRef } from 'preact/hooks';
import type { Connection, Feed } from '../core/feed';
import type { RunState } from '../core/reduce';
import { followRun } from '../core/runfeed';

/** The clock of all views: two places that show how long the same task has run must not differ. */
const hands = new Set<(now: number) => void>();
let ticking: ReturnType<typeof setInterval> | undefined;

function tick(): void {
  if (document.hidden) return; // nobody sees it
  const now = Date.now();
  for (const set of [...hands]) set(now);
}

/** The time (ms), ticking once a second while `running`. */
export function useNow(running: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!running) return undefined;
    hands.add(setNow);
    if (hands.size === 1) ticking = setInterval(tick, 1000);
    tick();
    return () => {
      hands.delete(setNow);
      if (hands.size === 0) clearInterval(ticking);
    };
  }, [running]);
  return now;
}

/** Is a view in sight, as far as one knows: not behind another tab of the page, nor scrolled far away? */
export class Sight {
  seen = true;
  /** Called when it comes into sight. */
  back: () => void = () => undefined;
}

export function useSight(box: MutableRef<Element | null>): Sight {
  const sight = useRef<Sight>();
  const known = (sight.current ??= new Sight());
  useEffect(() => {
    if (box.current === null || typeof IntersectionObserver === 'undefined') return undefined;
    const observer = new IntersectionObserver(
      entries => {
        known.seen = entries.at(-1)?.isIntersecting ?? true;
        if (known.seen) known.back();
      },
      { rootMargin: '25%' }
    );
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return known;
}

const SELDOM = 500; // ms between two drawings that nobody sees; what is saved with a notebook comes from there

/** Runs `draw` at most once per frame, however often it is asked to; seldom where nobody looks. A hidden tab has no frames. */
export class Frame {
  private pending: (() => void) | null = null;

  constructor(
    private readonly draw: () => void,
    private readonly sight = new Sight()
  ) {}

  ask(): void {
    if (this.pending !== null) return;
    const run = (): void => {
      this.pending = null;
      this.draw();
    };
    if (document.hidden || !this.sight.seen) {
      const timer = setTimeout(run, SELDOM);
      this.pending = () => clearTimeout(timer);
    } else {
      const frame = requestAnimationFrame(run);
      this.pending = () => cancelAnimationFrame(frame);
    }
  }

  /** Somebody looks: what waits is drawn with the next frame. */
  hurry(): void {
    if (this.pending === null) return;
    this.stop();
    this.ask();
  }

  stop(): void {
    this.pending?.();
    this.pending = null;
  }
}

export interface Live {
  state: RunState | null;
  problem: { message: string; gone: boolean; said?: boolean } | null;
  connection: Connection | null;
}

const NOTHING: Live = { state: null, problem: null, connection: null };

/** A run as the feed tells of it, handed on once per frame. */
export function useRun(feed: Feed | null, run: string | null, sight: Sight): Live {
  const [live, setLive] = useState<Live>(NOTHING);
  useEffect(() => {
    setLive(NOTHING);
    if (feed === null || run === null) return undefined;
    const ended = new AbortController();
    let newest = NOTHING;
    const frame = new Frame(() => setLive(newest), sight);
    sight.back = () => frame.hurry();
    const tell = (more: Partial<Live>): void => {
      newest = { ...newest, ...more };
      frame.ask();
    };
    feed.watch(connection => tell({ connection }), ended.signal);
    followRun(
      feed,
      run,
      {
        state: state => tell({ state, problem: null }),
        problem: (message, gone, said) => {
          tell({ problem: { message, gone, said } });
          if (gone) ended.abort(); // nothing will come: do not keep knocking
        }
      },
      ended.signal
    );
    return () => {
      ended.abort();
      frame.stop();
    };
  }, [feed, run]);
  return live;
}

export interface Size {
  width: number;
  height: number;
}

/** Inner size of an element in whole CSS pixels, zeros until it is known. */
export function useSize<T extends Element>(): [MutableRef<T | null>, Size] {
  const ref = useRef<T | null>(null);
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  useEffect(() => {
    const element = ref.current;
    if (element === null || typeof ResizeObserver === 'undefined') return undefined;
    const observer = new ResizeObserver(([entry]) => {
      const [width, height] = [Math.floor(entry?.contentRect.width ?? 0), Math.floor(entry?.contentRect.height ?? 0)];
      setSize(old => (old.width === width && old.height === height ? old : { width, height }));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, size];
}

/** Width of an element in CSS pixels, 0 until it is known. */
export function useWidth<T extends Element>(): [MutableRef<T | null>, number] {
  const ref = useRef<T | null>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = ref.current;
    if (element === null || typeof ResizeObserver === 'undefined') return undefined;
    const observer = new ResizeObserver(entries => setWidth(Math.floor(entries[0]?.contentRect.width ?? 0)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

const SUPPRESS = 'data-lm-suppress-shortcuts'; // JupyterLab's own mark for it

/** Keys without Ctrl, Alt or Meta that are pressed inside `box` are its own: a notebook around it must not act on them. */
export function useOwnKeys(box: { current: Element | null }): void {
  useEffect(() => {
    const ended = new AbortController();
    const mark = (event: KeyboardEvent): void => {
      const inside = box.current?.contains(event.target as Node) === true;
      if (inside) box.current?.toggleAttribute(SUPPRESS, !event.ctrlKey && !event.altKey && !event.metaKey);
    };
    // before JupyterLab, which listens on the document
    window.addEventListener('keydown', mark, { capture: true, signal: ended.signal });
    return () => ended.abort();
  }, []);
}

/** Escape inside the element goes back: closes what is open and gives the keys to where they were. Returns element and closing. */
export function useEscape(open: boolean, close: () => void): [MutableRef<HTMLDivElement | null>, () => void] {
  const box = useRef<HTMLDivElement | null>(null);
  const latest = useRef({ open, back: close });
  latest.current = {
    open,
    back: () => {
      const byKey = box.current?.contains(document.activeElement) === true;
      close();
      // what had the keys is gone
      if (byKey) requestAnimationFrame(() => box.current?.querySelector<HTMLElement>('[data-spot], .jp-wattle-list-rows')?.focus());
    }
  };
  useEffect(() => {
    const ended = new AbortController();
    const key = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape' || event.defaultPrevented || !latest.current.open) return;
      event.preventDefault();
      event.stopPropagation();
      latest.current.back();
    };
    box.current?.addEventListener('keydown', key, { signal: ended.signal });
    return () => ended.abort();
  }, []);
  return [box, () => latest.current.back()];
}
