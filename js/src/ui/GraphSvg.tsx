import { memo } from 'preact/compat';
import { useMemo, useRef } from 'preact/hooks';
import type { Point } from '../core/layout';
import { edgePath, fitted, NODE } from '../core/picture';
import type { Scene } from '../core/places';
import { progressOf } from '../core/progress';
import type { TaskState } from '../core/reduce';
import { stateWord } from '../core/states';
import type { Ways } from '../core/trace';
import type { Spot } from '../core/walk';
import { trans } from '../core/words';
import { Bundle, marksOf } from './GraphBundle';
import { useNow } from './hooks';
import type { Pan } from './pan';
import { StateIcon } from './StateIcon';
import { farOf, tookOf } from './taskline';

const MOST_TURNING = 16; // each icon that turns has the whole picture painted anew in every frame

/** What both ways to draw a graph are given. */
export interface Drawn {
  scene: Scene;
  tasks: TaskState[];
  selected: string | null;
  label: string;
  /** Tasks that stand out, by index; null: all alike. */
  lit: ReadonlySet<number> | null;
  /** They stand out only a little: a task is selected, nothing is pointed at. */
  calm: boolean;
  /** The task that a search is at, or -1. */
  current: number;
  /** Where the keys are. */
  spot: Spot;
  pan: Pan;
  unitWays: Ways;
  margin: number;
  onPoint: (tasks: readonly number[] | null) => void;
  onPick: (task: number, unit: number, member: number | null) => void;
  onSpot: (spot: Spot) => void;
}

/** The graph as elements of the page. */
export function GraphSvg(props: Drawn) {
  const { scene, tasks, lit, pan, spot, margin } = props;
  const running = tasks.filter(task => task.state === 'running').length;
  const now = useNow(running > 0);
  const unitLit = useMemo(() => (lit === null ? null : new Set([...lit].map(i => scene.of[i]!))), [lit, scene]);
  const latest = useRef(props);
  latest.current = props;
  const on = useMemo<UnitHandlers>(
    () => ({
      point: (unit, member) => {
        const members = unit === null ? null : (latest.current.scene.units[unit]?.members ?? []);
        latest.current.onPoint(members === null ? null : member === null ? members : [members[member] ?? 0]);
      },
      pick: (unit, member) => {
        const members = latest.current.scene.units[unit]?.members ?? [];
        if (members.length === 1 || member !== null) latest.current.onPick(members[member ?? 0] ?? 0, unit, members.length === 1 ? null : member);
        else latest.current.onSpot({ unit, member: null });
      }
    }),
    []
  );
  return (
    <svg class={`jp-wattle-svg${running > MOST_TURNING ? ' jp-mod-still' : ''}${props.calm ? ' jp-mod-calm' : ''}`} width="100%" height="100%" role="group" aria-label={props.label}>
      <g transform={`translate(${pan.x} ${pan.y}) scale(${pan.scale}) translate(${margin} ${margin})`}>
        <g class="jp-wattle-edges" aria-hidden="true">
          {scene.edges.map((edge, i) => (
            <EdgeLine key={i} points={scene.placed.edges[i]} order={edge.kind === 'order'} look={edgeLook(unitLit, props.current, edge.src, edge.dst)} />
          ))}
        </g>
        <g>
          {scene.units.map((unit, i) => {
            const at = scene.placed.nodes[i] ?? ORIGIN;
            const here = i === Math.min(spot.unit, scene.units.length - 1);
            const dim = unitLit !== null && !unitLit.has(i);
            if (unit.members.length > 1) {
              const chosen = props.selected === null ? -1 : unit.members.findIndex(task => tasks[task]?.task === props.selected);
              const current = props.current < 0 ? -1 : unit.members.indexOf(props.current);
              return <Bundle key={`*${unit.members[0]}`} name={unit.name} count={unit.members.length} marks={marksOf(unit.members, tasks, lit)} at={at} index={i} dim={dim} here={here} member={here ? spot.member : null} selected={chosen} current={current} said={here && spot.member !== null ? (tasks[unit.members[spot.member]!] ?? null) : null} on={on} />;
            }
            const task = tasks[unit.members[0]!];
            return (
              task && (
                <Node key={task.task} task={task} at={at} index={i} now={task.state === 'running' ? now : 0} selected={task.task === props.selected} current={unit.members[0] === props.current} dim={dim} here={here} on={on} />
              )
            );
          })}
        </g>
      </g>
    </svg>
  );
}

