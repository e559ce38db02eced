import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { render } from 'preact';
import { useRef } from 'preact/hooks';
import { act } from 'preact/test-utils';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Board } from '../src/core/board';
import { Catalog } from '../src/core/catalog';
import { after, Presence, watchPage } from '../src/core/lifetime';
import { feedOver } from '../src/core/live';
import { Api, type Send } from '../src/core/api';
import { Socket } from '../src/core/socket';
import { Frame, Sight, useSight } from '../src/ui/hooks';
import { RunView } from '../src/ui/RunView';
import { Sidebar } from '../src/ui/Sidebar';
import { detailOf, FakeServer, infoOf, RUN, taskRun } from './fakes';

describe('a timer', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  test('calls once, unless its signal ends before', () => {
    const [kept, ended] = [new AbortController(), new AbortController()];
    const [first, second, third] = [vi.fn(), vi.fn(), vi.fn()];
    after(100, first, kept.signal);
    after(100, second, ended.signal);
    ended.abort();
    after(100, third, ended.signal);
    vi.advanceTimersByTime(1_000);
    expect([first, second, third].map(one => one.mock.calls.length)).toEqual([1, 0, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('leaves nothing at a signal that goes on', () => {
    const { signal } = new AbortController();
    const [add, remove] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')];
    after(100, () => undefined, signal);
    vi.advanceTimersByTime(100);
    expect([add.mock.calls.length, remove.mock.calls.length]).toEqual([1, 1]);
  });
});

/** What is there until somebody ends it: listeners of the page, timers, observers. */
class Ledger {
  private readonly listening = new Set<unknown>();
  observers = 0;

  constructor() {
    for (const target of [document, window]) this.count(target);
    for (const name of ['ResizeObserver', 'MutationObserver'] as const) this.countObservers(name);
  }

  get listeners(): number {
    return this.listening.size;
  }

  private count(target: EventTarget): void {
    const add = target.addEventListener.bind(target);
    vi.spyOn(target, 'addEventListener').mockImplementation((type: string, run: unknown, options: unknown) => {
      this.listening.add(run);
      const { signal } = (options ?? {}) as { signal?: AbortSignal };
      signal?.addEventListener('abort', () => this.listening.delete(run), { once: true });
      add(type, run as EventListener, options as AddEventListenerOptions);
    });
    const remove = target.removeEventListener.bind(target);
    vi.spyOn(target, 'removeEventListener').mockImplementation((type: string, run: unknown, options: unknown) => {
      this.listening.delete(run);
      remove(type, run as EventListener, options as EventListenerOptions);
    });
  }

  private countObservers(name: 'ResizeObserver' | 'MutationObserver'): void {
    const ledger = this;
    const Real = globalThis[name] as unknown as new (run: unknown) => { observe(...of: unknown[]): void; disconnect(): void };
    vi.stubGlobal(
      name,
      class extends Real {
        private on = false;
        override observe(...of: unknown[]): void {
          if (!this.on) ledger.observers += 1;
          this.on = true;
          super.observe(...of);
        }
        override disconnect(): void {
          if (this.on) ledger.observers -= 1;
          this.on = false;
          super.disconnect();
        }
      }
    );
  }
}

describe('when the last view is gone', () => {
  let root: HTMLElement;
  let life: AbortController;
  let server: FakeServer;
  let ledger: Ledger;

  beforeEach(() => {
    root = document.createElement('div');
    document.body.append(root);
    life = new AbortController();
    server = new FakeServer();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'requestAnimationFrame', 'cancelAnimationFrame'] });
    ledger = new Ledger();
  });
  afterEach(() => {
    render(null, root);
    root.remove();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  const send: Send = (_method, path) => {
    const page = { data: [], pagination: { page: 1, page_size: 100, total: 0, total_pages: 1, has_next: false, has_prev: false } };
    const data = path.startsWith(`runs/${RUN}`) ? detailOf([taskRun('a', 'running'), taskRun('b')], [['a', 'b']]) : path === 'info' ? infoOf('1') : page;
    return Promise.resolve({ status: 200, body: { success: true, data } });
  };

  test('of a run, nothing listens, ticks, observes or is connected any more', async () => {
    const feed = feedOver(new Socket(server.open), new Api(send), () => null, life.signal);
    render(<RunView feed={feed} run={RUN} store={null} saved={null} />, root);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(root.textContent).toContain('etl');
    expect(server.line).not.toBeNull();
    expect([ledger.listeners, ledger.observers, vi.getTimerCount()].every(count => count > 0)).toBe(true);
    render(null, root);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.line).toBeNull();
    life.abort();
    expect([ledger.listeners, ledger.observers, vi.getTimerCount()]).toEqual([0, 0, 0]);
  });

  test('of the list of runs, too', async () => {
    const feed = feedOver(new Socket(server.open), new Api(send), () => null, life.signal);
    const board = new Board(feed, new Catalog(send));
    board.look(true);
    board.follow();
    render(<Sidebar board={board} active={null} choose={() => undefined} open={() => undefined} start={() => undefined} />, root);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(root.textContent).toContain('No runs yet');
    render(null, root);
    board.rest();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.line).toBeNull();
    life.abort();
    expect([ledger.listeners, ledger.observers, vi.getTimerCount()]).toEqual([0, 0, 0]);
  });
});

