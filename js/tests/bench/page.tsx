/** A page with a run that a fake feed drives: for measurements and screenshots. Built by `tests/bench/run.py`. */
import { FakeLog } from '../fakelog';
import { render } from 'preact';
import type { EventSink, Feed } from '../../src/core/feed';
import type { RunDetail, StateName, TaskRunView } from '../../src/core/wire';
import { RunView } from '../../src/ui/RunView';
import '../../src/ui/wattle.css';
import { changed, countsOf, detailOf, RUN, taskRun } from '../fakes';

const ago = (seconds: number): string => new Date(Date.now() - seconds * 1000).toISOString();

function quickstart(): RunDetail {
  const done = (task: string, from: number, to: number, more: Partial<TaskRunView> = {}): TaskRunView =>
    taskRun(task, 'completed', { attempts: 1, attempt: task, started_at: ago(from), ended_at: ago(to), ...more });
  const tasks = [
    done('fetch_penguins', 24, 22.6),
    done('fetch_weather', 24, 20),
    done('clean', 22.5, 19.4),
    done('train_tree', 19, 11.2, { attempts: 2 }),
    taskRun('train_forest_with_a_long_name_42', 'running', { attempts: 1, attempt: 'run', started_at: ago(19) }),
    taskRun('train_linear', 'failed', { reason: 'exit 3', exit_code: 3, attempts: 3, attempt: 'lin', started_at: ago(12), ended_at: ago(4) }),
    taskRun('evaluate', 'queued', { queued_at: ago(3) }),
    taskRun('tune_linear', 'skipped', { reason: 'train_linear failed' }),
    taskRun('report')
  ];
  const edges: [string, string][] = [
    ['fetch_penguins', 'clean'], ['fetch_weather', 'clean'], ['clean', 'train_tree'], ['clean', 'train_forest_with_a_long_name_42'], ['clean', 'train_linear'],
    ['train_tree', 'evaluate'], ['train_forest_with_a_long_name_42', 'report'], ['train_linear', 'tune_linear'], ['tune_linear', 'report'], ['evaluate', 'report'], ['fetch_weather', 'report']
  ];
  return detailOf(tasks, edges, { workflow: 'penguins', started_at: ago(24) });
}

function layered(layers: number, width: number): RunDetail {
  const name = (layer: number, i: number): string => `layer${String(layer).padStart(2, '0')}_task${String(i).padStart(2, '0')}`;
  const tasks: TaskRunView[] = [];
  const edges: [string, string][] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (let i = 0; i < width; i++) {
      tasks.push(taskRun(name(layer, i)));
      if (layer > 0) edges.push([name(layer - 1, i), name(layer, i)], [name(layer - 1, (i * 7 + layer) % width), name(layer, i)]);
    }
  }
  return detailOf(tasks, edges, { workflow: 'layered' });
}

/** One task, then many that are alike, then one. */
function fan(width: number): RunDetail {
  const states: StateName[] = ['completed', 'completed', 'completed', 'running', 'queued', 'completed', 'failed'];
  const shards = Array.from({ length: width }, (_, i) => taskRun(`shard_${String(i).padStart(3, '0')}`, i > width * 0.7 ? 'queued' : states[(i * 7 + (i >> 3)) % (i % 23 === 0 ? 7 : 6)]!, { started_at: ago(40), attempts: 1, attempt: `s${i}` }));
  const tasks = [taskRun('split', 'completed', { started_at: ago(60), ended_at: ago(58) }), ...shards, taskRun('merge'), taskRun('report')];
  const edges = shards.flatMap(({ task }): [string, string][] => [['split', task], [task, 'merge']]);
  return detailOf(tasks, [...edges, ['merge', 'report']], { workflow: 'genomes', started_at: ago(60) });
}

