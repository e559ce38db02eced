import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Feed } from '../core/feed';
import { fromSaved, type RunState } from '../core/reduce';
import { isFinal } from '../core/states';
import type { SavedRun } from '../core/wire';
import { trans } from '../core/words';
import type { Doing } from './Act';
import { Deleted } from './Deleted';
import { Failures } from './Failures';
import { Graph, MOST_SVG_NODES } from './Graph';
import { Header, type View } from './Header';
import { useEscape, useRun, useSight, useWidth, type Live } from './hooks';
import { TaskList } from './TaskList';
import { BY_POINTER, TaskPanel, type Opened } from './TaskPanel';

export interface Preferences {
  logFollow: boolean;
  confirmCancel: boolean;
}

export const DEFAULTS: Preferences = { logFollow: true, confirmCancel: true };

export interface RunViewProps {
  feed: Feed | null;
  run: string | null;
  /** The store that the run belongs to, if it is known. */
  store: string | null;
  /** What to show where there is no server or it does not know the run. */
  saved: SavedRun | null;
  preferences?: Preferences;
  /** Why nothing may be done from here, or null. */
  readOnly?: string | null;
  /** The run has ended, as far as this view has seen. */
  onEnd?: (state: RunState) => void;
  /** Show it in a place of its own; absent where there is none. */
  onOpen?: ((run: string) => void) | undefined;
}

export const NARROW = 520; // px: below, names in a graph cannot be read

/** One run, live: header, graph, tasks, logs. Without a server: how it was saved. */
export function RunView(props: RunViewProps) {
  const { feed, run, saved } = props;
  const [box, width] = useWidth<HTMLDivElement>();
  const live = useRun(feed, run, useSight(box));
  const past = useMemo(() => (saved === null ? null : fromSaved(saved)), [saved]);
  const state = live.state ?? past;
  useEffect(() => {
    if (live.state !== null && isFinal(live.state.summary.state)) props.onEnd?.(live.state);
  }, [live.state?.summary.state, live.state?.seq, props.readOnly]); // trust may come after the end
  const doing: Doing = verb => (feed === null || run === null ? Promise.reject(new Error(trans.__('Not connected'))) : feed.act(run, verb));
  const note = quietNote(props, live);
  return (
    <div class="jp-wattle-run" ref={box} data-live={live.state !== null}>
      {state === null ? (
        <p class="jp-wattle-empty" role="status">{note ?? trans.__('Looking for the run…')}</p>
      ) : (
        <Body {...props} live={live} state={state} narrow={width > 0 && width < NARROW} doing={doing} />
      )}
      {state?.deleted === true && <Deleted doing={doing} readOnly={props.readOnly ?? null} />}
      {state !== null && note !== null && <p class="jp-wattle-note" role="status">{note}</p>}
    </div>
  );
}

function Body(props: RunViewProps & { live: Live; state: RunState; narrow: boolean; doing: Doing }) {
  const { live, state, narrow, doing } = props;
  const { tasks, edges, summary } = state;
  const [selected, setSelected] = useState<string | null>(null);
  const [opened, setOpened] = useState<Opened>(BY_POINTER);
  const [wanted, setWanted] = useState<View | null>(null);
  const { logFollow, confirmCancel } = props.preferences ?? DEFAULTS;
  const isLive = live.state !== null;
  const offline = live.connection?.link === 'offline' ? trans.__('The server cannot be reached') : null;
  const readOnly = isLive ? (state.deleted ? trans.__('This run was deleted') : (props.readOnly ?? offline)) : trans.__('Not connected');
  const task = tasks.find(one => one.task === selected);
  const open = (name: string | null, how: Opened): void => {
    setSelected(name);
    setOpened(how);
  };
  const toggle = (name: string, byKey: boolean): void => open(name === selected && !byKey ? null : name, { byKey, start: null });
  const [box, close] = useEscape(task !== undefined, () => open(null, BY_POINTER));
  const big = tasks.length > MOST_SVG_NODES && !narrow;
  const view = wanted ?? (narrow ? 'table' : 'graph');
  const feed = isLive ? props.feed : null;
  return (
    <div ref={box} class="jp-wattle-parts">
      <Header
        state={state}
        connection={isLive ? live.connection : null}
        readOnly={readOnly}
        confirmCancel={confirmCancel}
        doing={doing}
        acts="needed"
        onOpen={isLive ? props.onOpen : undefined}
        view={tasks.length === 0 || (big && wanted === null) ? null : view}
        onView={setWanted}
      />
      <div class={`jp-wattle-body${big ? ' jp-mod-big' : ''}`}>
        {tasks.length > 0 && view === 'graph' && <Graph tasks={tasks} edges={edges} selected={selected} onSelect={toggle} label={trans.__('Tasks of %1', summary.workflow)} />}
        {(view === 'table' || big) && <TaskList tasks={tasks} selected={selected} onSelect={name => open(name, BY_POINTER)} />}
      </div>
      {task === undefined && <Failures feed={feed} run={summary.id} tasks={tasks} readOnly={readOnly} doing={doing} onOpen={open} />}
      {task !== undefined && (
        <TaskPanel feed={feed} run={summary.id} task={task} readOnly={readOnly} follow={logFollow} doing={doing} opened={opened} onClose={close} />
      )}
    </div>
  );
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');

/** Why this view is not live, in words; null if there is nothing to say. */
export function quietNote({ feed, run, store, saved }: Pick<RunViewProps, 'feed' | 'run' | 'store' | 'saved'>, { state, problem, connection }: Live): string | null {
  if (connection?.trouble) return connection.trouble;
  if (state !== null && connection?.link === 'offline') return trans.__('The server cannot be reached. The run may go on; this view catches up by itself.');
  if (state !== null) return null;
  const shown = saved === null ? trans.__('There is nothing saved to show instead.') : trans.__('Shown as it was saved.');
  if (run === null) return null;
  if (feed === null) return `${trans.__('No connection to a Jupyter server with Wattle.')} ${shown}`;
  if (problem === null) return null;
  const other = store !== null && connection?.store != null && connection.store !== store;
  if (other) return `${trans.__('This run belongs to another store than the one of this server.')} ${shown}`;
  return problem.gone || problem.said ? `${sentence(problem.message)} ${shown}` : `${trans.__('The server cannot be reached just now; trying again.')} ${shown}`;
}
