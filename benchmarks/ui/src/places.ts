/** Places for libraries that need a layout from somewhere: ours, worked out before the clock starts. */
import { layout, type Point } from '../../../js/src/core/layout';
import { graph as make, NODE, type Graph } from './graphs';

const known = new Map<string, Point[]>();

const keyOf = (graph: Graph): string => `${graph.names.length}/${graph.names[0] ?? ''}/${graph.edges[0]?.src ?? ''}`;

export function placesFor(graph: Graph): Point[] {
  const places = known.get(keyOf(graph));
  if (places === undefined) throw new Error('prepare the places of this graph first');
  return places;
}

Object.assign(window, {
  prepare(n: number, seed: number): void {
    const graph = make('layered', n, seed);
    known.set(keyOf(graph), layout(graph.names, graph.edges, NODE).nodes);
  }
});
