import type { LogWindow } from './logwindow';
import { rowsOf } from './wrap';

const GUESS = 1 / 80; // rows a byte, before anything was read

/** Which rows the lines of a window take, and how many rows there may be before and after it. */
export class LogLayout {
  private tops: number[] | null = null;

  /** `wrap`: columns of a row, null if lines are not broken. */
  constructor(
    private readonly window: LogWindow,
    readonly wrap: number | null
  ) {
    if (wrap === null) return;
    const tops = [0];
    for (const line of window.lines) tops.push((tops.at(-1) ?? 0) + heightOf(line, wrap));
    this.tops = tops;
  }

  get rows(): number {
    return this.topOf(this.window.length);
  }

  /** First row of a line, from the beginning of the window. */
  topOf(index: number): number {
    return this.tops === null ? index : (this.tops[index] ?? 0);
  }

  /** The line that holds a row; the nearest one outside. */
  indexAt(row: number): number {
    const last = this.window.length - 1;
    if (this.tops === null) return Math.max(0, Math.min(last, Math.floor(row)));
    let [low, high] = [0, Math.max(1, last + 1)];
    while (low + 1 < high) {
      const middle = (low + high) >> 1;
      if ((this.tops[middle] ?? 0) <= row) low = middle;
      else high = middle;
    }
    return low;
  }

  /** Rows are counted, not guessed. */
  get exact(): boolean {
    return this.window.whole || (this.tops === null && this.window.line !== null && this.window.total !== null);
  }

  get before(): number {
    const { window } = this;
    if (window.start === 0) return 0;
    return this.tops === null && window.line !== null ? window.line : Math.max(1, Math.round(window.start * this.density));
  }

  get after(): number {
    const { window } = this;
    if (window.next >= window.size) return 0;
    if (this.tops === null && window.line !== null && window.total !== null) return Math.max(1, window.total - window.line - this.rows);
    return Math.max(1, Math.round((window.size - window.next) * this.density));
  }

  private get density(): number {
    const bytes = this.window.next - this.window.start;
    return bytes > 0 && this.rows > 0 ? this.rows / bytes : GUESS;
  }
}

interface Measured {
  text: string;
  /** As it was measured last: what did not change is not measured again. */
  height?: { text: string; wrap: number; rows: number };
}

function heightOf(line: Measured, wrap: number): number {
  const known = line.height;
  if (known !== undefined && known.wrap === wrap && known.text === line.text) return known.rows;
  const rows = rowsOf(line.text, wrap);
  line.height = { text: line.text, wrap, rows };
  return rows;
}