describe('a page that nobody sees', () => {
  const hide = (hidden: boolean): void => {
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(hidden);
    document.dispatchEvent(new Event('visibilitychange'));
  };
  let life: AbortController;
  beforeEach(() => {
    life = new AbortController();
    vi.useFakeTimers();
  });
  afterEach(() => {
    life.abort();
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  test('is told of, until its signal ends', () => {
    const seen: boolean[] = [];
    watchPage(one => seen.push(one), life.signal);
    hide(true);
    life.abort();
    hide(false);
    expect(seen).toEqual([true, false]);
  });

  test('is drawn now and then, and at once when it is back', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'requestAnimationFrame', 'cancelAnimationFrame'] });
    const [draw, sight] = [vi.fn(), new Sight()];
    const frame = new Frame(draw, sight);
    sight.back = () => frame.hurry();
    const after50 = (): number => {
      frame.ask();
      vi.advanceTimersByTime(50);
      return draw.mock.calls.length;
    };
    expect([after50(), after50()]).toEqual([1, 2]);
    sight.seen = false;
    expect([after50(), after50()]).toEqual([2, 2]);
    vi.advanceTimersByTime(500);
    expect([draw.mock.calls.length, after50()]).toEqual([3, 3]);
    sight.seen = true;
    sight.back();
    vi.advanceTimersByTime(20);
    expect(draw).toHaveBeenCalledTimes(4);
    sight.back();
    frame.ask();
    frame.stop();
    vi.advanceTimersByTime(1_000);
    expect(draw).toHaveBeenCalledTimes(4);
  });

  test('a view behind another tab is told of by the browser, until it is gone', async () => {
    const observers = new Set<{ tell: (seen: boolean) => void }>();
    vi.stubGlobal(
      'IntersectionObserver',
      class {
        constructor(readonly run: (entries: { isIntersecting: boolean }[]) => void) {}
        observe = (): void => void observers.add(this);
        disconnect = (): void => void observers.delete(this);
        tell = (seen: boolean): void => this.run([{ isIntersecting: seen }]);
      }
    );
    vi.useRealTimers();
    const [root, sights, back] = [document.createElement('div'), new Set<Sight>(), vi.fn()];
    const View = () => {
      const box = useRef<HTMLDivElement>(null);
      sights.add(useSight(box));
      return <div ref={box} />;
    };
    await act(() => render(<View />, root));
    const [[sight], [observer]] = [[...sights], [...observers]];
    sight!.back = back;
    observer!.tell(false);
    expect([sight!.seen, back.mock.calls.length]).toEqual([false, 0]);
    observer!.tell(true);
    expect([sight!.seen, back.mock.calls.length]).toEqual([true, 1]);
    await act(() => render(null, root));
    expect(observers.size).toBe(0);
    vi.unstubAllGlobals();
  });

  test('who comes back soon finds all as it was', () => {
    const [come, go] = [vi.fn(), vi.fn()];
    const presence = new Presence(come, go);
    presence.set(true);
    presence.set(false);
    vi.advanceTimersByTime(9_000);
    presence.set(true);
    vi.advanceTimersByTime(60_000);
    expect([come.mock.calls.length, go.mock.calls.length]).toEqual([1, 0]);
    presence.set(false);
    vi.advanceTimersByTime(10_000);
    expect(go).toHaveBeenCalledTimes(1);
  });

  test('has no connection; when it is seen again it has what it missed', async () => {
    const server = new FakeServer();
    const feed = feedOver(new Socket(server.open), new Api(() => Promise.reject(new Error('not asked'))), () => null, life.signal);
    const seqs: number[] = [];
    feed.events(null, { events: events => seqs.push(...events.map(one => one.seq)), reset: () => undefined }, life.signal);
    await vi.advanceTimersByTimeAsync(0);
    expect(server.line).not.toBeNull();
    hide(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([server.line, server.opened]).toEqual([null, 1]);
    server.events.push({ seq: 1, run: null, at: '', kind: 'workflow.changed', body: { name: 'x' } });
    hide(false);
    await vi.advanceTimersByTimeAsync(0);
    server.flush();
    expect(seqs).toEqual([1]);
  });
});

const SRC = join(__dirname, '..', 'src');
const sources = (readdirSync(SRC, { recursive: true }) as string[]).filter(name => /\.tsx?$/.test(name));

test.each(sources)('every listener in %s ends with a signal', name => {
  const calls = readFileSync(join(SRC, name), 'utf8').match(/\.addEventListener\([^;]*;/g) ?? [];
  for (const call of calls) expect(call).toMatch(/signal\b|once: true/);
});
