import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { count } from '../core/format';
import { NODE } from '../core/picture';
import type { Scene } from '../core/places';
import { found, lineage, ways, waysOf } from '../core/trace';
import { boxOf, walked, type Spot } from '../core/walk';
import type { TaskState } from '../core/reduce';
import type { Edge, TaskRunView } from '../core/wire';
import { trans } from '../core/words';
import { GraphCanvas } from './GraphCanvas';
import { GraphSearch } from './GraphSearch';
import { GraphSvg } from './GraphSvg';
import { useOwnKeys, useWidth } from './hooks';
import { usePan, zoomKey, ZoomBar, type Home } from './pan';
import { taskLine } from './taskline';
import { useScene } from './usePlaces';

export const MOST_SVG_NODES = 300; // with more, 500 changes a second would stop the page for over 100 ms
export const MARGIN = 12; // px around the graph
const TALLEST = 440; // px
const LEGIBLE = 0.7; // of the natural size: names can just be read

export interface GraphProps {
  tasks: TaskState[];
  edges: Edge[];
  selected: string | null;
  /** `byKey`: the reader is at the keyboard. */
  onSelect: (task: string, byKey: boolean) => void;
  label: string;
  /** px; as much as the graph needs if it is left out, and the wheel scrolls the page then. */
  height?: number;
  /** At first every task has a box of its own, also where tasks are alike. */
  apart?: boolean;
}

/**
 * The workflow as a picture: boxes from left to right. Click or Enter opens a task, arrow keys walk along the edges,
 * `/` searches, `+` `-` `0` zoom. Tasks that are alike share a box where there are many.
 */
