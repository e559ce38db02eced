import { useEffect, useRef, useState, type MutableRef } from 'preact/hooks';
import type { Placed, Point } from '../core/layout';
import { fitted, NODE } from '../core/picture';
import type { StateName, TaskRunView } from '../core/wire';
import { trans } from '../core/words';
import type { Pan } from './pan';

interface Props {
  tasks: TaskRunView[];
  selected: string | null;
  onSelect: (task: string) => void;
  label: string;
  placed: Placed;
  pan: Pan;
  margin: number;
  width: number;
  height: number;
}

/**
 * The graph as bitmaps, for more boxes than the page could hold: the edges, which stand still while states change, and
 * the boxes over them. The list of tasks beside it is the accessible way.
 */
export function GraphCanvas(props: Props) {
  const { width, height, pan, placed, tasks, selected } = props;
  const place = [width, height, pan.x, pan.y, pan.scale, placed, useTheme()];
  const edges = usePainted((context, ink) => drawEdges(context, ink, props), place);
  const boxes = usePainted((context, ink) => drawBoxes(context, ink, props), [...place, tasks, selected]);
  const pick = (event: MouseEvent): void => {
    const hit = taskAt(props, event.offsetX, event.offsetY);
    if (hit !== null) props.onSelect(hit);
  };
  const ratio = globalThis.devicePixelRatio || 1;
  const size = {
    ...{ class: 'jp-wattle-canvas', width: Math.round(width * ratio), height: Math.round(height * ratio) },
    style: { width: `${width}px`, height: `${height}px` }
  };
  return (
    <>
      <canvas {...size} ref={edges} aria-hidden="true" />
      <canvas {...size} ref={boxes} role="img" aria-label={`${props.label}. ${trans.__('The list of tasks shows the same.')}`} onClick={pick} />
    </>
  );
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
    const later = (): void => setChanges(n => n + 1);
    // JupyterLab names the theme on the body first and loads its style sheet then
    const observer = new MutationObserver(() => (later(), setTimeout(later, 300)));
    observer.observe(document.body, { attributes: true, attributeFilter: ['class', 'data-jp-theme-name', 'data-jp-theme-light'] });
    return () => observer.disconnect();
  }, []);
  return changes;
}

const paths = new WeakMap<Placed, Path2D>();

function edgesPath(placed: Placed): Path2D {
  const known = paths.get(placed);
  if (known !== undefined) return known;
  const path = new Path2D();
  paths.set(placed, path);
  for (const points of placed.edges) {
    points.forEach((to, i) => {
      const from = points[i - 1];
      if (from === undefined) path.moveTo(to.x, to.y);
      else if (i % 2 === 0) path.lineTo(to.x, to.y);
      else path.bezierCurveTo((from.x + to.x) / 2, from.y, (from.x + to.x) / 2, to.y, to.x, to.y);
    });
  }
  return path;
}

type Ink = (name: string) => string;

function inks(element: Element): Ink {
  const style = getComputedStyle(element);
  return name => style.getPropertyValue(`--jp-wattle-${name}`).trim() || '#888';
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
  context.globalAlpha = scale < 0.3 ? 0.35 : 0.8;
  context.strokeStyle = ink('edge');
  context.lineWidth = Math.min(3, Math.max(1, 0.5 / scale));
  context.stroke(edgesPath(props.placed));
  context.globalAlpha = 1;
}

function drawBoxes(context: CanvasRenderingContext2D, ink: Ink, props: Props): void {
  clear(context, props);
  const { placed, tasks } = props;
  const seen = inSight(props);
  const byState = new Map<StateName, number[]>();
  tasks.forEach(({ state }, i) => {
    if (!seen(placed.nodes[i])) return;
    const same = byState.get(state);
    if (same === undefined) byState.set(state, [i]);
    else same.push(i);
  });
  for (const [state, which] of byState) drawState(context, ink, state, which, props);
}

function inSight({ pan, margin, width, height }: Props): (at: Point | undefined) => boolean {
  const [left, top] = [-pan.x / pan.scale - margin, -pan.y / pan.scale - margin];
  const [right, bottom] = [left + width / pan.scale, top + height / pan.scale];
  return at => at !== undefined && at.x < right && at.x + NODE.width > left && at.y < bottom && at.y + NODE.height > top;
}

function drawState(context: CanvasRenderingContext2D, ink: Ink, state: StateName, which: number[], props: Props): void {
  const { pan, placed, tasks, selected } = props;
  const small = pan.scale < 0.45;
  context.fillStyle = small ? ink(`c-${state}`) : ink('paper');
  context.strokeStyle = ink(`c-${state}`);
  context.lineWidth = 1.5;
  context.font = '500 13px system-ui, sans-serif';
  for (const i of which) {
    const at = placed.nodes[i] as Point;
    context.beginPath();
    context.roundRect(at.x, at.y, NODE.width, NODE.height, 6);
    context.fill();
    if (!small) {
      context.stroke();
      context.save();
      context.fillStyle = ink(`c-${state}`);
      context.fillRect(at.x + 10, at.y + 12, 4, NODE.height - 24);
      context.fillStyle = ink('ink');
      context.fillText(fitted(tasks[i]?.task ?? '', 20), at.x + 24, at.y + 28);
      context.restore();
    }
    if (tasks[i]?.task === selected) outline(context, ink, at, pan.scale);
  }
}

function outline(context: CanvasRenderingContext2D, ink: Ink, at: Point, scale: number): void {
  context.save();
  context.strokeStyle = ink('ink');
  context.lineWidth = 2 / scale;
  context.strokeRect(at.x - 3 / scale, at.y - 3 / scale, NODE.width + 6 / scale, NODE.height + 6 / scale);
  context.restore();
}

function taskAt({ pan, margin, placed, tasks }: Props, x: number, y: number): string | null {
  const [gx, gy] = [(x - pan.x) / pan.scale - margin, (y - pan.y) / pan.scale - margin];
  const hit = placed.nodes.findIndex(at => gx >= at.x && gx <= at.x + NODE.width && gy >= at.y && gy <= at.y + NODE.height);
  return tasks[hit]?.task ?? null;
}
