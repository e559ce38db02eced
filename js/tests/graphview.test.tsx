import { describe, expect, test, vi } from 'vitest';
import { detailOf, taskRun } from './fakes';
import { frames, staged } from './stage';

const stage = staged();
const diamond = () =>
  detailOf(
    [taskRun('fetch', 'completed'), taskRun('train_a', 'running'), taskRun('train_b', 'failed', { reason: 'exit 3' }), taskRun('report'), taskRun('other')],
    [['fetch', 'train_a'], ['fetch', 'train_b'], ['train_a', 'report'], ['train_b', 'report']]
  );
const fan = (width = 40) => {
  const shards = Array.from({ length: width }, (_, i) => taskRun(`shard_${i}`, i === 7 ? 'failed' : 'completed', i === 7 ? { reason: 'exit 9', attempt: 'f'.repeat(32), attempts: 1 } : {}));
  const edges = shards.flatMap(({ task }): [string, string][] => [['split', task], [task, 'merge']]);
  return detailOf([taskRun('split', 'completed'), ...shards, taskRun('merge')], edges);
};
const isDim = (element: Element): boolean => element.classList.contains('jp-mod-dim');

describe('lineage', () => {
  test('the selected task keeps what is before and after it in the light', async () => {
    const page = stage(diamond());
    await page.show();
    await page.click(page.node('train_a'));
    expect(['fetch', 'train_a', 'report', 'train_b', 'other'].map(name => isDim(page.node(name)))).toEqual([false, false, false, true, true]);
    expect(page.find('.jp-wattle-svg').classList.contains('jp-mod-calm')).toBe(true);
    page.node('other').dispatchEvent(new MouseEvent('mouseenter'));
    await frames();
    expect(isDim(page.node('train_a'))).toBe(true); // what is pointed at goes first
  });
});

describe('search', () => {
  test('a slash opens it, matches stand out, Enter goes round them, Escape ends it', async () => {
    const page = stage(diamond());
    await page.show();
    await page.press(page.node('fetch'), '/');
    const field = page.find('.jp-wattle-find input');
    await page.type(field, 'TRAIN');
    const status = (): string | null => page.find('.jp-wattle-find [role=status]').textContent;
    const current = (): string | undefined => page.find('.jp-mod-current').dataset['task'];
    expect([status(), current()]).toEqual(['1 of 2', 'train_a']);
    expect(['fetch', 'train_a', 'train_b', 'report'].map(name => isDim(page.node(name)))).toEqual([true, false, false, true]);
    await page.press(field, 'Enter');
    expect([status(), current()]).toEqual(['2 of 2', 'train_b']);
    await page.press(field, 'Enter');
    expect(current()).toBe('train_a');
    await page.press(field, 'Enter', { shiftKey: true });
    expect(current()).toBe('train_b');
    await page.press(field, 'Escape');
    expect(page.all('.jp-wattle-find')).toHaveLength(0);
    expect(page.all('.jp-mod-current')).toHaveLength(0);
    expect(document.activeElement).toBe(page.node('train_b')); // the keys go on where the search was
  });

  test('what is not there is said', async () => {
    const page = stage(diamond());
    await page.show();
    await page.click(page.button('Find a task'));
    await page.type(page.find('.jp-wattle-find input'), 'zzz');
    expect(page.find('.jp-wattle-find [role=status]').textContent).toBe('none');
    await page.press(page.find('.jp-wattle-find input'), 'Enter');
    expect(page.all('.jp-mod-current')).toHaveLength(0);
  });

  test('a task in a box of many is marked there', async () => {
    const page = stage(fan());
    await page.show();
    await page.press(page.node('split'), '/');
    await page.type(page.find('.jp-wattle-find input'), 'shard_33');
    expect(page.all('.jp-wattle-ring.jp-mod-current')).toHaveLength(1);
    expect(isDim(page.find('[data-bundle]'))).toBe(false);
    expect(page.find('.jp-wattle-readout').textContent).toContain('shard_33 · completed');
  });
});

describe('keys', () => {
  const scale = (page: ReturnType<typeof stage>): number => Number(/scale\(([\d.]+)\)/.exec(page.find('.jp-wattle-svg > g').getAttribute('transform') ?? '')?.[1]);

  test('plus, minus and nought zoom', async () => {
    const page = stage(diamond());
    await page.show();
    const home = scale(page);
    await page.press(page.node('fetch'), '+');
    expect(scale(page)).toBeCloseTo(home * 1.25);
    await page.press(page.node('fetch'), '-');
    await page.press(page.node('fetch'), '-');
    expect(scale(page)).toBeCloseTo(home / 1.25);
    await page.press(page.node('fetch'), '0');
    expect(scale(page)).toBe(home);
  });

  test('those with Ctrl are left to the page, and others are kept from the notebook', async () => {
    const page = stage(diamond());
    await page.show();
    const heard: boolean[] = [];
    const outside = (event: Event): void => void heard.push((event.target as Element).closest('[data-lm-suppress-shortcuts]') !== null);
    document.addEventListener('keydown', outside, true);
    await page.press(page.node('fetch'), 'ArrowRight');
    await page.press(page.node('fetch'), 's', { ctrlKey: true });
    document.removeEventListener('keydown', outside, true);
    expect(heard).toEqual([true, false]);
  });

  test('what is typed right after / is text, though nothing was drawn in between', async () => {
    const page = stage(diamond());
    await page.show();
    page.node('fetch').focus();
    page.node('fetch').dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true, cancelable: true }));
    await Promise.resolve(); // as between two keys: no frame
    await Promise.resolve();
    expect(document.activeElement).toBe(page.find('.jp-wattle-find input'));
  });

  test('Enter opens the task and hands the keys to it, Escape goes back', async () => {
    const page = stage(diamond());
    await page.show();
    page.node('train_b').focus();
    await page.press(page.node('fetch'), 'ArrowRight');
    await page.press(page.node('train_a'), 'ArrowDown');
    await page.press(page.node('train_b'), 'Enter');
    const panel = document.activeElement!;
    expect(panel.getAttribute('aria-label')).toBe('Task train_b');
    await page.press(panel, 'd'); // twice it would delete the cell
    expect(panel.hasAttribute('data-lm-suppress-shortcuts')).toBe(true);
    await page.press(document.activeElement!, 'Escape');
    expect(page.all('.jp-wattle-panel')).toHaveLength(0);
    await frames();
    expect(document.activeElement).toBe(page.node('train_b'));
  });
});

