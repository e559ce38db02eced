import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Board, BoardState } from '../core/board';
import { ALL } from '../core/runlist';
import { VERSION } from '../core/version';
import type { StateName } from '../core/wire';
import { trans } from '../core/words';
import { useBoard } from './board';
import { LinkState } from './Header';
import { Icon } from './Icon';
import { RunRows } from './RunRows';
import { StateIcon } from './StateIcon';
import { FirstSteps, ProblemPanel } from './Teach';
import { WorkflowRows } from './WorkflowRows';

export interface SidebarProps {
  board: Board;
  /** Id of the run that keys and menus act on. */
  active: string | null;
  choose: (run: string) => void;
  open: (run: string) => void;
  start: (workflow: string) => void;
}

type Tab = 'runs' | 'workflows';

/** All runs and workflows, live. */
export function Sidebar(props: SidebarProps) {
  const { board } = props;
  const state = useBoard(board);
  const [tab, setTab] = useState<Tab>('runs');
  const { problem, connection } = state;
  // what was read before stays readable while the server is away
  const blocking = problem !== null && (state.runs === null || problem.kind === 'missing' || problem.kind === 'denied');
  return (
    <div class="jp-wattle-sidebar">
      <Mismatch server={state.info?.version ?? null} />
      {blocking ? (
        <ProblemPanel problem={problem} again={() => board.refresh()} />
      ) : (
        <>
          <Tabs tab={tab} choose={setTab} state={state} />
          {tab === 'runs' ? <Runs {...props} state={state} /> : <Workflows {...props} state={state} />}
        </>
      )}
      {!blocking && connection?.trouble && <p class="jp-wattle-note" role="status">{connection.trouble}</p>}
      {!blocking && problem !== null && !connection?.trouble && <p class="jp-wattle-note jp-mod-problem" role="status">{problem.message}</p>}
    </div>
  );
}

/** Page and server may be of different versions after an upgrade: a hint, nothing more. */
function Mismatch({ server }: { server: string | null }) {
  const [closed, close] = useState<string | null>(null);
  if (server === null || server === VERSION || server === closed) return null;
  return (
    <div class="jp-wattle-banner" role="status">
      <span>{trans.__('This page has Wattle %1, the server %2. Reload the page; if this stays, install the same version for both.', VERSION, server)}</span>
      <button type="button" class="jp-wattle-button jp-mod-icon" aria-label={trans.__('Hide this hint')} title={trans.__('Hide this hint')} onClick={() => close(server)}>
        <Icon name="clear" />
      </button>
    </div>
  );
}

function Tabs({ tab, choose, state }: { tab: Tab; choose: (tab: Tab) => void; state: BoardState }) {
  const key = (event: KeyboardEvent): void => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    const other = tab === 'runs' ? 'workflows' : 'runs';
    choose(other);
    (event.currentTarget as HTMLElement).querySelector<HTMLElement>(`[data-tab=${other}]`)?.focus();
  };
  const live = state.connection?.link === 'live';
  return (
    <div class="jp-wattle-tabs">
      <div role="tablist" aria-label={trans.__('What to show')} onKeyDown={key}>
        <TabButton tab="runs" chosen={tab} choose={choose} text={trans.__('Runs')} count={state.runs?.length} />
        <TabButton tab="workflows" chosen={tab} choose={choose} text={trans.__('Workflows')} count={state.workflows?.length} />
      </div>
      <span class="jp-wattle-spring" />
      <span class={live ? 'jp-mod-quiet' : ''}>
        <LinkState connection={state.connection} />
      </span>
    </div>
  );
}

function TabButton(props: { tab: Tab; chosen: Tab; choose: (tab: Tab) => void; text: string; count: number | undefined }) {
  const { tab, chosen } = props;
  return (
    <button type="button" role="tab" data-tab={tab} aria-selected={tab === chosen} tabindex={tab === chosen ? 0 : -1} onClick={() => props.choose(tab)}>
      {props.text}
      {props.count !== undefined && <span class="jp-wattle-count">{props.count.toLocaleString('en')}</span>}
    </button>
  );
}

