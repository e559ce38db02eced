import { parseLine, PLAIN, type Span, type Style } from './ansi';
import type { LogLinesPage } from './wire';

/** Characters of a line that are kept: one endless line cannot stop the page. The server cuts there, too. */
export const LONGEST_LINE = 8_192;

const MOST = 5_000_000; // characters; with what a line costs itself
const COST = 60; // characters that the place of a line is worth
const CARRY = 200; // lines above that are looked at for a colour that goes on

/** A line of a log, known by the byte at which it begins. */
export interface LogLine {
  readonly offset: number;
  /** Bytes, with the line feed. */
  size: number;
  /** As it was written, codes included. */
  text: string;
  /** Only the beginning is here. */
  cut: boolean;
  /** It has no line feed: it is not finished, or goes on in the next one. */
  broken: boolean;
  /** The style in which it begins, if that is known. */
  style?: Style;
}

/** Whole lines in a row out of a log of any size: bytes `start` to `next` of `size`. Bounded, whatever the log holds. */
export class LogWindow {
  lines: LogLine[] = [];
  start = 0;
  next = 0;
  /** Bytes that the log has, as far as is known. */
  size = 0;
  /** Number of the first line, from 0, and of all lines; null while they are being counted. */
  line: number | null = null;
  total: number | null = null;
  private weight = 0;
  private decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(private readonly most = MOST) {}

  get length(): number {
    return this.lines.length;
  }

  /** All of the log is here. */
  get whole(): boolean {
    return this.start === 0 && this.next >= this.size;
  }

  /** Go elsewhere. */
  show(page: LogLinesPage): void {
    this.lines = linesOf(page);
    this.start = page.offset;
    this.next = page.next_offset;
    this.line = page.line;
    this.weight = this.lines.reduce((sum, line) => sum + weightOf(line), 0);
    this.decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    this.know(page);
  }

  /** What else an answer says. */
  know(page: LogLinesPage): void {
    this.size = Math.max(this.size, page.size, this.next);
    if (page.lines !== null) this.total = Math.max(this.total ?? 0, page.lines);
    if (page.line !== null && page.offset === this.start) this.line = page.line;
  }

  /** Lines that end where these begin. */
  prepend(page: LogLinesPage): boolean {
    if (page.next_offset !== this.start || page.offsets.length === 0) return false;
    const lines = linesOf(page);
    this.lines = [...lines, ...this.lines];
    this.start = page.offset;
    this.line = page.line ?? (this.line === null ? null : this.line - numbered(lines, 0, lines.length));
    this.weight += lines.reduce((sum, line) => sum + weightOf(line), 0);
    this.know(page);
    return true;
  }

  /** Lines that begin where these end. */
  append(page: LogLinesPage): boolean {
    if (page.offset !== this.next) return false;
    const lines = linesOf(page);
    this.lines.push(...lines);
    this.next = page.next_offset;
    this.weight += lines.reduce((sum, line) => sum + weightOf(line), 0);
    this.know(page);
    return true;
  }

  /** The bytes that follow, as they are written. */
  write(bytes: Uint8Array): void {
    const texts = this.decoder.decode(bytes, { stream: true }).split('\n');
    let from = 0;
    for (let i = 0; i < texts.length; i++) {
      const feed = i < texts.length - 1;
      const end = feed ? bytes.indexOf(0x0a, from) + 1 : bytes.length;
      if (end > from) this.extend(texts[i] ?? '', end - from, !feed);
      from = end;
    }
    this.size = Math.max(this.size, this.next);
    if (this.line !== null) this.total = Math.max(this.total ?? 0, this.line + numbered(this.lines, 0, this.length) + (this.lines.at(-1)?.broken ? 1 : 0));
  }

  private extend(text: string, size: number, broken: boolean): void {
    const last = this.lines.at(-1);
    this.next += size;
    if (last === undefined || !last.broken) {
      const line = { offset: this.next - size, size, ...shortened('', text, false), broken };
      this.lines.push(line);
      this.weight += weightOf(line);
      return;
    }
    this.weight -= weightOf(last);
    Object.assign(last, shortened(last.text, text, last.cut), { size: last.size + size, broken });
    this.weight += weightOf(last);
  }

