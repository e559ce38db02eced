import { render } from 'preact';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Board, BoardState } from '../src/core/board';
import { moment, person, plainReason } from '../src/core/format';
import { Presence } from '../src/core/lifetime';
import { fromDetail } from '../src/core/reduce';
import { ALL, RunList, type RunQuery } from '../src/core/runlist';
import { VERSION } from '../src/core/version';
import type { RunSummary } from '../src/core/wire';
import { speak, trans } from '../src/core/words';
import { Sidebar } from '../src/ui/Sidebar';
import { Split } from '../src/ui/Split';
import { detailOf, infoOf, taskRun } from './fakes';

let root: HTMLElement;

beforeEach(() => {
  root = document.createElement('div');
  document.body.append(root);
});
afterEach(() => {
  render(null, root);
  root.remove();
});

async function frames(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise(done => setTimeout(done, 17));
}

/** A board that knows what it is told and notes what it is asked. */
class FakeBoard {
  current: BoardState = { connection: { link: 'live', trouble: null, store: 's' }, problem: null, runs: null, query: ALL, workflows: [], info: infoOf(VERSION), running: 0 };
  searched: RunQuery[] = [];
  wanted: number[] = [];
  refreshed = 0;
  private tell: () => void = () => undefined;

  listen(on: () => void): () => void {
    this.tell = on;
    return () => undefined;
  }
  want(index: number): () => void {
    this.wanted.push(index);
    return () => undefined;
  }
  search(query: RunQuery): void {
    this.searched.push(query);
    this.become({ query });
  }
  refresh(): void {
    this.refreshed += 1;
  }
  become(more: Partial<BoardState>): void {
    this.current = { ...this.current, ...more };
    this.tell();
  }
}

function runOf(id: string, more: Partial<RunSummary> = {}): RunSummary {
  const tasks = [taskRun('a', 'completed'), taskRun('b', 'running')];
  return { ...fromDetail(detailOf(tasks)).summary, id: id.repeat(32), ...more };
}

function listed(...runs: RunSummary[]): RunList {
  const list = new RunList();
  list.place(0, runs, runs.length);
  return list;
}

describe('the sidebar', () => {
  let board: FakeBoard;
  let opened: string[];
  let active: string | null;
  const draw = (): void =>
    render(
      <Sidebar
        board={board as unknown as Board}
        active={active}
        choose={run => {
          active = run;
          draw();
        }}
        open={run => opened.push(run)}
        start={name => opened.push(name)}
      />,
      root
    );
  const rows = (): HTMLElement[] => [...root.querySelectorAll<HTMLElement>('[data-run]')];
  const press = async (key: string): Promise<void> => {
    root.querySelector('.jp-wattle-runs')?.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    await frames();
  };

  beforeEach(() => {
    board = new FakeBoard();
    opened = [];
    active = null;
  });

  test('a row says what a person wants to know', async () => {
    board.become({ runs: listed(runOf('a'), runOf('b', { state: 'failed', reason: 'b failed: exit 3' }), runOf('c', { state: 'cancelled', reason: `cancelled by ${'0'.repeat(32)}` })) });
    draw();
    await frames();
    const [running, failed, cancelled] = rows().map(row => row.textContent);
    expect(running).toContain('1 of 2 tasks');
    expect(running).toContain('ada');
    expect(failed).toContain('b failed: exit 3');
    expect(cancelled).toMatch(/cancelled(?! by)/);
    expect(root.querySelectorAll('[role=progressbar]').length).toBe(1);
  });

  test('arrow keys choose, Enter opens, rows that were never read are asked for', async () => {
    const runs = new RunList();
    runs.place(0, [runOf('a'), runOf('b')], 30);
    board.become({ runs });
    draw();
    await frames();
    expect(board.wanted.length).toBeGreaterThan(0);
    expect(board.wanted).not.toContain(1);
    await press('ArrowDown');
    await press('ArrowDown');
    expect(rows().map(row => row.getAttribute('aria-selected'))).toEqual(['false', 'true']);
    expect(root.querySelector('[role=listbox]')?.getAttribute('aria-activedescendant')).toBe(rows()[1]?.id);
    await press('Enter');
    expect(opened).toEqual(['b'.repeat(32)]);
  });

  test('runs that come on top do not move what somebody reads further down', async () => {
    const runs = new RunList();
    const at = (n: number): string => new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString();
    const many = Array.from({ length: 100 }, (_, i) => runOf('a', { id: i.toString(16).padStart(32, '0'), created_at: at(100 - i) }));
    runs.place(0, many, 100);
    board.become({ runs });
    draw();
    await frames();
    const box = root.querySelector('.jp-wattle-runs') as HTMLElement;
    runs.apply(runOf('e', { created_at: at(200) }));
    board.become({ runs });
    await frames();
    expect(box.scrollTop).toBe(0);
    box.scrollTop = 460;
    box.dispatchEvent(new Event('scroll'));
    runs.apply(runOf('f', { created_at: at(300) }));
    board.become({ runs });
    await frames();
    expect(box.scrollTop).toBe(506);
  });

  test('what is typed is searched once the fingers rest, states at once', async () => {
    board.become({ runs: listed(runOf('a')) });
    draw();
    await frames();
    const field = root.querySelector('input') as HTMLInputElement;
    for (const text of ['t', 'tr', 'train ']) {
      field.value = text;
      field.dispatchEvent(new Event('input', { bubbles: true }));
    }
    await vi.waitFor(() => expect(board.searched).toEqual([{ states: [], text: 'train' }]));
    expect(field.value).toBe('train ');
    root.querySelector<HTMLElement>('.jp-wattle-filter.jp-mod-queued')?.click();
    expect(board.searched.at(-1)).toEqual({ states: ['created', 'queued', 'waiting'], text: 'train' });
    root.querySelector<HTMLElement>('.jp-wattle-filter.jp-mod-queued')?.click();
    expect(board.searched.at(-1)?.states).toEqual([]);
  });

  test('runs that were read stay readable while the server is away', async () => {
    board.become({ runs: listed(runOf('a')), problem: { kind: 'unreachable', message: 'no answer' }, connection: { link: 'offline', trouble: null, store: 's' } });
    draw();
    await frames();
    expect(rows().length).toBe(1);
    expect(root.textContent).toContain('offline');
    board.become({ problem: { kind: 'missing', message: '' } });
    await frames();
    expect(rows().length).toBe(0);
    expect(root.textContent).toContain('jupyter server extension enable wattle_jupyter');
    [...root.querySelectorAll('button')].find(one => one.textContent === 'Check again')?.click();
    expect(board.refreshed).toBe(1);
  });

  test('another version of the server is a hint that can be put away', async () => {
    board.become({ runs: listed(), info: infoOf('9.9.9') });
    draw();
    await frames();
    expect(root.querySelector('.jp-wattle-banner')?.textContent).toContain('9.9.9');
    root.querySelector<HTMLElement>('.jp-wattle-banner button')?.click();
    await frames();
    expect(root.querySelector('.jp-wattle-banner')).toBeNull();
    expect(root.textContent).toContain('No runs yet');
  });
});

