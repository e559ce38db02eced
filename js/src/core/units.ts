/**
 * The boxes of a graph. Tasks that are alike stand together in one: the same name but for its numbers, and before and
 * after them tasks that are alike in turn. So 1 → 300 → 1 is three boxes that can be read.
 */
import { rank, type Links } from './layout';
import { finish, type Steps } from './slices';
import { ways, type Ways } from './trace';

/** A box: one task, or several that are alike. `members` are indices into the tasks. */
export interface Unit {
  name: string;
  members: number[];
}

export interface UnitEdge {
  src: number;
  dst: number;
  kind: 'data' | 'order';
}

export interface Units {
  units: Unit[];
  /** The unit of each task. */
  of: Int32Array;
  edges: UnitEdge[];
}

type Edges = readonly { src: string; dst: string; kind: 'data' | 'order' }[];

const TALL = 16; // tasks in one layer that can still be read below each other
const LEAST = 8; // tasks alike by name that are put together
const LEAST_TWINS = 16; // tasks of any name between the same tasks
const MOST_ROUNDS = 24;
const FEW = 256; // tasks between two breaths

/** Every task in a box of its own. */
export function apart(names: readonly string[], edges: Edges): Units {
  const index = new Map(names.map((name, i) => [name, i]));
  return {
    units: names.map((name, i) => ({ name, members: [i] })),
    of: Int32Array.from(names.keys()),
    edges: edges.map(({ src, dst, kind }) => ({ src: index.get(src) ?? -1, dst: index.get(dst) ?? -1, kind }))
  };
}

/** Tasks that are alike together, where a layer would be too tall to be read otherwise. */
export function together(names: readonly string[], edges: Edges): Units {
  return finish(togetherSteps(names, edges));
}

/** As `together`, with a breath now and then. */
export function* togetherSteps(names: readonly string[], edges: Edges): Steps<Units> {
  const ranks = rankOf(names, edges);
  if (fullest(ranks) <= TALL) return apart(names, edges);
  const links = ways(names, edges);
  yield;
  const kin = groups(yield* kinds(names, links, ranks), LEAST);
  const free = names.map((_, i) => i).filter(i => !kin.taken.has(i));
  const twins = groups(free.map(i => [`${links.before[i]!.join()}|${links.after[i]!.join()}`, i]), LEAST_TWINS);
  const single = free.filter(i => !twins.taken.has(i)).map(i => [i]);
  const all = [...kin.found, ...twins.found, ...single].sort((a, b) => a[0]! - b[0]!);
  return joined(names, edges, all);
}

function rankOf(names: readonly string[], edges: Links): number[] {
  const index = new Map(names.map((name, i) => [name, i]));
  return rank(names.length, edges.map(({ src, dst }): [number, number] => [index.get(src) ?? -1, index.get(dst) ?? -1]));
}

function fullest(ranks: readonly number[]): number {
  const sizes: number[] = [];
  for (const layer of ranks) sizes[layer] = (sizes[layer] ?? 0) + 1;
  return sizes.reduce((most, size) => Math.max(most, size ?? 0), 0);
}

/** What each task is like: its name without numbers, its layer, and what is before and after it, all the way. */
function* kinds(names: readonly string[], links: Ways, ranks: readonly number[]): Steps<[string, number][]> {
  let kind = numbered(names.map((name, i) => `${ranks[i]} ${name.replace(/\d+/g, '#')}`));
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const seen: string[] = [];
    for (let i = 0; i < names.length; i++) {
      seen.push(`${kind.of[i]}|${among(kind.of, links.before[i]!)}|${among(kind.of, links.after[i]!)}`);
      if (i % FEW === 0) yield;
    }
    const next = numbered(seen);
    if (next.count === kind.count) break;
    kind = next;
  }
  return names.map((_, i) => [String(kind.of[i]), i]);
}

const among = (kind: readonly number[], which: readonly number[]): string =>
  which.length === 1 ? String(kind[which[0]!]) : [...new Set(which.map(v => kind[v]!))].sort((a, b) => a - b).join();

function numbered(keys: readonly string[]): { of: number[]; count: number } {
  const known = new Map<string, number>();
  const of = keys.map(key => {
    const number = known.get(key) ?? known.size;
    known.set(key, number);
    return number;
  });
  return { of, count: known.size };
}

function groups(keyed: readonly [string, number][], least: number): { found: number[][]; taken: Set<number> } {
  const by = new Map<string, number[]>();
  for (const [key, i] of keyed) {
    const same = by.get(key);
    if (same === undefined) by.set(key, [i]);
    else same.push(i);
  }
  const found = [...by.values()].filter(members => members.length >= least);
  return { found, taken: new Set(found.flat()) };
}

function joined(names: readonly string[], edges: Edges, all: number[][]): Units {
  const of = new Int32Array(names.length);
  all.forEach((members, unit) => members.forEach(i => (of[i] = unit)));
  const index = new Map(names.map((name, i) => [name, i]));
  const between = new Map<number, UnitEdge>();
  for (const { src, dst, kind } of edges) {
    const [a, b] = [index.get(src), index.get(dst)];
    if (a === undefined || b === undefined) continue;
    const key = of[a]! * all.length + of[b]!;
    const known = between.get(key);
    if (known === undefined) between.set(key, { src: of[a]!, dst: of[b]!, kind });
    else if (kind === 'data') known.kind = kind;
  }
  return { units: all.map(members => ({ name: commonName(members.map(i => names[i]!)), members })), of, edges: [...between.values()] };
}

/** What the names share, with `*` for the rest. */
export function commonName(names: readonly string[]): string {
  const [first = '', ...others] = names;
  if (others.length === 0) return first;
  let start = first.length;
  let end = first.length;
  for (const name of others) {
    start = Math.min(start, shared(first, name, 0));
    end = Math.min(end, shared(first, name, 1));
  }
  const shortest = names.reduce((least, name) => Math.min(least, name.length), Infinity);
  const head = first.slice(0, start).replace(/\d+$/, '');
  const tail = first.slice(first.length - Math.min(end, shortest - start)).replace(/^\d+/, '');
  return `${head}*${Math.min(end, shortest - start) > 0 ? tail : ''}`;
}

function shared(a: string, b: string, fromEnd: 0 | 1): number {
  const most = Math.min(a.length, b.length);
  let n = 0;
  while (n < most && (fromEnd ? a[a.length - 1 - n] === b[b.length - 1 - n] : a[n] === b[n])) n += 1;
  return n;
}

// ------------------------------------------------------------------------------------------------- boxes of several

export const CELLS = { left: 10, top: 44, width: 152, height: 160, below: 10, largest: 12 };

/** How the members of a box stand in it: small squares in rows. */
export interface Grid {
  /** From square to square. */
  pitch: number;
  columns: number;
  rows: number;
}

export function gridOf(count: number): Grid {
  let pitch = CELLS.largest;
  const rows = (): number => Math.ceil(count / Math.floor(CELLS.width / pitch));
  while (pitch > 2 && rows() * pitch > CELLS.height) pitch -= 1;
  if (rows() * pitch > CELLS.height) pitch = Math.sqrt((CELLS.width * CELLS.height) / count) * 0.98;
  const columns = Math.floor(CELLS.width / pitch);
  return { pitch, columns, rows: Math.ceil(count / columns) };
}

/** Height of a box with so many tasks. */
export function unitHeight(count: number, single: number): number {
  if (count === 1) return single;
  const { pitch, rows } = gridOf(count);
  return CELLS.top + rows * pitch + CELLS.below;
}
