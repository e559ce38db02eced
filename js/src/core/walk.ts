/** Walking through a graph with the arrow keys. */
import { NODE } from './picture';
import type { Scene } from './places';
import type { Ways } from './trace';
import { gridOf, unitHeight } from './units';

/** Where the reader is: at a box or, if `member` is a number, at one of the tasks in it. */
export interface Spot {
  unit: number;
  member: number | null;
}

/** A box with its place, in the coordinates of the layout. */
export function boxOf({ units, placed }: Scene, unit: number): { x: number; y: number; width: number; height: number } {
  const at = placed.nodes[unit] ?? { x: 0, y: 0 };
  return { ...at, width: NODE.width, height: unitHeight(units[unit]?.members.length ?? 1, NODE.height) };
}

/** Where an arrow key leads: along an edge to the nearest box, up and down within the layer, or to the next in a box. */
export function walked(key: string, spot: Spot, scene: Scene, links: Ways): Spot | null {
  return spot.member === null ? overEdges(key, spot, scene, links) : inside(key, spot.unit, spot.member, scene);
}

function overEdges(key: string, { unit }: Spot, scene: Scene, links: Ways): Spot | null {
  const middle = (i: number): number => boxOf(scene, i).y + boxOf(scene, i).height / 2;
  const here = middle(unit);
  const nearest = (of: readonly number[]): Spot | null => {
    const to = [...of].sort((a, b) => Math.abs(middle(a) - here) - Math.abs(middle(b) - here))[0];
    return to === undefined ? null : { unit: to, member: null };
  };
  if (key === 'ArrowRight') return nearest(links.after[unit] ?? []);
  if (key === 'ArrowLeft') return nearest(links.before[unit] ?? []);
  const sign = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (sign === undefined) return null;
  const x = scene.placed.nodes[unit]?.x;
  return nearest(scene.units.flatMap((_, i) => (scene.placed.nodes[i]?.x === x && (middle(i) - here) * sign > 0 ? [i] : [])));
}

function inside(key: string, unit: number, member: number, scene: Scene): Spot | null {
  const count = scene.units[unit]?.members.length ?? 0;
  const { columns } = gridOf(count);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -member, End: count - 1 - member }[key];
  if (step === undefined) return null;
  const to = member + step;
  return { unit, member: to < 0 || to >= count ? member : to };
}