const FILTERS: { look: StateName; states: StateName[]; word: () => string }[] = [
  { look: 'running', states: ['running'], word: () => trans.__('Running') },
  { look: 'queued', states: ['created', 'queued', 'waiting'], word: () => trans.__('Queued') },
  { look: 'failed', states: ['failed'], word: () => trans.__('Failed') },
  { look: 'completed', states: ['completed'], word: () => trans.__('Completed') },
  { look: 'cancelled', states: ['cancelled'], word: () => trans.__('Cancelled') }
];

function Runs(props: SidebarProps & { state: BoardState }) {
  const { board, state, active, choose, open } = props;
  const { query, runs } = state;
  // what is drawn may be a moment behind the board
  const toggle = (states: StateName[]): void => {
    const chosen = board.current.query.states;
    const on = states.every(one => chosen.includes(one));
    board.search({ ...board.current.query, states: on ? chosen.filter(one => !states.includes(one)) : [...chosen, ...states] });
  };
  const filtered = query.states.length > 0 || query.text !== '';
  return (
    <>
      <SearchField text={query.text} label={trans.__('Name of a workflow, or id of a run')} search={text => board.search({ ...board.current.query, text })} />
      <div class="jp-wattle-filters" role="group" aria-label={trans.__('States to show')}>
        {FILTERS.map(({ look, states, word }) => {
          const on = query.states.includes(look);
          return (
            <button key={look} type="button" class={`jp-wattle-filter jp-mod-${look}`} aria-pressed={on} aria-label={word()} title={word()} onClick={() => toggle(states)}>
              <StateIcon state={look} />
              <span>{word()}</span>
            </button>
          );
        })}
      </div>
      {runs === null ? (
        <Reading />
      ) : runs.length > 0 ? (
        <RunRows board={board} runs={runs} version={state} active={active} choose={choose} open={open} />
      ) : filtered ? (
        <Nothing text={trans.__('No run is like that.')} all={() => board.search(ALL)} />
      ) : (
        <FirstSteps what={trans.__('No runs yet')} />
      )}
    </>
  );
}

function Workflows({ state, start, open }: SidebarProps & { state: BoardState }) {
  const [text, setText] = useState('');
  const { workflows } = state;
  const shown = workflows?.filter(one => one.name.toLowerCase().includes(text.toLowerCase()));
  return (
    <>
      <SearchField text={text} label={trans.__('Name of a workflow')} search={setText} />
      {shown === undefined ? (
        <Reading />
      ) : shown.length > 0 ? (
        <WorkflowRows workflows={shown} start={start} open={open} />
      ) : text !== '' ? (
        <Nothing text={trans.__('No workflow is called that.')} all={() => setText('')} />
      ) : (
        <FirstSteps what={trans.__('No workflows yet')} />
      )}
    </>
  );
}

const TYPED = 150; // ms of rest before a search is sent

function SearchField({ text, label, search }: { text: string; label: string; search: (text: string) => void }) {
  const [typed, type] = useState(text);
  useEffect(() => type(old => (old.trim() === text ? old : text)), [text]);
  useEffect(() => {
    if (typed.trim() === text) return undefined;
    const timer = setTimeout(() => search(typed.trim()), TYPED);
    return () => clearTimeout(timer);
  }, [typed]);
  const escape = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && typed !== '') (type(''), event.stopPropagation());
  };
  return (
    <div class="jp-wattle-search">
      <Icon name="search" />
      <input type="search" value={typed} placeholder={label} aria-label={label} spellcheck={false} onInput={event => type(event.currentTarget.value)} onKeyDown={escape} />
    </div>
  );
}

const Reading = (): ComponentChildren => <p class="jp-wattle-empty" role="status">{trans.__('Reading…')}</p>;

function Nothing({ text, all }: { text: string; all: () => void }) {
  return (
    <div class="jp-wattle-teach">
      <p>{text}</p>
      <button type="button" class="jp-wattle-button" onClick={all}>
        {trans.__('Show all')}
      </button>
    </div>
  );
}
