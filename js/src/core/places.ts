/** Where the boxes of a graph stand: what was worked out lately, and large graphs without stopping the page. */
import { extent, layout, layoutSteps, type Placed, type Size } from './layout';
import { inSlices } from './slices';

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

/** The room to draw in, which does not change when `arrange` is done. */
export function room(names: readonly string[], edges: Links, size: Size, placed: Placed | null): { width: number; height: number } {
  return placed === null || names.length > MOST_AT_ONCE ? extent(names, edges, size) : placed;
}

/** The same places, found in slices; null if the signal ended it. */
export async function arrange(names: readonly string[], edges: Links, size: Size, signal: AbortSignal): Promise<Placed | null> {
  const now = placesNow(names, edges, size);
  if (now !== null) return now;
  const placed = await inSlices(layoutSteps(names, edges, size), signal);
  return placed === null ? null : keep(keyOf(names, edges, size), placed);
}
