import { LogLayout } from '../core/loglayout';
import type { LogReader } from '../core/logreader';
import { LogScale } from '../core/logscale';
import { Frame } from './hooks';

export const ROW = 18; // px
const SPARE = 6; // rows above and below what is seen
const UNMEASURED = 400; // px, until it is known how much is seen
const IDLE = 160; // ms without a scroll event after which nobody scrolls

export interface Sight {
  /** Rows of the window to draw: from `first` to before `end`. */
  first: number;
  end: number;
  layout: LogLayout;
}

/**
 * Scrolls a window of a log as if all of it were there.
 *
 * What counts is the line at the top of the view: rows stand where the reader left them, whatever comes before or after.
 * Small movements are exact; the bar speaks for the whole log, and when the hand rests it is set to where that is.
 */
export class LogScroller {
  private measured = 0; // px of what is seen
  private layout: LogLayout;
  private anchor = { offset: 0, px: 0 }; // the line at the top, and how far it is scrolled past
  private top = 0; // scrollTop as we know it
  private room = 0; // px of the element that is scrolled
  private movedAt = 0;
  private resting: ReturnType<typeof setTimeout> | undefined;
  private readonly ended = new AbortController();
  private readonly frame: Frame;

  constructor(
    private readonly reader: LogReader,
    private readonly changed: () => void,
    private readonly follow: (on: boolean) => void
  ) {
    this.layout = new LogLayout(reader.window, null);
    this.frame = new Frame(changed);
  }

  private get height(): number {
    return this.measured || UNMEASURED;
  }

  /** Begin to listen; the box is there. */
  attach(box: HTMLElement): () => void {
    const { signal } = this.ended;
    box.addEventListener('scroll', () => this.scrolled(box), { passive: true, signal });
    const measure = (): void => {
      if (box.clientHeight === this.measured) return;
      this.measured = box.clientHeight;
      this.frame.ask();
    };
    const observer = typeof ResizeObserver === 'undefined' ? null : new ResizeObserver(measure);
    observer?.observe(box);
    measure();
    return () => {
      this.ended.abort();
      observer?.disconnect();
      this.frame.stop();
      clearTimeout(this.resting);
    };
  }

  /** What is to be drawn now. */
  look(wrap: number | null, follow: boolean): Sight {
    const { window } = this.reader;
    this.layout = new LogLayout(window, wrap);
    // what was at the top is not here any longer
    if (window.length > 0 && window.indexOf(this.anchor.offset) < 0) this.begin(window.start);
    if (follow && this.reader.atEnd) this.setTop(this.layout.rows * ROW - this.height);
    const at = this.at();
    const first = Math.max(0, Math.floor(at / ROW) - SPARE);
    const end = Math.min(this.layout.rows, Math.ceil((at + this.height) / ROW) + SPARE);
    return { first: Math.min(first, end), end, layout: this.layout };
  }

  /** Put what was drawn where it belongs, before it is painted. */
  place(box: HTMLElement, inner: HTMLElement, rows: HTMLElement, first: number): void {
    const [before, own, after] = [this.layout.before, this.layout.rows, this.layout.after].map(n => n * ROW) as [number, number, number];
    const scale = new LogScale(before + own + after);
    if (scale.height !== this.room) {
      this.room = scale.height;
      inner.style.height = `${this.room}px`;
    }
    const at = this.at();
    const most = Math.max(0, this.room - this.height);
    const right = Math.max(0, Math.min(most, scale.toScroll(before + at)));
    const moving = performance.now() - this.movedAt < IDLE;
    const astray = this.stuck(this.top, at, before > 0) || this.stuck(most - this.top, own - at - this.height, after > 0);
    if (Math.abs(right - this.top) > 0.5 && (!moving || astray)) {
      this.top = right;
      box.scrollTop = right;
      this.top = box.scrollTop;
    }
    rows.style.transform = `translateY(${this.top - at + first * ROW}px)`;
    const [from, to] = [this.layout.indexAt(at / ROW), this.layout.indexAt((at + this.height) / ROW)];
    if (this.reader.opened) this.reader.seen(from, to);
  }

  /** On one side: the bar would end before the rows, or the rows before the bar. */
  private stuck(room: number, rows: number, more: boolean): boolean {
    const near = 2 * this.height;
    return (room < near && (more || rows > room)) || (!more && rows < near && Math.abs(room - rows) > 0.5);
  }

