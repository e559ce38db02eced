import { NODE, type Graph } from './graphs';

interface Point {
  x: number;
  y: number;
}

export interface Drawn {
  /** Upper left corners, in the order of the names. */
  nodes: Point[];
  /** Points that each edge passes. */
  edges: Point[][];
}

interface Segment {
  edge: number;
  ax: number;
  ay: number;
  bx: number;
  by: number;
}

/** What makes a graph hard to read: edges that cross, that run under boxes, that are long, and the room it takes. */
export function quality(graph: Graph, { nodes, edges }: Drawn): Record<string, number> {
  const segments = edges.flatMap((points, edge) =>
    points.slice(1).map(({ x, y }, i): Segment => ({ edge, ax: points[i]!.x, ay: points[i]!.y, bx: x, by: y }))
  );
  const spread = (of: number[]): number => of.reduce((most, one) => Math.max(most, one), -Infinity) - of.reduce((least, one) => Math.min(least, one), Infinity);
  const width = spread(nodes.map(node => node.x)) + NODE.width;
  const height = spread(nodes.map(node => node.y)) + NODE.height;
  return {
    crossings: crossings(segments),
    under: under(graph, nodes, segments),
    length: Math.round(segments.reduce((sum, s) => sum + Math.hypot(s.bx - s.ax, s.by - s.ay), 0) / 1000),
    megapixels: (width * height) / 1e6
  };
}

function crossings(segments: Segment[]): number {
  const sorted = [...segments].sort((a, b) => Math.min(a.ax, a.bx) - Math.min(b.ax, b.bx));
  let count = 0;
  sorted.forEach((p, i) => {
    const right = Math.max(p.ax, p.bx);
    for (let j = i + 1; j < sorted.length; j++) {
      const q = sorted[j]!;
      if (Math.min(q.ax, q.bx) > right) break;
      if (p.edge !== q.edge && cross(p, q)) count += 1;
    }
  });
  return count;
}

const side = (ax: number, ay: number, bx: number, by: number, cx: number, cy: number): number => Math.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax));

function cross(p: Segment, q: Segment): boolean {
  return (
    side(p.ax, p.ay, p.bx, p.by, q.ax, q.ay) * side(p.ax, p.ay, p.bx, p.by, q.bx, q.by) < 0 &&
    side(q.ax, q.ay, q.bx, q.by, p.ax, p.ay) * side(q.ax, q.ay, q.bx, q.by, p.bx, p.by) < 0
  );
}

/** How often an edge runs under a box that it does not belong to. */
function under(graph: Graph, nodes: Point[], segments: Segment[]): number {
  const at = new Map(graph.names.map((name, i) => [name, i]));
  let count = 0;
  for (const s of segments) {
    const { src, dst } = graph.edges[s.edge]!;
    const [from, to] = [at.get(src), at.get(dst)];
    nodes.forEach((node, i) => {
      if (i !== from && i !== to && touches(s, node)) count += 1;
    });
  }
  return count;
}

/** Liang and Barsky's clipping, a pixel inside of the border. */
function touches({ ax, ay, bx, by }: Segment, { x, y }: Point): boolean {
  let [begin, end] = [0, 1];
  const sides: [number, number][] = [
    [ax - bx, ax - (x + 1)],
    [bx - ax, x + NODE.width - 1 - ax],
    [ay - by, ay - (y + 1)],
    [by - ay, y + NODE.height - 1 - ay]
  ];
  for (const [p, q] of sides) {
    if (p === 0 && q < 0) return false;
    if (p < 0) begin = Math.max(begin, q / p);
    if (p > 0) end = Math.min(end, q / p);
  }
  return begin < end;
}
