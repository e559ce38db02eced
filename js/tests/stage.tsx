/** A page for views: a feed whose run a test changes, and hands for mouse and keys. */
import { render } from 'preact';
import { afterEach, beforeEach } from 'vitest';
import type { Connection, EventSink, Feed, LogOf, LogQuestion, Verb } from '../src/core/feed';
import type { ProgressView, RunDetail } from '../src/core/wire';
import { RunView, type RunViewProps } from '../src/ui/RunView';
import { FakeLog } from './fakelog';
import { changed, RUN, taskRun } from './fakes';

export class Stage {
  root: HTMLElement = document.createElement('div');
  acts: Verb[] = [];
  /** What an act is answered with. */
  answer: () => Promise<void> = () => Promise.resolve();
  tell: (connection: Connection) => void = () => undefined;
  logs = '';
  private sink: EventSink | null = null;

  constructor(public detail: RunDetail) {}

  readonly feed = {
    watch: on => {
      this.tell = on;
      on({ link: 'live', trouble: null, store: 's' });
    },
    run: () => Promise.resolve(this.detail),
    task: (_run, task) => Promise.resolve({ ...(this.detail.tasks.find(one => one.task === task) ?? taskRun(task)), command: 'true', working_dir: '/w', needs: [], progress: null, history: [], outputs: [] }),
    events: (_run, sink) => {
      this.sink = sink;
      queueMicrotask(() => sink.reset());
    },
    log: () => undefined,
    act: (_run, verb) => {
      this.acts.push(verb);
      return this.answer();
    },
    logAsk: <T,>(_: LogOf, what: LogQuestion, query: Record<string, string>) => Promise.resolve(new FakeLog(this.logs).answer(what, query) as T),
    logUrl: () => null
  } as Partial<Feed> as Feed; // a log has tests of its own

  async show(props: Partial<RunViewProps> = {}): Promise<void> {
    render(<RunView run={RUN} store="s" saved={null} feed={this.feed} {...props} />, this.root);
    await frames();
  }

  async change(...tasks: RunDetail['tasks']): Promise<void> {
    const known = new Map(tasks.map(task => [task.task, task]));
    this.detail = { ...this.detail, seq: this.detail.seq + 1, tasks: this.detail.tasks.map(task => known.get(task.task) ?? task) };
    this.sink?.events([changed(this.detail.seq, this.detail, tasks)]);
    await frames();
  }

  async told(progress: Record<string, ProgressView>): Promise<void> {
    this.sink?.progress?.(progress);
    await frames();
  }

  async event(kind: 'run.deleted'): Promise<void> {
    this.sink?.events([{ seq: (this.detail.seq += 1), run: RUN, at: '2026-01-01T10:00:01.000Z', kind, body: {} }]);
    await frames();
  }

  find(selector: string): HTMLElement {
    const found = this.root.querySelector<HTMLElement>(selector);
    if (found === null) throw new Error(`nothing is ${selector} in ${this.root.textContent}`);
    return found;
  }

  all(selector: string): HTMLElement[] {
    return [...this.root.querySelectorAll<HTMLElement>(selector)];
  }

  node(task: string): HTMLElement {
    return this.find(`.jp-wattle-node[data-task="${task}"]`);
  }

  button(text: string): HTMLElement {
    const found = this.all('button').find(one => one.textContent === text || one.getAttribute('aria-label') === text);
    if (found === undefined) throw new Error(`no button ${text}: ${this.all('button').map(one => one.textContent).join(', ')}`);
    return found;
  }

  async click(element: Element): Promise<void> {
    element.dispatchEvent(new MouseEvent('click', { bubbles: true }));
    await frames();
  }

  async press(element: Element, key: string, more: KeyboardEventInit = {}): Promise<void> {
    element.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more }));
    await frames();
  }

  async type(element: Element, text: string): Promise<void> {
    (element as HTMLInputElement).value = text;
    element.dispatchEvent(new Event('input', { bubbles: true }));
    await frames();
  }
}

/** Views draw once per frame and act after drawing: some frames later all is done. */
export async function frames(): Promise<void> {
  for (let i = 0; i < 8; i++) await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
}

/** The stage of each test of a file, gone after it. */
export function staged(): (detail: RunDetail) => Stage {
  let stages: Stage[] = [];
  beforeEach(() => (stages = []));
  afterEach(() => {
    for (const { root } of stages) {
      render(null, root);
      root.remove();
    }
  });
  return detail => {
    const stage = new Stage(detail);
    stages.push(stage);
    document.body.append(stage.root);
    return stage;
  };
}