  /** The bytes of the lines in sight. */
  bytes(): { from: number; to: number } {
    const { window } = this.reader;
    const at = this.at();
    const first = window.lines[this.layout.indexAt(Math.max(0, at) / ROW)];
    const last = window.lines[this.layout.indexAt((Math.max(0, at) + this.height - 1) / ROW)];
    return { from: first?.offset ?? window.start, to: last === undefined ? window.next : last.offset + last.size };
  }

  /** Show the line that holds this byte: in the middle, if it is not in sight already. */
  show(byte: number, always: boolean): void {
    const index = this.reader.window.indexOf(byte);
    if (index < 0) return;
    const top = this.layout.topOf(index) * ROW;
    const at = this.at();
    if (!always && top >= at + ROW && top + 2 * ROW <= at + this.height) return;
    this.setTop(top - Math.max(0, Math.floor(this.height / ROW / 2 - 1)) * ROW);
    this.changed();
  }

  /** The window shows another part of the log: begin at its first line, or stay at the line that was in sight. */
  begin(byte: number): void {
    this.anchor = { offset: byte, px: 0 };
  }

  /** Move by as many views, one row of which stays. */
  page(pages: number): void {
    const at = this.at();
    this.setTop(at + pages * Math.max(ROW, this.height - ROW));
    const { window } = this.reader;
    const atEnd = this.reader.atEnd && window.next >= window.size && this.at() >= this.layout.rows * ROW - this.height - 4;
    if (atEnd || pages < 0) this.follow(atEnd);
    this.changed();
  }

  /** Pixels from the window's first row to the top of the view. */
  private at(): number {
    const { window } = this.reader;
    const index = window.indexOf(this.anchor.offset);
    const top = index >= 0 ? this.layout.topOf(index) : this.anchor.offset < window.start ? 0 : this.layout.rows;
    return this.clamp(top * ROW + this.anchor.px);
  }

  /** Nothing is shown above the first line and below the last one. */
  private clamp(at: number): number {
    const { window } = this.reader;
    const end = this.layout.rows * ROW - this.height;
    const low = window.next >= window.size ? Math.min(at, end) : at;
    return window.start === 0 ? Math.max(0, low) : low;
  }

  private setTop(at: number): void {
    const clamped = this.clamp(at);
    const index = this.layout.indexAt(Math.max(0, clamped) / ROW);
    const line = this.reader.window.lines[index];
    this.anchor = { offset: line?.offset ?? this.reader.window.start, px: clamped - this.layout.topOf(index) * ROW };
  }

  private scrolled(box: HTMLElement): void {
    if (box.clientHeight === 0) return; // hidden, as while a theme is changed: nobody scrolled, and it will stand where it stood
    const top = box.scrollTop;
    const moved = top - this.top;
    if (Math.abs(moved) < 1) return;
    this.top = top;
    this.movedAt = performance.now();
    clearTimeout(this.resting);
    this.resting = setTimeout(this.changed, IDLE + 20);
    if (!this.leap(top, moved)) {
      this.setTop(this.at() + moved);
      const { window } = this.reader;
      const atEnd = this.reader.atEnd && window.next >= window.size && this.at() >= this.layout.rows * ROW - this.height - 4;
      if (atEnd || moved < 0) this.follow(atEnd);
    }
    this.frame.ask();
  }

  /** The bar was dragged to somewhere else: go there. */
  private leap(top: number, moved: number): boolean {
    const { reader, layout } = this;
    const { window } = reader;
    if (window.whole || Math.abs(moved) < Math.max(1.5 * this.height, 600)) return false;
    const scale = new LogScale((layout.before + layout.rows + layout.after) * ROW);
    const inside = this.at() + moved >= 0 && this.at() + moved + this.height <= layout.rows * ROW;
    if (inside && !scale.compressed) return false;
    this.follow(false);
    const pixels = scale.toPixels(top);
    const place =
      top <= 0 ? { byte: 0 }
      : top >= this.room - this.height - 1 ? { end: true as const }
      : layout.exact ? { line: Math.floor(pixels / ROW) }
      : { byte: Math.floor((pixels / scale.total) * window.size) };
    void reader.go(place).then(byte => {
      if (byte === null || this.ended.signal.aborted) return;
      this.layout = new LogLayout(window, layout.wrap);
      this.begin(byte);
      if ('end' in place) this.follow(true);
      this.movedAt = 0;
      this.changed();
    });
    return true;
  }
}