describe('boxes of many', () => {
  test('a wide fan is three boxes that say how it goes', async () => {
    const page = stage(fan(300));
    await page.show();
    await frames();
    const box = page.find('[data-bundle="shard_*"]');
    expect(box.getAttribute('aria-label')).toBe('shard_*, 300 tasks: 1 failed · 299 completed');
    expect(box.querySelector('.jp-wattle-detail')?.textContent).toBe('299 of 300 · 1 failed');
    expect(page.all('.jp-wattle-node')).toHaveLength(3);
    expect(page.all('.jp-wattle-cell').map(one => one.getAttribute('d')?.split('M').length)).toEqual([300, 2]);
  });

  test('a state that changes draws only the squares anew', async () => {
    const page = stage(fan());
    await page.show();
    const split = page.node('split');
    await page.change(taskRun('shard_3', 'running'), taskRun('shard_4', 'running'));
    expect(page.find('.jp-wattle-cell.jp-mod-running').getAttribute('d')?.split('M')).toHaveLength(3);
    expect(page.node('split')).toBe(split);
    expect(page.find('[data-bundle]').getAttribute('aria-label')).toContain('1 failed · 2 running · 37 completed');
  });

  test('Enter goes in, to what failed; arrows walk from square to square; Enter opens; Escape goes out', async () => {
    const page = stage(fan());
    await page.show();
    const box = (): HTMLElement => page.find('[data-bundle]');
    await page.press(page.node('split'), 'ArrowRight');
    expect(document.activeElement).toBe(box());
    await page.press(box(), 'Enter');
    expect(box().getAttribute('aria-label')).toBe('shard_7 · failed · exit 9');
    await page.press(box(), 'ArrowDown');
    expect(box().getAttribute('aria-label')).toContain('shard_19');
    await page.press(box(), 'ArrowUp');
    await page.press(box(), 'ArrowRight');
    expect(box().getAttribute('aria-label')).toContain('shard_8');
    await page.press(box(), 'Home');
    await page.press(box(), 'ArrowLeft');
    expect(box().getAttribute('aria-label')).toContain('shard_0');
    await page.press(box(), 'Escape');
    expect(box().getAttribute('aria-label')).toContain('40 tasks');
    await page.press(box(), 'Enter');
    await page.press(box(), 'Enter');
    expect(page.find('.jp-wattle-panel').getAttribute('aria-label')).toBe('Task shard_7');
  });

  test('on demand every task has a box of its own, and back', async () => {
    const page = stage(fan());
    await page.show();
    await page.click(page.button('Group'));
    expect(page.all('.jp-wattle-node')).toHaveLength(42);
    await page.click(page.button('Group'));
    expect(page.all('.jp-wattle-node')).toHaveLength(3);
  });
});

describe('a picture of very many boxes', () => {
  const many = () => {
    const tasks = Array.from({ length: 400 }, (_, i) => taskRun(`t${i}`, i === 1 ? 'failed' : 'completed'));
    return detailOf(tasks, [['t0', 't1'], ['t0', 't2'], ['t1', 't3']]);
  };

  test('has a button where the keys are, which walks along edges and opens', async () => {
    const page = stage(many());
    await page.show();
    await vi.waitFor(() => page.button('Group'));
    await page.click(page.button('Group'));
    await vi.waitFor(() => page.find('canvas[role=img]'));
    const here = (): HTMLElement => page.find('button[data-spot]');
    expect(here().getAttribute('aria-label')).toBe('t0 · completed');
    here().focus();
    await page.press(here(), 'ArrowRight');
    expect(here().getAttribute('aria-label')).toBe('t1 · failed');
    expect(document.activeElement).toBe(here());
    await page.press(here(), 'ArrowRight');
    expect(here().getAttribute('aria-label')).toBe('t3 · completed');
    await page.press(here(), 'Enter');
    expect(page.find('.jp-wattle-panel').getAttribute('aria-label')).toBe('Task t3');
  });

  test('is searched like the other', async () => {
    const page = stage(many());
    await page.show();
    await vi.waitFor(() => page.button('Group'));
    await page.click(page.button('Group'));
    await vi.waitFor(() => page.find('canvas[role=img]'));
    await page.press(page.find('button[data-spot]'), '/');
    await page.type(page.find('.jp-wattle-find input'), 't39');
    expect(page.find('.jp-wattle-find [role=status]').textContent).toBe('1 of 11');
    expect(page.find('button[data-spot]').getAttribute('aria-label')).toBe('t39 · completed');
  });
});

test('boxes stay where they are while states change and a retry opens tasks again', async () => {
  const page = stage(diamond());
  await page.show();
  const places = (): (string | null)[] => [...page.all('.jp-wattle-node'), page.find('.jp-wattle-svg > g')].map(one => one.getAttribute('transform'));
  const before = places();
  await page.change(taskRun('train_b', 'queued', { attempts: 1 }), taskRun('report', 'created'), taskRun('train_a', 'completed'));
  await page.change(taskRun('train_b', 'running', { attempts: 2 }));
  expect(places()).toEqual(before);
});
