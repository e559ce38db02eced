import type { Edge } from './wire';

/** Who comes before and after whom, by index. */
export interface Ways {
  before: number[][];
  after: number[][];
}

export function ways(names: readonly string[], edges: readonly Pick<Edge, 'src' | 'dst'>[]): Ways {
  const index = new Map(names.map((name, i) => [name, i]));
  return waysOf(names.length, edges.map(({ src, dst }) => ({ src: index.get(src) ?? -1, dst: index.get(dst) ?? -1 })));
}

export function waysOf(count: number, edges: readonly { src: number; dst: number }[]): Ways {
  const before: number[][] = Array.from({ length: count }, () => []);
  const after: number[][] = Array.from({ length: count }, () => []);
  for (const { src, dst } of edges) {
    if (src < 0 || dst < 0) continue;
    after[src]?.push(dst);
    before[dst]?.push(src);
  }
  return { before, after };
}

/** A task, or several, with everything upstream and downstream of them. */
export function lineage({ before, after }: Ways, ...start: number[]): ReadonlySet<number> {
  const all = new Set(start);
  for (const next of [before, after]) {
    const seen = new Set(start);
    const stack = [...start];
    while (stack.length > 0) {
      for (const v of next[stack.pop() ?? -1] ?? []) {
        if (seen.has(v)) continue;
        seen.add(v);
        all.add(v);
        stack.push(v);
      }
    }
  }
  return all;
}

/** What of `matches` a search means: the names that hold all its words, whatever their case. */
export function found(names: readonly string[], query: string): number[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  return names.flatMap((name, i) => (words.every(word => name.toLowerCase().includes(word)) ? [i] : []));
}
