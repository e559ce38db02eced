import { beforeEach, describe, expect, test } from 'vitest';
import packageJson from '../package.json';
import type { Answer } from '../src/core/api';
import { Board } from '../src/core/board';
import { Catalog } from '../src/core/catalog';
import type { Connection, EventSink, Feed } from '../src/core/feed';
import { fromDetail } from '../src/core/reduce';
import { ALL, isQuery, matches, RunList } from '../src/core/runlist';
import { VERSION } from '../src/core/version';
import type { EventView, RunSummary, StateName } from '../src/core/wire';
import { changed, detailOf, infoOf, ManualClock } from './fakes';

const id = (n: number): string => n.toString(16).padStart(32, '0');

/** Number `n` of those that were started one after another. */
function runOf(n: number, state: StateName = 'completed', more: Partial<RunSummary> = {}): RunSummary {
  const at = new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString();
  return { ...fromDetail(detailOf([])).summary, id: id(n), workflow: n % 2 === 0 ? 'even' : 'odd', state, created_at: at, ...more };
}

const newestFirst = (count: number): RunSummary[] => Array.from({ length: count }, (_, i) => runOf(count - 1 - i));

describe('the list of runs', () => {
  test('holds only the pages that were read, each at its place', () => {
    const list = new RunList();
    const all = newestFirst(1000);
    list.place(300, all.slice(300, 400), 1000);
    expect(list.length).toBe(1000);
    expect(list.at(299)).toBeUndefined();
    expect(list.at(300)?.id).toBe(id(699));
    expect(list.indexOf(id(600))).toBe(399);
  });

  test('puts a new run on top and changes a known one where it stands', () => {
    const list = new RunList();
    list.place(0, newestFirst(3), 3);
    expect(list.apply(runOf(3, 'running'))).toBe(true);
    expect(list.apply(runOf(1, 'failed'))).toBe(true);
    expect([0, 1, 2, 3].map(i => list.at(i)?.id)).toEqual([3, 2, 1, 0].map(id));
    expect(list.at(2)?.state).toBe('failed');
  });

  test('a run far down that was never read does not come up because it changed', () => {
    const list = new RunList();
    list.place(0, newestFirst(1000).slice(0, 100), 1000);
    expect(list.apply(runOf(5, 'running'))).toBe(false);
    expect(list.length).toBe(1000);
  });

  test('a run that no longer matches leaves, one that begins to match comes', () => {
    const list = new RunList({ states: ['running'], text: '' });
    list.place(0, [runOf(9, 'running'), runOf(5, 'running')], 2);
    list.apply(runOf(9, 'failed'));
    list.apply(runOf(7, 'running'));
    expect([list.at(0)?.id, list.at(1)?.id, list.length]).toEqual([id(7), id(5), 2]);
  });

  test('another total than expected makes all but the page that says so unread', () => {
    const list = new RunList();
    list.place(0, newestFirst(4), 4);
    list.place(2, [runOf(1), runOf(0)], 6);
    expect(list.length).toBe(6);
    expect(list.at(0)).toBeUndefined();
    expect(list.indexOf(id(1))).toBe(2);
  });

  test('no run is there twice, wherever pages and events put it', () => {
    const list = new RunList();
    const all = newestFirst(40);
    for (let round = 0; round < 200; round++) {
      const offset = (round * 7) % 40;
      list.place(offset, all.slice(offset, offset + 9), 40);
      if (round % 3 === 0) list.remove(id(round % 40));
      if (round % 5 === 0) list.apply(runOf(round % 40, 'running'));
      const ids = Array.from({ length: list.length }, (_, i) => list.at(i)?.id).filter(one => one !== undefined);
      expect(new Set(ids).size).toBe(ids.length);
      for (const one of ids) expect(list.at(list.indexOf(one))?.id).toBe(one);
    }
  });

  test('only a query is taken for one', () => {
    expect(isQuery({ states: ['failed'], text: 'x' })).toBe(true);
    for (const other of [undefined, null, 7, {}, { states: 'failed', text: '' }, { states: ['lost'], text: '' }, { states: [] }]) expect(isQuery(other)).toBe(false);
  });

  test('text is part of the name or the beginning of the id', () => {
    const run = runOf(0xabc, 'failed', { workflow: 'Train Model', id: 'abc1' + id(0).slice(4) });
    expect(matches({ states: [], text: 'MODEL' }, run)).toBe(true);
    expect(matches({ states: ['failed'], text: 'abc1' }, run)).toBe(true);
    expect(matches({ states: ['running'], text: 'abc1' }, run)).toBe(false);
    expect(matches({ states: [], text: 'bc1' }, run)).toBe(false);
  });
});

/** A server with runs, whose answers can be held back. */
class Server {
  runs = newestFirst(1000);
  asked: string[] = [];
  status = 200;
  held: (() => void)[] | null = null;

  readonly send = async (_method: string, path: string): Promise<Answer> => {
    this.asked.push(path);
    const answer = this.answer(path);
    if (this.held !== null) await new Promise<void>(done => this.held?.push(done));
    return answer;
  };

  private answer(path: string): Answer {
    if (this.status !== 200) return { status: this.status, body: { success: false, error: 'E', message: 'the reason' } };
    const url = new URL(path, 'http://x/');
    if (url.pathname === '/info') return ok(infoOf(VERSION));
    const states = url.searchParams.get('status')?.split(',') ?? [];
    const found = this.runs.filter(run => matches({ states: states as StateName[], text: url.searchParams.get('search') ?? '' }, run));
    const [page, size] = [Number(url.searchParams.get('page')), Number(url.searchParams.get('page_size'))];
    const data = url.pathname === '/runs' ? found.slice((page - 1) * size, page * size) : [];
    return ok({ data, pagination: { page, page_size: size, total: found.length, total_pages: 1, has_next: false, has_prev: false } });
  }
}

