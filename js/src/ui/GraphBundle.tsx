import { memo } from 'preact/compat';
import { useMemo, useState } from 'preact/hooks';
import { count as shown } from '../core/format';
import type { Point } from '../core/layout';
import { fitted, NODE } from '../core/picture';
import { stateWord } from '../core/states';
import { CELLS, gridOf, unitHeight, type Grid } from '../core/units';
import type { StateName, TaskRunView } from '../core/wire';
import { trans } from '../core/words';
import type { UnitHandlers } from './GraphSvg';
import { StateIcon } from './StateIcon';
import { taskLine } from './taskline';

const STATES: readonly StateName[] = ['created', 'queued', 'waiting', 'running', 'completed', 'failed', 'cancelled', 'skipped'];
const DIM = 8; // added to a state's number: it does not stand out

/** The states of the members as a text, a character each: equal texts look the same. */
export function marksOf(members: readonly number[], tasks: readonly TaskRunView[], lit: ReadonlySet<number> | null): string {
  let marks = '';
  for (const i of members) {
    const state = STATES.indexOf(tasks[i]?.state ?? 'created');
    marks += String.fromCharCode(65 + state + (lit === null || lit.has(i) ? 0 : DIM));
  }
  return marks;
}

const numberAt = (marks: string, i: number): number => marks.charCodeAt(i) - 65;

export const stateAt = (marks: string, i: number): StateName => STATES[numberAt(marks, i) % DIM] ?? 'created';

/** What the box as a whole is: what needs a reader's eye comes first. */
export function overall(marks: string): StateName {
  const seen = new Set(Array.from(marks, (_, i) => stateAt(marks, i)));
  const [only] = seen;
  if (seen.size === 1 && only !== undefined) return only;
  for (const state of ['failed', 'running', 'waiting', 'queued'] as const) if (seen.has(state)) return state;
  return seen.has('created') ? (seen.has('completed') ? 'running' : 'created') : seen.has('cancelled') ? 'cancelled' : 'completed';
}

interface Props {
  name: string;
  count: number;
  marks: string;
  at: Point;
  index: number;
  dim: boolean;
  /** The keys are here, at the box or at one of its members. */
  here: boolean;
  member: number | null;
  selected: number;
  current: number;
  said: TaskRunView | null;
  on: UnitHandlers;
}

/** Many tasks that are alike: one box, a small square for each. */
export const Bundle = memo(({ name, count, marks, at, index, dim, here, member, selected, current, said, on }: Props) => {
  const grid = gridOf(count);
  const height = unitHeight(count, NODE.height);
  const state = overall(marks);
  const [under, setUnder] = useState<number | null>(null);
  const told = useMemo(() => tally(marks), [marks]);
  const hover = (to: number | null): void => {
    if (to === under) return;
    setUnder(to);
    on.point(index, to);
  };
  const classes = ['jp-wattle-node', 'jp-wattle-bundle', `jp-mod-${state}`, selected >= 0 && 'jp-mod-holds', dim && 'jp-mod-dim'];
  return (
    <g
      class={classes.filter(Boolean).join(' ')}
      transform={`translate(${at.x} ${at.y})`}
      role="button"
      tabindex={here ? 0 : -1}
      data-spot={here ? '' : undefined}
      data-bundle={name}
      aria-label={said === null ? trans.__('%1: %2', trans.__('%1, %2 tasks', name, shown(count)), told) : taskLine(said)}
      onClick={event => on.pick(index, cellAt(event, grid, count))}
      onMouseMove={event => hover(cellAt(event, grid, count))}
      onMouseEnter={() => on.point(index, null)}
      onMouseLeave={() => (setUnder(null), on.point(null, null))}
    >
      <rect class="jp-wattle-box jp-mod-behind" x="4" y="-4" width={NODE.width - 8} height={height} rx="6" />
      <rect class="jp-wattle-box" width={NODE.width} height={height} rx="6" />
      <StateIcon state={state} x={11} y={12} />
      <text class="jp-wattle-name" x="36" y="18">{`${fitted(name, 12)} × ${shown(count)}`}</text>
      <text class="jp-wattle-detail" x="36" y="33">{brief(marks)}</text>
      <g transform={`translate(${CELLS.left} ${CELLS.top})`}>
        <rect class="jp-wattle-cells" width={grid.columns * grid.pitch} height={grid.rows * grid.pitch} />
        <Cells marks={marks} grid={grid} />
        <Ring at={selected} grid={grid} kind="selected" />
        <Ring at={current} grid={grid} kind="current" />
        <Ring at={member ?? -1} grid={grid} kind="active" />
        <Ring at={under ?? -1} grid={grid} kind="under" />
      </g>
    </g>
  );
});

/** The same in a few words: how many are done, and what needs an eye. */
function brief(marks: string): string {
  const number = (state: StateName): number => Array.from(marks, (_, i) => i).filter(i => stateAt(marks, i) === state).length;
  const done = trans.__('%1 of %2', shown(number('completed')), shown(marks.length));
  for (const state of ['failed', 'running', 'cancelled'] as const) {
    if (number(state) > 0) return fitted(`${done} · ${shown(number(state))} ${stateWord(state)}`, 26);
  }
  return done;
}

/** How many are in which state, in words: what needs an eye first. */
function tally(marks: string): string {
  const counts = new Map<StateName, number>();
  for (let i = 0; i < marks.length; i++) counts.set(stateAt(marks, i), (counts.get(stateAt(marks, i)) ?? 0) + 1);
  const order: StateName[] = ['failed', 'running', 'completed', 'cancelled', 'waiting', 'queued', 'created', 'skipped'];
  return order.flatMap(state => (counts.has(state) ? [trans.__('%1 %2', shown(counts.get(state) ?? 0), stateWord(state))] : [])).join(' · ');
}

/** All squares of a state are one path: thousands of elements would be slow. */
const Cells = memo(({ marks, grid }: { marks: string; grid: Grid }) => {
  const side = grid.pitch * (grid.pitch >= 6 ? 0.8 : 0.86);
  const [s, back] = [side.toFixed(2), (-side).toFixed(2)];
  const paths = new Map<number, string>();
  for (let i = 0; i < marks.length; i++) {
    const kind = numberAt(marks, i);
    const x = ((i % grid.columns) * grid.pitch).toFixed(1);
    const y = (Math.floor(i / grid.columns) * grid.pitch).toFixed(1);
    paths.set(kind, `${paths.get(kind) ?? ''}M${x} ${y}h${s}v${s}h${back}z`);
  }
  return (
    <>
      {[...paths].map(([kind, d]) => (
        <path key={kind} class={`jp-wattle-cell jp-mod-${STATES[kind % DIM]}${kind >= DIM ? ' jp-mod-faint' : ''}`} d={d} />
      ))}
    </>
  );
});

function Ring({ at, grid, kind }: { at: number; grid: Grid; kind: string }) {
  if (at < 0) return null;
  const side = grid.pitch * 0.86;
  return (
    <rect class={`jp-wattle-ring jp-mod-${kind}`} x={(at % grid.columns) * grid.pitch - 1} y={Math.floor(at / grid.columns) * grid.pitch - 1} width={side + 2} height={side + 2} rx="1.5" />
  );
}

/** Which member is under the pointer. */
function cellAt(event: MouseEvent, { columns, rows }: Grid, count: number): number | null {
  const box = (event.currentTarget as Element).querySelector('.jp-wattle-cells')?.getBoundingClientRect();
  if (box === undefined || box.width === 0) return null;
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
  const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
  const at = row * columns + column;
  return column >= 0 && column < columns && row >= 0 && at < count && row < rows ? at : null;
}