describe('somebody looks', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('a short absence changes nothing, a long one ends it, a return begins again', () => {
    const heard: string[] = [];
    const presence = new Presence(() => heard.push('come'), () => heard.push('go'), 1000);
    presence.set(true);
    presence.set(false);
    vi.advanceTimersByTime(900);
    presence.set(true);
    vi.advanceTimersByTime(5000);
    expect(heard).toEqual(['come']);
    presence.set(false);
    vi.advanceTimersByTime(1000);
    presence.set(true);
    presence.end();
    expect(heard).toEqual(['come', 'go', 'come', 'go']);
  });
});

test('the bar between two panes is moved by keys within its limits', () => {
  let share = 0.5;
  const draw = (): void => render(<Split top="a" bottom="b" fits={false} share={share} onShare={to => ((share = to), draw())} />, root);
  draw();
  const key = (name: string): void => void root.querySelector('[role=separator]')?.dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true, cancelable: true }));
  key('ArrowUp');
  expect(share).toBeCloseTo(0.45);
  for (let i = 0; i < 30; i++) key('ArrowDown');
  expect(share).toBeCloseTo(0.88);
  expect(root.querySelector('[role=separator]')?.getAttribute('aria-valuenow')).toBe('88');
});

test('all words go through the translation that the page brings', () => {
  speak({ __: (text, ...args) => `«${text}» ${args.join()}`, _n: (_one, many, n) => `«${many}» ${n}` });
  try {
    render(<Split top="a" bottom="b" fits={false} share={0.5} onShare={() => undefined} />, root);
    expect(root.querySelector('[role=separator]')?.getAttribute('aria-label')).toBe('«Size of the panes» ');
  } finally {
    speak({ __: (text, ...args) => text.replace(/%(\d)/g, (_, i: string) => String(args[Number(i) - 1])), _n: (one, many, n) => (n === 1 ? one : many).replace('%1', String(n)) });
  }
  expect(trans._n('%1 task', '%1 tasks', 3)).toBe('3 tasks');
});

test('people and times are short, made-up names are left out', () => {
  expect(person('ada')).toBe('ada');
  expect(person('0123456789abcdef0123456789abcdef')).toBe('');
  expect(plainReason(`cancelled by ${'a'.repeat(32)}`)).toBe('cancelled');
  expect(plainReason('cancelled by ada')).toBe('cancelled by ada');
  const now = new Date(2026, 5, 15, 12).getTime();
  expect(moment(new Date(2026, 5, 15, 9, 5).toISOString(), now)).toMatch(/9:05/);
  expect(moment(new Date(2026, 1, 3).toISOString(), now)).not.toContain('2026');
  expect(moment(new Date(2024, 1, 3).toISOString(), now)).toContain('2024');
});