const ok = (data: unknown): Answer => ({ status: 200, body: { success: true, data } });

class Line {
  sink: EventSink | null = null;
  tell: (connection: Connection) => void = () => undefined;
  listeners = 0;
  readonly feed = {
    watch: (on: (connection: Connection) => void, signal: AbortSignal) => {
      this.tell = on;
      this.listeners += 1;
      signal.addEventListener('abort', () => (this.listeners -= 1));
      on({ link: 'live', trouble: null, store: 's' });
    },
    events: (_run: string | null, sink: EventSink, signal: AbortSignal) => {
      this.sink = sink;
      this.listeners += 1;
      signal.addEventListener('abort', () => (this.listeners -= 1));
      sink.reset();
    }
  } as unknown as Feed;
}

describe('the board', () => {
  let server: Server;
  let line: Line;
  let clock: ManualClock;
  let board: Board;
  const settle = (): Promise<void> => new Promise(done => setTimeout(done, 0));
  const event = (run: RunSummary, seq = 1): EventView => changed(seq, run, [], run.id);

  beforeEach(async () => {
    server = new Server();
    line = new Line();
    clock = new ManualClock();
    board = new Board(line.feed, new Catalog(server.send), () => 100, clock.after);
    board.look(true);
    board.follow();
    await settle();
  });

  test('reads one page, then others as their rows come into sight, each once', async () => {
    expect(board.current.runs?.length).toBe(1000);
    const before = server.asked.length;
    for (const index of [730, 731, 732, 799]) board.want(index);
    clock.pass(100);
    await settle();
    expect(server.asked.slice(before).map(path => new URL(path, 'http://x').searchParams.get('page'))).toEqual(['8']);
    expect(board.current.runs?.at(731)?.id).toBe(id(268));
  });

  test('rows that were scrolled past are not asked for', async () => {
    const before = server.asked.length;
    board.want(500)();
    clock.pass(100);
    await settle();
    expect(server.asked.length).toBe(before);
  });

  test('asks for nothing while nothing happens', async () => {
    const before = server.asked.length;
    clock.pass(3_600_000);
    await settle();
    expect(server.asked.length).toBe(before);
  });

  test('counts what runs by events alone', () => {
    line.sink?.events([event(runOf(1000, 'running')), event(runOf(1001, 'running'))]);
    expect(board.current.running).toBe(2);
    line.sink?.events([event(runOf(1000, 'completed')), event(runOf(1000, 'completed'))]);
    expect(board.current.running).toBe(1);
    expect(board.current.runs?.at(0)?.state).toBe('running');
  });

  test('an answer that is older than an event does not take it back', async () => {
    server.held = [];
    board.refresh();
    line.sink?.events([event(runOf(999, 'failed'))]);
    line.sink?.events([event(runOf(1000, 'running'))]);
    server.held.forEach(go => go());
    server.held = null;
    await settle();
    expect([board.current.runs?.length, board.current.runs?.at(0)?.state, board.current.runs?.at(1)?.state]).toEqual([1001, 'running', 'failed']);
    expect(board.current.running).toBe(1);
  });

  test('the answer to an older question is not shown', async () => {
    server.held = [];
    board.search({ states: [], text: 'even' });
    board.search({ states: ['failed'], text: '' });
    server.held.reverse().forEach(go => go());
    server.held = null;
    await settle();
    expect(board.current.runs?.length).toBe(0);
    expect(board.current.query.states).toEqual(['failed']);
  });

  test.each([
    [404, 'missing'],
    [403, 'denied']
  ])('with status %i it says so and stops asking until it is told to', async (status, kind) => {
    server.status = status;
    board.refresh();
    await settle();
    expect(board.current.problem?.kind).toBe(kind);
    expect(line.listeners).toBe(0);
    const before = server.asked.length;
    clock.pass(60_000);
    expect(server.asked.length).toBe(before);
    server.status = 200;
    board.refresh();
    await settle();
    expect(board.current.problem).toBeNull();
    expect(board.current.runs?.length).toBe(1000);
  });

  test('an engine that starts is waited for by its connection', async () => {
    server.status = 503;
    line.tell({ link: 'reconnecting', trouble: null, store: null });
    board.refresh();
    await settle();
    expect(board.current.problem).toEqual({ kind: 'starting', message: 'the reason' });
    server.status = 200;
    line.sink?.reset();
    await settle();
    expect(board.current.problem).toBeNull();
  });

  test('what could not be read is read once the connection is back, though no event is missing', async () => {
    server.status = 503;
    line.tell({ link: 'reconnecting', trouble: null, store: 's' });
    board.refresh();
    await settle();
    server.status = 200;
    line.tell({ link: 'live', trouble: null, store: 's' });
    await settle();
    expect(board.current.problem).toBeNull();
  });

  test('at rest it hears nothing and asks nothing', async () => {
    board.rest();
    expect(line.listeners).toBe(0);
    const before = server.asked.length;
    board.want(500);
    board.search(ALL);
    clock.pass(60_000);
    await settle();
    expect(server.asked.length).toBe(before);
    board.follow();
    await settle();
    expect(board.current.runs?.length).toBe(1000);
  });

  test('without an onlooker it reads the count alone', async () => {
    board.rest();
    board.look(false);
    const before = server.asked.length;
    board.follow();
    await settle();
    expect(server.asked.slice(before).map(path => path.split('?')[0])).toEqual(['info', 'runs']);
  });
});

test('the version that the page knows is that of the package', () => {
  expect(VERSION).toBe(packageJson.version);
});