export function Graph(props: GraphProps) {
  const { tasks, edges } = props;
  const [split, setSplit] = useState(props.apart ?? false);
  const { scene, room } = useScene(tasks, edges, split);
  const [box, width] = useWidth<HTMLDivElement>();
  const space = width || 800;
  const needed = useMemo(() => heightFor(room, space), [room, space]);
  const height = props.height ?? needed;
  const large = (scene?.units.length ?? 0) > MOST_SVG_NODES;
  const inner = framed(scene?.placed ?? room);
  const front = useFront(scene, tasks);
  const pan = usePan(box, useHome(inner, { width: space, height }, large, front), props.height !== undefined);
  useOwnKeys(box);

  const [pointed, point] = useState<readonly number[] | null>(null);
  const [query, setQuery] = useState<string | null>(null);
  const [hit, setHit] = useState(0);
  const [spot, setSpot] = useState<Spot>({ unit: 0, member: null });
  const names = useMemo(() => tasks.map(task => task.task), [scene]);
  const taskWays = useMemo(() => ways(names, edges), [names]);
  const unitWays = useMemo(() => waysOf(scene?.units.length ?? 0, scene?.edges ?? []), [scene]);
  const hits = useMemo(() => (query === null ? [] : found(names, query)), [names, query]);
  const chosen = props.selected === null ? -1 : names.indexOf(props.selected);
  const lit = useMemo(() => {
    if (query) return new Set(hits);
    const from = pointed ?? (chosen < 0 ? null : [chosen]);
    return from === null ? null : lineage(taskWays, ...from);
  }, [query, hits, pointed, chosen, taskWays]);
  useEffect(() => setSpot({ unit: 0, member: null }), [scene]);

  const goTo = (task: number): void => {
    const unit = scene?.of[task];
    if (scene === null || unit === undefined) return;
    setSpot({ unit, member: scene.units[unit]!.members.length > 1 ? scene.units[unit]!.members.indexOf(task) : null });
    pan.show(inMargin(boxOf(scene, unit)), true);
  };
  const search = (text: string | null): void => {
    setQuery(text);
    setHit(0);
    const first = text ? found(names, text)[0] : undefined;
    if (first !== undefined) goTo(first);
    if (text === null) focusNode();
  };
  const next = (step: number): void => {
    if (hits.length === 0) return;
    const to = (hit + step + hits.length) % hits.length;
    setHit(to);
    goTo(hits[to]!);
  };
  const focusNode = (): void => (box.current?.querySelector('[data-spot]') as HTMLElement | SVGElement | null)?.focus();
  const walkedTo = useRef<Spot | null>(null);
  useEffect(() => {
    if (walkedTo.current === spot) focusNode();
  }, [spot]);

  const key = (event: KeyboardEvent): void => {
    if (scene === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if ((event.target as Element).closest('.jp-wattle-tools') !== null) return;
    const { units } = scene;
    const members = units[spot.unit]?.members ?? [];
    if (event.key === '/') setQuery(query ?? '');
    else if (event.key === 'Enter' || event.key === ' ') {
      if (members.length > 1 && spot.member === null) setSpot({ ...spot, member: notable(tasks, members) });
      else props.onSelect(names[members[spot.member ?? 0] ?? -1] ?? '', true);
    } else if (event.key === 'Escape' && spot.member !== null) setSpot({ ...spot, member: null });
    else if (event.key === 'Escape' && query !== null) search(null);
    else if (!zoomKey(event.key, pan)) {
      const to = walked(event.key, spot, scene, unitWays);
      if (to === null) return;
      walkedTo.current = to;
      setSpot(to);
      pan.show(inMargin(boxOf(scene, to.unit)));
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const grouped = (scene?.units.length ?? 0) < tasks.length;
  const shared = {
    ...{ scene: scene!, tasks, selected: props.selected, label: props.label, lit, spot, pan, unitWays, margin: MARGIN },
    calm: !query && pointed === null,
    current: query ? (hits[hit] ?? -1) : -1,
    onPoint: point,
    onPick: (task: number, unit: number, member: number | null) => {
      setSpot({ unit, member });
      props.onSelect(names[task] ?? '', false);
    },
    onSpot: setSpot
  };
  return (
    <div class={`jp-wattle-graph${props.height === undefined ? '' : ' jp-mod-owns'}`} ref={box} style={{ height: `${height}px` }} onKeyDown={key}>
      {scene === null ? (
        <p class="jp-wattle-arranging" role="status">{trans._n('arranging %2 task…', 'arranging %2 tasks…', tasks.length, count(tasks.length))}</p>
      ) : large ? (
        <GraphCanvas {...shared} width={space} height={height} />
      ) : (
        <GraphSvg {...shared} />
      )}
      {pan.x + MARGIN * pan.scale < -1 && <i class="jp-wattle-more jp-mod-left" aria-hidden="true" />}
      {pan.x + (inner.width - MARGIN) * pan.scale > space + 1 && <i class="jp-wattle-more jp-mod-right" aria-hidden="true" />}
      {scene !== null && (
        <div class="jp-wattle-tools">
          <GraphSearch query={query} set={search} hits={hits.length} at={hit} next={next} />
          {(split || scene.units.length < tasks.length) && (
            <button
              type="button"
              class="jp-wattle-button jp-mod-toggle"
              aria-pressed={!split}
              title={trans.__('Tasks that are alike share a box')}
              onClick={() => (pan.fit(), setSplit(!split))}
            >
              {trans.__('Group')}
            </button>
          )}
          <ZoomBar pan={pan} />
        </div>
      )}
      <p class="jp-wattle-readout" role="status">{scene !== null && (large || grouped) ? readout(tasks, scene, query ? null : pointed, spot) : ''}</p>
    </div>
  );
}

interface Extent {
  width: number;
  height: number;
}

const framed = ({ width, height }: Extent): Extent => ({ width: width + 2 * MARGIN, height: height + 2 * MARGIN });

const inMargin = (box: { x: number; y: number; width: number; height: number }): typeof box => ({ ...box, x: box.x + MARGIN, y: box.y + MARGIN });

function heightFor(size: Extent, space: number): number {
  const inner = framed(size);
  const fit = homeScale(inner, { width: space, height: TALLEST }, false);
  return Math.max(72, Math.min(TALLEST, Math.ceil(inner.height * Math.max(fit, 0.12))));
}

/** All in sight, unless names could not be read then for being side by side: then as many as can be read. */
function homeScale(inner: Extent, frame: Extent, large: boolean): number {
  const [wide, high] = [frame.width / inner.width, frame.height / inner.height];
  return Math.min(1, high, large ? wide : Math.max(wide, LEGIBLE));
}

/** Horizontal extent of what goes on, in the coordinates of the layout: what runs, else what failed. */
function useFront(scene: Scene | null, tasks: TaskRunView[]): { from: number; to: number } | null {
  return useMemo(() => {
    if (scene === null) return null;
    for (const state of ['running', 'failed'] as const) {
      const xs = tasks.flatMap((task, i) => (task.state === state ? [scene.placed.nodes[scene.of[i]!]?.x ?? 0] : []));
      const from = xs.reduce((least, x) => Math.min(least, x), Infinity);
      if (xs.length > 0) return { from, to: from + NODE.width };
    }
    return null;
  }, [scene, tasks]);
}

/** Where the graph stands until the reader moves it. One that is too wide follows what goes on, in as few steps as will do. */
function useHome(inner: Extent, frame: Extent, large: boolean, front: { from: number; to: number } | null): Home {
  const kept = useRef(0);
  const scale = homeScale(inner, frame, large);
  const whole = { scale: Math.min(1, frame.width / inner.width, frame.height / inner.height) };
  const spare = frame.width - inner.width * scale;
  const y = Math.max(0, (frame.height - inner.height * scale) / 2);
  const all = { ...whole, x: Math.max(0, (frame.width - inner.width * whole.scale) / 2), y: Math.max(0, (frame.height - inner.height * whole.scale) / 2) };
  if (spare >= 0) return { place: all, all };
  if (front !== null) {
    const [from, to] = [(front.from + MARGIN) * scale, (front.to + MARGIN) * scale];
    if (kept.current + from < 0 || kept.current + to > frame.width) kept.current = frame.width / 3 - from;
  }
  kept.current = Math.min(0, Math.max(spare, kept.current));
  return { place: { scale, x: kept.current, y }, all };
}

/** Where a reader would look first: what failed, then what runs. */
function notable(tasks: readonly TaskRunView[], members: readonly number[]): number {
  for (const state of ['failed', 'running'] as const) {
    const at = members.findIndex(i => tasks[i]?.state === state);
    if (at >= 0) return at;
  }
  return 0;
}

/** What is pointed at, else where the keys are, in words: small boxes say little themselves. */
function readout(tasks: readonly TaskState[], { units, of }: Scene, pointed: readonly number[] | null, { unit, member }: Spot): string {
  const only = pointed?.length === 1 ? pointed[0] : pointed === null && member !== null ? units[unit]?.members[member] : undefined;
  const task = only === undefined ? undefined : tasks[only];
  if (task !== undefined) return taskLine(task);
  const box = pointed === null ? undefined : units[of[pointed[0] ?? 0] ?? 0];
  return box === undefined ? '' : `${box.name} × ${count(box.members.length)}`;
}
