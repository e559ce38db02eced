import { useEffect, useState } from 'preact/hooks';
import type { Feed } from '../core/feed';
import { LogLines } from '../core/log';
import type { TaskRunView } from '../core/wire';
import { trans } from '../core/words';
import { LogRow } from './LogRow';
import { StateIcon } from './StateIcon';

const MOST = 3; // tasks
const LINES = 8;
const BYTES = 4_096;

interface Props {
  feed: Feed | null;
  run: string;
  tasks: TaskRunView[];
  onSelect: (task: string) => void;
}

/** Why tasks failed, with the last that they said, so that nobody has to look for it. */
export function Failures({ feed, run, tasks, onSelect }: Props) {
  const failed = tasks.filter(task => task.state === 'failed').sort((a, b) => (a.ended_at ?? '').localeCompare(b.ended_at ?? ''));
  if (failed.length === 0) return null;
  return (
    <section class="jp-wattle-failures" aria-label={trans.__('What failed')}>
      {failed.slice(0, MOST).map(task => (
        <Failure key={task.task} feed={feed} run={run} task={task} onSelect={onSelect} />
      ))}
      {failed.length > MOST && <p class="jp-wattle-quiet">{trans._n('and %1 more task that failed', 'and %1 more tasks that failed', failed.length - MOST)}</p>}
    </section>
  );
}

function Failure({ feed, run, task, onSelect }: { feed: Feed | null; run: string; task: TaskRunView; onSelect: (task: string) => void }) {
  const lines = useLastLines(feed, run, task);
  return (
    <div class="jp-wattle-failure">
      <button type="button" class="jp-wattle-failure-head" title={trans.__('Show the task and its log')} onClick={() => onSelect(task.task)}>
        <StateIcon state="failed" />
        <strong>{task.task}</strong>
        <span class="jp-wattle-reason jp-mod-failed">{task.reason}</span>
      </button>
      {lines !== null && lines.length > 0 && (
        <div class="jp-wattle-failure-log" role="group" aria-label={trans.__('Last lines of %1', task.task)}>
          {lastOf(lines).map(i => <LogRow key={i} line={i} spans={lines.spans(i)} />)}
        </div>
      )}
    </div>
  );
}

function lastOf(lines: LogLines): number[] {
  const shown = Math.min(LINES, lines.length);
  return Array.from({ length: shown }, (_, i) => lines.length - shown + i);
}

function useLastLines(feed: Feed | null, run: string, { task, attempt }: TaskRunView): LogLines | null {
  const [lines, setLines] = useState<LogLines | null>(null);
  useEffect(() => {
    setLines(null);
    if (feed === null || attempt === null) return undefined;
    const ended = new AbortController();
    feed.logPage({ run, task, attempt }, -BYTES, BYTES, ended.signal).then(
      page => {
        const read = new LogLines(undefined, page.offset);
        read.add(new TextEncoder().encode(page.text));
        if (!ended.signal.aborted) setLines(read);
      },
      () => undefined // the reason stands there without it; the log, when opened, says what is wrong
    );
    return () => ended.abort();
  }, [feed, run, task, attempt]);
  return lines;
}
