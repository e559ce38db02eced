import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { EventSink, Feed } from '../src/core/feed';
import { percent, progressOf, timeLeft } from '../src/core/progress';
import { fromDetail, progressed, reduce, toSaved, type RunState } from '../src/core/reduce';
import { followRun } from '../src/core/runfeed';
import { Socket } from '../src/core/socket';
import type { ProgressView } from '../src/core/wire';
import { taskLine } from '../src/ui/taskline';
import { changed, detailOf, FakeServer, ManualClock, RUN, taskRun } from './fakes';
import { staged } from './stage';

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);
const at = (done: number, attempt = A): ProgressView => ({ attempt, fraction: done / 100, done, total: 100, text: `${done}/100` });
const running = (task: string, attempt = A) => taskRun(task, 'running', { attempt, attempts: 1, started_at: new Date(Date.now() - 60_000).toISOString() });
const detail = () => detailOf([running('train'), taskRun('report')], [['train', 'report']]);
const far = (state: RunState): (string | undefined)[] => state.tasks.map(task => progressOf(task)?.text);

describe('a run', () => {
  test('is read with how far its tasks are', () => {
    expect(far(fromDetail({ ...detail(), progress: { train: at(42) } }))).toEqual(['42/100', undefined]);
  });

  test('takes what is told of the newest attempt of a task, and leaves the others the same objects', () => {
    const before = fromDetail(detail());
    const after = progressed(before, { train: at(42), report: at(1), unknown: at(2), constructor: at(3) });
    expect(far(after)).toEqual(['42/100', undefined]);
    expect(after.tasks[1]).toBe(before.tasks[1]);
    expect(progressed(before, { train: at(42, B) }).tasks[0]).toBe(before.tasks[0]);
  });

  test('keeps it through events while the same attempt runs, and no longer', () => {
    const told = progressed(fromDetail(detail()), { train: at(42) });
    const step = (task: ReturnType<typeof taskRun>) => far(reduce(told, [changed(11, told.summary, [task])]))[0];
    expect(step({ ...running('train'), reason: 'is being stopped' })).toBe('42/100');
    expect(step(running('train', B))).toBeUndefined();
    expect(step(taskRun('train', 'completed', { attempt: A }))).toBeUndefined();
  });

  test('is saved without it', () => {
    expect(JSON.stringify(toSaved(progressed(fromDetail(detail()), { train: at(42) })))).not.toContain('42');
  });

  test('that is being read takes what was told meanwhile', async () => {
    let sink: EventSink | undefined;
    let answer: (found: ReturnType<typeof detail>) => void = () => undefined;
    const seen: RunState[] = [];
    const feed = { events: (_run: string, given: EventSink) => (sink = given), run: () => new Promise(done => (answer = done)) } as unknown as Feed;
    followRun(feed, RUN, { state: state => seen.push(state), problem: () => undefined }, new AbortController().signal);
    sink?.reset();
    sink?.progress?.({ train: at(41) });
    sink?.progress?.({ train: at(42) });
    answer(detail());
    await vi.waitFor(() => expect(seen.map(far)).toEqual([['42/100', undefined]]));
    sink?.progress?.({ train: at(43) });
    expect(far(seen.at(-1)!)).toEqual(['43/100', undefined]);
  });
});

