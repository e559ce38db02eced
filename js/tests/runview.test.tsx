import { describe, expect, test } from 'vitest';
import type { RunDetail } from '../src/core/wire';
import { detailOf, taskRun } from './fakes';
import { frames, staged } from './stage';

const stage = staged();
const failed = (more: Partial<RunDetail> = {}): RunDetail =>
  detailOf(
    [
      taskRun('fetch', 'completed', { attempts: 1, started_at: '2026-01-01T10:00:00.000Z', ended_at: '2026-01-01T10:00:03.000Z' }),
      taskRun('clean', 'failed', { reason: 'exit 3', attempts: 2, attempt: 'b'.repeat(32), started_at: '2026-01-01T10:00:03.000Z', ended_at: '2026-01-01T10:00:05.000Z' }),
      taskRun('report', 'skipped', { reason: 'clean failed' })
    ],
    [['fetch', 'clean'], ['clean', 'report']],
    { state: 'failed', reason: 'clean failed', ended_at: '2026-01-01T10:00:05.000Z', params: { n: 3 }, ...more }
  );

test('the header says how it is, why, how long, who, from where and with what', async () => {
  const page = stage(failed());
  await page.show();
  const head = page.find('.jp-wattle-head').textContent ?? '';
  for (const part of ['etl', 'failed', '5.0 s', '1 of 3 tasks · 1 failed · 1 skipped', 'clean failed', 'started by ada', 'from a cell', 'n = 3', '01234567']) expect(head).toContain(part);
});

describe('acts', () => {
  test('what the server refuses is said where it was asked for, until it is dismissed', async () => {
    const page = stage(failed());
    page.answer = () => Promise.reject(new Error('ada may not do that'));
    await page.show();
    await page.click(page.button('Retry from here'));
    expect(page.acts).toEqual([{ verb: 'retry-task', task: 'clean' }]);
    expect(page.find('.jp-wattle-failure [role=alert]').textContent).toContain('ada may not do that');
    expect(page.all('.jp-wattle-head [role=alert]')).toHaveLength(0);
    await page.click(page.button('Dismiss'));
    expect(page.all('[role=alert]')).toHaveLength(0);
    await page.click(page.node('clean'));
    await page.click(page.button('Retry'));
    expect(page.find('.jp-wattle-panel [role=alert]').textContent).toContain('ada may not do that');
  });

  test('a button that was pressed cannot be pressed again before the answer', async () => {
    const page = stage(failed());
    let answer: () => void = () => undefined;
    page.answer = () => new Promise(done => (answer = done));
    await page.show();
    await page.click(page.button('Retry failed'));
    await page.click(page.button('Retry failed'));
    expect(page.acts).toHaveLength(1);
    expect(page.button('Retry failed').getAttribute('aria-busy')).toBe('true');
    answer();
    await frames();
    await page.click(page.button('Retry failed'));
    expect(page.acts).toHaveLength(2);
  });

  test('a question has the harmless answer in focus, and Escape gives it', async () => {
    const page = stage(failed({ state: 'running', ended_at: null }));
    await page.show();
    await page.click(page.button('Cancel'));
    expect(document.activeElement?.textContent).toBe('Keep');
    await page.press(document.activeElement!, 'Escape');
    expect(page.all('[role=alertdialog]')).toHaveLength(0);
    expect(page.acts).toEqual([]);
  });

  test('what cannot be done says why, and does nothing when pressed', async () => {
    const page = stage(failed());
    await page.show();
    await page.click(page.node('clean'));
    const stop = page.button('Stop');
    expect([stop.getAttribute('aria-disabled'), stop.title]).toEqual(['true', 'It has ended']);
    await page.click(stop);
    expect(page.acts).toEqual([]);
  });

  test('a run that was deleted can be brought back, and nothing else', async () => {
    const page = stage(failed());
    await page.show();
    await page.event('run.deleted');
    expect(page.button('Retry failed').title).toBe('This run was deleted');
    await page.click(page.button('Undo'));
    expect(page.acts).toEqual([{ verb: 'undelete' }]);
    await page.change(); // the server tells of it
    expect(page.root.textContent).not.toContain('was deleted');
  });
});

