import { useEffect, useLayoutEffect, useMemo, useRef, useState, type MutableRef } from 'preact/hooks';
import { plainText, type Span } from '../core/ansi';
import type { Feed } from '../core/feed';
import { bytes, count } from '../core/format';
import type { ClockMode } from '../core/logclock';
import type { LogQuery, Way } from '../core/loghits';
import type { LogStart } from '../core/loglink';
import type { LogLine } from '../core/logwindow';
import { marked, occurrences, type MarkedSpan } from '../core/marks';
import { findPage, lineUrl } from '../core/page';
import { trans } from '../core/words';
import { useOwnKeys, useWidth } from './hooks';
import { LogBar, type LogActions } from './LogBar';
import { LogFind } from './LogFind';
import { LogGoTo } from './LogGoTo';
import { LogKeys } from './LogKeys';
import { LogRows } from './LogRows';
import { copyText, linesBetween } from './logcopy';
import { logKey } from './keyboard';
import type { LogScroller } from './logscroller';
import { useLog, type OpenLog } from './openlog';

const CHARACTER = 7.23; // px: 12 px monospace; what it is exactly only decides where lines wrap
const FEW = 420; // px: below, there is no room for line numbers
const SAID = 2_500; // ms
const CLOCKS: ClockMode[] = ['off', 'clock', 'since'];

interface Props {
  feed: Feed;
  run: string;
  task: string;
  attempt: string;
  follow: boolean;
  /** Where it is opened instead of at its end. */
  start?: LogStart | null | undefined;
}

/** Lines that the reader picked by their numbers: from one byte to another, the lines that begin there included. */
interface Picked {
  from: number;
  to: number;
}

