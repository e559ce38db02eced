import type { AnyModel, Initialize, Render } from '@anywidget/types';
import { render as draw } from 'preact';
import type { CommModel } from '../core/comm';
import type { Feed } from '../core/feed';
import { findPage } from '../core/page';
import { isRunId, isSavedRun } from '../core/reduce';
import { wayOf } from '../core/way';
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

/** The views of one model share one way to the engine. */
const ways = new WeakMap<object, Promise<Feed | null>>();

const initialize: Initialize<Traits> = ({ model }) => {
  const life = new AbortController();
  ways.set(model, wayOf(findPage(), model as unknown as CommModel, model.get('store'), life.signal));
  return () => life.abort();
};

const TRAITS = ['change:run', 'change:store', 'change:saved'] as const;

const render: Render<Traits> = ({ model, el }) => {
  let feed: Feed | null = null;
  const ended = new AbortController();
  const show = (): void => {
    if (!ended.signal.aborted) draw(view(model, feed), el);
  };
  for (const trait of TRAITS) model.on(trait, show);
  show();
  void ways.get(model)?.then(chosen => {
    feed = chosen;
    show();
  });
  return () => {
    ended.abort();
    for (const trait of TRAITS) model.off(trait, show);
    draw(null, el);
  };
};

function view(model: AnyModel<Traits>, feed: Feed | null) {
  const [run, saved] = [model.get('run'), model.get('saved')];
  return <RunView feed={feed} run={feed !== null && isRunId(run) ? run : null} store={model.get('store') || null} saved={isSavedRun(saved) ? saved : null} />;
}

export default { initialize, render };
