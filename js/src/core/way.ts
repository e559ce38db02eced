import { commFeed, type CommModel } from './comm';
import type { Feed } from './feed';
import { after } from './lifetime';
import { sharedFeed } from './live';
import { pageSend, type Page } from './page';

/** A way to the engine. */
export interface Way {
  feed: Feed;
  /** Whether requests go through as well as the socket; throws or never answers where they do not. */
  asks(signal: AbortSignal): Promise<boolean>;
}

const DIRECT_FIRST = 4_000; // ms until the kernel is tried, too

/**
 * The first way that stands: the direct one if it can, the kernel's where it is blocked, refused, or leads to another
 * store. Waits as long as none does; null once the signal ends.
 */
export function firstWay(direct: Way, kernel: Way, store: string, signal: AbortSignal): Promise<Feed | null> {
  return new Promise(resolve => {
    const trying = new AbortController();
    const done = (feed: Feed | null): void => {
      trying.abort();
      resolve(feed);
    };
    if (signal.aborted) return done(null);
    signal.addEventListener('abort', () => done(null), { signal: trying.signal });
    let second = false;
    const tryKernel = (): void => {
      if (second || trying.signal.aborted) return;
      second = true;
      whenStands(kernel, store, trying.signal, () => done(kernel.feed), () => undefined);
    };
    whenStands(direct, store, trying.signal, () => done(direct.feed), tryKernel);
    after(DIRECT_FIRST, tryKernel, trying.signal);
    return undefined;
  });
}

/** Calls `stands` once socket and requests work and lead to the store, `not` at each sign that they do not. */
function whenStands(way: Way, store: string, signal: AbortSignal, stands: () => void, not: () => void): void {
  let asking = false;
  const ask = async (): Promise<void> => {
    asking = true;
    const good = await way.asks(signal).catch(() => false);
    asking = false;
    if (!signal.aborted) (good ? stands : not)();
  };
  way.feed.watch(({ link, store: found }) => {
    if (link === 'reconnecting' || link === 'offline') not();
    if (link !== 'live' || asking) return;
    if (store !== '' && found !== store) not();
    else void ask();
  }, signal);
}

/** From an anywidget: straight to the server of its page or through its kernel. */
export function wayOf(page: Page | null, model: CommModel, store: string, life: AbortSignal): Promise<Feed | null> {
  const kernel = commFeed(model, life);
  if (page === null) return Promise.resolve(kernel);
  const send = pageSend(page);
  const direct: Way = {
    feed: sharedFeed(page),
    asks: async signal => (await send('GET', 'info', null, {}, signal)).status === 200
  };
  return firstWay(direct, { feed: kernel, asks: () => Promise.resolve(true) }, store, life);
}
