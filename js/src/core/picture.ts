import type { Placed, Point } from './layout';
import { LOOKS } from './states';
import type { RunState } from './reduce';
import type { StateName } from './wire';

export const NODE = { width: 172, height: 46, gapX: 52, gapY: 14 };

const MOST_BOXES = 300;

const INK: Record<StateName, string> = {
  created: '#757575',
  queued: '#757575',
  waiting: '#757575',
  running: '#1976d2',
  completed: '#2e7d32',
  failed: '#c62828',
  cancelled: '#b26a00',
  skipped: '#757575'
};

/** Points of an edge as a smooth path: straight through the layers that it crosses, curved between them. */
export function edgePath(points: readonly Point[]): string {
  const [start, ...rest] = points;
  if (start === undefined) return '';
  let path = `M${r(start.x)} ${r(start.y)}`;
  rest.forEach((to, i) => {
    const from = points[i] ?? start;
    const half = (to.x - from.x) / 2;
    const straight = i % 2 === 1;
    path += straight
      ? ` L${r(to.x)} ${r(to.y)}`
      : ` C${r(from.x + half)} ${r(from.y)} ${r(to.x - half)} ${r(to.y)} ${r(to.x)} ${r(to.y)}`;
  });
  return path;
}

const r = (n: number): number => Math.round(n * 10) / 10;

/** A name that fits into a box: the middle gives way, because names often differ at both ends. */
export function fitted(name: string, characters: number): string {
  if (name.length <= characters) return name;
  const tail = Math.floor((characters - 1) / 3);
  return `${name.slice(0, characters - 1 - tail)}…${name.slice(name.length - tail)}`;
}

/** The run as a picture that stands for itself, for the saved notebook. The same run gives the same text. */
export function picture(state: RunState, placed: Placed): string {
  const many = state.tasks.length > MOST_BOXES;
  const edges = many ? '' : placed.edges.map(points => `<path d="${edgePath(points)}"/>`).join('');
  const place = (i: number): Point => placed.nodes[i] ?? { x: 0, y: 0 };
  const nodes = state.tasks.map((task, i) => (many ? mark(task.state, place(i)) : box(task.task, task.state, place(i)))).join('');
  const [w, h] = [r(placed.width) + 4, r(placed.height) + 4];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 ${w} ${h}" width="${w}" height="${h}" role="img" ` +
    `aria-label="${escaped(state.summary.workflow)}: ${LOOKS[state.summary.state].word}" font-family="sans-serif">` +
    `<g fill="none" stroke="#9e9e9e" stroke-width="1.25">${edges}</g>${nodes}</svg>`
  );
}

/** In a crowd nobody can read names, and the notebook should stay small. */
function mark(state: StateName, at: Point): string {
  return `<rect x="${r(at.x)}" y="${r(at.y)}" width="${NODE.width}" height="${NODE.height}" fill="${INK[state]}"/>`;
}

function box(name: string, state: StateName, at: Point): string {
  const ink = INK[state];
  return (
    `<g transform="translate(${r(at.x)} ${r(at.y)})"><title>${escaped(name)}: ${LOOKS[state].word}</title>` +
    `<rect width="${NODE.width}" height="${NODE.height}" rx="6" fill="#fff" stroke="${ink}"/>` +
    `<path transform="translate(10 15)" d="${LOOKS[state].icon}" fill="none" stroke="${ink}" stroke-width="1.6"/>` +
    `<text x="34" y="20" font-size="13" fill="#212121">${escaped(fitted(name, 18))}</text>` +
    `<text x="34" y="36" font-size="11" fill="#616161">${LOOKS[state].word}</text></g>`
  );
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text: string): string =>
  // characters that XML cannot hold would make the whole picture unreadable
  text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd').replace(/[&<>"']/g, c => ENTITIES[c] ?? c);
