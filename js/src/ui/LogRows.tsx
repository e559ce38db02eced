import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useReducer, useRef, type MutableRef } from 'preact/hooks';
import type { Span } from '../core/ansi';
import type { LogLayout } from '../core/loglayout';
import type { LogReader } from '../core/logreader';
import type { LogLine } from '../core/logwindow';
import type { MarkedSpan } from '../core/marks';
import { splitSpans } from '../core/wrap';
import { LogScroller } from './logscroller';
import { sameRange, selectAgain, selectedText, textOf, type TextPlace } from './logselection';
import { Spans } from './LogRow';

interface Props {
  reader: LogReader;
  label: string;
  /** Columns at which lines are broken; null if they are not. */
  wrap: number | null;
  follow: boolean;
  onFollow: (on: boolean) => void;
  scroller: MutableRef<LogScroller | null>;
  /** What stands before a line, how it looks, and what in it is marked. */
  gutter: (line: LogLine, index: number, part: number) => ComponentChildren;
  look: (line: LogLine) => string;
  mark: (line: LogLine, spans: Span[]) => MarkedSpan[];
  note: (line: LogLine) => ComponentChildren;
  onSight: (from: number, to: number) => void;
  onUncopied: () => void;
  version: unknown;
}

/** The lines of a log that are in sight, of a log of any length. What is selected stays so, whatever comes. */
export function LogRows(props: Props) {
  const { reader, wrap, follow } = props;
  const [box, inner, rows] = [useRef<HTMLDivElement>(null), useRef<HTMLDivElement>(null), useRef<HTMLDivElement>(null)];
  const [, draw] = useReducer<number, void>(count => count + 1, 0);
  const latest = useRef(props);
  latest.current = props;
  const scroller = useScroller(props.reader, props.scroller, box, draw, latest);
  useSelection(box, draw);

  const selected = box.current === null ? null : selectedText(box.current);
  reader.following = follow && selected === null;
  const sight = scroller.look(wrap, reader.following);
  useLayoutEffect(() => {
    if (box.current === null || inner.current === null || rows.current === null) return;
    scroller.place(box.current, inner.current, rows.current, sight.first);
    if (selected !== null && !sameRange(selected, selectedText(box.current))) selectAgain(box.current, selected);
    const { from, to } = scroller.bytes();
    props.onSight(from, to);
  });

  const copy = (event: ClipboardEvent): void => {
    const range = box.current === null ? null : selectedText(box.current);
    if (range === null) return;
    event.preventDefault();
    const text = textOf(reader.window, range, (index, part) => charsBefore(reader, wrap, index, part));
    if (text === null) props.onUncopied();
    else event.clipboardData?.setData('text/plain', text);
  };
  const drawn: ComponentChildren[] = [];
  const pins = selected === null ? [] : [rowOf(sight.layout, reader, selected.from), rowOf(sight.layout, reader, selected.to)];
  const row = (at: number, pinned: boolean): void => void drawn.push(<Row key={keyOf(sight.layout, reader, at)} {...props} layout={sight.layout} at={at} pinned={pinned} />);
  // the ends of what is selected stay in the page, else the browser would move them
  for (const at of new Set(pins)) if (at >= 0 && at < sight.first) row(at, true);
  for (let at = sight.first; at < sight.end; at++) row(at, false);
  for (const at of new Set(pins)) if (at >= sight.end) row(at, true);
  return (
    <div ref={box} class="jp-wattle-log-lines" role="log" aria-label={props.label} aria-live="off" aria-busy={reader.loading} tabindex={0} onCopy={copy}>
      <div ref={inner} class="jp-wattle-rows" role="presentation">
        <div ref={rows} role="presentation">{drawn}</div>
      </div>
    </div>
  );
}

function useScroller(reader: LogReader, shared: MutableRef<LogScroller | null>, box: MutableRef<HTMLDivElement | null>, draw: () => void, latest: MutableRef<Props>): LogScroller {
  const known = useRef<{ reader: LogReader; scroller: LogScroller } | null>(null);
  if (known.current?.reader !== reader) known.current = { reader, scroller: new LogScroller(reader, draw, on => latest.current.onFollow(on)) };
  const { scroller } = known.current;
  shared.current = scroller;
  useEffect(() => (box.current === null ? undefined : scroller.attach(box.current)), [scroller]);
  return scroller;
}

/** Draw anew when something else is selected in the box. */
function useSelection(box: MutableRef<HTMLDivElement | null>, draw: () => void): void {
  useEffect(() => {
    const ended = new AbortController();
    let held = false;
    const look = (): void => {
      const holds = box.current !== null && selectedText(box.current) !== null;
      if (holds || held) draw();
      held = holds;
    };
    document.addEventListener('selectionchange', look, { signal: ended.signal });
    return () => ended.abort();
  }, []);
}

interface RowProps extends Props {
  layout: LogLayout;
  /** Row of the window. */
  at: number;
  pinned: boolean;
}

function Row({ reader, layout, at, pinned, ...props }: RowProps) {
  const index = layout.indexAt(at);
  const line = reader.window.lines[index];
  if (line === undefined) return null;
  const part = at - layout.topOf(index);
  const last = at + 1 === layout.topOf(index + 1);
  const whole = props.mark(line, reader.window.spans(index));
  const spans = layout.wrap === null ? whole : (splitSpans(whole, layout.wrap)[part] ?? []);
  return (
    <div class={`jp-wattle-log-line${props.look(line)}${pinned ? ' jp-mod-pinned' : ''}`} data-line={line.offset} data-part={part}>
      {props.gutter(line, index, part)}
      <Spans spans={spans} />
      {last && line.cut && props.note(line)}
      {last && '\n'}
    </div>
  );
}

function keyOf(layout: LogLayout, { window }: LogReader, at: number): string {
  const index = layout.indexAt(at);
  return `${window.lines[index]?.offset ?? 0}/${at - layout.topOf(index)}`;
}

function rowOf(layout: LogLayout, { window }: LogReader, { line, part }: TextPlace): number {
  const index = window.indexOf(line);
  return index < 0 ? -1 : layout.topOf(index) + part;
}

/** Characters of a broken line that stand above one of its rows. */
function charsBefore({ window }: LogReader, wrap: number | null, index: number, part: number): number {
  if (wrap === null || part === 0) return 0;
  const above = splitSpans(window.spans(index), wrap).slice(0, part);
  return above.flat().reduce((sum, span) => sum + span.text.length, 0);
}