/** The log of one attempt, live: any part of it, however long it is. */
export function Log({ feed, run, task, attempt, follow: startFollowing, start = null }: Props) {
  const of = useMemo(() => ({ run, task, attempt }), [run, task, attempt]);
  const scroller = useRef<LogScroller | null>(null);
  const [follow, setFollow] = useState(startFollowing && start === null);
  const [wrap, setWrap] = useState(false);
  const [clockMode, setClock] = useState<ClockMode>('off');
  const [numbers, setNumbers] = useState(true);
  const [open, setOpen] = useState<'find' | 'line' | null>(null);
  const [keys, setKeys] = useState(false);
  const [query, setQuery] = useState<LogQuery>({ text: '', regex: false, matchCase: false });
  const [picked, pick] = useState<Picked | null>(start?.at === 'byte' ? { from: start.byte, to: start.byte } : null);
  const [said, say] = useSaid();
  const [box, width] = useWidth<HTMLDivElement>();
  useOwnKeys(box);
  const [landing, land] = useState<number | null>(null);
  const [log, version] = useLog(feed, of, start, byte => {
    if (byte !== null) setFollow(false);
    land(byte ?? (follow ? null : (reader.window.lines.at(-1)?.offset ?? null)));
  });
  const { reader, hits, clock } = log;
  useLayoutEffect(() => {
    if (landing === null || scroller.current === null || reader.window.indexOf(landing) < 0) return;
    scroller.current.begin(landing); // only now is there something that can be scrolled
    scroller.current.show(landing, true);
    land(null);
  });
  const url = feed.logUrl(of);
  const page = useMemo(() => (url === null ? null : findPage()), [url]);

  const show = async (byte: number | null): Promise<void> => {
    if (byte === null) return;
    setFollow(false);
    const there = reader.window.indexOf(byte) >= 0;
    const line = await reader.go({ byte });
    if (line === null) return;
    if (!there) scroller.current?.begin(line);
    scroller.current?.show(line, !there);
  };
  const from = (way: Way): number => {
    const seen = scroller.current?.bytes() ?? { from: 0, to: 0 };
    const inSight = hits.current !== null && hits.current >= seen.from && hits.current < seen.to;
    if (inSight && hits.current !== null) return way === 'next' ? hits.current + 1 : hits.current;
    // at the end of a log that is followed, what is above is meant
    return way === 'next' && !follow ? seen.from : way === 'next' ? seen.from : seen.to;
  };
  const step = async (way: Way): Promise<void> => show(await hits.step(way, from(way)));
  const error = async (way: Way): Promise<void> => {
    const found = await hits.error(way, from(way));
    if (found !== null) await show(found);
    else if (hits.problem === null) say(trans.__('No line looks like an error'));
  };
  const end = async (): Promise<void> => {
    await reader.go({ end: true });
    scroller.current?.begin(reader.window.next);
    setFollow(true);
  };
  const line = async (number: number): Promise<void> => {
    setOpen(null);
    focusRows(box);
    const byte = await reader.go({ line: number - 1 });
    if (byte === null) return;
    pick({ from: byte, to: byte });
    await show(byte);
  };
  const close = (): void => {
    hits.clear();
    setOpen(null);
    focusRows(box);
  };
  const address = (byte: number): string | null => (page === null ? null : new URL(lineUrl(page, { ...of, byte }), document.baseURI).href);
  const act: LogActions & Parameters<typeof logKey>[1] = {
    find: () => (open === 'find' ? close() : setOpen('find')),
    hit: way => void (hits.query === null ? setOpen('find') : step(way)),
    error: back => void error(back ? 'previous' : 'next'),
    top: () => void show(0),
    end: () => void end(),
    line: () => setOpen('line'),
    follow: () => (follow ? setFollow(false) : void end()),
    wrap: () => setWrap(!wrap),
    times: () => setClock(CLOCKS[(CLOCKS.indexOf(clockMode) + 1) % CLOCKS.length] ?? 'off'),
    numbers: () => setNumbers(!numbers),
    copy: () => void linesBetween(feed, of, reader, picked).then(copyText).then(say),
    link: () => {
      const byte = picked?.from ?? scroller.current?.bytes().from ?? 0;
      const text = address(byte);
      if (text !== null) void copyText({ text, said: trans.__('Link copied') }).then(say);
    },
    download: () => box.current?.querySelector<HTMLAnchorElement>('a[download]')?.click(),
    keys: () => setKeys(!keys),
    back: () => {
      if (open !== null) close();
      else if (picked !== null) pick(null);
      else return false;
      return true;
    },
    page: pages => scroller.current?.page(pages)
  };
  const chosen = (byte: number): boolean => picked !== null && byte >= picked.from && byte <= picked.to;
  const click = (event: MouseEvent, byte: number): void => {
    if (event.ctrlKey || event.metaKey || event.button !== 0) return; // the browser's own: open the link elsewhere
    event.preventDefault();
    if (event.shiftKey && picked !== null) pick({ from: Math.min(picked.from, byte), to: Math.max(picked.to, byte) });
    else pick(picked?.from === byte && picked.to === byte ? null : { from: byte, to: byte });
  };
  const gutter = Math.max(3, String(reader.window.total ?? reader.window.length).length);
  const showNumbers = numbers && width >= FEW;
  const gutterWidth = (showNumbers ? gutter + 1 : 0) + (clockMode === 'off' ? 0 : 11);
  const wrapAt = wrap ? Math.max(20, Math.floor((width - 30) / CHARACTER) - (gutterWidth > 0 ? gutterWidth + 1 : 0)) : null;
  const pickedLines = picked === null ? 0 : reader.window.lines.filter(one => chosen(one.offset)).length;
  return (
    <div class="jp-wattle-log" ref={box} onKeyDown={event => logKey(event, act)} style={{ '--jp-wattle-gutter': `${gutterWidth}ch` }}>
      <LogBar reader={reader} follow={follow} wrap={wrap} clock={clockMode} finding={open === 'find'} picked={pickedLines} keysShown={keys} said={said} url={url} act={act} />
      {open === 'find' && <LogFind hits={hits} query={query} onQuery={setQuery} onFind={() => void hits.search(query, scroller.current?.bytes().from ?? 0).then(show)} onStep={way => void step(way)} onClose={close} />}
      {open === 'line' && <LogGoTo total={reader.window.total} onGo={number => void line(number)} onClose={() => (setOpen(null), focusRows(box))} />}
      {keys && <LogKeys />}
      {reader.problem !== null && <p class="jp-wattle-note jp-mod-problem" role="alert">{reader.problem}</p>}
      {hits.problem !== null && open !== 'find' && <p class="jp-wattle-note jp-mod-problem" role="alert">{hits.problem}</p>}
      {reader.window.length === 0 ? (
        <p class="jp-wattle-empty">{!reader.opened ? trans.__('Reading…') : reader.ended ? trans.__('The task wrote nothing.') : trans.__('Nothing written yet.')}</p>
      ) : (
        <div class="jp-wattle-log-stage">
          <LogRows
            reader={reader}
            label={trans.__('Log of %1', task)}
            wrap={wrapAt}
            follow={follow}
            onFollow={setFollow}
            scroller={scroller}
            version={version}
            gutter={(one, index, part) =>
              gutterWidth > 0 && (
                <Gutter
                  number={showNumbers && part === 0 ? reader.window.numberOf(index) : null}
                  time={clockMode === 'off' || part > 0 ? '' : clock.text(one.offset, clockMode)}
                  href={part === 0 ? address(one.offset) : null}
                  on={event => click(event, one.offset)}
                />
              )
            }
            look={one => `${chosen(one.offset) ? ' jp-mod-picked' : ''}${hits.current === one.offset ? ' jp-mod-found' : ''}`}
            mark={(one, spans) => marks(log, one, spans)}
            note={one => <Cut line={one} url={url} />}
            onSight={(first, last) => {
              if (clockMode !== 'off') clock.see(first, last, reader.window.size);
              if (hits.query !== null) hits.grow(reader.window.size, reader.ended);
              sight(log, first, last);
            }}
            onUncopied={() => say(trans.__('Too much is selected: download the log instead'))}
          />
          {!follow && !reader.ended && <Paused onBack={() => void end()} />}
        </div>
      )}
    </div>
  );
}

