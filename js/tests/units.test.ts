import { describe, expect, test } from 'vitest';
import { layout } from '../src/core/layout';
import { NODE } from '../src/core/picture';
import { arrangeScene, sceneNow } from '../src/core/places';
import { finish } from '../src/core/slices';
import { found } from '../src/core/trace';
import { apart, CELLS, commonName, gridOf, together, togetherSteps, unitHeight } from '../src/core/units';
import { boxOf } from '../src/core/walk';

const edge = (src: string, dst: string): { src: string; dst: string; kind: 'data' } => ({ src, dst, kind: 'data' });
const numbers = (n: number): number[] => [...Array(n).keys()];

function fan(width: number): { names: string[]; edges: ReturnType<typeof edge>[] } {
  const shards = numbers(width).map(i => `shard_${i}`);
  return { names: ['split', ...shards, 'merge'], edges: shards.flatMap(one => [edge('split', one), edge(one, 'merge')]) };
}

describe('boxes', () => {
  test('a wide fan is three boxes: what is before, all that are alike, what is after', () => {
    const { names, edges } = fan(300);
    const { units, edges: between, of } = together(names, edges);
    expect(units.map(({ name, members }) => [name, members.length])).toEqual([['split', 1], ['shard_*', 300], ['merge', 1]]);
    expect(between.map(({ src, dst }) => [src, dst])).toEqual([[0, 1], [1, 2]]);
    expect([of[0], of[1], of[300], of[301]]).toEqual([0, 1, 1, 2]);
  });

  test('chains side by side are a box for each step', () => {
    const lanes = numbers(40);
    const names = ['start', ...lanes.flatMap(i => [`align_${i}`, `sort_${i}`, `call_${i}`]), 'join'];
    const edges = lanes.flatMap(i => [edge('start', `align_${i}`), edge(`align_${i}`, `sort_${i}`), edge(`sort_${i}`, `call_${i}`), edge(`call_${i}`, 'join')]);
    const { units, edges: between } = together(names, edges);
    expect(units.map(unit => unit.name)).toEqual(['start', 'align_*', 'sort_*', 'call_*', 'join']);
    expect(between).toHaveLength(4);
  });

  test('a graph that can be read as it is keeps a box for each task', () => {
    const { names, edges } = fan(16);
    expect(together(names, edges).units.map(unit => unit.name)).toEqual(names);
  });

  test('who differs by what comes before or after stands apart', () => {
    const { names, edges } = fan(30);
    const { units } = together([...names, 'extra'], [...edges, edge('shard_7', 'extra')]);
    expect(units.find(unit => unit.members.length > 1)?.members).toHaveLength(29);
    expect(units.some(unit => unit.name === 'shard_7')).toBe(true);
  });

  test('few of other names stay apart, many between the same tasks do not', () => {
    const cities = numbers(26).map(i => `fetch_${String.fromCharCode(97 + i)}x`);
    const edges = cities.flatMap(one => [edge('all', one), edge(one, 'map')]);
    expect(together(['all', ...cities, 'map'], edges).units.map(unit => unit.name)).toEqual(['all', 'fetch_*x', 'map']);
    const few = [...cities.slice(0, 10), ...numbers(9).map(i => `load_${i}`)];
    const { units } = together(['all', ...few, 'map'], few.flatMap(one => [edge('all', one), edge(one, 'map')]));
    expect(units.filter(unit => unit.members.length > 1).map(unit => unit.name)).toEqual(['load_*']);
    expect(units).toHaveLength(2 + 10 + 1);
  });

  test('every task is in exactly one box, and no edge is lost, whatever the graph', () => {
    for (const seed of numbers(12)) {
      const names = numbers(120).map(i => `t${i % 9}_${i}`);
      const edges = numbers(200).map(i => [(i * 7 + seed * 13) % 120, (i * 11 + seed * 29) % 120] as const).filter(([a, b]) => a < b).map(([a, b]) => edge(names[a]!, names[b]!));
      const { units, of, edges: between } = together(names, edges);
      expect(units.flatMap(unit => unit.members).sort((a, b) => a - b)).toEqual(numbers(120));
      const joined = new Set(between.map(({ src, dst }) => `${src}-${dst}`));
      for (const { src, dst } of edges) expect(joined.has(`${of[names.indexOf(src)]}-${of[names.indexOf(dst)]}`)).toBe(true);
      for (const { src, dst } of between) expect(src).not.toBe(dst);
    }
  });

  test('circles and unknown names do not break it', () => {
    const { names, edges } = fan(30);
    const odd = [...edges, edge('merge', 'split'), edge('nobody', 'merge'), edge('merge', 'merge')];
    expect(together(names, odd).units.flatMap(unit => unit.members)).toHaveLength(32);
    expect(apart(['a'], [edge('a', 'x')]).edges).toEqual([{ src: 0, dst: -1, kind: 'data' }]);
  });

  test('data goes before order where both join two boxes', () => {
    const { names, edges } = fan(20);
    const mixed = edges.map((one, i) => ({ ...one, kind: i === 5 ? ('data' as const) : ('order' as const) }));
    expect(together(names, mixed).edges.map(one => one.kind).sort()).toEqual(['data', 'order']);
  });

  test('what names share is their beginning and end, without pieces of numbers', () => {
    expect(commonName(['a_101_b', 'a_112_b'])).toBe('a_*_b');
    expect(commonName(['x1', 'x11'])).toBe('x*');
    expect(commonName(['one'])).toBe('one');
    expect(commonName(['ab', 'cd'])).toBe('*');
  });

  test('finding them takes a breath now and then', () => {
    const { names, edges } = fan(2_000);
    expect([...togetherSteps(names, edges)].length).toBeGreaterThan(8);
    expect(finish(togetherSteps(names, edges))).toEqual(together(names, edges));
  });
});

