/**
 * A page that follows runs and logs with the client alone, for a test that cuts its connection: bundled by
 * `tests/browser/test_browser_cuts.py`.
 */
import { pageFeed } from '../src/core/live';
import { findPage } from '../src/core/page';
import { followRun } from '../src/core/runfeed';

interface Followed {
  /** How often the connection stood. */
  lives: number;
  /** Number, kind and run of every event, in the order of their coming. */
  events: [number, string, string | null][];
  resets: number;
  logs: Record<string, { text: string; size: number; gaps: number; ends: number; problems: string[] }>;
  state: string;
  tasks: Record<string, string>;
}

const followed: Followed = { lives: 0, events: [], resets: 0, logs: {}, state: '', tasks: {} };
const life = new AbortController().signal;

function follow(run: string, attempts: string[]): void {
  const page = findPage();
  if (page === null) throw new Error('a page without a server');
  const feed = pageFeed(page);
  feed.watch(({ link }) => void (link === 'live' && (followed.lives += 1)), life);
  const hear = { events: events => followed.events.push(...events.map(one => [one.seq, one.kind, one.run] as [number, string, string | null])), reset: () => (followed.resets += 1) } satisfies Parameters<typeof feed.events>[1];
  feed.events(null, hear, life);
  const sink = {
    state: state => {
      followed.state = state.summary.state;
      followed.tasks = Object.fromEntries(state.tasks.map(task => [task.task, task.state]));
    },
    problem: () => undefined
  } satisfies Parameters<typeof followRun>[2];
  followRun(feed, run, sink, life);
  for (const attempt of attempts) {
    const log = (followed.logs[attempt] = { text: '', size: 0, gaps: 0, ends: 0, problems: [] as string[] });
    const decoder = new TextDecoder();
    feed.log(
      attempt,
      0,
      {
        bytes: (offset, bytes) => {
          if (offset !== log.size) log.gaps += 1;
          log.size += bytes.length;
          log.text += decoder.decode(bytes, { stream: true });
        },
        end: () => (log.ends += 1),
        problem: message => log.problems.push(message)
      },
      life
    );
  }
}

Object.assign(window, { follow, followed });
