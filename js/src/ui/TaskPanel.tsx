import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Feed } from '../core/feed';
import { bytes, duration, elapsed, plainReason } from '../core/format';
import { percent, progressOf, timeLeft } from '../core/progress';
import type { TaskState } from '../core/reduce';
import { retryTaskOff, stateWord, stopTaskOff } from '../core/states';
import type { LogStart } from '../core/loglink';
import type { TaskRunDetail, TaskRunView, ValueView } from '../core/wire';
import { trans } from '../core/words';
import { Act, Problem, useActs, type Doing } from './Act';
import { FarBar } from './Far';
import { useNow, useOwnKeys } from './hooks';
import { Log } from './Log';
import { LogAttempts } from './LogAttempts';
import { StateIcon } from './StateIcon';

/** How a task was opened. */
export interface Opened {
  /** By the keyboard: then the keys go on in the panel. */
  byKey: boolean;
  /** Where its log begins to be read; null: at its end. */
  start: LogStart | null;
  /** Whose log; null: that of the newest attempt. */
  attempt?: string | null;
}

export const BY_POINTER: Opened = { byKey: false, start: null };

interface Props {
  feed: Feed | null;
  run: string;
  task: TaskState;
  /** Why nothing may be done from here, or null. */
  readOnly: string | null;
  follow: boolean;
  doing: Doing;
  /** How it was opened. */
  opened: Opened;
  onClose: () => void;
}

/** What is read anew whenever the task run makes a step; the log has its own way. */
function useDetail(feed: Feed | null, run: string, task: TaskRunView): TaskRunDetail | null {
  const [detail, setDetail] = useState<TaskRunDetail | null>(null);
  useEffect(() => {
    if (feed === null) return undefined;
    const ended = new AbortController();
    feed.task(run, task.task, ended.signal).then(
      answer => !ended.signal.aborted && setDetail(answer),
      () => undefined // the panel shows what the run says anyway; the log reports its own problems
    );
    return () => ended.abort();
  }, [feed, run, task.task, task.state, task.attempt]);
  return detail?.task === task.task ? detail : null;
}

/** The selected task: what became of it, why, and its log. */
export function TaskPanel(props: Props) {
  const { feed, run, task, readOnly, opened } = props;
  const acts = useActs(props.doing, task.task);
  const section = useRef<HTMLElement>(null);
  useOwnKeys(section);
  useLayoutEffect(() => (opened.byKey ? section.current?.focus({ preventScroll: true }) : undefined), [opened]);
  const detail = useDetail(feed, run, task);
  const [chosen, choose] = useState<string | null>(null);
  useEffect(() => choose(opened.attempt ?? null), [task.task, task.attempt, opened]);
  const attempt = chosen ?? task.attempt;
  const history = detail?.history ?? [];
  const known = history.find(one => one.id === attempt);
  const now = useNow(task.state === 'running');
  const took = elapsed(task.started_at, task.ended_at, now);
  return (
    <section class="jp-wattle-panel" aria-label={trans.__('Task %1', task.task)} ref={section} tabindex={-1}>
      <div class="jp-wattle-panel-head">
        <StateIcon state={task.state} />
        <strong class="jp-wattle-panel-name" title={task.task}>{task.task}</strong>
        <span class={`jp-wattle-state jp-mod-${task.state}`}>{stateWord(task.state)}</span>
        {took !== null && task.state !== 'skipped' && <span class="jp-wattle-quiet">{duration(took)}</span>}
        <Far task={task} since={history.find(one => one.id === task.attempt)?.started_at ?? task.started_at} now={now} />
        {known?.peak_rss != null && <span class="jp-wattle-quiet jp-wattle-memory" title={trans.__('Most memory that it used')}>{bytes(known.peak_rss)}</span>}
        <span class="jp-wattle-spring" />
        {history.length > 1 && <LogAttempts history={history} value={attempt} choose={choose} />}
        <Act text={trans.__('Stop')} hint={trans.__('Stop this task')} off={readOnly ?? stopTaskOff(task)} busy={acts.busy} run={() => acts.act({ verb: 'stop-task', task: task.task })} />
        <Act text={trans.__('Retry')} hint={trans.__('Run this task again')} off={readOnly ?? retryTaskOff(task)} busy={acts.busy} run={() => acts.act({ verb: 'retry-task', task: task.task })} />
        <button type="button" class="jp-wattle-button jp-mod-icon" aria-label={trans.__('Close')} title={trans.__('Close (Esc)')} onClick={props.onClose}>
          ×
        </button>
      </div>
      <Problem acts={acts} />
      {task.reason !== '' && <p class={`jp-wattle-reason jp-mod-${task.state}`}>{plainReason(task.reason)}</p>}
      {detail !== null && <code class="jp-wattle-command" title={detail.working_dir}>{detail.command}</code>}
      {detail !== null && detail.outputs.length > 0 && <Outputs values={detail.outputs} />}
      {feed !== null && attempt !== null ? (
        <Log key={`${attempt} ${JSON.stringify(opened.start)}`} feed={feed} run={run} task={task.task} attempt={attempt} follow={props.follow} start={opened.start} />
      ) : (
        <p class="jp-wattle-empty">{feed === null ? trans.__('Logs need a connection to the server.') : trans.__('It has not been started yet: no log.')}</p>
      )}
    </section>
  );
}

/** How far the task is, and when it will be done if it goes on like this; nothing where it does not say. */
function Far({ task, since, now }: { task: TaskState; since: string | null; now: number }) {
  const told = progressOf(task);
  if (told === null) return null;
  const words = [percent(told.fraction), told.text, timeLeft(told.fraction, elapsed(since, null, now) ?? 0)];
  return (
    <span class="jp-wattle-panel-far">
      <FarBar told={told} task={task.task} />
      <span class="jp-wattle-quiet">{words.filter(Boolean).join(' · ')}</span>
    </span>
  );
}

function shown(value: ValueView): string {
  if (value.kind === 'object') {
    return trans.__('Python object %1', `${String(value.value).slice(0, 12)}…`);
  }
  return value.kind === 'file' ? String(value.value) : JSON.stringify(value.value);
}

function Outputs({ values }: { values: ValueView[] }) {
  return (
    <dl class="jp-wattle-outputs">
      {values.map(value => (
        <div key={value.name}>
          <dt>{value.name}</dt>
          <dd title={value.kind === 'object' ? String(value.value) : undefined}>{shown(value)}</dd>
          {value.size !== null && <dd class="jp-wattle-quiet">{bytes(value.size)}</dd>}
        </div>
      ))}
    </dl>
  );
}
