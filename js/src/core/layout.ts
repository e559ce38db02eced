/**
 * Where the boxes of a graph stand: layers from left to right, edges only forward.
 *
 * Long edges get a dummy node per layer that they cross; barycentre sweeps and swaps of neighbours order the layers,
 * keeping the order with the fewest crossings; isotonic regression then gives each node the height nearest to its
 * neighbours' that its order allows. It depends on names and edges only, so it stands still while the run goes on, and
 * it counts work instead of time, so it is the same everywhere.
 */

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

const KEPT = 4; // a view, its saved form and its picture ask for the same places
const known = new Map<string, Placed>();

/** As `layout`; what was asked for lately is not worked out again. */
export function layoutOf(names: readonly string[], edges: readonly { src: string; dst: string }[], size: Size): Placed {
  const key = JSON.stringify([names, edges.map(({ src, dst }) => [src, dst]), size]);
  const placed = known.get(key) ?? layout(names, edges, size);
  known.delete(key);
  known.set(key, placed);
  for (const old of [...known.keys()].slice(0, -KEPT)) known.delete(old);
  return placed;
}

/** Edges to unknown names, to oneself and those that would close a circle are passed over (their points are empty). */
export function layout(names: readonly string[], edges: readonly { src: string; dst: string }[], size: Size): Placed {
  const index = new Map(names.map((name, i) => [name, i]));
  const pairs = edges.map(({ src, dst }): [number, number] => [index.get(src) ?? -1, index.get(dst) ?? -1]);
  const ranks = rank(names.length, pairs);
  const web = weave(names.length, pairs, ranks);
  untangle(web);
  return place(web, pairs, size);
}

