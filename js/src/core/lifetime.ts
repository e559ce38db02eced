/** What lasts until a signal ends it. */

/** Calls `run` once after `ms`, unless the signal ends before. */
export type After = (ms: number, run: () => void, signal: AbortSignal) => void;

export const after: After = (ms, run, signal) => {
  if (signal.aborted) return;
  const stop = (): void => clearTimeout(timer);
  const timer = setTimeout(() => {
    signal.removeEventListener('abort', stop);
    run();
  }, ms);
  signal.addEventListener('abort', stop, { once: true });
};

/** Lasts as long as the page. */
export const PAGE: AbortSignal = new AbortController().signal;

const GRACE = 10_000; // ms: who only looks something up elsewhere finds all as it was

/** Calls `come` while somebody can see it, `go` some seconds after nobody can. */
export class Presence {
  private there = false;
  private leaving: AbortController | null = null;

  constructor(
    private readonly come: () => void,
    private readonly go: () => void,
    private readonly grace = GRACE
  ) {}

  set(there: boolean): void {
    this.leaving?.abort();
    this.leaving = null;
    if (there === this.there) return;
    if (there) {
      this.there = true;
      this.come();
    } else {
      this.leaving = new AbortController();
      after(this.grace, () => this.end(), this.leaving.signal);
    }
  }

  /** At once. */
  end(): void {
    this.leaving?.abort();
    this.leaving = null;
    if (!this.there) return;
    this.there = false;
    this.go();
  }
}

/** Tells whether the page can be seen, now and at every change. */
export function watchPage(on: (seen: boolean) => void, signal: AbortSignal): void {
  const look = (): void => on(!document.hidden);
  document.addEventListener('visibilitychange', look, { signal });
  look();
}
