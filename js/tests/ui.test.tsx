import { render } from 'preact';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Connection, EventSink, Feed, LogOf, LogQuestion, LogSink, Verb } from '../src/core/feed';
import { fromDetail, toSaved } from '../src/core/reduce';
import type { RunDetail, TaskRunDetail } from '../src/core/wire';
import { RunView, type RunViewProps } from '../src/ui/RunView';
import { FakeLog } from './fakelog';
import { changed, detailOf, RUN, taskRun } from './fakes';

const ATTEMPT = 'a'.repeat(32);

class FakeFeed implements Feed {
  detail: RunDetail;
  sink: EventSink | null = null;
  logs = new Map<string, LogSink>();
  acts: Verb[] = [];
  fail: Error | null = null;
  written = '';
  offsets: number[] = [];
  tell: (connection: Connection) => void = () => undefined;

  constructor(detail: RunDetail) {
    this.detail = detail;
  }
  watch(on: (connection: Connection) => void): void {
    this.tell = on;
    on({ link: 'live', trouble: null, store: 's' });
  }
  run(): Promise<RunDetail> {
    return this.fail ? Promise.reject(this.fail) : Promise.resolve(this.detail);
  }
  task(_run: string, task: string): Promise<TaskRunDetail> {
    const found = this.detail.tasks.find(one => one.task === task) ?? taskRun(task);
    return Promise.resolve({ ...found, command: 'python x.py', working_dir: '/w', needs: [], progress: null, history: [], outputs: [{ name: 'rows', kind: 'json', value: 3, size: null, kept: null }, { name: 'model', kind: 'object', value: 'ab'.repeat(32), size: 2048, kept: null }] });
  }
  events(_run: string, sink: EventSink): void {
    this.sink = sink;
    queueMicrotask(() => sink.reset());
  }
  log(attempt: string, offset: number, sink: LogSink): void {
    this.offsets.push(offset);
    this.logs.set(attempt, sink);
  }
  act(_run: string, verb: Verb): Promise<void> {
    this.acts.push(verb);
    return this.fail ? Promise.reject(this.fail) : Promise.resolve();
  }
  logAsk<T>(_of: LogOf, what: LogQuestion, query: Record<string, string>): Promise<T> {
    return Promise.resolve(new FakeLog(this.written).answer(what, query) as T);
  }
  logUrl(): string {
    return '/logs?download=1';
  }
}

let root: HTMLElement;
const detail = (more: Partial<RunDetail> = {}): RunDetail =>
  detailOf(
    [
      taskRun('fetch', 'completed', { attempt: ATTEMPT, attempts: 1, started_at: '2026-01-01T10:00:00.000Z', ended_at: '2026-01-01T10:00:03.000Z' }),
      taskRun('clean', 'failed', { reason: 'exit 3', attempts: 2, attempt: 'b'.repeat(32), exit_code: 3 }),
      taskRun('report', 'skipped', { reason: 'clean failed' })
    ],
    [['fetch', 'clean'], ['clean', 'report']],
    more
  );

beforeEach(() => {
  root = document.createElement('div');
  document.body.append(root);
});
afterEach(() => {
  render(null, root);
  root.remove();
});

/** Views draw once per frame and act after drawing: some frames later all is done. */
async function frames(): Promise<void> {
  for (let i = 0; i < 8; i++) await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
}
async function show(props: Partial<RunViewProps> & { feed: Feed | null }): Promise<void> {
  render(<RunView run={RUN} store="s" saved={null} {...props} />, root);
  await frames();
}
async function step(run: () => void): Promise<void> {
  run();
  await frames();
}
const node = (task: string): SVGElement => root.querySelector<SVGElement>(`.jp-wattle-node[data-task="${task}"]`)!;
const button = (text: string): HTMLButtonElement => [...root.querySelectorAll('button')].find(one => one.textContent === text)!;
const offered = (text: string): boolean => button(text).getAttribute('aria-disabled') === 'false';
const press = (target: Element, key: string): Promise<void> =>
  step(() => target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })));