function rank(count: number, pairs: [number, number][]): number[] {
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

function weave(count: number, pairs: [number, number][], ranks: number[]): Web {
  const layerOf = [...ranks];
  const before: number[][] = Array.from({ length: count }, () => []);
  const after: number[][] = Array.from({ length: count }, () => []);
  const link = (a: number, b: number): void => {
    after[a]!.push(b);
    before[b]!.push(a);
  };
  const chains = pairs.map(([a, b]) => {
    const chain: number[] = [];
    if (a < 0 || b < 0 || ranks[a]! >= ranks[b]!) return chain;
    let last = a;
    for (let r = ranks[a]! + 1; r < ranks[b]!; r++) {
      const dummy = layerOf.push(r) - 1;
      before.push([]);
      after.push([]);
      link(last, dummy);
      chain.push(dummy);
      last = dummy;
    }
    link(last, b);
    return chain;
  });
  const web: Web = { count, layerOf, before, after, chains, layers: [], order: new Float64Array(layerOf.length) };
  web.layers = firstOrder(web);
  web.layers.forEach(layer => number(web, layer));
  return web;
}

/** Depth first, so that what hangs together starts together. */
function firstOrder({ layerOf, before, after }: Web): number[][] {
  const layers: number[][] = Array.from({ length: Math.max(-1, ...layerOf) + 1 }, () => []);
  const seen = new Uint8Array(layerOf.length);
  for (let root = 0; root < layerOf.length; root++) {
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

function untangle(web: Web): void {
  const sweeps = web.layerOf.length > LARGE ? SWEEPS / 3 : SWEEPS;
  let best = crossings(web);
  let kept = web.layers.map(layer => [...layer]);
  for (let s = 0; s < sweeps && best > 0; s++) {
    sweep(web, s % 2 === 0);
    const now = crossings(web);
    if (now < best) {
      best = now;
      kept = web.layers.map(layer => [...layer]);
    }
  }
  web.layers = kept;
  kept.forEach(layer => number(web, layer));
  for (let s = 0; s < SWAPS && swapNeighbours(web); s++);
}

/** Each layer sorted by where its neighbours in the layer just visited stand on average. */
function sweep(web: Web, forward: boolean): void {
  const neighbours = forward ? web.before : web.after;
  const layers = forward ? web.layers : [...web.layers].reverse();
  const key = new Float64Array(web.layerOf.length);
  for (const layer of layers) {
    for (const v of layer) key[v] = mean(neighbours[v]!, web.order) ?? web.order[v]!;
    layer.sort((a, b) => key[a]! - key[b]! || web.order[a]! - web.order[b]!);
    number(web, layer);
  }
}

function mean(of: number[], values: Float64Array): number | null {
  if (of.length === 0) return null;
  let sum = 0;
  for (const v of of) sum += values[v]!;
  return sum / of.length;
}

/** Pairs of edges between neighbouring layers that cross, counted with a Fenwick tree. */
function crossings(web: Web): number {
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
  }
  return total;
}

function swapNeighbours(web: Web): boolean {
  let moved = false;
  for (const layer of web.layers) {
    for (let i = 0; i + 1 < layer.length; i++) {
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

function place(web: Web, pairs: [number, number][], size: Size): Placed {
  const tall = (v: number): number => (v < web.count ? size.height + size.gapY : DUMMY);
  const middle = heights(web, tall);
  let top = Infinity;
  let bottom = -Infinity;
  middle.forEach((y, v) => {
    top = Math.min(top, y - (v < web.count ? size.height / 2 : 0));
    bottom = Math.max(bottom, y + (v < web.count ? size.height / 2 : 0));
  });
  const left = (v: number): number => web.layerOf[v]! * (size.width + size.gapX);
  const at = (v: number): number => middle[v]! - top;
  const nodes = Array.from({ length: web.count }, (_, v) => ({ x: left(v), y: at(v) - size.height / 2 }));
  const edges = pairs.map(([a, b], i) => {
    if (a < 0 || b < 0 || web.layerOf[a]! >= web.layerOf[b]!) return [];
    const passed = web.chains[i]!.flatMap(d => [
      { x: left(d), y: at(d) },
      { x: left(d) + size.width, y: at(d) }
    ]);
    return [{ x: left(a) + size.width, y: at(a) }, ...passed, { x: left(b), y: at(b) }];
  });
  const width = Math.max(0, web.layers.length * (size.width + size.gapX) - size.gapX);
  return { nodes, edges, width, height: web.count === 0 ? 0 : bottom - top };
}

function heights(web: Web, tall: (v: number) => number): Float64Array {
  const y = new Float64Array(web.layerOf.length);
  for (const layer of web.layers) {
    const total = layer.reduce((sum, v) => sum + tall(v), 0);
    let c = -total / 2;
    for (const v of layer) {
      y[v] = c + tall(v) / 2;
      c += tall(v);
    }
  }
  for (let s = 0; s < RELAXATIONS; s++) {
    const both = s >= RELAXATIONS - 2;
    const near = (v: number): number[] =>
      both ? [...web.before[v]!, ...web.after[v]!] : s % 2 === 0 ? web.before[v]! : web.after[v]!;
    for (const layer of s % 2 === 0 ? web.layers : [...web.layers].reverse()) relax(layer, y, near, tall);
  }
  return y;
}

/** The heights nearest to what each node wishes that keep order and distances (pool adjacent violators). */
function relax(layer: number[], y: Float64Array, near: (v: number) => number[], tall: (v: number) => number): void {
  const offset: number[] = [];
  let c = 0;
  layer.forEach((v, i) => {
    if (i > 0) c += (tall(layer[i - 1]!) + tall(v)) / 2;
    offset.push(c);
  });
  const blocks: { level: number; size: number }[] = [];
  layer.forEach((v, i) => {
    let block = { level: (mean(near(v), y) ?? y[v]!) - offset[i]!, size: 1 };
    for (let last = blocks.at(-1); last !== undefined && last.level > block.level; last = blocks.at(-1)) {
      blocks.pop();
      const size = last.size + block.size;
      block = { level: (last.level * last.size + block.level * block.size) / size, size };
    }
    blocks.push(block);
  });
  let i = 0;
  for (const block of blocks) {
    for (let k = 0; k < block.size; k++, i++) y[layer[i]!] = block.level + offset[i]!;
  }
}
