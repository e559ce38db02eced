import { memo } from 'preact/compat';
import { useMemo, useRef, useState } from 'preact/hooks';
import { duration, elapsed } from '../core/format';
import type { Placed, Point } from '../core/layout';
import { edgePath, fitted, NODE } from '../core/picture';
import { stateWord } from '../core/states';
import { lineage, ways, type Ways } from '../core/trace';
import type { Edge, TaskRunView } from '../core/wire';
import { trans } from '../core/words';
import { GraphCanvas } from './GraphCanvas';
import { useNow, useWidth } from './hooks';
import { usePlaces } from './usePlaces';
import { StateIcon } from './StateIcon';
import { usePan, ZoomBar, type Pan } from './pan';

export const MOST_SVG_NODES = 300; // with more, 500 changes a second would stop the page for over 100 ms
const MOST_TURNING = 16; // each icon that turns has the whole picture painted anew in every frame
const MARGIN = 12; // px around the graph
const TALLEST = 440; // px

export interface GraphProps {
  tasks: TaskRunView[];
  edges: Edge[];
  selected: string | null;
  onSelect: (task: string) => void;
  label: string;
  /** px; as much as the graph needs if it is left out. */
  height?: number;
}

/** The workflow as a picture: boxes from left to right. Click or Enter opens a task, arrow keys walk along the edges. */
export function Graph(props: GraphProps) {
  const { tasks, edges } = props;
  const places = usePlaces(tasks, edges);
  const [box, width] = useWidth<HTMLDivElement>();
  const space = width || 800;
  const needed = useMemo(() => heightFor(places.size, space), [places.size, space]);
  const height = props.height ?? needed;
  const { placed } = places;
  const inner = framed(placed ?? places.size);
  const fit = Math.min(1, space / inner.width, height / inner.height);
  const pan = usePan(box, { fit, x: Math.max(0, (space - inner.width * fit) / 2), y: Math.max(0, (height - inner.height * fit) / 2) });
  const big = tasks.length > MOST_SVG_NODES;
  return (
    <div class="jp-wattle-graph" ref={box} style={{ height: `${height}px` }}>
      {placed === null ? (
        <p class="jp-wattle-arranging" role="status">{trans._n('arranging %2 task…', 'arranging %2 tasks…', tasks.length, tasks.length.toLocaleString('en'))}</p>
      ) : big ? (
        <GraphCanvas {...props} placed={placed} pan={pan} margin={MARGIN} width={space} height={height} />
      ) : (
        <Svg {...props} placed={placed} pan={pan} />
      )}
      {placed !== null && <ZoomBar pan={pan} />}
    </div>
  );
}

interface Extent {
  width: number;
  height: number;
}

const framed = ({ width, height }: Extent): Extent => ({ width: width + 2 * MARGIN, height: height + 2 * MARGIN });

function heightFor(size: Extent, space: number): number {
  const inner = framed(size);
  const fit = Math.min(1, space / inner.width, TALLEST / inner.height);
  return Math.max(72, Math.min(TALLEST, Math.ceil(inner.height * Math.max(fit, 0.12))));
}

function Svg(props: GraphProps & { placed: Placed; pan: Pan }) {
  const { tasks, edges, placed, pan, onSelect } = props;
  const links = useMemo(() => ways(tasks.map(task => task.task), edges), [placed]);
  const running = tasks.filter(task => task.state === 'running').length;
  const now = useNow(running > 0);
  const [pointed, setPointed] = useState<number | null>(null);
  const [focus, setFocus] = useState(0);
  const group = useRef<SVGGElement>(null);
  const lit = useMemo(() => (pointed === null ? null : lineage(links, pointed)), [links, pointed]);
  const index = useMemo(() => new Map(tasks.map((task, i) => [task.task, i])), [placed]);
  const walk = useRef<(event: KeyboardEvent, at: number) => void>(() => undefined);
  walk.current = (event, at) => {
    if (event.key === 'Enter' || event.key === ' ') onSelect(tasks[at]?.task ?? '');
    else {
      const to = neighbour(event.key, at, links, placed);
      if (to === null) return;
      setFocus(to);
      (group.current?.children[to] as SVGElement | undefined)?.focus();
    }
    event.preventDefault();
  };
  const handlers = useMemo<NodeHandlers>(
    () => ({ point: setPointed, key: (event, at) => walk.current(event, at), select: (task, at) => (setFocus(at), pick.current(task)) }),
    []
  );
  const pick = useRef(onSelect);
  pick.current = onSelect;
  return (
    <svg class={`jp-wattle-svg${running > MOST_TURNING ? ' jp-mod-still' : ''}`} width="100%" height="100%" role="group" aria-label={props.label}>
      <g transform={`translate(${pan.x} ${pan.y}) scale(${pan.scale}) translate(${MARGIN} ${MARGIN})`}>
        <g class="jp-wattle-edges" aria-hidden="true">
          {edges.map((edge, i) => (
            <EdgeLine key={i} points={placed.edges[i]} order={edge.kind === 'order'} look={edgeLook(lit, index.get(edge.src), index.get(edge.dst))} />
          ))}
        </g>
        <g ref={group}>
          {tasks.map((task, i) => (
            <Node
              key={task.task}
              task={task}
              at={placed.nodes[i] ?? ORIGIN}
              index={i}
              now={task.state === 'running' ? now : 0}
              selected={task.task === props.selected}
              dim={lit !== null && !lit.has(i)}
              inTabOrder={i === Math.min(focus, tasks.length - 1)}
              on={handlers}
            />
          ))}
        </g>
      </g>
    </svg>
  );
}

