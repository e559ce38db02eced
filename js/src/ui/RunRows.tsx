import { memo } from 'preact/compat';
import { useEffect, useRef } from 'preact/hooks';
import type { Board } from '../core/board';
import { clock, duration, elapsed, moment, person, plainReason } from '../core/format';
import type { RunList } from '../core/runlist';
import { isFinal, stateWord } from '../core/states';
import type { RunSummary } from '../core/wire';
import { trans } from '../core/words';
import { Bar } from './Header';
import { useNow } from './hooks';
import { StateIcon } from './StateIcon';
import { VirtualRows } from './VirtualRows';

export const RUN_ROW = 46; // px

interface Props {
  board: Board;
  runs: RunList;
  /** Id of the run that the keys act on. */
  active: string | null;
  choose: (run: string) => void;
  open: (run: string) => void;
  /** Changes with what `runs` holds. */
  version: unknown;
}

/** The runs, newest first; those out of sight are neither in the page nor read. */
export function RunRows({ board, runs, active, choose, open, version }: Props) {
  const now = useNow(board.current.running > 0);
  const at = active === null ? -1 : runs.indexOf(active);
  const box = useRef<HTMLDivElement>(null);
  const top = useRef(0); // px; to ask the page for it while it is drawn would have it laid out at once
  const before = useArrivals(runs, top);
  const key = (event: KeyboardEvent): void => {
    if (event.key === 'Enter' && active !== null) open(active);
    else if (event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey)) showMenu(box.current);
    else if (!step(event, at, runs, choose)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="jp-wattle-runs-box" ref={box} onScrollCapture={event => (top.current = (event.target as HTMLElement).scrollTop)}>
      <VirtualRows
        key={JSON.stringify(runs.query)}
        class="jp-wattle-runs"
        role="listbox"
        label={trans.__('Runs, newest first')}
        count={runs.length}
        rowHeight={RUN_ROW}
        shown={at}
        shownKey={active ?? ''}
        before={before}
        active={at < 0 ? undefined : rowId(active ?? '')}
        version={version}
        onKeyDown={key}
        row={i => {
          const run = runs.at(i);
          if (run === undefined) return <Hole key={`hole-${i}`} board={board} index={i} />;
          return <Row key={run.id} run={run} index={i} total={runs.length} now={isFinal(run.state) ? 0 : now} active={run.id === active} choose={choose} open={open} />;
        }}
      />
    </div>
  );
}

/** Runs that came on top: who reads further down keeps what is in sight, who is at the top sees them. */
function useArrivals(runs: RunList, scrolled: { current: number }): { key: string; rows: number } {
  const top = runs.at(0)?.id ?? '';
  const last = useRef({ runs, top });
  const before = useRef({ key: top, rows: 0 });
  if (last.current.top !== top || last.current.runs !== runs) {
    if (last.current.runs.query !== runs.query) scrolled.current = 0; // a new list begins at its top
    const rows = scrolled.current >= RUN_ROW && last.current.runs === runs ? Math.max(0, runs.indexOf(last.current.top)) : 0;
    before.current = { key: top, rows };
    last.current = { runs, top };
  }
  return before.current;
}

const rowId = (run: string): string => `jp-wattle-run-${run}`;

/** Moves as the key says; whether it was such a key. What is not read yet is passed over. */
function step(event: KeyboardEvent, at: number, runs: RunList, choose: (run: string) => void): boolean {
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -runs.length, End: runs.length }[event.key];
  if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return false;
  const to = Math.max(0, Math.min(runs.length - 1, at + by));
  for (let i = to; i >= 0 && i < runs.length; i -= Math.sign(by)) {
    const run = runs.at(i);
    if (run === undefined) continue;
    choose(run.id);
    break;
  }
  return true;
}

/** The menu key acts on the list, which has the focus; the menu belongs to the row. */
function showMenu(box: HTMLElement | null): void {
  const row = box?.querySelector('[aria-selected=true]');
  const place = row?.getBoundingClientRect();
  if (row == null || place === undefined) return;
  row.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true, clientX: place.left + 24, clientY: place.bottom - 6 }));
}

/** The place of a run that is being read. */
function Hole({ board, index }: { board: Board; index: number }) {
  useEffect(() => board.want(index), [board, index]);
  return (
    <div class="jp-wattle-runrow jp-mod-hole" role="option" aria-selected={false} aria-label={trans.__('Reading…')}>
      <i />
      <i />
    </div>
  );
}

interface RowProps {
  run: RunSummary;
  index: number;
  total: number;
  now: number;
  active: boolean;
  choose: (run: string) => void;
  open: (run: string) => void;
}

const Row = memo(({ run, index, total, now, active, choose, open }: RowProps) => {
  const took = elapsed(run.started_at, run.ended_at, now);
  const word = wordOf(run);
  const since = moment(run.started_at ?? run.created_at, Date.now());
  const detail = detailOf(run);
  const who = person(run.user);
  return (
    <div
      id={rowId(run.id)}
      class={`jp-wattle-runrow jp-mod-${run.state}`}
      role="option"
      aria-selected={active}
      aria-posinset={index + 1}
      aria-setsize={total}
      aria-label={[run.workflow, word, detail, took === null ? '' : duration(took), who, since].filter(Boolean).join(', ')}
      title={tooltip(run, word)}
      data-run={run.id}
      onClick={() => (choose(run.id), open(run.id))}
      onContextMenu={() => choose(run.id)}
    >
      <StateIcon state={run.state} />
      <span class="jp-wattle-runrow-name">{run.workflow}</span>
      <span class="jp-wattle-runrow-time">{took === null ? '' : duration(took)}</span>
      <span class="jp-wattle-runrow-detail">{detail}</span>
      <span class="jp-wattle-runrow-who">
        {who !== '' && <span class="jp-wattle-runrow-user">{`${who} · `}</span>}
        {since}
      </span>
      {run.state === 'running' && <Bar counts={run.counts} total={run.total} />}
    </div>
  );
});

const wordOf = (run: RunSummary): string => (run.cancel_at !== null && !isFinal(run.state) ? trans.__('cancelling') : stateWord(run.state));

function detailOf(run: RunSummary): string {
  const { counts, total, state } = run;
  const done = counts.completed + counts.failed + counts.cancelled + counts.skipped;
  if (run.cancel_at !== null && !isFinal(state)) return trans.__('cancelling');
  if (state === 'failed' || state === 'cancelled') return plainReason(run.reason) || wordOf(run);
  if (state === 'completed') return trans._n('%1 task', '%1 tasks', total);
  if (state === 'running') return counts.failed > 0 ? trans.__('%1 of %2 · %3 failed', done, total, counts.failed) : trans.__('%1 of %2 tasks', done, total);
  return plainReason(run.reason) || wordOf(run);
}

function tooltip(run: RunSummary, word: string): string {
  const { counts, total } = run;
  const who = person(run.user);
  const when = clock(run.started_at ?? run.created_at, Date.now());
  const params = Object.entries(run.params).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
  const lines = [
    `${run.workflow}: ${word}`,
    plainReason(run.reason),
    trans.__('%1 of %2 tasks completed', counts.completed, total),
    who === '' ? trans.__('started at %1', when) : trans.__('started by %1 at %2', who, when),
    ...params.slice(0, 8),
    run.id.slice(0, 8)
  ];
  return lines.filter(Boolean).join('\n');
}
