/**
 * Where the boxes of a graph stand: layers from left to right, edges only forward.
 *
 * Long edges get a dummy node per layer that they cross; barycentre sweeps and swaps of neighbours order the layers,
 * keeping the order with the fewest crossings; isotonic regression then gives each node the height nearest to its
 * neighbours' that its order allows, and chains are pulled straight. It depends on names and edges only, so it stands still while the run goes on, and
 * it counts work instead of time, so it is the same everywhere.
 */
import { finish, type Steps } from './slices';

export interface Size {
  width: number;
  height: number;
  gapX: number;
  gapY: number;
}

export interface Point {
  x: number;
  y: number;
}

export interface Placed {
  /** Upper left corners, in the order of the names. */
  nodes: Point[];
  /** For each edge the points that it passes: start, two for each layer it crosses, end. */
  edges: Point[][];
  width: number;
  height: number;
}

const SWEEPS = 24;
const SWAPS = 12;
const RELAXATIONS = 8;
const LARGE = 4_000; // nodes and dummies: beyond, fewer sweeps
const STRAIGHTENINGS = 4;
const FIRM = 1e6; // weight of the wish to go on straight, against that to stay
const FEW = 32; // nodes or edges between two breaths
const DUMMY = 14; // height that a passing edge needs

/** Nodes and dummies with their neighbours in the layers before and after. */
interface Web {
  count: number;
  layerOf: number[];
  before: number[][];
  after: number[][];
  /** Dummies of each edge, in order. */
  chains: number[][];
  layers: number[][];
  /** Place within its layer. */
  order: Float64Array;
}

export type Links = readonly { src: string; dst: string }[];

/** Heights of the boxes that are not as high as the size says. */
export type Heights = readonly number[] | undefined;

/** Edges to unknown names, to oneself and those that would close a circle are passed over (their points are empty). */
export function layout(names: readonly string[], edges: Links, size: Size, heights?: Heights): Placed {
  return finish(layoutSteps(names, edges, size, heights));
}

/** As `layout`, with a breath after every piece of well under a millisecond or so. */
export function* layoutSteps(names: readonly string[], edges: Links, size: Size, heights?: Heights): Steps<Placed> {
  const pairs = indexed(names, edges);
  const ranks = rank(names.length, pairs);
  yield;
  const web = yield* weave(names.length, pairs, ranks);
  yield* untangle(web);
  return yield* place(web, pairs, size, heights);
}

/** About how large the graph will be, quickly: its exact width, and the height of its fullest layer. */
export function extent(names: readonly string[], edges: Links, size: Size, high?: Heights): { width: number; height: number } {
  const pairs = indexed(names, edges);
  const ranks = rank(names.length, pairs);
  const layers = ranks.reduce((most, layer) => Math.max(most, layer), -1) + 1;
  const heights = new Float64Array(layers);
  ranks.forEach((layer, i) => (heights[layer]! += (high?.[i] ?? size.height) + size.gapY));
  for (const [a, b] of pairs) for (let k = (ranks[a] ?? layers) + 1; k < (ranks[b] ?? 0); k++) heights[k]! += DUMMY;
  return { width: widthOf(layers, size), height: Math.max(0, heights.reduce((most, height) => Math.max(most, height), 0) - size.gapY) };
}

const widthOf = (layers: number, size: Size): number => Math.max(0, layers * (size.width + size.gapX) - size.gapX);

function indexed(names: readonly string[], edges: Links): [number, number][] {
  const index = new Map(names.map((name, i) => [name, i]));
  return edges.map(({ src, dst }): [number, number] => [index.get(src) ?? -1, index.get(dst) ?? -1]);
}

/** The layer of each, from 0: after all that it needs. */
export function rank(count: number, pairs: [number, number][]): number[] {
  const after: number[][] = Array.from({ length: count }, () => []);
  const open = new Int32Array(count);
  for (const [a, b] of pairs) {
    if (a < 0 || b < 0 || a === b) continue;
    after[a]!.push(b);
    open[b]!++;
  }
  const ranks = new Array<number>(count).fill(0);
  const queue = [...open.keys()].filter(i => open[i] === 0);
  for (let head = 0; head < queue.length; head++) {
    const a = queue[head]!;
    for (const b of after[a]!) {
      ranks[b] = Math.max(ranks[b]!, ranks[a]! + 1);
      if (--open[b]! === 0) queue.push(b);
    }
  }
  pullSources(queue, after, ranks);
  return ranks;
}

/** A task without inputs stands just before the first that needs it, not at the far left. */
function pullSources(topological: number[], after: number[][], ranks: number[]): void {
  for (const a of [...topological].reverse()) {
    const next = after[a]!;
    if (ranks[a] === 0 && next.length > 0) ranks[a] = Math.min(...next.map(b => ranks[b]!)) - 1;
  }
}

