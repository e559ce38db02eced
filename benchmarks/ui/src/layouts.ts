/** Layouts of the same graphs: how long, and how good. Boxes and distances are the same for all, the rest is each one's default. */
import * as dagre from '@dagrejs/dagre';
import ELK from 'elkjs/lib/elk.bundled.js';
import { layout as ours } from '../../../js/src/core/layout';
import { graph, NODE, type Graph } from './graphs';
import { quality, type Drawn } from './quality';

const elk = new ELK();

const ENGINES: Record<string, (given: Graph) => Drawn | Promise<Drawn>> = {
  wattle(given) {
    const placed = ours(given.names, given.edges, NODE);
    return { nodes: placed.nodes, edges: placed.edges };
  },
  async elk(given) {
    const done = await elk.layout({
      id: 'all',
      layoutOptions: {
        'elk.algorithm': 'layered',
        'elk.direction': 'RIGHT',
        'elk.spacing.nodeNode': String(NODE.gapY),
        'elk.layered.spacing.nodeNodeBetweenLayers': String(NODE.gapX)
      },
      children: given.names.map(id => ({ id, width: NODE.width, height: NODE.height })),
      edges: given.edges.map(({ src, dst }, i) => ({ id: `e${i}`, sources: [src], targets: [dst] }))
    });
    const at = new Map(done.children!.map(one => [one.id, { x: one.x!, y: one.y! }]));
    const edges = done.edges!.map(edge => edge.sections!.flatMap(part => [part.startPoint, ...(part.bendPoints ?? []), part.endPoint]));
    return { nodes: given.names.map(name => at.get(name)!), edges };
  },
  dagre(given) {
    const made = new dagre.graphlib.Graph();
    made.setGraph({ rankdir: 'LR', nodesep: NODE.gapY, ranksep: NODE.gapX });
    made.setDefaultEdgeLabel(() => ({}));
    for (const name of given.names) made.setNode(name, { width: NODE.width, height: NODE.height });
    for (const { src, dst } of given.edges) made.setEdge(src, dst);
    dagre.layout(made);
    const corner = (name: string) => ({ x: made.node(name).x - NODE.width / 2, y: made.node(name).y - NODE.height / 2 });
    return { nodes: given.names.map(corner), edges: given.edges.map(({ src, dst }) => made.edge(src, dst).points) };
  }
};

Object.assign(window, {
  bench: {
    async layout(engine: string, shape: string, n: number, seed: number, judge: boolean): Promise<unknown> {
      const given = graph(shape, n, seed);
      const begin = performance.now();
      const drawn = await ENGINES[engine]!(given);
      const ms = performance.now() - begin;
      return { ms, ...(judge ? quality(given, drawn) : {}) };
    }
  }
});
