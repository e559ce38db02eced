import { beforeEach, describe, expect, test } from 'vitest';
import type { Connection, EventSink } from '../src/core/feed';
import { Socket } from '../src/core/socket';
import type { EventView } from '../src/core/wire';
import { changed, detailOf, FakeServer, frame, ManualClock, RUN, taskRun } from './fakes';

let server: FakeServer;
let clock: ManualClock;
let socket: Socket;
let life: AbortController;
const settle = (): Promise<void> => new Promise(done => setTimeout(done, 0));
const event = (seq: number, run = RUN): EventView => changed(seq, detailOf([]), [taskRun('a')], run);

beforeEach(() => {
  server = new FakeServer();
  clock = new ManualClock();
  socket = new Socket(server.open, clock);
  life = new AbortController();
});

function listen(run: string | null = RUN): { seqs: number[]; resets: number } {
  const heard = { seqs: [] as number[], resets: 0 };
  const sink: EventSink = { events: events => heard.seqs.push(...events.map(one => one.seq)), reset: () => (heard.resets += 1) };
  socket.events(run, sink, life.signal);
  return heard;
}

function readLog(attempt: string, offset = 0, signal = life.signal): { bytes: number[]; ended: number; offsets: number[]; problems: string[] } {
  const read = { bytes: [] as number[], ended: 0, offsets: [] as number[], problems: [] as string[] };
  socket.log(
    attempt,
    offset,
    {
      bytes: (at, bytes) => {
        read.offsets.push(at);
        read.bytes.push(...bytes);
      },
      end: () => (read.ended += 1),
      problem: message => read.problems.push(message)
    },
    signal
  );
  return read;
}

async function reconnect(): Promise<void> {
  const before = server.opened;
  while (server.opened === before) clock.pass(50);
  await settle();
}

describe('events', () => {
  test('who asks for all runs hears of all', async () => {
    const [all, one] = [listen(null), listen()];
    await settle();
    server.events.push(event(1), event(2, 'f'.repeat(32)), event(3));
    server.flush();
    expect([all.seqs, one.seqs]).toEqual([[1, 2, 3], [1, 3]]);
  });

  test('a connection that is cut a hundred times loses no event and brings none twice', async () => {
    const heard = listen();
    await settle();
    for (let i = 1; i <= 400; i++) {
      server.events.push(event(i));
      if (i % 3 === 0) server.flush();
      if (i % 4 === 0) {
        server.cut();
        await reconnect();
      }
    }
    server.flush();
    expect(server.opened).toBe(101);
    expect(heard.seqs).toEqual(Array.from({ length: 400 }, (_, i) => i + 1));
    expect(heard.resets).toBe(1);
  });

  test('a listener is told to read its run once the connection stands, and only then', async () => {
    const heard = listen();
    expect(heard.resets).toBe(0);
    await settle();
    expect(heard.resets).toBe(1);
  });

  test('a listener that joins a live connection is told to read its run at once', async () => {
    listen();
    await settle();
    expect(listen().resets).toBe(1);
    expect(server.opened).toBe(1);
  });

  test('events of other runs are not handed on', async () => {
    const heard = listen();
    await settle();
    server.events.push(event(1, 'other'), event(2));
    server.flush();
    expect(heard.seqs).toEqual([2]);
  });

  test('a restored store that is older than what was seen makes listeners read anew', async () => {
    const heard = listen();
    await settle();
    server.events.push(event(7));
    server.flush();
    server.events = [event(3)];
    server.cut();
    await reconnect();
    expect(heard.resets).toBe(2);
    server.events.push(event(4));
    server.flush();
    expect(heard.seqs).toEqual([7, 4]);
  });

  test('who joins while the connection is away is told to read once it is back, the others are not', async () => {
    const first = listen();
    await settle();
    server.cut();
    const second = listen();
    await reconnect();
    expect([first.resets, second.resets]).toEqual([1, 1]);
  });

  test('after so many events that reading is cheaper, listeners read anew', async () => {
    const heard = listen();
    await settle();
    server.cut();
    server.events = [event(20_000)];
    await reconnect();
    server.flush();
    expect([heard.resets, heard.seqs]).toEqual([2, []]);
    server.events.push(event(20_001));
    server.flush();
    expect(heard.seqs).toEqual([20_001]);
  });

  test('another store makes listeners read anew', async () => {
    const heard = listen();
    await settle();
    server.store = 'store-2';
    server.cut();
    await reconnect();
    expect(heard.resets).toBe(2);
  });
});