class PageFeed implements Feed {
  sink: EventSink | null = null;
  seq = 10;
  constructor(public detail: RunDetail) {}
  watch: Feed['watch'] = on => on({ link: 'live', trouble: null, store: 's' });
  run: Feed['run'] = () => Promise.resolve({ ...this.detail, seq: this.seq });
  task: Feed['task'] = (_run, task) => {
    const found = this.detail.tasks.find(one => one.task === task) ?? taskRun(task);
    const attempt = { id: found.attempt ?? '', n: 1, round: 1, state: 'completed' as const, reason: '', host: 'local', pid: 1, exit_code: 0, signal: null, created_at: ago(9), started_at: ago(9), ended_at: null, peak_rss: 183e6, log_size: null };
    const history = Array.from({ length: Math.max(1, found.attempts) }, (_, i) => ({ ...attempt, n: i + 1, id: i === found.attempts - 1 ? (found.attempt ?? '') : `old${i}`, state: 'failed' as const, reason: i < found.attempts - 1 ? 'exit 1' : found.reason }));
    return Promise.resolve({ ...found, command: `python train.py --model ${task} --seed 42 --out models/${task}.pkl`, working_dir: '/home/ada/penguins', needs: [], progress: null, history, outputs: found.state === 'completed' ? [{ name: 'model', kind: 'file', value: `models/${task}.pkl`, size: 48213, kept: null }, { name: 'accuracy', kind: 'json', value: 0.9712, size: null, kept: null }] : [] });
  };
  events: Feed['events'] = (_run, sink) => {
    this.sink = sink;
    setTimeout(() => sink.reset(), 0);
  };
  log: Feed['log'] = (_attempt, _offset, sink) => {
    const text = '\x1b[2m10:04:31\x1b[0m \x1b[36mINFO\x1b[0m  reading data/penguins.csv (344 rows)\n\x1b[2m10:04:31\x1b[0m \x1b[33mWARN\x1b[0m  11 rows without a body mass were dropped\n\x1b[1mepoch   loss    accuracy\x1b[0m\n' +
      Array.from({ length: 14 }, (_, i) => `${String(i + 1).padStart(5)}   ${(1 / (i + 1.4)).toFixed(4)}  \x1b[32m${(0.99 - 0.3 / (i + 1)).toFixed(4)}\x1b[0m\n`).join('') +
      '\x1b[1;31mTraceback\x1b[0m (most recent call last):\n  File "train.py", line 48, in <module>\n\x1b[31mValueError\x1b[0m: Input X contains NaN.\n';
    setTimeout(() => sink.bytes(0, new TextEncoder().encode(text)), 20);
  };
  act: Feed['act'] = () => Promise.reject(new Error('This is a fake.'));
  logAsk: Feed['logAsk'] = (_of, what, query) => Promise.resolve(new FakeLog().answer(what, query) as never);
  logUrl = (): string => '#';
}

interface Storm {
  /** Longest task of the main thread in ms. */
  longest: number;
  changes: number;
  over50: number;
  /** Frames per second, and the time in ms within which 95 of 100 frames came. */
  frames: number;
  p95: number;
}

/** Changes states at `rate` per second for `seconds`. */
async function storm(feed: PageFeed, rate: number, seconds: number): Promise<Storm> {
  let [longest, over50, changes] = [0, 0, 0];
  const observer = new PerformanceObserver(list => {
    for (const entry of list.getEntries()) {
      longest = Math.max(longest, entry.duration);
      over50 += 1;
    }
  });
  observer.observe({ entryTypes: ['longtask'] });
  const cycle: StateName[] = ['queued', 'running', 'completed', 'failed'];
  const start = performance.now();
  const frames: number[] = [];
  let going = true;
  const beat = (now: number): void => {
    frames.push(now);
    if (going) requestAnimationFrame(beat);
  };
  requestAnimationFrame(beat);
  while (performance.now() - start < seconds * 1000) {
    const due = Math.floor(((performance.now() - start) / 1000) * rate) - changes;
    if (due > 0) {
      const tasks = [...feed.detail.tasks];
      const touched = Array.from({ length: due }, (_, i) => {
        const at = (changes + i) % tasks.length;
        const old = tasks[at]!;
        const next = { ...old, state: cycle[(cycle.indexOf(old.state) + 1) % 4]!, started_at: ago(2), attempts: 1 };
        tasks[at] = next;
        return next;
      });
      changes += due;
      feed.detail = { ...feed.detail, tasks, counts: countsOf(tasks) };
      const { tasks: _, edges: __, seq: ___, ...summary } = feed.detail;
      feed.sink?.events([changed((feed.seq += 1), summary, touched)]);
    }
    await new Promise(done => setTimeout(done, 20));
  }
  going = false;
  observer.disconnect();
  const gaps = frames.slice(1).map((at, i) => at - frames[i]!).sort((a, b) => a - b);
  return { longest, changes, over50, frames: Math.round((frames.length - 1) / seconds), p95: Math.round(gaps[Math.floor(gaps.length * 0.95)] ?? 0) };
}

Object.assign(window, {
  show(kind: 'quickstart' | 'layered' | 'fan', layers = 20, width = 50): PageFeed {
    const feed = new PageFeed(kind === 'quickstart' ? quickstart() : kind === 'fan' ? fan(width) : layered(layers, width));
    render(null, document.getElementById('root')!);
    render(<RunView feed={feed} run={RUN} store="s" saved={null} />, document.getElementById('root')!);
    return feed;
  },
  storm
});
