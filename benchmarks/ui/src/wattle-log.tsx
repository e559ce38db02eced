/** The view of a run as it is in a cell, over the real server. The page opens the log of its task as a user does. */
import { render } from 'preact';
import { sharedFeed } from '../../../js/src/core/live';
import { findPage } from '../../../js/src/core/page';
import { RunView } from '../../../js/src/ui/RunView';
import '../../../js/src/ui/log.css';
import '../../../js/src/ui/wattle.css';
import { countFrames, framesCounted, seen } from './driver';

const lines = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>('.jp-wattle-log-line')];
const shows = (text: string): boolean => lines().some(line => (line.textContent ?? '').includes(text));

Object.assign(window, {
  bench: {
    countFrames,
    framesCounted,
    shows,
    /** From the end of typing until the line is in sight; ms. */
    async search(text: string): Promise<number> {
      document.querySelector('.jp-wattle-log')!.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true }));
      const field = (): HTMLInputElement | null => document.querySelector('.jp-wattle-log-find input');
      await seen(() => field() !== null);
      const begin = performance.now();
      field()!.value = text;
      field()!.dispatchEvent(new InputEvent('input', { bubbles: true }));
      await seen(() => field()!.value === text);
      field()!.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
      await seen(() => shows(text));
      return performance.now() - begin;
    },
    /** From the click on the task until its last line is in the page; ms. */
    async open(run: string, last: string): Promise<number> {
      const page = findPage();
      if (page === null) throw new Error('no server');
      render(<RunView feed={sharedFeed(page)} run={run} store={null} saved={null} />, document.getElementById('app') as HTMLElement);
      const task = (): Element | null => document.querySelector('[data-task=write]');
      await seen(() => task() !== null);
      const begin = performance.now();
      task()!.dispatchEvent(new MouseEvent('click', { bubbles: true }));
      await seen(() => (last === '' ? document.querySelector('.jp-wattle-log') !== null : shows(last)));
      return performance.now() - begin;
    }
  }
});
