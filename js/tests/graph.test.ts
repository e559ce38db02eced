import { afterEach, describe, expect, test, vi } from 'vitest';
import { extent, layout, layoutSteps } from '../src/core/layout';
import { edgePath, fitted, NODE, picture } from '../src/core/picture';
import { fromDetail } from '../src/core/reduce';
import { arrange, placesNow } from '../src/core/places';
import { finish, inSlices, type Steps } from '../src/core/slices';
import { lineage, ways } from '../src/core/trace';
import { detailOf, taskRun } from './fakes';

/** Small reproducible random numbers. */
function dice(seed: number): () => number {
  let x = seed;
  return () => {
    x = (Math.imul(x ^ (x >>> 15), 2246822519) + 0x9e3779b9) | 0;
    x ^= x << 13;
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  };
}

function randomGraph(n: number, seed: number): { names: string[]; edges: { src: string; dst: string }[] } {
  const roll = dice(seed);
  const names = Array.from({ length: n }, (_, i) => `t${i}`);
  const edges = names.slice(1).flatMap((dst, i) =>
    Array.from({ length: Math.floor(roll() * 3) }, () => ({ src: `t${Math.floor(roll() * (i + 1))}`, dst })));
  return { names, edges };
}

describe('layout', () => {
  test.each([1, 2, 5, 30, 120])('no two boxes of %s overlap', n => {
    for (const seed of [1, 2, 3]) {
      const { names, edges } = randomGraph(n, seed);
      const { nodes } = layout(names, edges, NODE);
      const columns = new Map<number, number[]>();
      for (const at of nodes) columns.set(at.x, [...(columns.get(at.x) ?? []), at.y]);
      for (const ys of columns.values()) {
        ys.sort((a, b) => a - b);
        ys.slice(1).forEach((y, i) => expect(y - (ys[i] ?? 0)).toBeGreaterThanOrEqual(NODE.height + NODE.gapY - 1e-6));
      }
    }
  });

  test('every edge goes forward, and through its own points', () => {
    const { names, edges } = randomGraph(80, 7);
    for (const points of layout(names, edges, NODE).edges) {
      expect(points.length % 2).toBe(0);
      points.slice(1).forEach((p, i) => expect(p.x).toBeGreaterThan(points[i]?.x ?? Infinity));
    }
  });

  test('the same graph stands the same, and everything is inside the frame', () => {
    const { names, edges } = randomGraph(60, 5);
    const once = layout(names, edges, NODE);
    expect(layout(names, edges, NODE)).toEqual(once);
    for (const at of once.nodes) {
      expect(at.x).toBeGreaterThanOrEqual(0);
      expect(at.y).toBeGreaterThanOrEqual(-1e-6);
      expect(at.x + NODE.width).toBeLessThanOrEqual(once.width + 1e-6);
      expect(at.y + NODE.height).toBeLessThanOrEqual(once.height + 1e-6);
    }
  });

  test('a crossing that can be avoided is avoided', () => {
    const { nodes } = layout(['a', 'b', 'x', 'y'], [{ src: 'a', dst: 'y' }, { src: 'b', dst: 'x' }], NODE);
    const y = (i: number): number => nodes[i]?.y ?? NaN;
    expect(Math.sign(y(0) - y(1))).toBe(Math.sign(y(3) - y(2)));
  });

  test('a chain is a straight line', () => {
    const { nodes } = layout(['a', 'b', 'c'], [{ src: 'a', dst: 'b' }, { src: 'b', dst: 'c' }], NODE);
    expect(new Set(nodes.map(at => at.y)).size).toBe(1);
  });

  test('a chain is straight also beside others', () => {
    const edges = [['a', 'b'], ['b', 'c'], ['x', 'y'], ['y', 'z'], ['a', 'z']].map(([src = '', dst = '']) => ({ src, dst }));
    const [, b, c] = layout(['a', 'b', 'c', 'x', 'y', 'z'], edges, NODE).nodes;
    expect(c?.y).toBe(b?.y);
  });

  test.each([[0], [1], [40], [300]])('the extent of %s tasks is known before: its width, and no more than its height', n => {
    const { names, edges } = randomGraph(n, 11);
    const [known, placed] = [extent(names, edges, NODE), layout(names, edges, NODE)];
    expect(known.width).toBe(placed.width);
    expect(known.height).toBeLessThanOrEqual(placed.height + NODE.gapY);
    expect(known.height > 0).toBe(n > 0);
  });

  test('circles, loops and unknown names do not break it', () => {
    const edges = [{ src: 'a', dst: 'b' }, { src: 'b', dst: 'a' }, { src: 'a', dst: 'a' }, { src: 'x', dst: 'a' }];
    expect(layout(['a', 'b'], edges, NODE).nodes).toHaveLength(2);
    expect(layout([], [], NODE)).toEqual({ nodes: [], edges: [], width: 0, height: 0 });
  });
});

