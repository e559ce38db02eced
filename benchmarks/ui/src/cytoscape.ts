/** Cytoscape.js with a style sheet as in its documentation; edges as haystacks, its fastest, and the canvas renderer, its default. */
import cytoscape, { type Core } from 'cytoscape';
import { drive } from './driver';
import { COLOURS, NODE, STATES } from './graphs';
import { placesFor } from './places';

let core: Core;
let names: string[] = [];

drive({
  async mount(element, graph) {
    names = graph.names;
    const places = placesFor(graph);
    core = cytoscape({
      container: element,
      layout: { name: 'preset' },
      minZoom: 0.01,
      elements: [
        ...graph.names.map((id, i) => ({
          data: { id, state: 'queued' },
          position: { x: places[i]!.x + NODE.width / 2, y: places[i]!.y + NODE.height / 2 }
        })),
        ...graph.edges.map(({ src, dst }, i) => ({ data: { id: `e${i}`, source: src, target: dst } }))
      ],
      style: [
        { selector: 'node', style: { shape: 'round-rectangle', width: NODE.width, height: NODE.height, label: 'data(id)', 'text-valign': 'center', color: '#fff', 'font-size': 13 } },
        { selector: 'edge', style: { width: 1.25, 'line-color': '#9e9e9e', 'curve-style': 'haystack' } },
        ...STATES.map(state => ({ selector: `node[state="${state}"]`, style: { 'background-color': COLOURS[state] } }))
      ]
    });
    await new Promise<void>(done => core.one('render', () => done()));
  },
  update(changes) {
    core.batch(() => {
      for (const [i, state] of changes) core.getElementById(names[i] as string).data('state', state);
    });
  }
});