describe('squares in a box', () => {
  test.each([8, 50, 300, 1_000, 5_000, 100_000])('%s squares have a place each, and the box stays small', count => {
    const { pitch, columns, rows } = gridOf(count);
    expect(columns * rows).toBeGreaterThanOrEqual(count);
    expect(columns * (rows - 1)).toBeLessThan(count);
    expect(columns * pitch).toBeLessThanOrEqual(CELLS.width + 0.01);
    expect(rows * pitch).toBeLessThanOrEqual(CELLS.height * 1.05);
    expect(unitHeight(count, NODE.height)).toBeLessThan(230);
  });
});

describe('places', () => {
  test('boxes of different heights do not overlap and are inside the frame', () => {
    const { names, edges } = fan(300);
    const lanes = numbers(12).map(i => `other_${i}`);
    const { scene, room } = sceneNow([...names, ...lanes].slice(0, 190), [...edges, ...lanes.map(one => edge('split', one))], NODE, false);
    const boxes = scene!.units.map((_, i) => boxOf(scene!, i));
    boxes.forEach((a, i) =>
      boxes.slice(i + 1).forEach(b => expect(a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y).toBe(true)));
    for (const box of boxes) {
      expect(box.y).toBeGreaterThanOrEqual(-1e-6);
      expect(box.y + box.height).toBeLessThanOrEqual(room.height + 1e-6);
    }
  });

  test('a large scene comes in slices, is the same each time, and the room for it is known before', async () => {
    const { names, edges } = fan(900);
    const before = sceneNow(names, edges, NODE, false);
    expect(before.scene).toBeNull();
    const scene = await arrangeScene(names, edges, NODE, false, new AbortController().signal);
    expect(scene?.units).toHaveLength(3);
    expect(sceneNow(names, edges, NODE, false).scene).toBe(scene);
    expect(before.room.width).toBe(scene?.placed.width);
    expect(sceneNow(names, edges, NODE, true).scene).toBeNull();
  });

  test('a box that is higher pushes its neighbours, not others', () => {
    const names = ['a', 'b', 'c'];
    const edges = ['b', 'c'].map(dst => ({ src: 'a', dst }));
    const [plain, high] = [layout(names, edges, NODE), layout(names, edges, NODE, [46, 200, 46])];
    expect(high.height).toBe(plain.height + 154);
  });
});

test('a search finds names that have all its words, whatever their case', () => {
  expect(found(['Train_tree', 'train_forest', 'test_tree'], 'TREE tr')).toEqual([0, 2]);
  expect(found(['a'], '  ')).toEqual([]);
});