describe('large graphs', () => {
  afterEach(() => vi.restoreAllMocks());

  /** As if every look at the clock took as long as a slice may. */
  const slow = (): void => {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 8));
  };
  function* counting(to: number, seen: number[]): Steps<string> {
    for (let i = 0; i < to; i++) {
      seen.push(i);
      yield;
    }
    return 'done';
  }

  test.each([1, 250, 1_000])('%s tasks stand at the same places whether found at once or in slices', async n => {
    const { names, edges } = randomGraph(n, 3);
    const sliced = await inSlices(layoutSteps(names, edges, NODE), new AbortController().signal);
    expect(JSON.stringify(sliced)).toBe(JSON.stringify(layout(names, edges, NODE)));
  });

  test('no step does much of the work', () => {
    const { names, edges } = randomGraph(1_000, 3);
    expect([...layoutSteps(names, edges, NODE)].length).toBeGreaterThan(1_000);
  });

  test('between two slices the page does other things', async () => {
    slow();
    let others = 0;
    function* waiting(): Steps<string> {
      while (others === 0) yield; // for ever, if nothing else could happen
      return 'done';
    }
    setTimeout(() => others++, 0);
    expect(await inSlices(waiting(), new AbortController().signal)).toBe('done');
  });

  test('a signal ends the work where it stands', async () => {
    slow();
    const seen: number[] = [];
    const ended = new AbortController();
    const work = inSlices(counting(1_000, seen), ended.signal);
    ended.abort();
    expect(await work).toBeNull();
    expect(seen).toEqual([0]);
    expect(await inSlices(counting(1, seen), ended.signal)).toBeNull();
    expect(seen).toEqual([0]);
  });

  test('steps that are taken all at once give their end', () => expect(finish(counting(3, []))).toBe('done'));

  test('a large graph waits to be arranged, a small or known one is there at once', async () => {
    const { names, edges } = randomGraph(400, 21);
    expect(placesNow(names, edges, NODE)).toBeNull();
    const placed = await arrange(names, edges, NODE, new AbortController().signal);
    expect(placed).toEqual(layout(names, edges, NODE));
    expect(placesNow(names, edges, NODE)).toBe(placed);
    const small = randomGraph(30, 22);
    expect(placesNow(small.names, small.edges, NODE)).toEqual(layout(small.names, small.edges, NODE));
  });

  test('what nobody waits for any more is not kept', async () => {
    const { names, edges } = randomGraph(400, 23);
    expect(await arrange(names, edges, NODE, AbortSignal.abort())).toBeNull();
    expect(placesNow(names, edges, NODE)).toBeNull();
  });
});

test('lineage is everything before and after, and nothing beside', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const edges = [['a', 'c'], ['b', 'c'], ['c', 'd'], ['b', 'e']].map(([src, dst]) => ({ src: src ?? '', dst: dst ?? '', kind: 'data' as const }));
  expect([...lineage(ways(names, edges), 2)].sort()).toEqual([0, 1, 2, 3]);
});

test('a long name keeps its beginning and its end', () => {
  expect(fitted('train_model_with_a_very_long_name_042', 19)).toBe('train_model_…me_042');
  expect(fitted('short', 19)).toBe('short');
});

test('an edge without points has no path', () => expect(edgePath([])).toBe(''));

test('the picture is well-formed XML whatever tasks are called, and the same each time', () => {
  const state = fromDetail(detailOf([taskRun('<script>"&\'', 'failed'), taskRun('b\x00c', 'skipped')], [['<script>"&\'', 'b\x00c']]));
  const placed = layout(state.tasks.map(task => task.task), state.edges, NODE);
  const svg = picture(state, placed);
  const parsed = new DOMParser().parseFromString(svg, 'image/svg+xml');
  expect(parsed.querySelector('parsererror')).toBeNull();
  expect(svg).not.toContain('<script');
  expect(picture(state, placed)).toBe(svg);
});
