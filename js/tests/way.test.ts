import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Connection, Feed, Link } from '../src/core/feed';
import { firstWay, type Way } from '../src/core/way';

/** A way that stands when it is told to. */
class FakeWay implements Way {
  watched = 0;
  asked = 0;
  answers = true;
  private tell: ((connection: Connection) => void) | null = null;

  readonly feed = {
    watch: (on: (connection: Connection) => void, signal: AbortSignal) => {
      this.watched += 1;
      this.tell = on;
      signal.addEventListener('abort', () => (this.watched -= 1));
      on({ link: 'waiting', trouble: null, store: null });
    }
  } as unknown as Feed;

  asks(): Promise<boolean> {
    this.asked += 1;
    return this.answers ? Promise.resolve(true) : Promise.reject(new TypeError('Failed to fetch'));
  }

  become(link: Link, store = 'mine'): void {
    this.tell?.({ link, trouble: null, store });
  }
}

let direct: FakeWay;
let kernel: FakeWay;
let life: AbortController;
let chosen: Feed | null | undefined;

const settle = (): Promise<void> => vi.advanceTimersByTimeAsync(0).then(() => undefined);

function choose(store = 'mine'): void {
  void firstWay(direct, kernel, store, life.signal).then(feed => (chosen = feed));
}

beforeEach(() => {
  vi.useFakeTimers();
  [direct, kernel, life, chosen] = [new FakeWay(), new FakeWay(), new AbortController(), undefined];
});
afterEach(() => {
  vi.useRealTimers();
});

test('the direct way is taken and the kernel left alone', async () => {
  choose();
  direct.become('live');
  await settle();
  expect(chosen).toBe(direct.feed);
  expect([direct.watched, kernel.watched]).toEqual([0, 0]);
  expect(vi.getTimerCount()).toBe(0);
});

test('where the socket is refused it goes through the kernel', async () => {
  choose();
  direct.become('reconnecting');
  kernel.become('live');
  await settle();
  expect(chosen).toBe(kernel.feed);
  expect(direct.watched).toBe(0);
});

test('where the socket stands and requests are blocked it goes through the kernel', async () => {
  direct.answers = false;
  choose();
  direct.become('live');
  await settle();
  kernel.become('live');
  await settle();
  expect(chosen).toBe(kernel.feed);
});

test('a server with another store is not the way to this run', async () => {
  choose();
  direct.become('live', 'other');
  kernel.become('live');
  await settle();
  expect([chosen, direct.asked]).toEqual([kernel.feed, 0]);
});

test('a direct way that says nothing is given four seconds', async () => {
  choose();
  await vi.advanceTimersByTimeAsync(3_999);
  expect(kernel.watched).toBe(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(kernel.watched).toBe(1);
  expect(chosen).toBeUndefined();
});

test('a server that was away while the page opened is found as soon as it is back', async () => {
  choose();
  direct.become('reconnecting');
  kernel.become('offline');
  await settle();
  expect(chosen).toBeUndefined();
  direct.become('live');
  await settle();
  expect(chosen).toBe(direct.feed);
});

test('it ends with its signal', async () => {
  choose();
  direct.become('reconnecting');
  life.abort();
  await settle();
  expect(chosen).toBeNull();
  expect([direct.watched, kernel.watched, vi.getTimerCount()]).toEqual([0, 0, 0]);
});