describe('logs', () => {
  test('a log over a connection that is cut a hundred times arrives whole, once and in order', async () => {
    const whole = Array.from({ length: 5_000 }, (_, i) => i % 251);
    server.logs.set('x', { bytes: whole, ended: true });
    const read = readLog('x');
    await settle();
    for (let i = 0; i < 100; i++) {
      server.flush(1 + (i % 13));
      server.cut();
      await reconnect();
    }
    server.flush();
    expect(read.bytes).toEqual(whole);
    expect(read.ended).toBe(1);
  });

  test('a second reader from the start gets everything, the first nothing twice', async () => {
    server.logs.set('x', { bytes: [1, 2, 3, 4, 5, 6], ended: false });
    const first = readLog('x');
    await settle();
    server.flush(4);
    const second = readLog('x');
    server.flush();
    expect(first.bytes).toEqual([1, 2, 3, 4, 5, 6]);
    expect(second.bytes).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('bytes still on their way from an older subscription are not taken out of order', async () => {
    server.logs.set('x', { bytes: [1, 2, 3, 4], ended: false });
    const first = readLog('x', 2);
    await settle();
    const second = readLog('x', 0);
    server.line?.on.binary(frame([['x', 2, 2]], [3, 4]));
    server.flush();
    expect(first.bytes).toEqual([3, 4]);
    expect(second.bytes).toEqual([1, 2, 3, 4]);
    expect(second.offsets).toEqual([0]);
  });

  test('a gap makes it ask again from the byte that is missing', async () => {
    server.logs.set('x', { bytes: [1, 2, 3, 4], ended: false });
    const read = readLog('x');
    await settle();
    server.flush(1);
    server.line?.on.binary(frame([['x', 2, 2]], [3, 4]));
    expect(server.heard.at(-1)).toEqual({ type: 'subscribe', log: 'x', offset: 1 });
    server.flush();
    expect(read.bytes).toEqual([1, 2, 3, 4]);
  });

  test('a reader that leaves unsubscribes', async () => {
    const reading = new AbortController();
    listen();
    server.logs.set('x', { bytes: [1], ended: false });
    const read = readLog('x', 0, reading.signal);
    await settle();
    reading.abort();
    expect(server.heard.at(-1)).toEqual({ type: 'unsubscribe', log: 'x' });
    server.flush();
    expect(read.bytes).toEqual([]);
  });

  test('a problem with a log reaches its reader in the words of the server', async () => {
    const read = readLog('x');
    await settle();
    server.line?.on.text(JSON.stringify({ type: 'problem', error: 'NotFound', message: 'no such attempt', log: 'x' }));
    expect(read.problems).toEqual(['no such attempt']);
  });
});

describe('connection', () => {
  const watch = (): Connection[] => {
    const seen: Connection[] = [];
    socket.watch(connection => seen.push(connection), life.signal);
    return seen;
  };

  test('it says waiting, live, reconnecting, then offline, then live again', async () => {
    const seen = watch();
    await settle();
    server.refuse = true;
    server.cut();
    for (let i = 0; i < 8; i++) await reconnect();
    server.refuse = false;
    await reconnect();
    const links = seen.map(one => one.link).filter((link, i, all) => link !== all[i - 1]);
    expect(links).toEqual(['waiting', 'live', 'reconnecting', 'offline', 'live']);
  });

  test('attempts to reconnect come less and less often', async () => {
    server.refuse = true;
    watch();
    await settle();
    const gaps: number[] = [];
    let last = clock.now;
    for (let i = 0; i < 9; i++) {
      const before = server.opened;
      while (server.opened === before) clock.pass(50);
      gaps.push(clock.now - last);
      last = clock.now;
      await settle();
    }
    expect(gaps).toEqual([...gaps].sort((a, b) => a - b));
    expect(gaps.at(-1)).toBeLessThanOrEqual(15_000);
  });

  test('a server that does not say hello is given up and tried again', async () => {
    const silent = new Socket(on => ((server.opened += 1), { send: () => undefined, close: () => on.closed() }), clock);
    silent.watch(() => undefined, life.signal);
    clock.pass(20_000);
    expect(server.opened).toBeGreaterThan(1);
  });

  test('the network that returns cuts the back-off short', async () => {
    watch();
    await settle();
    server.cut();
    socket.retryNow();
    expect(server.opened).toBe(2);
  });

  test('while it rests there is no connection and no timer; then it goes on where it stopped', async () => {
    const heard = listen();
    server.logs.set('x', { bytes: [1, 2, 3], ended: false });
    const read = readLog('x');
    await settle();
    server.events.push(event(1));
    server.flush(2);
    socket.rest();
    expect(server.line).toBeNull();
    server.events.push(event(2));
    clock.pass(600_000);
    socket.retryNow();
    expect([server.opened, clock.waiting]).toEqual([1, 0]);
    socket.wake();
    await settle();
    server.flush();
    expect([heard.seqs, heard.resets, read.bytes]).toEqual([[1, 2], 1, [1, 2, 3]]);
  });

  test('a rest while it waits to try again ends the waiting', async () => {
    watch();
    await settle();
    server.refuse = true;
    server.cut();
    socket.rest();
    clock.pass(600_000);
    expect([server.opened, clock.waiting]).toEqual([1, 0]);
  });

  test('it closes when nobody listens and opens again for the next', async () => {
    listen();
    await settle();
    life.abort();
    expect(server.line).toBeNull();
    clock.pass(60_000);
    expect(server.opened).toBe(1);
    life = new AbortController();
    const heard = listen();
    await settle();
    expect(server.opened).toBe(2);
    expect(heard.resets).toBe(1);
  });

  test('trouble of the server is passed on and taken back', async () => {
    const seen = watch();
    await settle();
    server.line?.on.text(JSON.stringify({ type: 'trouble', trouble: 'disk full' }));
    server.line?.on.text(JSON.stringify({ type: 'trouble', trouble: null }));
    expect(seen.slice(-2).map(one => one.trouble)).toEqual(['disk full', null]);
  });

  test('a server of another API version is named as the reason', async () => {
    const seen = watch();
    server.line?.on.text(JSON.stringify({ type: 'hello', server: '9', api: 2, seq: 0, store: 's', generation: 'g', trouble: null }));
    expect(seen.at(-1)?.trouble).toContain('version 2');
  });
});
