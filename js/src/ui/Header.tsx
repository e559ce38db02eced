import { useState } from 'preact/hooks';
import type { Connection, Verb } from '../core/feed';
import { count, duration, elapsed, plainReason } from '../core/format';
import type { RunState } from '../core/reduce';
import { BAR_ORDER, canRetry, isFinal, LOOKS } from '../core/states';
import type { Counts, RunSummary } from '../core/wire';
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
          {summary.cancel_at !== null && open ? 'cancelling' : LOOKS[summary.state].word}
        </span>
        {took !== null && <span class="jp-wattle-quiet jp-wattle-elapsed">{duration(took)}</span>}
        <span class="jp-wattle-quiet jp-wattle-counts">{progressText(summary)}</span>
        <span class="jp-wattle-spring" />
        <LinkState connection={connection} />
        <Buttons summary={summary} readOnly={readOnly} confirmCancel={confirmCancel} act={act} />
        {onOpen !== undefined && <Act text="Open" hint="Show this run in a tab of its own" off={null} run={() => onOpen(summary.id)} />}
      </div>
      {summary.reason !== '' && <p class={`jp-wattle-reason jp-mod-${summary.state}`}>{plainReason(summary.reason)}</p>}
      <Bar counts={summary.counts} total={summary.total} />
    </header>
  );
}

function progressText({ counts, total }: RunSummary): string {
  const done = counts.completed + counts.failed + counts.cancelled + counts.skipped;
  if (total === 0) return 'no tasks';
  if (done === 0) return count(total, 'task');
  const parts = [`${counts.completed.toLocaleString('en')} of ${count(total, 'task')}`];
  if (counts.failed > 0) parts.push(`${counts.failed.toLocaleString('en')} failed`);
  if (counts.skipped > 0) parts.push(`${counts.skipped.toLocaleString('en')} skipped`);
  if (counts.cancelled > 0) parts.push(`${counts.cancelled.toLocaleString('en')} cancelled`);
  return parts.join(' · ');
}

export function Bar({ counts, total }: { counts: Counts; total: number }) {
  const done = counts.completed + counts.failed + counts.cancelled + counts.skipped;
  return (
    <div class="jp-wattle-bar" role="progressbar" aria-label="Tasks that have ended" aria-valuemin={0} aria-valuemax={total} aria-valuenow={done}>
      {BAR_ORDER.map(state => counts[state] > 0 && (
        <span key={state} class={`jp-mod-${state}`} style={{ flexGrow: counts[state] }} title={`${counts[state]} ${LOOKS[state].word}`} />
      ))}
      <span style={{ flexGrow: Math.max(0, total - done - counts.running - counts.waiting - counts.queued) }} />
    </div>
  );
}

export const LINK_WORDS = { waiting: 'connecting', live: 'live', reconnecting: 'reconnecting', offline: 'offline' };

export function LinkState({ connection }: { connection: Connection | null }) {
  if (connection === null) return null;
  const hint = {
    waiting: 'Connecting to the server',
    live: 'Changes show at once',
    reconnecting: 'The connection was lost; it is being made again. The run goes on meanwhile.',
    offline: 'The server cannot be reached. The run may go on; this view catches up by itself.'
  }[connection.link];
  return (
    <span class={`jp-wattle-link jp-mod-${connection.link}`} title={hint} role="status">
      <i aria-hidden="true" />
      {LINK_WORDS[connection.link]}
    </span>
  );
}

function Buttons({ summary, readOnly, confirmCancel, act }: Omit<Props, 'state' | 'connection' | 'onOpen'> & { summary: RunSummary }) {
  const [asking, ask] = useState(false);
  const open = !isFinal(summary.state);
  if (asking && open) {
    return (
      <span class="jp-wattle-confirm" role="alertdialog" aria-label="Cancel this run?">
        <span>Stop all tasks?</span>
        <Act text="Cancel run" hint="Stop what runs and start nothing more" off={readOnly} danger run={() => (ask(false), act({ verb: 'cancel' }))} />
        <Act text="Keep" hint="Let it go on" off={null} run={() => ask(false)} />
      </span>
    );
  }
  const cancel = (): void => (confirmCancel ? ask(true) : act({ verb: 'cancel' }));
  return (
    <span class="jp-wattle-buttons" role="group" aria-label="Run">
      {open && <Act text="Cancel" hint="Stop this run" off={readOnly ?? (summary.cancel_at !== null ? 'It is being cancelled' : null)} run={cancel} />}
      {canRetry(summary) && <Act text="Retry failed" hint="Run again what failed, was cancelled or skipped" off={readOnly} run={() => act({ verb: 'retry' })} />}
    </span>
  );
}
