import { ApiError } from './api';
import type { Feed } from './feed';
import { after } from './lifetime';
import { fromDetail, progressed, reduce, type RunState } from './reduce';
import type { EventView, ProgressView } from './wire';

export interface RunSink {
  state(state: RunState): void;
  /** The run cannot be read: it is unknown there (`gone`), the server says why not just now (`said`), or cannot be reached. */
  problem(message: string, gone: boolean, said: boolean): void;
}

const RETRY_AFTER = 3_000; // ms
const FIRST_LOOK = 1_200; // ms: without a connection by then the run is read once anyway

/** Follow one run: its state now, then after each batch of changes. Ends with the signal. */
export function followRun(feed: Feed, run: string, sink: RunSink, signal: AbortSignal): void {
  let state: RunState | null = null;
  let held: EventView[] = [];
  let told: Record<string, ProgressView> = {};
  let reading = 0;

  const load = async (): Promise<void> => {
    const mine = ++reading;
    state = null;
    try {
      const detail = await feed.run(run, signal);
      if (signal.aborted || mine !== reading) return;
      // events that came meanwhile: those that the answer contains are passed over by their number
      state = progressed(reduce(fromDetail(detail), held), told);
      held = [];
      told = {};
      sink.state(state);
    } catch (error) {
      if (signal.aborted || mine !== reading) return;
      const gone = error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
      const said = error instanceof ApiError && error.status === 503;
      sink.problem(error instanceof Error ? error.message : String(error), gone, said);
      if (!gone) after(RETRY_AFTER, () => void load(), signal);
    }
  };

  feed.events(
    run,
    {
      events(events) {
        if (state === null) held.push(...events);
        else {
          const next = reduce(state, events);
          if (next !== state) sink.state((state = next));
        }
      },
      progress(news) {
        if (state === null) told = { ...told, ...news };
        else sink.state((state = progressed(state, news)));
      },
      reset() {
        held = [];
        told = {};
        void load();
      }
    },
    signal
  );
  after(FIRST_LOOK, () => void (reading === 0 && load()), signal);
}
