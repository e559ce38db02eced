import { Api } from './api';
import type { Feed } from './feed';
import { downloadUrl, pageSend, socketUrl, type Page } from './page';
import { Socket, type Open } from './socket';

/** The feed straight from the Jupyter server that served the page. */
export function pageFeed(page: Page): Feed {
  const socket = new Socket(webSocketOpen(() => socketUrl(page)));
  const api = new Api(pageSend(page));
  // a tab that wakes up or a network that returns need not sit out the back-off; lives as long as the page
  window.addEventListener('online', () => socket.retryNow());
  document.addEventListener('visibilitychange', () => document.hidden || socket.retryNow());
  return {
    watch: (on, signal) => socket.watch(on, signal),
    events: (run, sink, signal) => socket.events(run, sink, signal),
    log: (attempt, offset, sink, signal) => socket.log(attempt, offset, sink, signal),
    run: (run, signal) => api.run(run, signal),
    task: (run, task, signal) => api.task(run, task, signal),
    act: (run, verb) => api.act(run, verb),
    logPage: (of, offset, limit, signal) => api.logPage(of, offset, limit, signal),
    logUrl: of => downloadUrl(page, of)
  };
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
