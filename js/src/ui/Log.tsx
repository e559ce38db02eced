import { useMemo, useRef, useState } from 'preact/hooks';
import { plainText, type Span } from '../core/ansi';
import type { Feed } from '../core/feed';
import { bytes } from '../core/format';
import type { LogLines } from '../core/log';
import { rowsOf, splitSpans } from '../core/wrap';
import { trans } from '../core/words';
import { useWidth } from './hooks';
import { LogRow } from './LogRow';
import { useLog, type OpenLog } from './openlog';
import { VirtualRows } from './VirtualRows';

const ROW = 18; // px
const CHARACTER = 7.23; // px: 12 px monospace; what it is exactly only decides where lines wrap

interface Props {
  feed: Feed;
  run: string;
  task: string;
  attempt: string;
  follow: boolean;
}

/** The log of one attempt, live. */
export function Log({ feed, run, task, attempt, follow: startFollowing }: Props) {
  const of = useMemo(() => ({ run, task, attempt }), [run, task, attempt]);
  const log = useLog(feed, of);
  const { lines, version, ended, problem } = log;
  const [follow, setFollow] = useState(startFollowing);
  const [wrap, setWrap] = useState(false);
  const [box, width] = useWidth<HTMLDivElement>();
  const fit = Math.max(20, Math.floor((width - 24) / CHARACTER));
  const starts = useWrapped(lines, version, wrap ? fit : null);
  const url = feed.logUrl(of);
  const row = (i: number) => <LogRow key={i} line={i} spans={starts === null ? lines.spans(i) : wrappedRow(lines, starts, i, fit)} />;
  return (
    <div class="jp-wattle-log" ref={box}>
      <div class="jp-wattle-log-bar">
        <span class="jp-wattle-quiet" role="status">{summary(log)}</span>
        <Toggle on={follow} set={setFollow} text={trans.__('Follow')} hint={trans.__('Stay at the end of the log')} />
        <Toggle on={wrap} set={setWrap} text={trans.__('Wrap')} hint={trans.__('Break long lines')} />
        <CopyButton lines={lines} />
        {url !== null && (
          <a class="jp-wattle-button" href={url} download={`${task}.log`} title={trans.__('Download the whole log')}>
            {trans.__('Download')}
          </a>
        )}
      </div>
      {problem !== null && <p class="jp-wattle-note jp-mod-problem" role="alert">{problem}</p>}
      <Earlier log={log} />
      {lines.length === 0 ? (
        <p class="jp-wattle-empty">{log.version === 0 ? trans.__('Reading…') : ended ? trans.__('The task wrote nothing.') : trans.__('Nothing written yet.')}</p>
      ) : (
        <VirtualRows
          class="jp-wattle-log-lines"
          label={trans.__('Log of %1', task)}
          role="log"
          count={starts === null ? lines.length : (starts.at(-1) ?? 0)}
          rowHeight={ROW}
          row={row}
          follow={follow}
          onScrolled={setFollow}
          before={{ key: lines.start, rows: starts === null ? log.earlierLines : (starts[log.earlierLines] ?? 0) }}
          version={version}
        />
      )}
    </div>
  );
}

function summary({ lines, ended }: OpenLog): string {
  const part = lines.start > 0 || lines.dropped > 0;
  const size = ended ? bytes(lines.next) : trans.__('%1 so far', bytes(lines.next));
  const shown = lines.length.toLocaleString('en');
  if (part) return trans._n('The last %2 line of %3', 'The last %2 lines of %3', lines.length, shown, size);
  return trans._n('%2 line, %3', '%2 lines, %3', lines.length, shown, size);
}

function Earlier({ log: { lines, loading, earlier } }: { log: OpenLog }) {
  if (lines.dropped > 0) return <p class="jp-wattle-earlier">{trans.__('What is above is too long to be shown: download it.')}</p>;
  if (lines.start === 0) return null;
  return (
    <button type="button" class="jp-wattle-earlier" disabled={loading} title={trans.__('Show more of the beginning')} onClick={earlier}>
      {loading ? trans.__('Reading…') : trans.__('↑ %1 of earlier output', bytes(lines.start))}
    </button>
  );
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

function Toggle(props: { on: boolean; set: (on: boolean) => void; text: string; hint: string }) {
  return (
    <button type="button" class="jp-wattle-button jp-mod-toggle" aria-pressed={props.on} title={props.hint} onClick={() => props.set(!props.on)}>
      {props.text}
    </button>
  );
}

function CopyButton({ lines }: { lines: LogLines }) {
  const [said, setSaid] = useState(() => trans.__('Copy'));
  const copy = async (): Promise<void> => {
    const text = Array.from({ length: lines.length }, (_, i) => plainText(lines.raw(i))).join('\n');
    try {
      await navigator.clipboard.writeText(text);
      setSaid(trans.__('Copied'));
    } catch {
      setSaid(trans.__('Not allowed')); // pages on plain http may not write to the clipboard
    }
    setTimeout(() => setSaid(trans.__('Copy')), 1500);
  };
  return (
    <button type="button" class="jp-wattle-button" title={trans.__('Copy what is shown, without colours')} onClick={() => void copy()}>
      {said}
    </button>
  );
}