function* weave(count: number, pairs: [number, number][], ranks: number[]): Steps<Web> {
  const before: number[][] = Array.from({ length: count }, () => []);
  const after: number[][] = Array.from({ length: count }, () => []);
  const web: Web = { count, layerOf: [...ranks], before, after, chains: [], layers: [], order: new Float64Array(0) };
  for (const [a, b] of pairs) {
    web.chains.push(a < 0 || b < 0 || ranks[a]! >= ranks[b]! ? [] : chain(web, a, b));
    if (web.chains.length % FEW === 0) yield;
  }
  web.order = new Float64Array(web.layerOf.length);
  web.layers = yield* firstOrder(web);
  web.layers.forEach(layer => number(web, layer));
  return web;
}

/** Links two nodes by way of a new dummy in each layer between them. */
function chain(web: Web, a: number, b: number): number[] {
  const dummies: number[] = [];
  let last = a;
  for (let layer = web.layerOf[a]! + 1; layer < web.layerOf[b]!; layer++) {
    const dummy = web.layerOf.push(layer) - 1;
    web.before.push([]);
    web.after.push([]);
    link(web, last, dummy);
    dummies.push(dummy);
    last = dummy;
  }
  link(web, last, b);
  return dummies;
}

function link({ before, after }: Web, a: number, b: number): void {
  after[a]!.push(b);
  before[b]!.push(a);
}

/** Depth first, so that what hangs together starts together. */
function* firstOrder({ layerOf, before, after }: Web): Steps<number[][]> {
  const layers: number[][] = Array.from({ length: layerOf.reduce((most, layer) => Math.max(most, layer), -1) + 1 }, () => []);
  const seen = new Uint8Array(layerOf.length);
  for (let root = 0; root < layerOf.length; root++) {
    if (root % FEW === 0) yield;
    const stack = [root];
    while (stack.length > 0) {
      const v = stack.pop()!;
      if (seen[v] === 1) continue;
      seen[v] = 1;
      layers[layerOf[v]!]!.push(v);
      for (let i = before[v]!.length - 1; i >= 0; i--) stack.push(before[v]![i]!);
      for (let i = after[v]!.length - 1; i >= 0; i--) stack.push(after[v]![i]!);
    }
  }
  return layers;
}

function number(web: Web, layer: number[]): void {
  layer.forEach((v, i) => (web.order[v] = i));
}

// ------------------------------------------------------------------------------------------------------- crossings

function* untangle(web: Web): Steps<void> {
  const sweeps = web.layerOf.length > LARGE ? SWEEPS / 3 : SWEEPS;
  let best = yield* crossings(web);
  let kept = web.layers.map(layer => [...layer]);
  for (let s = 0; s < sweeps && best > 0; s++) {
    yield* sweep(web, s % 2 === 0);
    const now = yield* crossings(web);
    if (now < best) {
      best = now;
      kept = web.layers.map(layer => [...layer]);
    }
  }
  web.layers = kept;
  kept.forEach(layer => number(web, layer));
  for (let s = 0; s < SWAPS && (yield* swapNeighbours(web)); s++);
}

/** Each layer sorted by where its neighbours in the layer just visited stand on average. */
function* sweep(web: Web, forward: boolean): Steps<void> {
  const neighbours = forward ? web.before : web.after;
  const layers = forward ? web.layers : [...web.layers].reverse();
  const key = new Float64Array(web.layerOf.length);
  for (const layer of layers) {
    for (const v of layer) key[v] = mean(neighbours[v]!, web.order) ?? web.order[v]!;
    layer.sort((a, b) => key[a]! - key[b]! || web.order[a]! - web.order[b]!);
    number(web, layer);
    yield;
  }
}

function mean(of: number[], values: Float64Array): number | null {
  if (of.length === 0) return null;
  let sum = 0;
  for (const v of of) sum += values[v]!;
  return sum / of.length;
}

/** Pairs of edges between neighbouring layers that cross, counted with a Fenwick tree. */
function* crossings(web: Web): Steps<number> {
  let total = 0;
  for (let k = 1; k < web.layers.length; k++) {
    const width = web.layers[k - 1]!.length;
    const tree = new Int32Array(width + 1);
    let seen = 0;
    for (const v of web.layers[k]!) {
      const ends = web.before[v]!.map(u => web.order[u]!).sort((a, b) => a - b);
      for (const end of ends) {
        let below = 0;
        for (let i = end + 1; i > 0; i -= i & -i) below += tree[i]!;
        total += seen - below;
      }
      for (const end of ends) for (let i = end + 1; i <= width; i += i & -i) tree[i]!++;
      seen += ends.length;
    }
    yield;
  }
  return total;
}

function* swapNeighbours(web: Web): Steps<boolean> {
  let moved = false;
  for (const layer of web.layers) {
    for (let i = 0; i + 1 < layer.length; i++) {
      if (i % FEW === 0) yield;
      const [a, b] = [layer[i]!, layer[i + 1]!];
      if (gain(web, a, b, web.before) + gain(web, a, b, web.after) <= 0) continue;
      [layer[i], layer[i + 1]] = [b, a];
      [web.order[a], web.order[b]] = [i + 1, i];
      moved = true;
    }
  }
  return moved;
}

