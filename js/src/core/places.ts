/** Where the boxes of a graph stand: what was worked out lately, and large graphs without stopping the page. */
import { extent, layout, layoutSteps, type Placed, type Size } from './layout';
import { finish, inSlices, type Steps } from './slices';
import { apart, together, togetherSteps, unitHeight, type Units } from './units';
import type { Edge } from './wire';

type Links = readonly { src: string; dst: string }[];

export const MOST_AT_ONCE = 200; // tasks: beyond, the first layout of a page would take several frames
const KEPT = 4; // a view, its saved form and its picture ask for the same places
const known = new Map<string, Placed>();

const keyOf = (names: readonly string[], edges: Links, size: Size): string =>
  JSON.stringify([names, edges.map(({ src, dst }) => [src, dst]), size]);

function keep(key: string, placed: Placed): Placed {
  known.delete(key);
  known.set(key, placed);
  for (const old of [...known.keys()].slice(0, -KEPT)) known.delete(old);
  return placed;
}

/** The places, if they are known or quickly found; else null: `arrange` finds them. */
export function placesNow(names: readonly string[], edges: Links, size: Size): Placed | null {
  const key = keyOf(names, edges, size);
  const placed = known.get(key) ?? (names.length > MOST_AT_ONCE ? null : layout(names, edges, size));
  return placed === null ? null : keep(key, placed);
}

/** The same places, found in slices; null if the signal ended it. */
export async function arrange(names: readonly string[], edges: Links, size: Size, signal: AbortSignal): Promise<Placed | null> {
  const now = placesNow(names, edges, size);
  if (now !== null) return now;
  const placed = await inSlices(layoutSteps(names, edges, size), signal);
  return placed === null ? null : keep(keyOf(names, edges, size), placed);
}

// ------------------------------------------------------------------------------------------- boxes of several tasks

/** What a view draws: boxes, each of one task or of several that are alike, and where they stand. */
export interface Scene extends Units {
  placed: Placed;
}

export interface Frame {
  scene: Scene | null;
  /** The room to draw in, known before the places are. */
  room: { width: number; height: number };
}

interface Shape {
  names: string[];
  edges: { src: string; dst: string }[];
  heights: number[];
}

function shapeOf({ units, edges }: Units, size: Size): Shape {
  return {
    names: units.map((_, i) => String(i)), // boxes may share a name
    edges: edges.map(({ src, dst }) => ({ src: String(src), dst: String(dst) })),
    heights: units.map(({ members }) => unitHeight(members.length, size.height))
  };
}

/** The scene if it is quickly found; else only the room that it will take: `arrangeScene` finds it. */
export function sceneNow(names: readonly string[], edges: readonly Edge[], size: Size, split: boolean): Frame {
  if (names.length > MOST_AT_ONCE) {
    const known = scenes.get(sceneKey(names, edges, size, split));
    return known !== undefined ? { scene: known, room: known.placed } : { scene: null, room: roughly(names, edges, size, split) };
  }
  const units = split ? apart(names, edges) : together(names, edges);
  const shape = shapeOf(units, size);
  const placed = layout(shape.names, shape.edges, size, shape.heights);
  return { scene: { ...units, placed }, room: placed };
}

/** The same, found in slices; null if the signal ended it. */
export function arrangeScene(names: readonly string[], edges: readonly Edge[], size: Size, split: boolean, signal: AbortSignal): Promise<Scene | null> {
  return inSlices(sceneSteps(names, edges, size, split), signal);
}

function* sceneSteps(names: readonly string[], edges: readonly Edge[], size: Size, split: boolean): Steps<Scene> {
  const units = split ? apart(names, edges) : yield* togetherSteps(names, edges);
  const shape = shapeOf(units, size);
  yield;
  const scene = { ...units, placed: yield* layoutSteps(shape.names, shape.edges, size, shape.heights) };
  const key = sceneKey(names, edges, size, split);
  scenes.delete(key);
  scenes.set(key, scene);
  for (const old of [...scenes.keys()].slice(0, -KEPT)) scenes.delete(old);
  return scene;
}

const scenes = new Map<string, Scene>();

const sceneKey = (names: readonly string[], edges: readonly Edge[], size: Size, split: boolean): string => `${split}${keyOf(names, edges, size)}`;

/** What is alike is found faster than places are. */
function roughly(names: readonly string[], edges: readonly Edge[], size: Size, split: boolean): { width: number; height: number } {
  const shape = shapeOf(split ? apart(names, edges) : finish(togetherSteps(names, edges)), size);
  return extent(shape.names, shape.edges, size, shape.heights);
}
