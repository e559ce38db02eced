/** What the harness asks of every page: draw, change states, count frames. */
import { graph, random, STATES, type Graph, type State } from './graphs';

export interface Subject {
  /** Show the graph; resolves when it is drawn but for the next frame. */
  mount(element: HTMLElement, graph: Graph): Promise<void>;
  /** These tasks have these states from now on. */
  update(changes: [number, State][]): void;
}

const frame = (): Promise<number> => new Promise(done => requestAnimationFrame(() => done(performance.now())));

/** Wait for something in the page, a look at each frame. */
export async function seen(what: () => boolean): Promise<void> {
  while (!what()) await frame();
}

class Frames {
  private readonly took: number[] = [];
  private last = performance.now();
  private over = false;

  start(): this {
    const tick = (): void => {
      if (this.over) return;
      const now = performance.now();
      this.took.push(now - this.last);
      this.last = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    return this;
  }

  stop(): { fps: number; median: number; p95: number; longest: number } {
    this.over = true;
    const took = this.took.slice(1).sort((a, b) => a - b);
    const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0;
    const total = took.reduce((sum, one) => sum + one, 0);
    return { fps: total === 0 ? 0 : (took.length * 1000) / total, median: at(0.5), p95: at(0.95), longest: at(1) };
  }
}

let frames: Frames | null = null;

export function countFrames(): void {
  frames = new Frames().start();
}

export function framesCounted(): ReturnType<Frames['stop']> | null {
  return frames?.stop() ?? null;
}

export function drive(subject: Subject): void {
  let size = 0;
  Object.assign(window, {
    bench: {
      async first(n: number, seed: number): Promise<number> {
        size = n;
        const given = graph('layered', n, seed);
        const begin = performance.now();
        await subject.mount(document.getElementById('app') as HTMLElement, given);
        await frame();
        return (await frame()) - begin;
      },
      async live(rate: number, seconds: number): Promise<unknown> {
        const r = random(9);
        const counted = new Frames().start();
        const begin = performance.now();
        let sent = 0;
        while (performance.now() - begin < seconds * 1000) {
          const due = Math.floor(((performance.now() - begin) / 1000) * rate) - sent;
          sent += due;
          if (due > 0) subject.update(Array.from({ length: due }, () => [Math.floor(r() * size), STATES[Math.floor(r() * 4)] as State]));
          // changes come from a socket, twenty times a second at most, whatever the page does
          await new Promise(done => setTimeout(done, 20));
        }
        return { ...counted.stop(), sent };
      },
      countFrames,
      framesCounted
    }
  });
}
