/** Where the lines of a log stand in a list that may be longer than browsers allow. */

// browsers give up on elements of some 17 million pixels
const TALLEST = 8_000_000;
const EDGE = 100_000; // px at both ends that are never scaled: there, scrolling is exact

/** Pixels of all lines (`total`) as pixels of the element that is scrolled, and back. */
export class LogScale {
  readonly height: number;

  constructor(readonly total: number) {
    this.height = Math.min(total, TALLEST);
  }

  get compressed(): boolean {
    return this.total > TALLEST;
  }

  toScroll(pixels: number): number {
    if (!this.compressed || pixels <= EDGE) return pixels;
    if (pixels >= this.total - EDGE) return this.height - (this.total - pixels);
    return EDGE + ((pixels - EDGE) * (this.height - 2 * EDGE)) / (this.total - 2 * EDGE);
  }

  toPixels(scroll: number): number {
    if (!this.compressed || scroll <= EDGE) return scroll;
    if (scroll >= this.height - EDGE) return this.total - (this.height - scroll);
    return EDGE + ((scroll - EDGE) * (this.total - 2 * EDGE)) / (this.height - 2 * EDGE);
  }
}
