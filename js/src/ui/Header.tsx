import { useState } from 'preact/hooks';
import type { Connection, Verb } from '../core/feed';
import { duration, elapsed, plainReason } from '../core/format';
import type { RunState } from '../core/reduce';
import { BAR_ORDER, canRetry, isFinal, stateWord } from '../core/states';
import type { Counts, RunSummary } from '../core/wire';
import { trans } from '../core/words';
import { useNow } from './hooks';
import { StateIcon } from './StateIcon';
import { Act } from './TaskPanel';

interface Props {
  state: RunState;
  connection: Connection | null;
  /** Why nothing may be done from here, or null. */
  readOnly: string | null;
  confirmCancel: boolean;
  act: (verb: Verb) => void;
  onOpen?: ((run: string) => void) | undefined;
}

/** The run in one line, and how far it is. */
export function Header({ state, connection, readOnly, confirmCancel, act, onOpen }: Props) {
  const { summary } = state;
  const now = useNow(!isFinal(summary.state) && summary.started_at !== null);
  const took = elapsed(summary.started_at, summary.ended_at, now);
  const open = !isFinal(summary.state);
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
        <Buttons summary={summary} readOnly={readOnly} confirmCancel={confirmCancel} act={act} />
        {onOpen !== undefined && <Act text={trans.__('Open')} hint={trans.__('Show this run in a tab of its own')} off={null} run={() => onOpen(summary.id)} />}
      </div>
      {summary.reason !== '' && <p class={`jp-wattle-reason jp-mod-${summary.state}`}>{plainReason(summary.reason)}</p>}
      <Bar counts={summary.counts} total={summary.total} />
    </header>
  );
}

function progressText({ counts, total }: RunSummary): string {
  const done = counts.completed + counts.failed + counts.cancelled + counts.skipped;
  const shown = (n: number): string => n.toLocaleString('en');
  if (total === 0) return trans.__('no tasks');
  if (done === 0) return trans._n('%2 task', '%2 tasks', total, shown(total));
  const parts = [trans._n('%2 of %3 task', '%2 of %3 tasks', total, shown(counts.completed), shown(total))];
  if (counts.failed > 0) parts.push(trans.__('%1 failed', shown(counts.failed)));
  if (counts.skipped > 0) parts.push(trans.__('%1 skipped', shown(counts.skipped)));
  if (counts.cancelled > 0) parts.push(trans.__('%1 cancelled', shown(counts.cancelled)));
  return parts.join(' · ');
}

export function Bar({ counts, total }: { counts: Counts; total: number }) {
  const done = counts.completed + counts.failed + counts.cancelled + counts.skipped;
  return (
    <div class="jp-wattle-bar" role="progressbar" aria-label={trans.__('Tasks that have ended')} aria-valuemin={0} aria-valuemax={total} aria-valuenow={done}>
      {BAR_ORDER.map(state => counts[state] > 0 && (
        <span key={state} class={`jp-mod-${state}`} style={{ flexGrow: counts[state] }} title={`${counts[state]} ${stateWord(state)}`} />
      ))}
      <span style={{ flexGrow: Math.max(0, total - done - counts.running - counts.waiting - counts.queued) }} />
    </div>
  );
}

export const LINK_WORDS = { waiting: 'connecting', live: 'live', reconnecting: 'reconnecting', offline: 'offline' };

export function LinkState({ connection }: { connection: Connection | null }) {
  if (connection === null) return null;
  const hint = {
    waiting: trans.__('Connecting to the server'),
    live: trans.__('Changes show at once'),
    reconnecting: trans.__('The connection was lost; it is being made again. What runs goes on meanwhile.'),
    offline: trans.__('The server cannot be reached. What runs may go on; this view catches up by itself.')
  }[connection.link];
  return (
    <span class={`jp-wattle-link jp-mod-${connection.link}`} title={hint} role="status">
      <i aria-hidden="true" />
      {trans.__(LINK_WORDS[connection.link])}
    </span>
  );
}

function Buttons({ summary, readOnly, confirmCancel, act }: Omit<Props, 'state' | 'connection' | 'onOpen'> & { summary: RunSummary }) {
  const [asking, ask] = useState(false);
  const open = !isFinal(summary.state);
  if (asking && open) {
    return (
      <span class="jp-wattle-confirm" role="alertdialog" aria-label={trans.__('Cancel this run?')}>
        <span>{trans.__('Stop all tasks?')}</span>
        <Act text={trans.__('Cancel run')} hint={trans.__('Stop what runs and start nothing more')} off={readOnly} danger run={() => (ask(false), act({ verb: 'cancel' }))} />
        <Act text={trans.__('Keep')} hint={trans.__('Let it go on')} off={null} run={() => ask(false)} />
      </span>
    );
  }
  const cancel = (): void => (confirmCancel ? ask(true) : act({ verb: 'cancel' }));
  return (
    <span class="jp-wattle-buttons" role="group" aria-label={trans.__('Run')}>
      {open && <Act text={trans.__('Cancel')} hint={trans.__('Stop this run')} off={readOnly ?? (summary.cancel_at !== null ? trans.__('It is being cancelled') : null)} run={cancel} />}
      {canRetry(summary) && <Act text={trans.__('Retry failed')} hint={trans.__('Run again what failed, was cancelled or skipped')} off={readOnly} run={() => act({ verb: 'retry' })} />}
    </span>
  );
}
