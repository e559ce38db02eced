import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Widget } from '@lumino/widgets';
import { render } from 'preact';
import { sharedFeed } from '../core/live';
import { findPage } from '../core/page';
import { NODE, picture } from '../core/picture';
import { arrange, MOST_AT_ONCE } from '../core/places';
import { isRunId, isSavedRun, toSaved, type RunState } from '../core/reduce';
import { breath } from '../core/slices';
import { RUN_MIME, type SavedRun } from '../core/wire';
import { trans } from '../core/words';
import { RunView } from '../ui/RunView';
import type { Settings } from './settings';

/** What an output's metadata says under the key `wattle`. */
interface OutputMetadata {
  run?: string;
  store?: string;
  /** How the run ended, as this renderer saw it. */
  final?: SavedRun & { svg: string };
}

/** Draws a run in an output: live where the server knows it, as it was saved elsewhere. */
export class RunRenderer extends Widget implements IRenderMime.IRenderer {
  private model: IRenderMime.IMimeModel | null = null;
  private readonly life = new AbortController();

  constructor(
    private readonly settings: Settings,
    private readonly onOpen?: (run: string) => void
  ) {
    super();
    this.addClass('jp-wattle-output');
    const stopListening = settings.listen(() => this.draw());
    this.life.signal.addEventListener('abort', stopListening, { once: true });
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const first = this.model === null;
    this.model = model;
    const data = model.data[RUN_MIME];
    // a new output of much data has kept the page busy already
    if (first && isSavedRun(data) && data.tasks.length > MOST_AT_ONCE) return breath().then(() => this.draw());
    this.draw();
    return Promise.resolve();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.life.abort();
    render(null, this.node);
    super.dispose();
  }

  private draw(): void {
    const model = this.model;
    if (model === null || this.isDisposed) return;
    const data = model.data[RUN_MIME];
    const { run, store, final } = outputMetadata(model);
    const page = findPage();
    const saved = isSavedRun(final) ? final : isSavedRun(data) ? data : null;
    render(
      <RunView
        feed={page === null || run === undefined ? null : sharedFeed(page)}
        run={run ?? null}
        store={store ?? null}
        saved={saved}
        preferences={this.settings.preferences}
        readOnly={model.trusted ? null : trans.__('The notebook is not trusted: run the cell or trust the notebook first')}
        onOpen={this.onOpen}
        onEnd={state => void this.keep(state)}
      />,
      this.node
    );
  }

  /** So that the saved notebook shows how it ended, also where nothing of ours is installed. */
  private readonly keep = async (state: RunState): Promise<void> => {
    if (!this.shows(state)) return;
    const names = state.tasks.map(task => task.task);
    const placed = await arrange(names, state.edges, NODE, this.life.signal);
    await breath(); // the end is being drawn just now
    const model = this.model;
    if (placed === null || model === null || !this.shows(state)) return;
    const metadata = outputMetadata(model);
    const final = { ...toSaved(state), svg: picture(state, placed) };
    if (JSON.stringify(metadata.final) === JSON.stringify(final)) return; // else every look would change the notebook
    const wattle = { ...metadata, final };
    model.setData({ metadata: JSON.parse(JSON.stringify({ ...model.metadata, wattle })) as typeof model.metadata });
  };

  /** Whether the output is of this run and may be changed. */
  private shows(state: RunState): boolean {
    const model = this.model;
    return model !== null && !this.isDisposed && model.trusted && outputMetadata(model).run === state.summary.id;
  }
}

function outputMetadata(model: IRenderMime.IMimeModel): OutputMetadata {
  const { run, store, final } = (model.metadata['wattle'] ?? {}) as Record<string, unknown>;
  return {
    ...(isRunId(run) ? { run } : {}),
    ...(typeof store === 'string' ? { store } : {}),
    ...(typeof final === 'object' && final !== null ? { final: final as SavedRun & { svg: string } } : {})
  };
}
