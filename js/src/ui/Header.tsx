import { useState } from 'preact/hooks';
import type { Connection } from '../core/feed';
import { clock, count, duration, elapsed, person, plainReason } from '../core/format';
import type { RunState } from '../core/reduce';
import { BAR_ORDER, cancelOff, canRetry, deleteOff, isFinal, retryOff, stateWord } from '../core/states';
import type { Counts, RunSummary } from '../core/wire';
import { trans } from '../core/words';
import { Act, Ask, Problem, useActs, type Acts, type Doing } from './Act';
import { useNow } from './hooks';
import { Icon } from './Icon';
import { StateIcon } from './StateIcon';

export type View = 'graph' | 'table';

interface Props {
  state: RunState;
  connection: Connection | null;
  /** Why nothing may be done from here, or null. */
  readOnly: string | null;
  confirmCancel: boolean;
  doing: Doing;
  onOpen?: ((run: string) => void) | undefined;
  /** Of all that can be done with a run, also what cannot just now, only what can, or only what a run needs. */
  acts: 'all' | 'possible' | 'needed';
  /** How the tasks are shown, if that can be chosen. */
  view: View | null;
  onView: (view: View) => void;
}

/** The run in a few lines: how it is and why, how far, who started it when, and what can be done. */
export function Header(props: Props) {
  const { state, connection, onOpen, view } = props;
  const { summary } = state;
  const now = useNow(!isFinal(summary.state) && summary.started_at !== null);
  const took = elapsed(summary.started_at, summary.ended_at, now);
  const open = !isFinal(summary.state);
  const reason = plainReason(summary.reason);
  const acts = useActs(props.doing, summary.id);
  return (
    <header class="jp-wattle-head">
      <div class="jp-wattle-title">
        <StateIcon state={summary.state} />
        <strong class="jp-wattle-workflow" title={summary.workflow}>{summary.workflow}</strong>
        <span class={`jp-wattle-state jp-mod-${summary.state}`} role="status">
          {summary.cancel_at !== null && open ? trans.__('cancelling') : stateWord(summary.state)}
        </span>
        {took !== null && <span class="jp-wattle-quiet jp-wattle-elapsed">{duration(took)}</span>}
        <span class="jp-wattle-quiet jp-wattle-counts">{progressText(summary)}</span>
        <span class="jp-wattle-spring" />
        <LinkState connection={connection} />
        {view !== null && <ViewSwitch view={view} onView={props.onView} />}
        <Buttons {...props} doings={acts} />
        {onOpen !== undefined && <Act text={trans.__('Open')} hint={trans.__('Show this run in a tab of its own')} off={null} run={() => onOpen(summary.id)} />}
      </div>
      <Problem acts={acts} />
      {reason !== '' && reason !== summary.state && <p class={`jp-wattle-reason jp-mod-${summary.state}`}>{reason}</p>}
      {summary.created_at !== '' && <About summary={summary} />}
      <Bar counts={summary.counts} total={summary.total} />
    </header>
  );
}

/** What brought a run about, in words; '' for what is not known. */
function causeText(cause: string): string {
  const known: Record<string, string> = {
    cell: trans.__('from a cell'),
    cli: trans.__('from a terminal'),
    api: trans.__('by the API'),
    sidebar: trans.__('from the sidebar'),
    schedule: trans.__('by a schedule')
  };
  return known[cause] ?? cause;
}

/** Who, when, from where, with what. */
function About({ summary }: { summary: RunSummary }) {
  const [who, when, cause] = [person(summary.user), clock(summary.started_at ?? summary.created_at, Date.now()), causeText(summary.cause)];
  const start = summary.started_at !== null;
  const began = who === '' ? (start ? trans.__('started at %1', when) : trans.__('asked for at %1', when)) : start ? trans.__('started by %1 at %2', who, when) : trans.__('asked for by %1 at %2', who, when);
  const parts = [`${began}${cause === '' ? '' : ` ${cause}`}`, ...Object.entries(summary.params).map(([name, value]) => `${name} = ${JSON.stringify(value)}`)];
  return (
    <p class="jp-wattle-about">
      <span title={parts.join('\n')}>{parts.join(' · ')}</span>
      <code title={trans.__('Id of the run')}>{summary.id.slice(0, 8)}</code>
    </p>
  );
}

function ViewSwitch({ view, onView }: { view: View; onView: (view: View) => void }) {
  const kinds = [
    ['graph', trans.__('Graph'), trans.__('Show the tasks as a graph')],
    ['table', trans.__('Table'), trans.__('Show the tasks as a table: sort, filter')]
  ] as const;
  return (
    <span class="jp-wattle-switch" role="group" aria-label={trans.__('View')}>
      {kinds.map(([kind, name, hint]) => (
        <button key={kind} type="button" class="jp-wattle-button jp-mod-toggle jp-mod-glyph" aria-pressed={view === kind} aria-label={name} title={hint} onClick={() => onView(kind)}>
          <Icon name={kind} />
        </button>
      ))}
    </span>
  );
}

