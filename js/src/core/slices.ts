/** Long work in pieces, so that the page stays free. */

/** Work that stops for breath now and then; what it makes is its end. */
export type Steps<T> = Generator<void, T, void>;

const SLICE = 8; // ms: half a frame

/** All of it at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** In slices of some milliseconds, between which the page may do other things; null if the signal ended it. */
export async function inSlices<T>(steps: Steps<T>, signal: AbortSignal): Promise<T | null> {
  while (!signal.aborted) {
    const until = performance.now() + SLICE;
    do {
      const step = steps.next();
      if (step.done === true) return step.value;
    } while (performance.now() < until);
    await breath();
  }
  return null;
}

/** Until the page has done what is due. Timers would wait for 4 ms each, and for a second in a hidden tab. */
export function breath(): Promise<void> {
  const { scheduler } = globalThis as { scheduler?: { yield?: () => Promise<void> } };
  if (scheduler?.yield !== undefined) return scheduler.yield();
  return new Promise(done => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      done();
    };
    port2.postMessage(null);
  });
}