/** How many crossings fewer if `a` and `b`, neighbours in this order, changed places. */
function gain(web: Web, a: number, b: number, neighbours: number[][]): number {
  let difference = 0;
  for (const u of neighbours[a]!) for (const w of neighbours[b]!) difference += Math.sign(web.order[u]! - web.order[w]!);
  return difference;
}

// ---------------------------------------------------------------------------------------------------------- places

function* place(web: Web, pairs: [number, number][], size: Size, own: Heights): Steps<Placed> {
  const high = (v: number): number => (v < web.count ? (own?.[v] ?? size.height) : 0);
  const tall = (v: number): number => (v < web.count ? high(v) + size.gapY : DUMMY);
  const middle = yield* heights(web, tall);
  let top = Infinity;
  let bottom = -Infinity;
  middle.forEach((y, v) => {
    top = Math.min(top, y - high(v) / 2);
    bottom = Math.max(bottom, y + high(v) / 2);
  });
  const left = (v: number): number => web.layerOf[v]! * (size.width + size.gapX);
  const at = (v: number): number => middle[v]! - top;
  const nodes = Array.from({ length: web.count }, (_, v) => ({ x: left(v), y: at(v) - high(v) / 2 }));
  yield;
  const edges: Point[][] = [];
  for (const [i, [a, b]] of pairs.entries()) {
    const passed = web.chains[i]!.flatMap(d => [
      { x: left(d), y: at(d) },
      { x: left(d) + size.width, y: at(d) }
    ]);
    const drawn = a >= 0 && b >= 0 && web.layerOf[a]! < web.layerOf[b]!;
    edges.push(drawn ? [{ x: left(a) + size.width, y: at(a) }, ...passed, { x: left(b), y: at(b) }] : []);
    if (i % FEW === 0) yield;
  }
  return { nodes, edges, width: widthOf(web.layers.length, size), height: web.count === 0 ? 0 : bottom - top };
}

/** Where a node would like to stand, and how much. */
interface Wish {
  level: number;
  weight: number;
}

function* heights(web: Web, tall: (v: number) => number): Steps<Float64Array> {
  const y = stacked(web, tall);
  for (let s = 0; s < RELAXATIONS; s++) {
    const both = s >= RELAXATIONS - 2;
    const near = (v: number): number[] =>
      both ? [...web.before[v]!, ...web.after[v]!] : s % 2 === 0 ? web.before[v]! : web.after[v]!;
    yield* relax(web, s % 2 === 0, y, v => ({ level: mean(near(v), y) ?? y[v]!, weight: 1 }), tall);
  }
  for (let s = 0; s < STRAIGHTENINGS; s++) {
    const straight = (v: number): Wish => {
      const to = s % 2 === 0 ? only(web.before, web.after, v) : only(web.after, web.before, v);
      return to === null ? { level: y[v]!, weight: 1 } : { level: y[to]!, weight: FIRM };
    };
    yield* relax(web, s % 2 === 0, y, straight, tall);
  }
  return y;
}

function stacked(web: Web, tall: (v: number) => number): Float64Array {
  const y = new Float64Array(web.layerOf.length);
  for (const layer of web.layers) {
    const total = layer.reduce((sum, v) => sum + tall(v), 0);
    let c = -total / 2;
    for (const v of layer) {
      y[v] = c + tall(v) / 2;
      c += tall(v);
    }
  }
  return y;
}

/** The neighbour on one side, if the two have nobody else between them. */
function only(there: number[][], back: number[][], v: number): number | null {
  const [u, more] = there[v]!;
  return u !== undefined && more === undefined && back[u]!.length === 1 ? u : null;
}

type Wishes = (v: number) => Wish;

function* relax(web: Web, forward: boolean, y: Float64Array, wish: Wishes, tall: (v: number) => number): Steps<void> {
  for (const layer of forward ? web.layers : [...web.layers].reverse()) {
    relaxLayer(layer, y, wish, tall);
    yield;
  }
}

/** The heights nearest to what each node wishes that keep order and distances (pool adjacent violators). */
function relaxLayer(layer: number[], y: Float64Array, wish: Wishes, tall: (v: number) => number): void {
  const offset: number[] = [];
  let c = 0;
  layer.forEach((v, i) => {
    if (i > 0) c += (tall(layer[i - 1]!) + tall(v)) / 2;
    offset.push(c);
  });
  const blocks: (Wish & { size: number })[] = [];
  layer.forEach((v, i) => {
    const wished = wish(v);
    let block = { level: wished.level - offset[i]!, weight: wished.weight, size: 1 };
    for (let last = blocks.at(-1); last !== undefined && last.level > block.level; last = blocks.at(-1)) {
      blocks.pop();
      const weight = last.weight + block.weight;
      const level = (last.level * last.weight + block.level * block.weight) / weight;
      block = { level, weight, size: last.size + block.size };
    }
    blocks.push(block);
  });
  let i = 0;
  for (const block of blocks) {
    for (let k = 0; k < block.size; k++, i++) y[layer[i]!] = block.level + offset[i]!;
  }
}
