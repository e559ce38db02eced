import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Frame } from './hooks';

// browsers give up on elements of some 17 million pixels: beyond this, scrolling is scaled
const TALLEST = 8_000_000;
const SPARE = 4; // rows above and below what is seen

interface Props {
  count: number;
  rowHeight: number;
  row: (index: number) => ComponentChildren;
  class: string;
  label: string;
  role?: 'log' | 'listbox';
  /** Stay at the end while rows are added. */
  follow?: boolean;
  /** The reader scrolled: true if to the end. */
  onScrolled?: (atEnd: boolean) => void;
  /** Scroll so that this row is seen, whenever it changes; if `shownKey` is given, whenever that changes. */
  shown?: number;
  shownKey?: unknown;
  /** Rows that were put before the others since `key` was another one: what is in sight stays there. */
  before?: { key: unknown; rows: number };
  /** Anything that makes rows look different without their number changing. */
  version?: unknown;
  onKeyDown?: (event: KeyboardEvent) => void;
  /** Id of the row that the keys act on. */
  active?: string | undefined;
}

/** A long list of equally high rows, of which only those in sight are in the page. */
export function VirtualRows(props: Props) {
  const { count, rowHeight, follow = false, shown } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 0 });
  const expected = useRef(-1); // where we scrolled ourselves: such scroll events are not the reader's
  const total = count * rowHeight;
  const tall = Math.min(total, TALLEST);
  const scale = tall > view.height ? (total - view.height) / (tall - view.height) : 1;

  useEffect(() => watchBox(box.current, expected, setView, atEnd => latest.current.onScrolled?.(atEnd)), []);
  const latest = useRef(props);
  latest.current = props;

  const mounted = useRef(false);
  useLayoutEffect(() => {
    const element = box.current;
    const rows = props.before?.rows ?? 0;
    // to touch the place of an unmoved list would have the page laid out at once
    if (mounted.current && element !== null && !follow && rows !== 0) element.scrollTop += (rows * rowHeight) / scale;
    mounted.current = true;
  }, [props.before?.key]);

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || !follow || holdsSelection(element)) return;
    const end = Math.max(0, element.scrollHeight - element.clientHeight);
    if (Math.abs(element.scrollTop - end) < 1) return;
    element.scrollTop = end;
    expected.current = element.scrollTop;
  }, [follow, tall, view.height, props.version]);

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || shown === undefined || shown < 0) return;
    const top = (shown * rowHeight) / scale;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + element.clientHeight) element.scrollTop = top + rowHeight - element.clientHeight;
  }, [props.shownKey ?? shown]);

  const pixels = view.top * scale;
  const first = Math.max(0, Math.min(count, Math.floor(pixels / rowHeight)) - SPARE);
  const end = Math.min(count, Math.ceil((pixels + (view.height || 400)) / rowHeight) + SPARE);
  const rows: ComponentChildren[] = [];
  for (let i = first; i < end; i++) rows.push(props.row(i));
  const offset = view.top - pixels + first * rowHeight;
  return (
    <div ref={box} class={props.class} role={props.role} aria-label={props.label} tabindex={0} onKeyDown={props.onKeyDown} aria-activedescendant={props.active} aria-live={props.role === 'log' ? 'off' : undefined}>
      <div class="jp-wattle-rows" style={{ height: `${tall}px` }} role="presentation">
        <div style={{ transform: `translateY(${offset}px)` }} role="presentation">
          {rows}
        </div>
      </div>
    </div>
  );
}

function watchBox(
  element: HTMLDivElement | null,
  expected: { current: number },
  setView: (view: { top: number; height: number }) => void,
  onScrolled: (atEnd: boolean) => void
): (() => void) | undefined {
  if (element === null) return undefined;
  const frame = new Frame(() => setView({ top: element.scrollTop, height: element.clientHeight }));
  const scrolled = (): void => {
    frame.ask();
    const top = element.scrollTop;
    if (Math.abs(top - expected.current) < 2) return;
    expected.current = -1;
    onScrolled(top + element.clientHeight >= element.scrollHeight - 4);
  };
  const ended = new AbortController();
  element.addEventListener('scroll', scrolled, { passive: true, signal: ended.signal });
  const observer = typeof ResizeObserver === 'undefined' ? null : new ResizeObserver(() => frame.ask());
  observer?.observe(element);
  frame.ask();
  return () => {
    ended.abort();
    observer?.disconnect();
    frame.stop();
  };
}

function holdsSelection(element: Element): boolean {
  const selection = document.getSelection?.();
  return !!selection && !selection.isCollapsed && selection.anchorNode !== null && element.contains(selection.anchorNode);
}
