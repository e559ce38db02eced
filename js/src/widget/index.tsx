import type { AnyModel, Initialize, Render } from '@anywidget/types';
import { render as draw } from 'preact';
import type { CommModel } from '../core/comm';
import type { Feed } from '../core/feed';
import { findPage } from '../core/page';
import { isRunId, isSavedRun } from '../core/reduce';
import { wayOf } from '../core/way';
import { RunView } from '../ui/RunView';
import '../ui/wattle.css';
import '../ui/log.css';

interface Traits {
  /** Id of the run, '' for none. */
  run: string;
  /** Id of the store that it belongs to. */
  store: string;
  /** The run as the output's data has it, for pages that reach neither server nor kernel. */
  saved: unknown;
}

const TRAITS = ['change:run', 'change:store', 'change:saved'] as const;

/** One widget, whose views share one way to the engine. Hosts hand each call a model of its own, so it is not the key. */
class Widget {
  private way: Promise<Feed | null> | null = null;
  private readonly life = new AbortController();

  readonly initialize: Initialize<Traits> = ({ model }) => {
    void this.begin(model);
    return () => this.life.abort();
  };

  readonly render: Render<Traits> = ({ model, el }) => {
    let feed: Feed | null = null;
    const ended = new AbortController();
    const show = (): void => {
      if (!ended.signal.aborted) draw(view(model, feed), el);
    };
    for (const trait of TRAITS) model.on(trait, show);
    show();
    void this.begin(model).then(chosen => {
      feed = chosen;
      show();
    });
    return () => {
      ended.abort();
      for (const trait of TRAITS) model.off(trait, show);
      draw(null, el);
    };
  };

  private begin(model: AnyModel<Traits>): Promise<Feed | null> {
    return (this.way ??= wayOf(findPage(), model as unknown as CommModel, model.get('store'), this.life.signal));
  }
}

function view(model: AnyModel<Traits>, feed: Feed | null) {
  const [run, saved] = [model.get('run'), model.get('saved')];
  return <RunView feed={feed} run={feed !== null && isRunId(run) ? run : null} store={model.get('store') || null} saved={isSavedRun(saved) ? saved : null} />;
}

export default () => new Widget();
