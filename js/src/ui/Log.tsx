import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { plainText, type Span, type Style } from '../core/ansi';
import type { Feed } from '../core/feed';
import { bytes, count } from '../core/format';
import { LogLines } from '../core/log';
import { rowsOf, splitSpans } from '../core/wrap';
import { Frame, useWidth } from './hooks';
import { VirtualRows } from './VirtualRows';

const ROW = 18; // px
const CHARACTER = 7.23; // px: 12 px monospace; what it is exactly only decides where lines wrap
const TAIL = 16_000_000; // bytes of a finished log that are shown; all of it can be downloaded

interface Shown {
  lines: LogLines;
  version: number;
  ended: boolean;
  problem: string | null;
}

function useLog(feed: Feed, attempt: string, from: number): Shown {
  const [shown, setShown] = useState<Shown>(() => fresh());
  useEffect(() => {
    const ended = new AbortController();
    const newest = fresh();
    const frame = new Frame(() => setShown({ ...newest, version: (newest.version += 1) }));
    feed.log(
      attempt,
      from,
      {
        bytes: (_offset, piece) => {
          newest.lines.add(piece);
          frame.ask();
        },
        end: () => {
          newest.lines.finish();
          newest.ended = true;
          frame.ask();
        },
        problem: message => {
          newest.problem = message;
          frame.ask();
        }
      },
      ended.signal
    );
    setShown({ ...newest });
    return () => {
      ended.abort();
      frame.stop();
    };
  }, [feed, attempt, from]);
  return shown;
}

const fresh = (): Shown => ({ lines: new LogLines(), version: 0, ended: false, problem: null });

interface Props {
  feed: Feed;
  run: string;
  task: string;
  attempt: string;
  /** Size in bytes once the log is complete. */
  size: number | null;
  follow: boolean;
}

/** The log of one attempt, live. */
export function Log({ feed, run, task, attempt, size, follow: startFollowing }: Props) {
  // fixed when the log is opened: a log that ends while it is watched must not start anew
  const from = useMemo(() => Math.max(0, (size ?? 0) - TAIL), [attempt]);
  const { lines, version, ended, problem } = useLog(feed, attempt, from);
  const [follow, setFollow] = useState(startFollowing);
  const [wrap, setWrap] = useState(false);
  const [box, width] = useWidth<HTMLDivElement>();
  const fit = Math.max(20, Math.floor((width - 24) / CHARACTER));
  const starts = useWrapped(lines, version, wrap ? fit : null);
  const url = feed.logUrl(run, task, attempt);
  const row = (i: number) => <Row key={i} spans={starts === null ? lines.spans(i) : wrappedRow(lines, starts, i, fit)} />;
  return (
    <div class="jp-wattle-log" ref={box}>
      <div class="jp-wattle-log-bar">
        <span class="jp-wattle-quiet" role="status">{summary(lines, ended, from)}</span>
        <Toggle on={follow} set={setFollow} text="Follow" hint="Stay at the end of the log" />
        <Toggle on={wrap} set={setWrap} text="Wrap" hint="Break long lines" />
        <CopyButton lines={lines} />
        {url !== null && (
          <a class="jp-wattle-button" href={url} download={`${task}.log`} title="Download the whole log">
            Download
          </a>
        )}
      </div>
      {problem !== null && <p class="jp-wattle-note jp-mod-problem" role="alert">{problem}</p>}
      {lines.length === 0 ? (
        <p class="jp-wattle-empty">{ended ? 'The task wrote nothing.' : 'Nothing written yet.'}</p>
      ) : (
        <VirtualRows
          class="jp-wattle-log-lines"
          label={`Log of ${task}`}
          role="log"
          count={starts === null ? lines.length : (starts.at(-1) ?? 0)}
          rowHeight={ROW}
          row={row}
          follow={follow}
          onScrolled={setFollow}
          version={version}
        />
      )}
    </div>
  );
}

function summary(lines: LogLines, ended: boolean, from: number): string {
  const size = `${count(lines.length, 'line')}, ${bytes(lines.next)}`;
  const cut = from > 0 || lines.dropped > 0 ? ' · the end; download for all' : '';
  return (ended ? size : `${size} so far`) + cut;
}

/** First row of each line and, last, the number of rows; null if lines are not wrapped. Grows with the log. */
function useWrapped(lines: LogLines, version: number, width: number | null): number[] | null {
  const known = useRef<{ key: string; lines: LogLines; starts: number[] } | null>(null);
  return useMemo(() => {
    if (width === null) return null;
    const key = `${width}/${lines.dropped}`;
    if (known.current?.key !== key || known.current.lines !== lines) known.current = { key, lines, starts: [0] };
    const { starts } = known.current;
    // the last line may have grown since
    if (starts.length > 1) starts.length -= 1;
    for (let i = starts.length - 1; i < lines.length; i++) starts.push((starts[i] ?? 0) + rowsOf(lines.raw(i), width));
    return [...starts];
  }, [lines, version, width]);
}

function wrappedRow(lines: LogLines, starts: number[], row: number, width: number): Span[] {
  let [low, high] = [0, starts.length - 1];
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= row) low = middle;
    else high = middle;
  }
  return splitSpans(lines.spans(low), width)[row - (starts[low] ?? 0)] ?? [];
}

function Row({ spans }: { spans: Span[] }) {
  return (
    <div class="jp-wattle-log-line">
      {spans.map((span, i) => (isPlain(span.style) ? span.text : <span key={i} class={classes(span.style)} style={colours(span.style)}>{span.text}</span>))}
      {'\n'}
    </div>
  );
}

const isPlain = (style: Style): boolean => Object.keys(style).length === 0;

function classes({ bold, dim, italic, underline, strike }: Style): string {
  const names = { bold, dim, italic, underline, strike };
  return Object.entries(names).filter(([, on]) => on).map(([name]) => `jp-mod-${name}`).join(' ');
}

function colours({ fg, bg, inverse }: Style): { color?: string; background?: string } {
  const [front, back] = inverse ? [bg ?? 'paper', fg ?? 'ink'] : [fg, bg];
  return { ...(front === undefined ? {} : { color: css(front) }), ...(back === undefined ? {} : { background: css(back) }) };
}

function css(colour: number | string): string {
  if (colour === 'paper') return 'var(--jp-wattle-paper)';
  if (colour === 'ink') return 'var(--jp-wattle-ink)';
  return typeof colour === 'number' ? `var(--jp-wattle-ansi-${colour})` : colour;
}

function Toggle(props: { on: boolean; set: (on: boolean) => void; text: string; hint: string }) {
  return (
    <button type="button" class="jp-wattle-button jp-mod-toggle" aria-pressed={props.on} title={props.hint} onClick={() => props.set(!props.on)}>
      {props.text}
    </button>
  );
}

function CopyButton({ lines }: { lines: LogLines }) {
  const [said, setSaid] = useState('Copy');
  const copy = async (): Promise<void> => {
    const text = Array.from({ length: lines.length }, (_, i) => plainText(lines.raw(i))).join('\n');
    try {
      await navigator.clipboard.writeText(text);
      setSaid('Copied');
    } catch {
      setSaid('Not allowed'); // pages on plain http may not write to the clipboard
    }
    setTimeout(() => setSaid('Copy'), 1500);
  };
  return (
    <button type="button" class="jp-wattle-button" title="Copy what is shown, without colours" onClick={() => void copy()}>
      {said}
    </button>
  );
}