/** The bar at the bottom of a box: its middle line. */
export const FAR = { x: 9, y: NODE.height - 4, width: NODE.width - 18, thick: 3 };

const ORIGIN: Point = { x: 0, y: 0 };

function edgeLook(lit: ReadonlySet<number> | null, searched: number, a: number, b: number): 'plain' | 'lit' | 'dim' {
  if (lit === null) return 'plain';
  return searched < 0 && lit.has(a) && lit.has(b) ? 'lit' : 'dim';
}

const EdgeLine = memo(({ points, order, look }: { points: Point[] | undefined; order: boolean; look: string }) => (
  <path class={`jp-wattle-edge jp-mod-${look}${order ? ' jp-mod-order' : ''}`} d={edgePath(points ?? [])} />
));

export interface UnitHandlers {
  point: (unit: number | null, member: number | null) => void;
  pick: (unit: number, member: number | null) => void;
}

interface NodeProps {
  task: TaskState;
  at: Point;
  index: number;
  now: number;
  selected: boolean;
  current: boolean;
  dim: boolean;
  here: boolean;
  on: UnitHandlers;
}

const Node = memo(({ task, at, index, now, selected, current, dim, here, on }: NodeProps) => {
  const word = stateWord(task.state);
  const time = tookOf(task, now);
  const told = progressOf(task);
  const far = farOf(task);
  // both in a narrow box: the duration without its seconds
  const more = time !== '' ? (told === null ? time : time.replace(/ min \d+ s$/, ' min')) : task.state === 'queued' && task.attempts > 0 ? trans.__('will retry') : '';
  const classes = ['jp-wattle-node', `jp-mod-${task.state}`, selected && 'jp-mod-selected', current && 'jp-mod-current', dim && 'jp-mod-dim'];
  return (
    <g
      class={classes.filter(Boolean).join(' ')}
      transform={`translate(${at.x} ${at.y})`}
      role="button"
      tabindex={here ? 0 : -1}
      data-spot={here ? '' : undefined}
      aria-pressed={selected}
      aria-label={[task.task, word, far, time, task.reason].filter(Boolean).join(', ')}
      data-task={task.task}
      onClick={() => on.pick(index, null)}
      onMouseEnter={() => on.point(index, null)}
      onMouseLeave={() => on.point(null, null)}
      onFocus={event => event.currentTarget.matches(':focus-visible') && on.point(index, null)}
      onBlur={() => on.point(null, null)}
    >
      <title>{[task.task, task.reason || word].join('\n')}</title>
      <rect class="jp-wattle-box" width={NODE.width} height={NODE.height} rx="6" />
      <StateIcon state={task.state} x={11} y={15} />
      <text class="jp-wattle-name" x="36" y="20">{fitted(task.task, 18)}</text>
      <text class="jp-wattle-detail" x="36" y="36">
        <tspan class="jp-wattle-word">{far !== '' && task.attempts > 1 ? '' : word}</tspan>
        {far !== '' && <tspan class="jp-wattle-word">{task.attempts > 1 ? far : ` · ${far}`}</tspan>}
        {more !== '' && <tspan>{` · ${more}`}</tspan>}
        {task.attempts > 1 && <tspan>{` · #${task.attempts}`}</tspan>}
      </text>
      {told !== null && <path class="jp-wattle-far-all" d={`M${FAR.x} ${FAR.y}h${FAR.width}`} />}
      {told !== null && <path class="jp-wattle-far-done" d={`M${FAR.x} ${FAR.y}h${(FAR.width * told.fraction).toFixed(1)}`} />}
    </g>
  );
});
