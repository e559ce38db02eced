import { useEffect, useMemo, useRef, useState, type MutableRef } from 'preact/hooks';
import type { Placed } from '../core/layout';
import { fitted, NODE } from '../core/picture';
import { progressOf } from '../core/progress';
import type { TaskState } from '../core/reduce';
import { CELLS, gridOf } from '../core/units';
import { boxOf } from '../core/walk';
import type { StateName } from '../core/wire';
import { trans } from '../core/words';
import { marksOf, overall, stateAt } from './GraphBundle';
import { FAR, type Drawn } from './GraphSvg';
import { farOf, taskLine } from './taskline';

interface Props extends Drawn {
  width: number;
  height: number;
}

const FAINT = 0.22; // what does not stand out
const CALM = 0.5;

/**
 * The graph as bitmaps, for more boxes than the page could hold: the edges, which stand still while states change, and
 * the boxes over them. The box where the keys are is also a button, for screen readers; the list of tasks says the rest.
 */
export function GraphCanvas(props: Props) {
  const { width, height, pan, scene, tasks, selected, lit, spot } = props;
  const place = [width, height, pan.x, pan.y, pan.scale, scene, useTheme()];
  const edges = usePainted((context, ink) => drawEdges(context, ink, props), [...place, lit === null]);
  const [focused, setFocused] = useState(false);
  const [hover, setHover] = useState(-1);
  const colours = useRef<StateName[]>([]);
  colours.current = useMemo(() => statesOf(props), [scene, tasks]);
  const boxes = usePainted((context, ink) => drawBoxes(context, ink, props, colours.current, focused), [...place, tasks, selected, lit, spot, focused, props.current, props.calm]);
  const unit = scene.units[spot.unit];
  const here = unit === undefined ? undefined : tasks[unit.members[spot.member ?? 0]!];
  const pick = (event: MouseEvent): void => {
    const hit = unitAt(props, event.offsetX, event.offsetY);
    if (hit >= 0) props.onPick(scene.units[hit]!.members[0]!, hit, null);
  };
  const point = (event: MouseEvent): void => {
    if (event.buttons !== 0) return; // being dragged
    const hit = unitAt(props, event.offsetX, event.offsetY);
    if (hit === hover) return;
    setHover(hit);
    props.onPoint(hit < 0 ? null : scene.units[hit]!.members);
  };
  const ratio = globalThis.devicePixelRatio || 1;
  const size = {
    ...{ class: 'jp-wattle-canvas', width: Math.round(width * ratio), height: Math.round(height * ratio) },
    style: { width: `${width}px`, height: `${height}px`, cursor: hover < 0 ? undefined : 'pointer' }
  };
  return (
    <>
      <canvas {...size} ref={edges} aria-hidden="true" />
      <canvas
        {...size}
        ref={boxes}
        role="img"
        aria-label={`${props.label}. ${trans.__('The list of tasks shows the same.')}`}
        onClick={pick}
        onMouseMove={point}
        onMouseLeave={() => (setHover(-1), props.onPoint(null))}
      />
      {here !== undefined && (
        <button type="button" class="jp-wattle-hidden" data-spot="" aria-label={labelOf(here, unit!.members.length, unit!.name)} onFocus={() => setFocused(true)} onBlur={() => setFocused(false)} />
      )}
    </>
  );
}

const labelOf = (task: TaskState, count: number, name: string): string => (count === 1 ? taskLine(task) : trans._n('%2, %1 task', '%2, %1 tasks', count, name));

function statesOf({ scene, tasks }: Props): StateName[] {
  return scene.units.map(({ members }) => (members.length === 1 ? (tasks[members[0]!]?.state ?? 'created') : overall(marksOf(members, tasks, null))));
}

type Paint = (context: CanvasRenderingContext2D, ink: Ink) => void;

/** A canvas that is painted whenever one of `on` has changed. */
function usePainted(paint: Paint, on: unknown[]): MutableRef<HTMLCanvasElement | null> {
  const canvas = useRef<HTMLCanvasElement | null>(null);
  useEffect(() => {
    const context = canvas.current?.getContext('2d') ?? null;
    if (canvas.current !== null && context !== null) paint(context, inks(canvas.current));
  }, on);
  return canvas;
}

