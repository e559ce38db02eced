import type { Edge } from './wire';

/** Who comes before and after whom, by index into the tasks. */
export interface Ways {
  before: number[][];
  after: number[][];
}

export function ways(names: readonly string[], edges: readonly Edge[]): Ways {
  const index = new Map(names.map((name, i) => [name, i]));
  const before: number[][] = names.map(() => []);
  const after: number[][] = names.map(() => []);
  for (const edge of edges) {
    const [a, b] = [index.get(edge.src), index.get(edge.dst)];
    if (a === undefined || b === undefined) continue;
    after[a]?.push(b);
    before[b]?.push(a);
  }
  return { before, after };
}

/** A task with everything upstream and downstream of it. */
export function lineage({ before, after }: Ways, start: number): ReadonlySet<number> {
  const seen = new Set([start]);
  for (const next of [before, after]) {
    const stack = [start];
    while (stack.length > 0) {
      for (const v of next[stack.pop() ?? -1] ?? []) {
        if (seen.has(v)) continue;
        seen.add(v);
        stack.push(v);
      }
    }
  }
  return seen;
}
