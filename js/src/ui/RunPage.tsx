import { useEffect, useState } from 'preact/hooks';
import type { Feed, Verb } from '../core/feed';
import { clock, person } from '../core/format';
import type { RunState } from '../core/reduce';
import type { RunSummary } from '../core/wire';
import { trans } from '../core/words';
import { Failures } from './Failures';
import { Graph, MOST_SVG_NODES } from './Graph';
import { Header } from './Header';
import { useRun, useSize, type Live } from './hooks';
import { NARROW, quietNote, type Preferences } from './RunView';
import { Split } from './Split';
import { TaskList } from './TaskList';
import { TaskPanel } from './TaskPanel';

/** What a page remembers while it is not drawn. */
export interface PagePlace {
  task: string | null;
  /** Of the height, for what is above the bar. */
  share: number;
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
  const { feed, run, place, onPlace } = props;
  const live = useRun(feed, run);
  const { state } = live;
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    if (state !== null) props.onState(state.summary);
  }, [state?.summary]);
  const act = (verb: Verb): void => {
    setFailure(null);
    feed.act(run, verb).catch((error: unknown) => setFailure(error instanceof Error ? error.message : String(error)));
  };
  const note = quietNote({ feed, run, store: null, saved: null }, live);
  return (
    <div class="jp-wattle-run jp-wattle-page" data-live={state !== null}>
      {state === null ? (
        <p class="jp-wattle-empty" role="status">{note ?? trans.__('Looking for the run…')}</p>
      ) : (
        <Body {...props} live={live} state={state} act={act} select={task => onPlace({ ...place, task: task === place.task ? null : task })} />
      )}
      {failure !== null && <p class="jp-wattle-note jp-mod-problem" role="alert">{failure}</p>}
      {state !== null && note !== null && <p class="jp-wattle-note" role="status">{note}</p>}
    </div>
  );
}

interface BodyProps extends Props {
  live: Live;
  state: RunState;
  act: (verb: Verb) => void;
  select: (task: string) => void;
}

function Body({ feed, run, preferences, place, onPlace, live, state, act, select }: BodyProps) {
  const readOnly = live.connection?.link === 'offline' ? trans.__('The server cannot be reached') : null;
  const task = state.tasks.find(one => one.task === place.task);
  const failed = state.summary.counts.failed > 0;
  const bottom =
    task !== undefined ? (
      <TaskPanel feed={feed} run={run} task={task} readOnly={readOnly} follow={preferences.logFollow} act={act} onClose={() => onPlace({ ...place, task: null })} />
    ) : failed ? (
      <Failures feed={feed} run={run} tasks={state.tasks} onSelect={select} />
    ) : null;
  return (
    <>
      <Header state={state} connection={live.connection} readOnly={readOnly} confirmCancel={preferences.confirmCancel} act={act} />
      <About summary={state.summary} />
      <Split fits={task === undefined} share={place.share} onShare={share => onPlace({ ...place, share })} top={<Tasks state={state} selected={task?.task ?? null} select={select} />} bottom={bottom} />
    </>
  );
}

/** Who, when, with what: what the header of a cell has no room for. */
function About({ summary }: { summary: RunSummary }) {
  const params = Object.entries(summary.params);
  const when = clock(summary.started_at ?? summary.created_at, Date.now());
  const who = person(summary.user);
  const parts = [
    who === '' ? trans.__('started at %1', when) : trans.__('started by %1 at %2', who, when),
    ...params.map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
  ];
  return (
    <p class="jp-wattle-about">
      <span title={parts.join('\n')}>{parts.join(' · ')}</span>
      <code title={trans.__('Id of the run')}>{summary.id.slice(0, 8)}</code>
    </p>
  );
}

function Tasks({ state, selected, select }: { state: RunState; selected: string | null; select: (task: string) => void }) {
  const [box, { width, height }] = useSize<HTMLDivElement>();
  const { tasks, edges } = state;
  const graph = width >= NARROW && tasks.length > 0;
  const list = width > 0 && (!graph || width >= WIDE || tasks.length > MOST_SVG_NODES);
  return (
    <div class="jp-wattle-tasks" ref={box}>
      {graph && <Graph tasks={tasks} edges={edges} selected={selected} onSelect={select} label={trans.__('Tasks of %1', state.summary.workflow)} height={height} />}
      {list && <TaskList tasks={tasks} selected={selected} onSelect={task => task !== selected && select(task)} />}
    </div>
  );
}
