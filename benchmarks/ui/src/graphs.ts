/** The graphs that all are given, made from a seed. */

export interface Graph {
  names: string[];
  edges: { src: string; dst: string; kind: 'data' }[];
}

export type State = 'queued' | 'running' | 'completed' | 'failed';
export const STATES: State[] = ['queued', 'running', 'completed', 'failed'];
export const COLOURS: Record<State, string> = { queued: '#757575', running: '#1976d2', completed: '#2e7d32', failed: '#c62828' };
export const NODE = { width: 172, height: 46, gapX: 52, gapY: 14 };

/** mulberry32 */
export function random(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

type Pairs = [number, number][];

const SHAPES: Record<string, (n: number, r: () => number) => Pairs> = {
  /** Layers of the square root of n tasks; each needs two near it in the layer before. */
  layered(n, r) {
    const width = Math.max(5, Math.round(Math.sqrt(n)));
    const pairs: Pairs = [];
    for (let i = width; i < n; i++) {
      const layer = Math.floor(i / width) - 1;
      for (let k = 0; k < 2; k++) {
        const near = Math.min(width - 1, Math.max(0, (i % width) + Math.floor(r() * 7) - 3));
        pairs.push([layer * width + near, i]);
      }
    }
    return pairs;
  },
  /** Each task needs up to two of any earlier ones, near ones more often. */
  random(n, r) {
    const pairs: Pairs = [];
    for (let i = 1; i < n; i++) for (let k = 0; k < 2; k++) pairs.push([Math.max(0, i - 1 - Math.floor(r() * r() * n * 0.5)), i]);
    return pairs;
  },
  /** Fan out, fan in, fan out: what most workflows of science look like. */
  fans(n, r) {
    const pairs: Pairs = [];
    for (let i = 0; i < n - 2; ) {
      const k = Math.min(n - i - 2, 3 + Math.floor(r() * 12));
      for (let j = 1; j <= k; j++) pairs.push([i, i + j], [i + j, i + k + 1]);
      i += k + 1;
    }
    return pairs;
  },
  tree(n, r) {
    return Array.from({ length: n - 1 }, (_, i): [number, number] => [Math.floor(r() * (i + 1)), i + 1]);
  }
};

/** Names and edges in no particular order, as workflows come. */
export function graph(shape: string, n: number, seed: number): Graph {
  const r = random(seed);
  const make = SHAPES[shape];
  if (make === undefined) throw new Error(`no shape ${shape}`);
  const name = (i: number): string => `task_${String(i).padStart(4, '0')}`;
  const known = new Set<string>();
  const edges = make(n, r).flatMap(([a, b]) => {
    const key = `${a}/${b}`;
    if (a === b || known.has(key)) return [];
    known.add(key);
    return [{ src: name(a), dst: name(b), kind: 'data' as const }];
  });
  return { names: shuffled(Array.from({ length: n }, (_, i) => name(i)), r), edges: shuffled(edges, r) };
}

function shuffled<T>(list: T[], r: () => number): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(r() * (i + 1));
    [list[i], list[j]] = [list[j] as T, list[i] as T];
  }
  return list;
}
