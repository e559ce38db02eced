import { useEffect, useRef, useState } from 'preact/hooks';
import type { Feed, LogOf, LogSink } from '../core/feed';
import { LogLines } from '../core/log';
import { Frame } from './hooks';

const TAIL = 256 * 1024; // bytes of its end that a log is opened with
const MORE = 16; // so many times more each time that the reader asks for earlier output

interface Shown {
  lines: LogLines;
  version: number;
  ended: boolean;
  problem: string | null;
  /** Lines that were put before those that were shown last. */
  earlierLines: number;
}

export interface OpenLog extends Shown {
  /** Earlier output was asked for and is not there yet. */
  loading: boolean;
  earlier: () => void;
}

const fresh = (from = 0): Shown => ({ lines: new LogLines(undefined, from), version: 0, ended: false, problem: null, earlierLines: 0 });

/** A log from near its end on, as it grows; more of its beginning on demand. */
export function useLog(feed: Feed, of: LogOf): OpenLog {
  const [shown, setShown] = useState<Shown>(fresh);
  const [begin, setBegin] = useState<{ from: number; size: number } | null>(null);
  const [tail, setTail] = useState(TAIL);
  const before = useRef<LogLines | null>(null);
  useEffect(() => {
    const ended = new AbortController();
    before.current = null;
    feed.logPage(of, -1, 4, ended.signal).then(
      ({ size }) => ended.signal.aborted || setBegin({ from: Math.max(0, size - TAIL), size }),
      // then there is no tail to begin with; the reader itself waits for the server
      () => ended.signal.aborted || setBegin({ from: 0, size: 0 })
    );
    return () => ended.abort();
  }, [feed, of]);
  useEffect(() => {
    if (begin === null) return undefined;
    const ended = new AbortController();
    const newest = fresh(begin.from);
    const frame = new Frame(() => {
      before.current = newest.lines;
      setShown({ ...newest, version: (newest.version += 1) });
    });
    if (begin.size === 0) frame.ask(); // nothing may ever come
    feed.log(of.attempt, begin.from, sink(newest, before.current, () => frame.ask()), ended.signal);
    return () => {
      ended.abort();
      frame.stop();
    };
  }, [feed, of, begin]);
  const loading = begin !== null && shown.version > 0 && shown.lines.from !== begin.from;
  const earlier = (): void => {
    setTail(tail * MORE);
    setBegin({ from: Math.max(0, shown.lines.next - tail * MORE), size: shown.lines.next });
  };
  return { ...shown, loading, earlier };
}

/** Fills `newest`; what was shown before stays until as much of the log is there again. */
function sink(newest: Shown, before: LogLines | null, tell: () => void): LogSink {
  const start = before?.start ?? -1;
  const end = before?.next ?? -1;
  const ask = (): void => {
    if (newest.lines.next >= end) tell();
  };
  return {
    bytes(offset, piece) {
      const ahead = Math.max(0, Math.min(piece.length, start - offset));
      if (ahead > 0) newest.lines.add(piece.subarray(0, ahead));
      if (ahead > 0) newest.earlierLines = newest.lines.length;
      if (ahead < piece.length) newest.lines.add(piece.subarray(ahead));
      ask();
    },
    end() {
      newest.lines.finish();
      newest.ended = true;
      tell();
    },
    problem(message) {
      newest.problem = message;
      tell();
    }
  };
}
