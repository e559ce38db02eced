import { useEffect, useState } from 'preact/hooks';
import type { Feed } from '../core/feed';
import { count, plainReason } from '../core/format';
import { LogWindow } from '../core/logwindow';
import type { LogLinesPage, TaskRunView } from '../core/wire';
import { trans } from '../core/words';
import { Act, Problem, useActs, type Doing } from './Act';
import { LogRow } from './LogRow';
import { StateIcon } from './StateIcon';
import type { Opened } from './TaskPanel';
import { tookOf } from './taskline';

const FIRST = 3; // tasks that are shown at once
const MORE = 20; // tasks that are shown at each wish for more
const LINES = 8;
const BYTES = 4_096;

interface Props {
  feed: Feed | null;
  run: string;
  tasks: TaskRunView[];
  /** Why nothing may be done from here, or null. */
  readOnly: string | null;
  doing: Doing;
  onOpen: (task: string, opened: Opened) => void;
}

/** Why tasks failed, with the last that they said, so that nobody has to look for it. */
export function Failures(props: Props) {
  const { run, tasks } = props;
  const [most, setMost] = useState(FIRST);
  useEffect(() => setMost(FIRST), [run]);
  const failed = tasks.filter(task => task.state === 'failed').sort((a, b) => (a.ended_at ?? '').localeCompare(b.ended_at ?? ''));
  if (failed.length === 0) return null;
  const left = failed.length - most;
  return (
    <section class="jp-wattle-failures" aria-label={trans.__('What failed')}>
      {failed.slice(0, most).map(task => (
        <Failure key={task.task} {...props} task={task} />
      ))}
      {left > 0 && (
        <button type="button" class="jp-wattle-button jp-mod-quiet jp-wattle-morefailed" onClick={() => setMost(most + MORE)}>
          {trans._n('%2 more task failed', '%2 more tasks failed', left, count(left))}
        </button>
      )}
    </section>
  );
}

function Failure({ feed, run, task, readOnly, doing, onOpen }: Props & { task: TaskRunView }) {
  const lines = useLastLines(feed, run, task);
  const acts = useActs(doing, task.attempt);
  const open = (atError: boolean) => (): void => onOpen(task.task, { byKey: document.activeElement?.matches(':focus-visible') === true, start: atError ? { at: 'error' } : null });
  return (
    <div class="jp-wattle-failure">
      <div class="jp-wattle-failure-head">
        <button type="button" class="jp-wattle-failure-task" title={trans.__('Show the task and its log')} onClick={open(false)}>
          <StateIcon state="failed" />
          <strong>{task.task}</strong>
          <span class="jp-wattle-reason jp-mod-failed">{plainReason(task.reason)}</span>
          <span class="jp-wattle-quiet">{[tookOf(task, 0), task.attempts > 1 ? trans.__('attempt %1', task.attempts) : ''].filter(Boolean).join(' · ')}</span>
        </button>
        <span class="jp-wattle-failure-acts">
          <Act text={trans.__('Log at the error')} hint={trans.__('Open the log where it says what went wrong')} off={feed === null ? trans.__('Logs need a connection to the server.') : task.attempt === null ? trans.__('It was never started: no log.') : null} run={open(true)} quiet />
          <Act text={trans.__('Retry from here')} hint={trans.__('Run this task again, then what was skipped because of it')} off={readOnly} busy={acts.busy} run={() => acts.act({ verb: 'retry-task', task: task.task })} quiet />
        </span>
      </div>
      <Problem acts={acts} />
      {lines !== null && lines.length > 0 && (
        <div class="jp-wattle-failure-log" role="group" aria-label={trans.__('Last lines of %1', task.task)} tabindex={0}>
          {lastOf(lines).map(i => <LogRow key={i} line={i} spans={lines.spans(i)} />)}
        </div>
      )}
    </div>
  );
}

function lastOf(lines: LogWindow): number[] {
  const shown = Math.min(LINES, lines.length);
  return Array.from({ length: shown }, (_, i) => lines.length - shown + i);
}

function useLastLines(feed: Feed | null, run: string, { task, attempt }: TaskRunView): LogWindow | null {
  const [lines, setLines] = useState<LogWindow | null>(null);
  useEffect(() => {
    setLines(null);
    if (feed === null || attempt === null) return undefined;
    const ended = new AbortController();
    feed.logAsk<LogLinesPage>({ run, task, attempt }, 'lines', { before: 'end', limit: String(BYTES) }, ended.signal).then(
      page => {
        const read = new LogWindow();
        read.show(page);
        if (!ended.signal.aborted) setLines(read);
      },
      () => undefined // the reason stands there without it; the log, when opened, says what is wrong
    );
    return () => ended.abort();
  }, [feed, run, task, attempt]);
  return lines;
}