const seen = new WeakMap<OpenLog, string>();

/** Hits of regular expressions are marked by the server: ask for those in sight when that is somewhere else. */
function sight(log: OpenLog, first: number, last: number): void {
  const key = `${first}/${last}/${JSON.stringify(log.hits.query)}`;
  if (seen.get(log) === key) return;
  seen.set(log, key);
  log.hits.see(first, last);
}

function marks({ hits }: OpenLog, line: LogLine, spans: Span[]): MarkedSpan[] {
  if (hits.query === null) return spans;
  if (hits.query.regex) return marked(spans, line.text.includes('\r') ? [] : (hits.spans.get(line.offset) ?? []));
  return marked(spans, occurrences(plainText(line.text), hits.query.text, hits.query.matchCase));
}

/** Number and time of a line: a link to it. Not part of the text, so that nobody copies it by accident. */
function Gutter(props: { number: number | null; time: string; href: string | null; on: (event: MouseEvent) => void }) {
  const { number, time, href, on } = props;
  const label = number === null ? trans.__('Link to this line') : trans.__('Line %1', count(number));
  return <a class="jp-wattle-log-gutter" data-number={number ?? ''} data-time={time} href={href ?? undefined} tabindex={-1} aria-label={label} onClick={on} draggable={false} />;
}

function Cut({ line, url }: { line: LogLine; url: string | null }) {
  const text = trans.__('… %1 in this line: download the log to see all of it', bytes(line.size));
  return <a class="jp-wattle-log-cut" data-text={text} href={url ?? undefined} download aria-label={text} />;
}

/** A log that goes on says so to who has scrolled away from its end, and how to come back. */
function Paused({ onBack }: { onBack: () => void }) {
  return (
    <button type="button" class="jp-wattle-log-back" title={trans.__('Follow the end of the log again (G)')} onClick={onBack}>
      {trans.__('↓ Not following: back to the end')}
    </button>
  );
}

function focusRows(box: MutableRef<HTMLDivElement | null>): void {
  box.current?.querySelector<HTMLElement>('.jp-wattle-log-lines')?.focus({ preventScroll: true });
}

/** Something to say, for a moment. */
function useSaid(): [string | null, (text: string) => void] {
  const [said, say] = useState<string | null>(null);
  useEffect(() => {
    if (said === null) return undefined;
    const timer = setTimeout(() => say(null), SAID);
    return () => clearTimeout(timer);
  }, [said]);
  return [said, say];
}
