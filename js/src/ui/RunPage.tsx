import { useEffect, useRef, useState } from 'preact/hooks';
import type { Feed } from '../core/feed';
import type { RunState } from '../core/reduce';
import type { RunSummary } from '../core/wire';
import { trans } from '../core/words';
import type { Doing } from './Act';
import { Deleted } from './Deleted';
import { Failures } from './Failures';
import { Graph, MOST_SVG_NODES } from './Graph';
import { Header, type View } from './Header';
import { useEscape, useRun, useSight, useSize, useWidth, type Live } from './hooks';
import { NARROW, quietNote, type Preferences } from './RunView';
import { Split } from './Split';
import { TaskList } from './TaskList';
import { BY_POINTER, TaskPanel, type Opened } from './TaskPanel';

/** What a page remembers while it is not drawn. */
export interface PagePlace {
  task: string | null;
  /** Of the height, for what is above the bar. */
  share: number;
  /** How the tasks are shown; what fits if it is left out. */
  view?: View;
  /** Where the log of the task is to be opened: a link to a line led here. */
  opened?: Opened;
}

interface Props {
  feed: Feed;
  run: string;
  preferences: Preferences;
  place: PagePlace;
  onPlace: (place: PagePlace) => void;
  onState: (summary: RunSummary) => void;
}

const WIDE = 1040; // px: room for graph and list

/** One run with a whole tab to itself: the parts of the view in a cell, arranged to fill the space. */
export function RunPage(props: Props) {
  const { feed, run } = props;
  const box = useRef<HTMLDivElement>(null);
  const live = useRun(feed, run, useSight(box));
  const { state } = live;
  useEffect(() => {
    if (state !== null) props.onState(state.summary);
  }, [state?.summary]);
  const doing: Doing = verb => feed.act(run, verb);
  const note = quietNote({ feed, run, store: null, saved: null }, live);
  return (
    <div ref={box} class="jp-wattle-run jp-wattle-page" data-live={state !== null}>
      {state === null ? (
        <p class="jp-wattle-empty" role="status">{note ?? trans.__('Looking for the run…')}</p>
      ) : (
        <Body {...props} live={live} state={state} doing={doing} />
      )}
      {state?.deleted === true && <Deleted doing={doing} readOnly={null} />}
      {state !== null && note !== null && <p class="jp-wattle-note" role="status">{note}</p>}
    </div>
  );
}

function Body({ feed, run, preferences, place, onPlace, live, state, doing }: Props & { live: Live; state: RunState; doing: Doing }) {
  const offline = live.connection?.link === 'offline' ? trans.__('The server cannot be reached') : null;
  const readOnly = state.deleted ? trans.__('This run was deleted') : offline;
  const [opened, setOpened] = useState<Opened>(place.opened ?? BY_POINTER);
  useEffect(() => (place.opened === undefined ? undefined : setOpened(place.opened)), [place.opened]);
  const task = state.tasks.find(one => one.task === place.task);
  const failed = state.summary.counts.failed > 0;
  const open = (name: string | null, how: Opened): void => {
    setOpened(how);
    onPlace({ ...place, task: name });
  };
  const toggle = (name: string, byKey: boolean): void => open(name === place.task && !byKey ? null : name, { byKey, start: null });
  const [box, close] = useEscape(task !== undefined, () => open(null, BY_POINTER));
  const [measured, width] = useWidth<HTMLDivElement>();
  const view = place.view ?? (width >= NARROW ? 'graph' : 'table');
  const bottom =
    task !== undefined ? (
      <TaskPanel feed={feed} run={run} task={task} readOnly={readOnly} follow={preferences.logFollow} doing={doing} opened={opened} onClose={close} />
    ) : failed ? (
      <Failures feed={feed} run={run} tasks={state.tasks} readOnly={readOnly} doing={doing} onOpen={open} />
    ) : null;
  return (
    <div ref={box} class="jp-wattle-parts">
      <div ref={measured} />
      <Header
        state={state}
        connection={live.connection}
        readOnly={readOnly}
        confirmCancel={preferences.confirmCancel}
        doing={doing}
        acts={width >= NARROW ? 'all' : 'possible'}
        view={state.tasks.length === 0 ? null : view}
        onView={to => onPlace({ ...place, view: to })}
      />
      <Split
        fits={task === undefined}
        share={place.share}
        onShare={share => onPlace({ ...place, share })}
        top={<Tasks state={state} selected={task?.task ?? null} view={view} select={toggle} show={name => open(name, BY_POINTER)} />}
        bottom={bottom}
      />
    </div>
  );
}

interface TasksProps {
  state: RunState;
  selected: string | null;
  view: View;
  select: (task: string, byKey: boolean) => void;
  show: (task: string) => void;
}

/** The graph, with the table beside it where there is room; or the table alone. */
function Tasks({ state, selected, view, select, show }: TasksProps) {
  const [box, { width, height }] = useSize<HTMLDivElement>();
  const { tasks, edges } = state;
  const graph = view === 'graph' && width > 0 && tasks.length > 0;
  const list = width > 0 && (!graph || width >= WIDE || tasks.length > MOST_SVG_NODES);
  return (
    <div class="jp-wattle-tasks" ref={box}>
      {graph && <Graph tasks={tasks} edges={edges} selected={selected} onSelect={select} label={trans.__('Tasks of %1', state.summary.workflow)} height={height} />}
      {list && <TaskList tasks={tasks} selected={selected} onSelect={show} />}
    </div>
  );
}