/** Changes when the page's theme may have changed: colours in a bitmap do not follow by themselves. */
function useTheme(): number {
  const [changes, setChanges] = useState(0);
  useEffect(() => {
    const ended = new AbortController();
    const later = (): void => {
      if (!ended.signal.aborted) setChanges(n => n + 1);
    };
    // JupyterLab names the theme on the body first and loads its style sheet then
    const observer = new MutationObserver(() => (later(), setTimeout(later, 300)));
    observer.observe(document.body, { attributes: true, attributeFilter: ['class', 'data-jp-theme-name', 'data-jp-theme-light'] });
    for (const query of ['(forced-colors: active)', '(prefers-color-scheme: dark)']) window.matchMedia?.(query).addEventListener('change', later, { signal: ended.signal });
    return () => (ended.abort(), observer.disconnect());
  }, []);
  return changes;
}

const paths = new WeakMap<Placed, Path2D>();

function edgesPath(placed: Placed): Path2D {
  const known = paths.get(placed);
  if (known !== undefined) return known;
  const path = new Path2D();
  paths.set(placed, path);
  placed.edges.forEach(points => addEdge(path, points));
  return path;
}

function addEdge(path: Path2D, points: Placed['edges'][number]): void {
  points.forEach((to, i) => {
    const from = points[i - 1];
    if (from === undefined) path.moveTo(to.x, to.y);
    else if (i % 2 === 0) path.lineTo(to.x, to.y);
    else path.bezierCurveTo((from.x + to.x) / 2, from.y, (from.x + to.x) / 2, to.y, to.x, to.y);
  });
}

type Ink = (name: string) => string;

function inks(element: Element): Ink {
  const style = getComputedStyle(element);
  const known = new Map<string, string>();
  return name => {
    const before = known.get(name);
    if (before !== undefined) return before;
    const ink = style.getPropertyValue(`--jp-wattle-${name}`).trim() || '#888';
    known.set(name, ink);
    return ink;
  };
}

/** Empty, in the coordinates of the layout. */
function clear(context: CanvasRenderingContext2D, { pan, margin, width, height }: Props): void {
  const ratio = globalThis.devicePixelRatio || 1;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.translate(pan.x, pan.y);
  context.scale(pan.scale, pan.scale);
  context.translate(margin, margin);
}

function drawEdges(context: CanvasRenderingContext2D, ink: Ink, props: Props): void {
  clear(context, props);
  const { scale } = props.pan;
  context.globalAlpha = (scale < 0.3 ? 0.35 : 0.8) * (props.lit === null ? 1 : 0.4);
  context.strokeStyle = ink('edge');
  context.lineWidth = lineWidth(scale);
  context.stroke(edgesPath(props.scene.placed));
  context.globalAlpha = 1;
}

const lineWidth = (scale: number): number => Math.min(3, Math.max(1, 0.5 / scale));

function drawBoxes(context: CanvasRenderingContext2D, ink: Ink, props: Props, states: readonly StateName[], focused: boolean): void {
  clear(context, props);
  const { scene, lit, calm, current, spot, pan } = props;
  const stands = (unit: number): boolean => lit === null || scene.units[unit]!.members.some(i => lit.has(i));
  if (lit !== null && current < 0) drawLit(context, ink, props, stands);
  const seen = inSight(props);
  const groups = new Map<string, number[]>();
  scene.units.forEach((_, i) => {
    if (!seen(i)) return;
    const key = `${states[i]} ${stands(i)}`;
    const same = groups.get(key);
    if (same === undefined) groups.set(key, [i]);
    else same.push(i);
  });
  for (const [key, which] of groups) {
    const [state = 'created', stand] = key.split(' ') as [StateName, string];
    context.globalAlpha = stand === 'true' ? 1 : calm ? CALM : FAINT;
    drawState(context, ink, state, which, props);
  }
  context.globalAlpha = 1;
  if (focused) outline(context, ink('accent'), props, spot.unit, 3);
  if (current >= 0) outline(context, ink('ink'), props, scene.of[current] ?? 0, 3);
  const chosen = props.selected === null ? -1 : props.tasks.findIndex(task => task.task === props.selected);
  if (chosen >= 0) outline(context, ink('accent'), props, scene.of[chosen] ?? 0, 2 / Math.min(1, pan.scale + 0.5));
}

