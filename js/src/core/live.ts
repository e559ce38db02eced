import { Api } from './api';
import type { Feed, LogOf } from './feed';
import { PAGE, Presence, watchPage } from './lifetime';
import { downloadUrl, pageSend, socketUrl, type Page } from './page';
import { Socket, type Open } from './socket';

/** A feed over a socket and requests, until the signal. It rests while nobody can see the page. */
export function feedOver(socket: Socket, api: Api, logUrl: (of: LogOf) => string | null, life: AbortSignal): Feed {
  const presence = new Presence(() => socket.wake(), () => socket.rest());
  presence.set(true); // a page that is opened in the background still reads what it shows
  const look = (seen: boolean): void => {
    presence.set(seen);
    if (seen) socket.retryNow();
  };
  watchPage(look, life);
  // a network that returns need not sit out the back-off
  window.addEventListener('online', () => socket.retryNow(), { signal: life });
  return {
    watch: (on, signal) => socket.watch(on, signal),
    events: (run, sink, signal) => socket.events(run, sink, signal),
    log: (attempt, offset, sink, signal) => socket.log(attempt, offset, sink, signal),
    run: (run, signal) => api.run(run, signal),
    task: (run, task, signal) => api.task(run, task, signal),
    act: (run, verb) => api.act(run, verb),
    logAsk: (of, what, query, signal) => api.logAsk(of, what, query, signal),
    logUrl
  };
}

/** The feed straight from the Jupyter server that served the page. */
export function pageFeed(page: Page, life: AbortSignal = PAGE): Feed {
  const socket = new Socket(webSocketOpen(() => socketUrl(page)));
  return feedOver(socket, new Api(pageSend(page)), of => downloadUrl(page, of), life);
}

const FEEDS = Symbol.for('wattle-jupyter.feeds.v1');

/** One feed, hence one socket, per page and server: views of the extension and of widgets share it. */
export function sharedFeed(page: Page): Feed {
  const home = globalThis as { [FEEDS]?: Map<string, Feed> };
  const feeds = (home[FEEDS] ??= new Map());
  const known = feeds.get(page.api);
  if (known !== undefined) return known;
  const feed = pageFeed(page);
  feeds.set(page.api, feed);
  return feed;
}

function webSocketOpen(url: () => string): Open {
  return on => {
    const socket = new WebSocket(url());
    socket.binaryType = 'arraybuffer';
    socket.onmessage = event => (typeof event.data === 'string' ? on.text(event.data) : on.binary(event.data as ArrayBuffer));
    socket.onclose = () => on.closed();
    return {
      // the caller speaks only after hello; a socket that is closing just now swallows it and `closed` follows
      send: text => socket.readyState === WebSocket.OPEN && socket.send(text),
      close: () => socket.close()
    };
  };
}
