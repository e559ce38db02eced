import type { AnyModel, Render } from '@anywidget/types';
import { render as draw } from 'preact';
import { commFeed, type CommModel } from '../core/comm';
import type { Feed } from '../core/feed';
import { sharedFeed } from '../core/live';
import { findPage } from '../core/page';
import { isSavedRun } from '../core/reduce';
import { RunView } from '../ui/RunView';
import '../ui/wattle.css';

interface Traits {
  /** Id of the run, '' for none. */
  run: string;
  /** Id of the store that it belongs to. */
  store: string;
  /** The run as the output's data has it, for pages that reach neither server nor kernel. */
  saved: unknown;
}

const comms = new WeakMap<object, Feed>();

/** Through the kernel; the views of one model share one connection. */
function kernelFeed(model: AnyModel<Traits>): Feed {
  const known = comms.get(model);
  if (known !== undefined) return known;
  const feed = commFeed(model as unknown as CommModel);
  comms.set(model, feed);
  return feed;
}

const ASK_WITHIN = 4_000; // ms

/** Straight to the page's server if it has our extension, else through the kernel. */
async function chooseFeed(model: AnyModel<Traits>): Promise<Feed> {
  const page = findPage();
  if (page === null) return kernelFeed(model);
  try {
    const answer = await fetch(page.api + 'health', { credentials: 'same-origin', signal: AbortSignal.timeout(ASK_WITHIN) });
    return answer.status === 404 ? kernelFeed(model) : sharedFeed(page);
  } catch {
    return sharedFeed(page); // not reached just now: the feed says so and tries again
  }
}

const render: Render<Traits> = ({ model, el }) => {
  let feed: Feed | null = null;
  let ended = false;
  const show = (): void => {
    if (ended) return;
    const saved = model.get('saved');
    const run = feed === null ? null : model.get('run') || null;
    draw(<RunView feed={feed} run={run} store={model.get('store') || null} saved={isSavedRun(saved) ? saved : null} />, el);
  };
  const traits = ['change:run', 'change:store', 'change:saved'] as const;
  for (const trait of traits) model.on(trait, show);
  show();
  void chooseFeed(model).then(chosen => {
    feed = chosen;
    show();
  });
  return () => {
    ended = true;
    for (const trait of traits) model.off(trait, show);
    draw(null, el);
  };
};

export default { render };