function progressText({ counts, total }: RunSummary): string {
  const done = counts.completed + counts.failed + counts.cancelled + counts.skipped;
  if (total === 0) return trans.__('no tasks');
  if (done === 0) return trans._n('%2 task', '%2 tasks', total, count(total));
  const parts = [trans._n('%2 of %3 task', '%2 of %3 tasks', total, count(counts.completed), count(total))];
  if (counts.failed > 0) parts.push(trans.__('%1 failed', count(counts.failed)));
  if (counts.skipped > 0) parts.push(trans.__('%1 skipped', count(counts.skipped)));
  if (counts.cancelled > 0) parts.push(trans.__('%1 cancelled', count(counts.cancelled)));
  return parts.join(' · ');
}

export function Bar({ counts, total }: { counts: Counts; total: number }) {
  const done = counts.completed + counts.failed + counts.cancelled + counts.skipped;
  return (
    <div class="jp-wattle-bar" role="progressbar" aria-label={trans.__('Tasks that have ended')} aria-valuemin={0} aria-valuemax={total} aria-valuenow={done}>
      {BAR_ORDER.map(state => counts[state] > 0 && (
        <span key={state} class={`jp-mod-${state}`} style={{ flexGrow: counts[state] }} title={trans.__('%1 %2', count(counts[state]), stateWord(state))} />
      ))}
      <span style={{ flexGrow: Math.max(0, total - done - counts.running - counts.waiting - counts.queued) }} />
    </div>
  );
}

export function LinkState({ connection }: { connection: Connection | null }) {
  if (connection === null) return null;
  const [word, hint] = {
    waiting: [trans.__('connecting'), trans.__('Connecting to the server')],
    live: [trans.__('live'), trans.__('Changes show at once')],
    reconnecting: [trans.__('reconnecting'), trans.__('The connection was lost; it is being made again. What runs goes on meanwhile.')],
    offline: [trans.__('offline'), trans.__('The server cannot be reached. What runs may go on; this view catches up by itself.')]
  }[connection.link] as [string, string];
  return (
    <span class={`jp-wattle-link jp-mod-${connection.link}`} title={hint} role="status">
      <i aria-hidden="true" />
      {word}
    </span>
  );
}

type Question = 'cancel' | 'delete';

function Buttons({ state: { summary }, readOnly, confirmCancel, acts, doings: { act, busy } }: Props & { doings: Acts }) {
  const [asking, ask] = useState<Question | null>(null);
  const all = acts === 'all';
  if (asking === 'cancel' && cancelOff(summary) === null) {
    const yes = { text: trans.__('Cancel run'), hint: trans.__('Stop what runs and start nothing more'), off: readOnly, run: () => act({ verb: 'cancel' }) };
    return <Ask label={trans.__('Cancel this run?')} question={trans.__('Stop all tasks?')} yes={yes} no={{ text: trans.__('Keep'), hint: trans.__('Let it go on') }} close={() => ask(null)} />;
  }
  if (asking === 'delete' && deleteOff(summary) === null) {
    const yes = { text: trans.__('Delete run'), hint: trans.__('Hide it now; it is gone with its logs after some days'), off: readOnly, run: () => act({ verb: 'delete' }) };
    return <Ask label={trans.__('Delete this run?')} question={trans.__('Delete it with its logs?')} yes={yes} no={{ text: trans.__('Keep'), hint: trans.__('Leave it as it is') }} close={() => ask(null)} />;
  }
  const cancel = (): void => (confirmCancel ? ask('cancel') : act({ verb: 'cancel' }));
  return (
    <span class="jp-wattle-buttons" role="group" aria-label={trans.__('Run')}>
      {(all || !isFinal(summary.state)) && <Act text={trans.__('Cancel')} hint={trans.__('Stop this run')} off={readOnly ?? cancelOff(summary)} busy={busy} run={cancel} />}
      {(all || canRetry(summary)) && <Act text={trans.__('Retry failed')} hint={trans.__('Run again what failed, was cancelled or skipped')} off={readOnly ?? retryOff(summary)} busy={busy} run={() => act({ verb: 'retry' })} />}
      {(all || (acts === 'possible' && isFinal(summary.state))) && <Act text={trans.__('Delete')} hint={trans.__('Take this run out of the list; it can be brought back')} off={readOnly ?? deleteOff(summary)} busy={busy} run={() => ask('delete')} />}
    </span>
  );
}