describe('what failed', () => {
  const many = (n: number): RunDetail => detailOf(Array.from({ length: n }, (_, i) => taskRun(`t${i}`, 'failed', { reason: 'exit 1', attempt: String(i).padStart(32, '0'), attempts: 1 })), [], { state: 'failed' });

  test('stands there with its last lines in colour', async () => {
    const page = stage(failed());
    page.logs = 'fine\n\x1b[31mValueError\x1b[0m: no\n';
    await page.show();
    const lines = page.find('.jp-wattle-failure-log');
    expect(lines.textContent).toContain('ValueError: no');
    expect(lines.querySelector('[style*="ansi-1"]')?.textContent).toBe('ValueError');
  });

  test('is shown a few at a time', async () => {
    const page = stage(many(30));
    await page.show();
    expect(page.all('.jp-wattle-failure')).toHaveLength(3);
    await page.click(page.button('27 more tasks failed'));
    expect(page.all('.jp-wattle-failure')).toHaveLength(23);
    await page.click(page.button('7 more tasks failed'));
    expect(page.all('.jp-wattle-failure')).toHaveLength(30);
  });

  test('opens its log', async () => {
    const page = stage(failed());
    await page.show();
    await page.click(page.button('Log at the error'));
    expect(page.find('.jp-wattle-panel').getAttribute('aria-label')).toBe('Task clean');
    expect(page.all('.jp-wattle-log')).toHaveLength(1);
  });
});

describe('the table', () => {
  const rows = (page: ReturnType<typeof stage>): (string | undefined)[] => page.all('[role=option]').map(one => one.dataset['task']);

  test('takes the place of the graph and back', async () => {
    const page = stage(failed());
    await page.show();
    await page.click(page.button('Table'));
    expect(page.all('.jp-wattle-graph')).toHaveLength(0);
    expect(rows(page)).toEqual(['fetch', 'clean', 'report']);
    await page.click(page.button('Graph'));
    expect(page.all('[role=option]')).toHaveLength(0);
  });

  test('sorts by a column, the other way, and as in the workflow again', async () => {
    const page = stage(failed());
    await page.show();
    await page.click(page.button('Table'));
    const head = (): HTMLElement => page.find('.jp-wattle-headcell.jp-mod-task');
    await page.click(head());
    expect(rows(page)).toEqual(['clean', 'fetch', 'report']);
    expect(head().getAttribute('aria-pressed')).toBe('true');
    await page.click(head());
    expect(rows(page)).toEqual(['report', 'fetch', 'clean']);
    await page.click(head());
    expect(rows(page)).toEqual(['fetch', 'clean', 'report']);
  });

  test('filters by state and name; a state that is chosen stays in sight when nothing is in it any more', async () => {
    const tasks = Array.from({ length: 20 }, (_, i) => taskRun(`t${i}`, i < 5 ? 'running' : 'completed'));
    const page = stage(detailOf(tasks));
    await page.show();
    await page.click(page.button('Table'));
    await page.click(page.button('5 running'));
    expect(rows(page)).toHaveLength(5);
    await page.type(page.find('.jp-wattle-field input'), '3');
    expect(rows(page)).toEqual(['t3']);
    await page.change(...tasks.slice(0, 5).map(task => ({ ...task, state: 'completed' as const })));
    expect(page.find('.jp-wattle-list [role=status]').textContent).toBe('No task is like that.');
    await page.click(page.button('0 running'));
    expect(rows(page)).toEqual(['t3', 't13']);
  });

  test('of ten thousand tasks holds only what is in sight', async () => {
    const page = stage(detailOf(Array.from({ length: 10_000 }, (_, i) => taskRun(`t${i}`, 'completed'))));
    await page.show();
    const list = page.find('[role=listbox]');
    expect(page.all('[role=option]').length).toBeLessThan(60);
    await page.press(list, 'End');
    expect(page.find('.jp-wattle-panel').getAttribute('aria-label')).toBe('Task t9999');
  });
});
