import { afterEach, expect, test, vi } from 'vitest';
import { ApiError } from '../src/core/api';
import { commFeed, type CommModel } from '../src/core/comm';
import { findPage, pageSend, socketUrl, xsrf } from '../src/core/page';
import { detailOf, frame, RUN } from './fakes';

type Hear = (content: unknown, buffers: DataView[]) => void;

class FakeModel implements CommModel {
  sent: Record<string, unknown>[] = [];
  listeners = new Set<Hear>();
  send(content: unknown): void {
    this.sent.push(content as Record<string, unknown>);
  }
  on(_event: string, callback: Hear): void {
    this.listeners.add(callback);
  }
  off(_event: string, callback: Hear): void {
    this.listeners.delete(callback);
  }
  say(content: unknown, buffers: DataView[] = []): void {
    for (const hear of [...this.listeners]) hear(content, buffers);
  }
  last(type: string): Record<string, unknown> {
    return this.sent.filter(one => one['type'] === type).at(-1) ?? expect.unreachable(`nothing of type ${type} was sent`);
  }
}

const LIFE = new AbortController().signal;
const HELLO = { type: 'hello', server: '0', api: 1, seq: 5, store: 's', generation: 'g', trouble: null };

test('a log comes through the kernel, whatever else the model says', async () => {
  const model = new FakeModel();
  const life = new AbortController();
  const bytes: number[] = [];
  commFeed(model, LIFE).log('x', 0, { bytes: (_, piece) => bytes.push(...piece), end: () => undefined, problem: () => undefined }, life.signal);
  const { conn } = model.last('open');
  model.say({ type: 'wire', conn: 'another page', text: JSON.stringify(HELLO) });
  expect(model.sent.filter(one => one['type'] === 'wire')).toEqual([]);
  model.say({ type: 'wire', conn, text: JSON.stringify(HELLO) });
  expect(JSON.parse(String(model.last('wire')['text']))).toEqual({ type: 'subscribe', log: 'x', offset: 0 });
  const whole = new Uint8Array([9, 9, 9, ...new Uint8Array(frame([['x', 0, 2]], [1, 2]))]);
  model.say({ type: 'wire', conn }, [new DataView(whole.buffer, 3)]);
  expect(bytes).toEqual([1, 2]);
  life.abort();
  expect(model.last('close')['conn']).toBe(conn);
  expect(model.listeners.size).toBe(0);
});

test('requests go through the kernel and their answers find back', async () => {
  const model = new FakeModel();
  const feed = commFeed(model, LIFE);
  const signal = new AbortController().signal;
  const run = feed.run(RUN, signal);
  const { id, path, method } = model.last('http');
  expect([method, path]).toEqual(['GET', `runs/${RUN}`]);
  model.say({ type: 'http', id: 'not mine', status: 200, body: null });
  model.say({ type: 'http', id, status: 200, body: { success: true, data: detailOf([]) } });
  expect((await run).workflow).toBe('etl');
  expect(model.listeners.size).toBe(0);
});

test('what acts carries a key, and a name cannot leave its place in the path', async () => {
  const model = new FakeModel();
  const done = commFeed(model, LIFE).act(RUN, { verb: 'stop-task', task: '../x?y' });
  const { id, path, headers } = model.last('http');
  expect(path).toBe(`runs/${RUN}/tasks/..%2Fx%3Fy/stop`);
  expect((headers as Record<string, string>)['Idempotency-Key']).toMatch(/^[0-9a-f]{32}$/);
  model.say({ type: 'http', id, status: 200, body: { success: true, data: {} } });
  await done;
});

test('a failure is told in the words of the server; no answer in those of the kernel', async () => {
  const model = new FakeModel();
  const feed = commFeed(model, LIFE);
  const first = feed.act(RUN, { verb: 'cancel' });
  model.say({ type: 'http', id: model.last('http')['id'], status: 409, body: { success: false, error: 'Conflict', message: 'it has ended', details: {} } });
  await expect(first).rejects.toMatchObject({ status: 409, message: 'it has ended' });
  const second = feed.act(RUN, { verb: 'cancel' });
  model.say({ type: 'http', id: model.last('http')['id'], status: 0, body: 'no owner' });
  await expect(second).rejects.toBeInstanceOf(ApiError);
});

test('a request that is no longer wanted, or whose kernel is gone, ends and leaves nothing', async () => {
  const model = new FakeModel();
  const life = new AbortController();
  const run = commFeed(model, LIFE).run(RUN, life.signal);
  life.abort();
  await expect(run).rejects.toThrow('no longer wanted');
  model.send = () => {
    throw new Error('Cannot send');
  };
  await expect(commFeed(model, LIFE).run(RUN, new AbortController().signal)).rejects.toThrow('The kernel is gone');
  expect(model.listeners.size).toBe(0);
});

test('a comm that is closed counts as a lost connection', async () => {
  const model = new FakeModel();
  model.send = () => {
    throw new Error('Cannot send');
  };
  const life = new AbortController();
  const links: string[] = [];
  commFeed(model, LIFE).watch(({ link }) => links.push(link), life.signal);
  await vi.waitFor(() => expect(links).toContain('reconnecting'));
  expect(model.listeners.size).toBe(0);
  life.abort();
});

// -------------------------------------------------------------------------------------------------------- page

const pageOf = (config: object | null, cookie = '', base?: string): Document =>
  ({
    cookie,
    location: { href: 'https://hub.example/user/ada/lab' },
    body: { dataset: base === undefined ? {} : { baseUrl: base } },
    getElementById: () => (config === null ? null : { textContent: JSON.stringify(config) })
  }) as unknown as Document;

test('the server is found by the page config, or by the body of older pages, or not at all', () => {
  expect(findPage(pageOf({ baseUrl: '/user/ada/' }))).toMatchObject({ api: 'https://hub.example/user/ada/wattle/api/', ws: 'wss://hub.example/user/ada/wattle/api/events/ws' });
  expect(findPage(pageOf(null, '', '/base'))?.api).toBe('https://hub.example/base/wattle/api/');
  expect(findPage(pageOf({ baseUrl: '/', wsUrl: 'wss://other.example/' }))?.ws).toBe('wss://other.example/wattle/api/events/ws');
  expect(findPage(pageOf(null))).toBeNull();
});

test('a token is in no address while there is a cookie', () => {
  const withCookie = findPage(pageOf({ baseUrl: '/', token: 'secret' }, 'a=b; _xsrf=2%7Cx'));
  expect(socketUrl(withCookie!)).not.toContain('secret');
  expect(socketUrl(findPage(pageOf({ baseUrl: '/', token: 'secret' }))!)).toContain('token=secret');
  expect(xsrf(pageOf(null, 'a=b; _xsrf=2%7Cx'))).toBe('2|x');
});

afterEach(() => vi.unstubAllGlobals());

test('requests show what Jupyter wants to see', async () => {
  const asked = vi.fn((_url: string, _init: RequestInit) => Promise.resolve(new Response('{"success": true, "data": 1}', { status: 200 })));
  vi.stubGlobal('fetch', asked);
  document.cookie = '_xsrf=abc';
  const answer = await pageSend({ base: 'http://x/', api: 'http://x/api/', ws: '', token: '' })('POST', 'runs', {}, { 'Idempotency-Key': 'k' }, null);
  expect(answer).toEqual({ status: 200, body: { success: true, data: 1 } });
  const [url, init] = asked.mock.calls[0]!;
  expect(url).toBe('http://x/api/runs');
  expect(init.headers).toMatchObject({ 'X-XSRFToken': 'abc', 'Idempotency-Key': 'k', 'Content-Type': 'application/json' });
});