test('a run is shown with every task, its state in words and its reason', async () => {
  await show({ feed: new FakeFeed(detail({ state: 'failed', reason: 'clean failed' })) });
  expect(node('fetch').getAttribute('aria-label')).toBe('fetch, completed, 3.0 s');
  expect(node('clean').getAttribute('aria-label')).toBe('clean, failed, exit 3');
  expect(root.querySelector('.jp-wattle-head')?.textContent).toContain('clean failed');
  expect(root.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')).toBe('3');
  expect(root.querySelector('.jp-wattle-counts')?.textContent).toBe('1 of 3 tasks · 1 failed · 1 skipped');
});

test('changes show without reading the run again', async () => {
  const feed = new FakeFeed(detail());
  const read = vi.spyOn(feed, 'run');
  await show({ feed });
  await step(() => feed.sink?.events([changed(11, { ...detail(), state: 'running' }, [taskRun('clean', 'running', { attempts: 3 })])]));
  expect(node('clean').getAttribute('aria-label')).toBe('clean, running');
  expect(read).toHaveBeenCalledTimes(1);
});

test('a change of one task draws only that one anew', async () => {
  const feed = new FakeFeed(detail());
  await show({ feed });
  const [kept, path] = [node('fetch'), root.querySelector('.jp-wattle-edge')];
  const changes: MutationRecord[] = [];
  const observer = new MutationObserver(records => changes.push(...records));
  observer.observe(kept, { attributes: true, childList: true, subtree: true, characterData: true });
  await step(() => feed.sink?.events([changed(11, detail(), [taskRun('clean', 'running')])]));
  expect(node('fetch')).toBe(kept);
  expect(root.querySelector('.jp-wattle-edge')).toBe(path);
  expect(changes).toEqual([]);
  observer.disconnect();
});

test('a click opens the log, which shows text and never markup', async () => {
  const feed = new FakeFeed(detail());
  await show({ feed });
  await step(() => node('fetch').dispatchEvent(new MouseEvent('click', { bubbles: true })));
  await step(() => feed.logs.get(ATTEMPT)?.bytes(0, new TextEncoder().encode('\x1b[31m<b>red</b>\x1b[0m\nsecond\n')));
  const lines = [...root.querySelectorAll('.jp-wattle-log-line')].map(line => line.textContent);
  expect(lines).toEqual(['<b>red</b>\n', 'second\n']);
  expect(root.querySelector('.jp-wattle-log-line span')?.getAttribute('style')).toContain('--jp-wattle-ansi-1');
  expect(root.querySelector('[role=log]')?.getAttribute('aria-label')).toBe('Log of fetch');
  expect(root.querySelector('a[download]')?.getAttribute('href')).toBe('/logs?download=1');
});

test('what a task left is shown by name: values as they are, objects by their hash', async () => {
  await show({ feed: new FakeFeed(detail()) });
  await step(() => node('fetch').dispatchEvent(new MouseEvent('click', { bubbles: true })));
  const shown = [...root.querySelectorAll('.jp-wattle-outputs > div')].map(one => [...one.children].map(part => part.textContent));
  expect(shown).toEqual([['rows', '3'], ['model', 'Python object abababababab…', '2.0 kB']]);
});

test('a failed task shows its reason and its last lines without a click', async () => {
  const feed = new FakeFeed(detail({ state: 'failed' }));
  feed.written = Array.from({ length: 20 }, (_, i) => `line ${i}\n`).join('') + '\x1b[31m<b>NaN</b>\x1b[0m\n';
  await show({ feed });
  const failures = root.querySelector('.jp-wattle-failures')!;
  expect(failures.querySelector('button')?.textContent).toBe('cleanexit 3attempt 2');
  expect([...failures.querySelectorAll('.jp-wattle-log-line')].map(line => line.textContent?.trim()).slice(-2)).toEqual(['line 19', '<b>NaN</b>']);
  expect(failures.querySelectorAll('.jp-wattle-log-line')).toHaveLength(8);
  await step(() => failures.querySelector('button')!.click());
  expect(root.querySelector('.jp-wattle-panel-name')?.textContent).toBe('clean');
  expect(root.querySelector('.jp-wattle-failures')).toBeNull();
});

test('arrow keys walk along edges, Enter opens, and only one box is a tab stop', async () => {
  await show({ feed: new FakeFeed(detail()) });
  const stops = (): (string | null)[] => [...root.querySelectorAll('.jp-wattle-node[tabindex="0"]')].map(one => one.getAttribute('data-task'));
  expect(stops()).toEqual(['fetch']);
  await press(node('fetch'), 'ArrowRight');
  expect(stops()).toEqual(['clean']);
  await press(node('clean'), 'ArrowLeft');
  expect(stops()).toEqual(['fetch']);
  await press(node('fetch'), 'Enter');
  expect(root.querySelector('section')?.getAttribute('aria-label')).toBe('Task fetch');
  expect(node('fetch').getAttribute('aria-pressed')).toBe('true');
});

test('pointing at a task dims what is neither before nor after it', async () => {
  const feed = new FakeFeed(detailOf([taskRun('a'), taskRun('b'), taskRun('c')], [['a', 'b']]));
  await show({ feed });
  await step(() => node('a').dispatchEvent(new MouseEvent('mouseenter')));
  expect(['a', 'b', 'c'].map(task => node(task).classList.contains('jp-mod-dim'))).toEqual([false, false, true]);
});

test('cancel asks first, and acts once', async () => {
  const feed = new FakeFeed(detail());
  await show({ feed });
  await step(() => button('Cancel').click());
  expect(feed.acts).toEqual([]);
  await step(() => button('Keep').click());
  await step(() => button('Cancel').click());
  await step(() => button('Cancel run').click());
  expect(feed.acts).toEqual([{ verb: 'cancel' }]);
});

test('cancel does not ask where the settings say so', async () => {
  const feed = new FakeFeed(detail());
  await show({ feed, preferences: { logFollow: true, confirmCancel: false } });
  await step(() => button('Cancel').click());
  expect(feed.acts).toEqual([{ verb: 'cancel' }]);
});

test('a run that ended offers retry instead of cancel; one that completed neither', async () => {
  await show({ feed: new FakeFeed(detail({ state: 'failed' })) });
  expect([button('Cancel'), offered('Retry failed')]).toEqual([undefined, true]);
  render(null, root);
  await show({ feed: new FakeFeed(detailOf([taskRun('a', 'completed')], [], { state: 'completed' })) });
  expect([button('Cancel'), button('Retry failed')]).toEqual([undefined, undefined]);
});

test('what may not be done says why', async () => {
  await show({ feed: new FakeFeed(detail()), readOnly: 'The notebook is not trusted' });
  expect(offered('Cancel')).toBe(false);
  expect(button('Cancel').title).toBe('The notebook is not trusted');
});

test('a verb that the server refuses shows the reason', async () => {
  const feed = new FakeFeed(detail());
  await show({ feed });
  feed.fail = new Error('not allowed for ada');
  await step(() => button('Retry failed').click());
  expect(root.querySelector('.jp-wattle-head [role=alert]')?.textContent).toContain('not allowed for ada');
});

test('a lost connection is said, and the run stays in sight', async () => {
  const feed = new FakeFeed(detail());
  await show({ feed });
  await step(() => feed.tell({ link: 'reconnecting', trouble: null, store: 's' }));
  expect(root.querySelector('.jp-wattle-link')?.textContent).toBe('reconnecting');
  expect(node('clean')).not.toBeNull();
});

test('without a server the saved run is shown, with a note and nothing to press', async () => {
  await show({ feed: null, saved: toSaved(fromDetail(detail())) });
  expect(node('clean').getAttribute('aria-label')).toBe('clean, failed, exit 3');
  expect(root.querySelector('.jp-wattle-note')?.textContent).toContain('Shown as it was saved');
  expect([...root.querySelectorAll('.jp-wattle-buttons button')].every(one => one.getAttribute('aria-disabled') === 'true')).toBe(true);
});

test('the end of a run is reported with its last state', async () => {
  const ends: string[] = [];
  const feed = new FakeFeed(detail());
  await show({ feed, onEnd: state => ends.push(state.summary.state) });
  expect(ends).toEqual([]);
  await step(() => feed.sink?.events([changed(11, { ...detail(), state: 'failed' }, [])]));
  expect(ends).toEqual(['failed']);
});

test('a graph of very many tasks is a picture beside a list that holds only what is in sight', async () => {
  const many = Array.from({ length: 1_000 }, (_, i) => taskRun(`t${i}`));
  await show({ feed: new FakeFeed(detailOf(many)) });
  await vi.waitFor(() => expect(root.querySelectorAll('[data-bundle]')).toHaveLength(1));
  await step(() => button('Group').click());
  await vi.waitFor(() => expect(root.querySelectorAll('canvas[role=img]')).toHaveLength(1));
  const rows = root.querySelectorAll('[role=option]');
  expect(rows.length).toBeLessThan(60);
  expect(rows[0]?.getAttribute('aria-setsize')).toBe('1000');
  await press(root.querySelector('[role=listbox]')!, 'ArrowDown');
  expect(root.querySelector('[aria-selected=true]')?.getAttribute('data-task')).toBe('t0');
});

test('while a large graph is being arranged the view says so, and is as high as it will be', async () => {
  const many = Array.from({ length: 1_000 }, (_, i) => taskRun(`t${i}`));
  const edges = many.slice(50).map(({ task }, i): [string, string] => [`t${i}`, task]);
  const graph = (): HTMLElement => root.querySelector<HTMLElement>('.jp-wattle-graph')!;
  render(<RunView run={RUN} store="s" saved={toSaved(fromDetail(detailOf(many, edges)))} feed={null} />, root);
  expect(graph().textContent).toBe('arranging 1,000 tasks…');
  const height = graph().style.height;
  expect(parseInt(height)).toBeGreaterThan(80);
  await vi.waitFor(() => expect(graph().querySelector('[data-bundle]')).not.toBeNull());
  expect(graph().textContent).not.toContain('arranging');
  expect(graph().style.height).toBe(height);
});

test('every button, group and region has a name', async () => {
  await show({ feed: new FakeFeed(detail()) });
  await step(() => node('fetch').dispatchEvent(new MouseEvent('click', { bubbles: true })));
  for (const element of root.querySelectorAll('button, [role=group], [role=log], [role=progressbar], section, select')) {
    expect(element.getAttribute('aria-label') || element.textContent, element.outerHTML).toBeTruthy();
  }
});

test('when it is taken away nothing stays behind', async () => {
  const feed = new FakeFeed(detail());
  await show({ feed });
  render(null, root);
  expect(root.childNodes).toHaveLength(0);
});