const ORIGIN: Point = { x: 0, y: 0 };

function edgeLook(lit: ReadonlySet<number> | null, a: number | undefined, b: number | undefined): 'plain' | 'lit' | 'dim' {
  if (lit === null) return 'plain';
  return a !== undefined && b !== undefined && lit.has(a) && lit.has(b) ? 'lit' : 'dim';
}

const EdgeLine = memo(({ points, order, look }: { points: Point[] | undefined; order: boolean; look: string }) => (
  <path class={`jp-wattle-edge jp-mod-${look}${order ? ' jp-mod-order' : ''}`} d={edgePath(points ?? [])} />
));

interface NodeHandlers {
  point: (index: number | null) => void;
  key: (event: KeyboardEvent, index: number) => void;
  select: (task: string, index: number) => void;
}

interface NodeProps {
  task: TaskRunView;
  at: Point;
  index: number;
  now: number;
  selected: boolean;
  dim: boolean;
  inTabOrder: boolean;
  on: NodeHandlers;
}

const Node = memo(({ task, at, index, now, selected, dim, inTabOrder, on }: NodeProps) => {
  const word = stateWord(task.state);
  const took = elapsed(task.started_at, task.ended_at, now);
  const time = took === null || task.state === 'skipped' ? '' : duration(took);
  const more = time !== '' ? time : task.state === 'queued' && task.attempts > 0 ? trans.__('will retry') : '';
  return (
    <g
      class={`jp-wattle-node jp-mod-${task.state}${selected ? ' jp-mod-selected' : ''}${dim ? ' jp-mod-dim' : ''}`}
      transform={`translate(${at.x} ${at.y})`}
      role="button"
      tabindex={inTabOrder ? 0 : -1}
      aria-pressed={selected}
      aria-label={[task.task, word, time, task.reason].filter(Boolean).join(', ')}
      data-task={task.task}
      onClick={() => on.select(task.task, index)}
      onKeyDown={event => on.key(event, index)}
      onMouseEnter={() => on.point(index)}
      onMouseLeave={() => on.point(null)}
      onFocus={event => event.currentTarget.matches(':focus-visible') && on.point(index)}
      onBlur={() => on.point(null)}
    >
      <title>{[task.task, task.reason || word].join('\n')}</title>
      <rect class="jp-wattle-box" width={NODE.width} height={NODE.height} rx="6" />
      <StateIcon state={task.state} x={11} y={15} />
      <text class="jp-wattle-name" x="36" y="20">{fitted(task.task, 18)}</text>
      <text class="jp-wattle-detail" x="36" y="36">
        <tspan class="jp-wattle-word">{word}</tspan>
        {more !== '' && <tspan>{` · ${more}`}</tspan>}
        {task.attempts > 1 && <tspan>{` · #${task.attempts}`}</tspan>}
      </text>
    </g>
  );
});

/** Where an arrow key leads: along an edge to the nearest, or up and down within the layer. */
function neighbour(key: string, at: number, links: Ways, placed: Placed): number | null {
  const here = placed.nodes[at] ?? ORIGIN;
  const far = (i: number): number => Math.abs((placed.nodes[i]?.y ?? 0) - here.y);
  const nearest = (of: number[]): number | null => [...of].sort((a, b) => far(a) - far(b))[0] ?? null;
  if (key === 'ArrowRight') return nearest(links.after[at] ?? []);
  if (key === 'ArrowLeft') return nearest(links.before[at] ?? []);
  if (key !== 'ArrowUp' && key !== 'ArrowDown') return null;
  const sign = key === 'ArrowDown' ? 1 : -1;
  return nearest(placed.nodes.flatMap((p, i) => (p.x === here.x && (p.y - here.y) * sign > 0 ? [i] : [])));
}
