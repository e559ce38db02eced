/** React Flow as its documentation shows it: default nodes and edges, `fitView`, states as colours of the nodes. */
import { Background, Controls, Position, ReactFlow, useEdgesState, useNodesState, type Edge, type Node } from '@xyflow/react';
import '@xyflow/react/dist/style.css';
import { createRoot } from 'react-dom/client';
import { drive, seen } from './driver';
import { COLOURS, NODE, type Graph } from './graphs';
import { placesFor } from './places';

let change: (with_: (nodes: Node[]) => Node[]) => void = () => undefined;

function App({ nodes: first, edges: given }: { nodes: Node[]; edges: Edge[] }) {
  const [nodes, setNodes, onNodesChange] = useNodesState(first);
  const [edges, , onEdgesChange] = useEdgesState(given);
  change = setNodes;
  return (
    <ReactFlow nodes={nodes} edges={edges} onNodesChange={onNodesChange} onEdgesChange={onEdgesChange} fitView minZoom={0.01}>
      <Background />
      <Controls />
    </ReactFlow>
  );
}

function nodesOf(graph: Graph): Node[] {
  const places = placesFor(graph);
  return graph.names.map((name, i) => ({
    id: name,
    position: places[i] as { x: number; y: number },
    sourcePosition: Position.Right,
    targetPosition: Position.Left,
    data: { label: name },
    style: { width: NODE.width, height: NODE.height, borderColor: COLOURS.queued }
  }));
}

drive({
  async mount(element, graph) {
    const edges = graph.edges.map(({ src, dst }, i) => ({ id: `e${i}`, source: src, target: dst }));
    createRoot(element).render(<App nodes={nodesOf(graph)} edges={edges} />);
    await seen(() => document.querySelectorAll('.react-flow__edge').length === edges.length);
  },
  update(changes) {
    const latest = new Map(changes);
    change(nodes => nodes.map((node, i) => (latest.has(i) ? { ...node, style: { ...node.style, borderColor: COLOURS[latest.get(i)!] } } : node)));
  }
});