  /** Forget lines that are far from those in sight (by index). Says which side was cut. */
  trim(first: number, last: number): 'start' | 'end' | null {
    if (this.weight <= this.most) return null;
    const side = first >= this.length - last ? 'start' : 'end';
    const goal = this.most * 0.75;
    let count = 0;
    if (side === 'start') {
      while (this.weight > goal && count < first) this.weight -= weightOf(this.lines[count++]);
      if (this.line !== null) this.line += numbered(this.lines, 0, count);
      this.lines = this.lines.slice(count);
      this.start = this.lines[0]?.offset ?? this.next;
    } else {
      let keep = this.length;
      while (this.weight > goal && keep > last + 1) this.weight -= weightOf(this.lines[--keep]);
      count = this.length - keep;
      this.lines.length = keep;
      const end = this.lines.at(-1);
      this.next = end === undefined ? this.start : end.offset + end.size;
      this.decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    }
    return count > 0 ? side : null;
  }

  /** The line that holds this byte; -1 if it is not here. */
  indexOf(offset: number): number {
    if (offset < this.start || offset > this.next || this.length === 0) return -1;
    let [low, high] = [0, this.length];
    while (low + 1 < high) {
      const middle = (low + high) >> 1;
      if ((this.lines[middle]?.offset ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return offset === this.next && !this.lines[low]?.broken && this.next < this.size ? -1 : low;
  }

  /** The number of a line, from 1, as people count; null for what goes on from the line above, or is not counted yet. */
  numberOf(index: number): number | null {
    if (this.line === null || this.lines[index - 1]?.broken) return null;
    return this.line + numbered(this.lines, 0, index) + 1;
  }

  /** The line as styled spans; colours go on over line ends until they are reset. */
  spans(index: number): Span[] {
    return parseLine(this.lines[index]?.text ?? '', this.styleAt(index)).spans;
  }

  private styleAt(index: number): Style {
    // far jumps do not parse everything above: a style is carried over a screenful or two only
    let known = index;
    while (known > Math.max(0, index - CARRY) && this.lines[known]?.style === undefined) known -= 1;
    let style = this.lines[known]?.style ?? PLAIN;
    for (let i = known; i < index; i++) {
      const text = this.lines[i]?.text ?? '';
      if (text.includes('\x1b')) style = parseLine(text, style).end;
      const below = this.lines[i + 1];
      if (below !== undefined && !this.lines[i]?.broken) below.style = style;
    }
    return style;
  }
}

const weightOf = (line: LogLine | undefined): number => (line === undefined ? 0 : line.text.length + COST);

/** How many lines of these end, as the server counts. */
function numbered(lines: readonly LogLine[], from: number, to: number): number {
  let broken = 0;
  for (let i = from; i < to; i++) if (lines[i]?.broken) broken += 1;
  return to - from - broken;
}

function linesOf(page: LogLinesPage): LogLine[] {
  const cut = new Set(page.cut);
  const broken = new Set(page.broken);
  return page.offsets.map((offset, i) => ({
    offset,
    size: (page.offsets[i + 1] ?? page.next_offset) - offset,
    text: page.text[i] ?? '',
    cut: cut.has(i),
    broken: broken.has(i)
  }));
}

/** A progress bar rewrites its line for hours: of long ones only what follows the last return is kept. */
function shortened(before: string, more: string, cut: boolean): { text: string; cut: boolean } {
  const whole = cut ? more : before + more;
  const back = whole.lastIndexOf('\r', whole.length - 2);
  if (cut && back < 0) return { text: before, cut };
  const text = whole.length > LONGEST_LINE / 2 && back >= 0 ? whole.slice(back + 1) : whole;
  if (text.length <= LONGEST_LINE) return { text, cut: false };
  return { text: text.slice(0, splitPoint(text)), cut: true };
}

/** Not inside a surrogate pair, and not inside an escape sequence if one is near. */
function splitPoint(line: string): number {
  const escape = line.lastIndexOf('\x1b', LONGEST_LINE - 1);
  if (escape > LONGEST_LINE - 32) return escape;
  const code = line.charCodeAt(LONGEST_LINE - 1);
  return code >= 0xd800 && code <= 0xdbff ? LONGEST_LINE - 1 : LONGEST_LINE;
}