function drawLit(context: CanvasRenderingContext2D, ink: Ink, { scene, pan }: Props, stands: (unit: number) => boolean): void {
  const path = new Path2D();
  scene.edges.forEach(({ src, dst }, i) => {
    if (src >= 0 && dst >= 0 && stands(src) && stands(dst)) addEdge(path, scene.placed.edges[i] ?? []);
  });
  context.strokeStyle = ink('accent');
  context.lineWidth = lineWidth(pan.scale) * 1.4;
  context.stroke(path);
}

function inSight({ pan, margin, width, height, scene }: Props): (unit: number) => boolean {
  const [left, top] = [-pan.x / pan.scale - margin, -pan.y / pan.scale - margin];
  const [right, bottom] = [left + width / pan.scale, top + height / pan.scale];
  return unit => {
    const at = scene.placed.nodes[unit];
    return at !== undefined && at.x < right && at.x + NODE.width > left && at.y < bottom && at.y + boxOf(scene, unit).height > top;
  };
}

function drawState(context: CanvasRenderingContext2D, ink: Ink, state: StateName, which: number[], props: Props): void {
  const { pan, scene, tasks, lit } = props;
  const small = pan.scale < 0.45;
  context.fillStyle = small ? ink(`c-${state}`) : ink('paper');
  context.strokeStyle = ink(`c-${state}`);
  context.lineWidth = 1.5;
  context.font = '500 13px system-ui, sans-serif';
  for (const i of which) {
    const { name, members } = scene.units[i]!;
    const box = boxOf(scene, i);
    const many = members.length > 1;
    context.fillStyle = small && !many ? ink(`c-${state}`) : ink('paper');
    context.beginPath();
    context.roundRect(box.x, box.y, box.width, box.height, 6);
    context.fill();
    if (!small || many) context.stroke();
    if (many) drawCells(context, ink, marksOf(members, tasks, lit), box.x + CELLS.left, box.y + CELLS.top);
    if (small) continue;
    context.fillStyle = ink(`c-${state}`);
    context.fillRect(box.x + 10, box.y + 12, 4, NODE.height - 24);
    context.fillStyle = ink('ink');
    const task = many ? undefined : tasks[members[0]!];
    const far = task === undefined ? '' : farOf(task);
    context.fillText(many ? `${fitted(name, 14)} × ${members.length}` : fitted(name, far === '' ? 20 : 10), box.x + 24, box.y + 28);
    if (task !== undefined && far !== '') drawFar(context, ink, task, far, box);
  }
}

function drawFar(context: CanvasRenderingContext2D, ink: Ink, task: TaskState, far: string, box: { x: number; y: number }): void {
  const [left, top] = [box.x + FAR.x, box.y + FAR.y - FAR.thick / 2];
  context.fillStyle = ink('line');
  context.fillRect(left, top, FAR.width, FAR.thick);
  context.fillStyle = ink(`c-${task.state}`);
  context.fillRect(left, top, FAR.width * (progressOf(task)?.fraction ?? 0), FAR.thick);
  context.textAlign = 'right';
  context.fillText(far, box.x + NODE.width - 9, box.y + 28);
  context.textAlign = 'left';
}

function drawCells(context: CanvasRenderingContext2D, ink: Ink, marks: string, left: number, top: number): void {
  const { pitch, columns } = gridOf(marks.length);
  for (let i = 0; i < marks.length; i++) {
    context.fillStyle = ink(`c-${stateAt(marks, i)}`);
    context.fillRect(left + (i % columns) * pitch, top + Math.floor(i / columns) * pitch, pitch * 0.82, pitch * 0.82);
  }
}

function outline(context: CanvasRenderingContext2D, colour: string, { pan, scene }: Props, unit: number, pixels: number): void {
  const box = boxOf(scene, unit);
  context.strokeStyle = colour;
  context.lineWidth = pixels / pan.scale;
  const room = 3 / pan.scale;
  context.strokeRect(box.x - room, box.y - room, box.width + 2 * room, box.height + 2 * room);
}

function unitAt({ pan, margin, scene }: Props, x: number, y: number): number {
  const [gx, gy] = [(x - pan.x) / pan.scale - margin, (y - pan.y) / pan.scale - margin];
  return scene.placed.nodes.findIndex((at, i) => gx >= at.x && gx <= at.x + NODE.width && gy >= at.y && gy <= at.y + boxOf(scene, i).height);
}
