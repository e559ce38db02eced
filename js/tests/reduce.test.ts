import { expect, test, vi } from 'vitest';
import { ApiError } from '../src/core/api';
import type { EventSink, Feed } from '../src/core/feed';
import { fromDetail, fromSaved, isRunId, isSavedRun, reduce, toSaved, type RunState } from '../src/core/reduce';
import { followRun } from '../src/core/runfeed';
import type { RunDetail } from '../src/core/wire';
import { changed, detailOf, RUN, taskRun } from './fakes';

const start = (): RunState => fromDetail(detailOf([taskRun('a', 'running'), taskRun('b')], [['a', 'b']]));
const summary = (more: Partial<RunDetail> = {}) => start().summary && { ...start().summary, ...more };

test('events change what they name and nothing else', () => {
  const before = start();
  const after = reduce(before, [changed(11, summary(), [taskRun('a', 'completed')])]);
  expect(after.tasks.map(task => task.state)).toEqual(['completed', 'created']);
  expect(after.tasks[1]).toBe(before.tasks[1]);
  expect(after.seq).toBe(11);
});

test('events that come again, late or from another run change nothing', () => {
  const first = changed(11, summary({ state: 'failed' }), [taskRun('a', 'failed')]);
  const once = reduce(start(), [first]);
  expect(reduce(once, [first])).toBe(once);
  expect(reduce(once, [changed(9, summary(), [taskRun('a', 'queued')])])).toBe(once);
  expect(reduce(once, [changed(12, summary(), [taskRun('a', 'queued')], 'other')])).toBe(once);
});

test('any split of the events gives the same state', () => {
  const states = ['queued', 'running', 'failed', 'queued', 'running', 'completed'] as const;
  const events = states.map((state, i) => changed(11 + i, summary({ reason: `step ${i}` }), [taskRun(i % 2 ? 'a' : 'b', state)]));
  const whole = reduce(start(), events);
  for (let cut = 0; cut <= events.length; cut++) {
    const overlap = Math.max(0, cut - 2);
    expect(reduce(reduce(start(), events.slice(0, cut)), events.slice(overlap))).toEqual(whole);
  }
});

test('a task that a growing plan adds comes last', () => {
  expect(reduce(start(), [changed(11, summary(), [taskRun('c', 'queued')])]).tasks.map(task => task.task)).toEqual(['a', 'b', 'c']);
});

test('a deleted run says so', () => {
  expect(reduce(start(), [{ seq: 12, run: RUN, at: '', kind: 'run.deleted', body: {} }]).deleted).toBe(true);
});

test('a plan, whose states are null, is shown as not started', () => {
  const saved = toSaved(start());
  const plan = { ...saved, state: null, tasks: saved.tasks.map(task => ({ ...task, state: null })) };
  expect(isSavedRun(JSON.parse(JSON.stringify(plan)))).toBe(true);
  expect(new Set(fromSaved(plan).tasks.map(task => task.state))).toEqual(new Set(['created']));
  expect(fromSaved(plan).summary.state).toBe('created');
});

test('what is saved can be shown again', () => {
  const saved = toSaved(start());
  expect(isSavedRun(JSON.parse(JSON.stringify(saved)))).toBe(true);
  expect(toSaved(fromSaved(saved))).toEqual(saved);
  expect(JSON.stringify(saved)).not.toContain(RUN);
});

test.each([null, 3, {}, { version: 2 }, { version: 1, workflow: 'w', state: 'odd', tasks: [], edges: [] }, { version: 1, workflow: 'w', state: 'running', tasks: [{ task: 1 }], edges: [] }])(
  'data that is not a saved run is refused: %j', data => expect(isSavedRun(data)).toBe(false));

// ------------------------------------------------------------------------------------------------ following a run

function feedOf(run: Feed['run']): { feed: Feed; sink: () => EventSink } {
  let sink: EventSink | null = null;
  const feed = { run, events: (_: string, to: EventSink) => (sink = to) } as unknown as Feed;
  return { feed, sink: () => sink as unknown as EventSink };
}

test('events that come while the run is read are neither lost nor applied twice', async () => {
  let answer: (detail: RunDetail) => void = () => undefined;
  const { feed, sink } = feedOf(() => new Promise(done => (answer = done)));
  const states: RunState[] = [];
  followRun(feed, RUN, { state: state => states.push(state), problem: () => expect.unreachable() }, new AbortController().signal);
  sink().reset();
  sink().events([changed(10, summary(), [taskRun('a', 'queued')]), changed(11, summary(), [taskRun('a', 'completed')])]);
  answer(detailOf([taskRun('a', 'running'), taskRun('b')], [], { seq: 10 }));
  await vi.waitFor(() => expect(states).toHaveLength(1));
  expect(states[0]?.tasks[0]?.state).toBe('completed');
  sink().events([changed(12, summary(), [taskRun('b', 'running')])]);
  expect(states[1]?.tasks.map(task => task.state)).toEqual(['completed', 'running']);
});

test('an unknown run is gone; a server that is away, or says why it cannot, is asked again', async () => {
  vi.useFakeTimers();
  try {
    const answers = [new TypeError('fetch failed'), new ApiError(503, 'StoreUnavailable', 'the disk is full'), new ApiError(404, 'NotFound', 'no run')].map(
      error => () => Promise.reject(error)
    );
    const { feed, sink } = feedOf(() => (answers.shift() ?? (() => expect.unreachable()))());
    const problems: [string, boolean, boolean][] = [];
    followRun(feed, RUN, { state: () => expect.unreachable(), problem: (...problem) => problems.push(problem) }, new AbortController().signal);
    sink().reset();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(problems).toEqual([['fetch failed', false, false], ['the disk is full', false, true], ['no run', true, false]]);
  } finally {
    vi.useRealTimers();
  }
});

test('without a connection the run is read all the same', async () => {
  vi.useFakeTimers();
  try {
    const { feed } = feedOf(() => Promise.resolve(detailOf([taskRun('a')])));
    const states: RunState[] = [];
    followRun(feed, RUN, { state: state => states.push(state), problem: () => expect.unreachable() }, new AbortController().signal);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(states).toHaveLength(1);
  } finally {
    vi.useRealTimers();
  }
});

test.each([
  { tasks: [{ task: 'a', state: 'constructor', reason: '' }] },
  { tasks: [{ task: 'a', state: null, reason: { type: 'script', props: {} } }] },
  { tasks: [{ task: { toString: 'x' }, state: null, reason: '' }] },
  { tasks: [null] },
  { edges: [{ src: 'a', dst: 'a', kind: '<b>' }] },
  { state: '__proto__' },
  { workflow: ['w'] }
])('hostile data of an output is refused: %j', part => {
  const good = { version: 1, workflow: 'w', state: null, tasks: [{ task: 'a', state: null, reason: '' }], edges: [] };
  expect(isSavedRun(good)).toBe(true);
  expect(isSavedRun({ ...good, ...part })).toBe(false);
});

test.each(['', '..', '../../api/contents', 'last', 'ABCDEF0123456789ABCDEF0123456789', `${'0'.repeat(32)}/`, `${'0'.repeat(33)}`, 7, null])(
  'what a file calls a run and is no id becomes part of no address: %j',
  id => expect(isRunId(id)).toBe(false)
);