describe('the socket', () => {
  let server: FakeServer;
  let socket: Socket;
  const settle = (): Promise<void> => new Promise(done => setTimeout(done, 0));
  const watched = () => server.heard.filter(message => message.type === 'watch').map(message => message.runs);
  const listen = (run: string | null, heard: unknown[] = []) => {
    const life = new AbortController();
    socket.events(run, { events: () => undefined, reset: () => undefined, progress: told => heard.push(told) }, life.signal);
    return life;
  };

  beforeEach(() => {
    server = new FakeServer();
    socket = new Socket(server.open, new ManualClock());
  });

  test('asks for the runs that are looked at one by one, each once, and says when nobody looks any more', async () => {
    const all = listen(null);
    await settle();
    expect(watched()).toEqual([]);
    const lives = [listen(RUN), listen(RUN), listen(B)];
    lives[2]!.abort();
    lives[0]!.abort();
    lives[1]!.abort();
    all.abort();
    expect(watched()).toEqual([[RUN], [RUN, B], [RUN], []]);
  });

  test('asks again after a break, and gives each run what is its own', async () => {
    const [one, other]: [unknown[], unknown[]] = [[], []];
    listen(RUN, one);
    listen(B, other);
    await settle();
    server.cut();
    socket.retryNow();
    await settle();
    expect(watched()).toEqual([[RUN, B], [RUN, B]]);
    server.line?.on.text(JSON.stringify({ type: 'progress', run: RUN, tasks: { train: at(42) } }));
    expect([one, other]).toEqual([[{ train: at(42) }], []]);
  });
});

describe('words', () => {
  test.each([
    [0, '0 %'],
    [0.29, '29 %'],
    [0.9999, '99 %'],
    [1, '100 %']
  ])('%d of it is %s', (fraction, text) => expect(percent(fraction)).toBe(text));

  test.each([
    [0.5, 4, ''],
    [0.005, 100, ''],
    [1, 100, ''],
    [0.95, 100, 'a few seconds left'],
    [0.5, 30, 'about 30 s left'],
    [0.25, 60, 'about 3 min left'],
    [0.25, 3600, 'about 3 h left'],
    [0.1, 40_000, 'about 4 d left']
  ])('%d done after %d s: %s', (fraction, seconds, text) => expect(timeLeft(fraction, seconds)).toBe(text));

  test('a task in one line says it', () => {
    expect(taskLine({ ...running('train'), started_at: null, progress: at(42) })).toBe('train · running · 42 %');
    expect(taskLine({ ...taskRun('train', 'completed', { attempt: A }), progress: at(42) })).toBe('train · completed');
  });
});

describe('the views', () => {
  const stage = staged();

  test('a box has a bar and a percentage, which are gone when the task ends', async () => {
    const page = stage(detail());
    await page.show();
    expect(page.root.querySelector('.jp-wattle-far-done')).toBeNull();
    await page.told({ train: at(42) });
    const box = page.node('train');
    expect(box.textContent).toContain('running · 42 % · 1 min');
    expect(box.getAttribute('aria-label')).toMatch(/^train, running, 42 %, 1 min/);
    const [whole = 0, done = 0] = ['all', 'done'].map(part => Number(/h([\d.]+)/.exec(box.querySelector(`.jp-wattle-far-${part}`)?.getAttribute('d') ?? '')?.[1]));
    expect(done / whole).toBeCloseTo(0.42, 2);
    await page.change(taskRun('train', 'completed', { attempt: A, attempts: 1 }));
    expect(page.node('train').textContent).not.toContain('%');
    expect(page.root.querySelector('.jp-wattle-far-done')).toBeNull();
  });

  test('the panel has a bar, the count and the time that is left', async () => {
    const page = stage(detail());
    await page.show();
    await page.click(page.node('train'));
    expect(page.root.querySelector('.jp-wattle-far')).toBeNull();
    await page.told({ train: at(25) });
    const bar = page.find('.jp-wattle-panel-head [role=progressbar]');
    expect([bar.ariaLabel ?? bar.getAttribute('aria-label'), bar.getAttribute('aria-valuenow'), bar.getAttribute('aria-valuetext')]).toEqual(['Progress of train', '25', '25 %, 25/100']);
    expect(page.find('.jp-wattle-panel-far').textContent).toBe('25 % · 25/100 · about 3 min left');
  });

  test('the table has it beside the state', async () => {
    const page = stage(detail());
    await page.show();
    await page.told({ train: at(42) });
    await page.click(page.button('Table'));
    const row = page.find('.jp-wattle-list-row[data-task=train]');
    expect(row.querySelector('.jp-wattle-list-word')?.textContent).toBe('running 42 %');
    expect(row.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')).toBe('42');
  });
});
