/** xterm.js as its documentation shows it (FitAddon, SearchAddon), fed with the same bytes by the same connection. */
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { sharedFeed } from '../../../js/src/core/live';
import { findPage } from '../../../js/src/core/page';
import { countFrames, framesCounted, seen } from './driver';

let terminal: Terminal;
let search: SearchAddon;

const shows = (text: string): boolean => {
  const buffer = terminal.buffer.active;
  for (let i = buffer.viewportY; i < buffer.viewportY + terminal.rows; i++) {
    if (buffer.getLine(i)?.translateToString().includes(text)) return true;
  }
  return false;
};

Object.assign(window, {
  bench: {
    countFrames,
    framesCounted,
    shows,
    /** From the construction of the terminal until the last line is in sight; ms. */
    async open(run: string, last: string, scrollback: number): Promise<number> {
      const page = findPage();
      if (page === null) throw new Error('no server');
      const feed = sharedFeed(page);
      const ends = new AbortController();
      const { attempt } = await feed.task(run, 'write', ends.signal);
      const begin = performance.now();
      terminal = new Terminal({ convertEol: true, disableStdin: true, scrollback });
      search = new SearchAddon();
      const fit = new FitAddon();
      terminal.loadAddon(search);
      terminal.loadAddon(fit);
      terminal.open(document.getElementById('app') as HTMLElement);
      fit.fit();
      feed.log(attempt ?? '', 0, { bytes: (_, bytes) => terminal.write(bytes.slice()), end: () => undefined, problem: problem => console.error(problem) }, ends.signal);
      await seen(() => last === '' || shows(last));
      return performance.now() - begin;
    },
    /** ms until the one place where it occurs is found and in sight; null if it is not in the scrollback. */
    search(text: string): number | null {
      const begin = performance.now();
      return search.findPrevious(text) ? performance.now() - begin : null;
    }
  }
});
