import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { Feed, LogOf } from '../core/feed';
import { LogClock } from '../core/logclock';
import { LogHits } from '../core/loghits';
import type { LogStart } from '../core/loglink';
import { LogReader } from '../core/logreader';
import { Frame } from './hooks';

/** What reads a log for a view. */
export interface OpenLog {
  reader: LogReader;
  hits: LogHits;
  clock: LogClock;
}

interface Opened extends OpenLog {
  signal: AbortSignal;
}

/** A log, read from its end on, or from `start`; and how often something of it has changed. `arrived` is told where (null: at its end). */
export function useLog(feed: Feed, of: LogOf, start: LogStart | null, arrived: (byte: number | null) => void): [OpenLog, number] {
  const [version, change] = useReducer<number, void>(count => count + 1, 0);
  const frame = useRef<Frame | null>(null);
  const [log, setLog] = useState<Opened>(() => opened(feed, of, () => frame.current?.ask()));
  const landed = useRef(arrived);
  landed.current = arrived;
  useEffect(() => {
    const drawn = (frame.current = new Frame(() => change()));
    const ended = new AbortController();
    const fresh = opened(feed, of, () => drawn.ask(), ended);
    setLog(fresh);
    void begin(fresh, start).then(byte => ended.signal.aborted || landed.current(byte));
    return () => {
      ended.abort();
      drawn.stop();
    };
  }, [feed, of]);
  return [log, version];
}

function opened(feed: Feed, of: LogOf, changed: () => void, ended = new AbortController()): Opened {
  const { signal } = ended;
  return {
    signal,
    reader: new LogReader(feed, of, changed, signal),
    hits: new LogHits(feed, of, changed, signal),
    clock: new LogClock(feed, of, changed, signal)
  };
}

/** Open it where it is wanted. The line to show; null for the end. */
async function begin({ reader, hits }: OpenLog, start: LogStart | null): Promise<number | null> {
  if (start?.at === 'byte') return reader.go({ byte: start.byte });
  await reader.go({ end: true });
  if (start === null) return null;
  const error = await hits.error('previous', reader.window.size + 1);
  return error === null ? null : reader.go({ byte: error });
}
