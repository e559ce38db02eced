import { parseLine, PLAIN, type Span, type Style } from './ansi';

/** Characters after which a line is broken in two, so that one endless line cannot stop the page. */
export const LONGEST_LINE = 4_096;
const MOST_CHARACTERS = 48_000_000;

/**
 * A log as lines. Takes bytes in the order of the log, decodes them as UTF-8 (what is not UTF-8 becomes U+FFFD) and
 * keeps the newest `most` characters: older lines are forgotten, `dropped` says how many. The first bytes may come
 * from the middle of the log (`from`): then the lines begin with the first whole one, at the byte `start`.
 */
export class LogLines {
  private lines: string[] = [];
  private first = 0; // lines before it are forgotten but still in the array
  private characters = 0;
  private decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  private open = false; // the last line has no line feed yet
  private styles: (Style | undefined)[] = [PLAIN]; // the style in which each line begins, as far as it was asked for
  dropped = 0;
  /** Offset of the next byte. */
  next: number;
  start: number;

  constructor(
    private readonly most = MOST_CHARACTERS,
    readonly from = 0
  ) {
    this.next = this.start = from;
  }

  get length(): number {
    return this.lines.length - this.first;
  }

  add(bytes: Uint8Array): void {
    const cut = this.next === this.from && this.from > 0 ? lineBegin(bytes) : 0;
    this.start += cut;
    this.next += bytes.length;
    this.write(this.decoder.decode(bytes.subarray(cut), { stream: true }));
  }

  /** Nothing more comes: a character cut in two at the end becomes U+FFFD. */
  finish(): void {
    this.write(this.decoder.decode());
  }

  /** The line as it was written, codes included; '' outside. */
  raw(index: number): string {
    return this.lines[this.first + index] ?? '';
  }

  /** The line as styled spans; colours go on over line ends until they are reset. */
  spans(index: number): Span[] {
    const at = this.first + index;
    return parseLine(this.raw(index), this.styleAt(at)).spans;
  }

  private styleAt(at: number): Style {
    // far jumps do not parse everything above: a style is carried over a screenful or two only
    const floor = Math.max(this.first, at - 200);
    let known = at;
    while (known > floor && this.styles[known] === undefined) known -= 1;
    let style = this.styles[known] ?? PLAIN;
    for (let i = known; i < at; i++) {
      const line = this.lines[i] ?? '';
      if (line.includes('\x1b')) style = parseLine(line, style).end;
      this.styles[i + 1] = style;
    }
    return style;
  }

  private write(text: string): void {
    if (text === '') return;
    const pieces = text.replace(/\r\n/g, '\n').split('\n');
    pieces.forEach((piece, i) => {
      if (i === 0 && this.open) this.extend(piece);
      else if (i < pieces.length - 1 || piece !== '') this.begin(piece);
    });
    this.open = pieces.at(-1) !== '';
    this.characters += text.length;
    this.forget();
  }

  private extend(piece: string): void {
    const last = this.lines.length - 1;
    const line = this.lines[last] ?? '';
    this.lines.length = last;
    this.begin(collapsed(line + piece));
  }

  private begin(line: string): void {
    let rest = line;
    while (rest.length > LONGEST_LINE) {
      const cut = splitPoint(rest);
      this.lines.push(rest.slice(0, cut));
      rest = rest.slice(cut);
    }
    this.lines.push(rest);
  }

  private forget(): void {
    while (this.characters > this.most && this.length > 1) {
      this.characters -= (this.lines[this.first] ?? '').length + 1;
      this.lines[this.first] = '';
      this.first += 1;
      this.dropped += 1;
    }
    if (this.first > 100_000) {
      this.lines = this.lines.slice(this.first);
      this.styles = this.styles.slice(this.first);
      if (this.styles.length === 0) this.styles = [PLAIN];
      this.first = 0;
    }
  }
}

/** Where the first whole line begins; a progress bar has no line feed; what has neither begins with a whole character. */
function lineBegin(bytes: Uint8Array): number {
  for (const end of [0x0a, 0x0d]) {
    const at = bytes.indexOf(end);
    if (at >= 0) return at + 1;
  }
  return Math.max(0, bytes.findIndex(byte => (byte & 0xc0) !== 0x80));
}

/** A progress bar rewrites its line for hours: of long ones only what follows the last return is kept. */
function collapsed(line: string): string {
  const back = line.lastIndexOf('\r', line.length - 2);
  return line.length > LONGEST_LINE / 2 && back > 0 ? line.slice(back + 1) : line;
}

/** Not inside a surrogate pair, and not inside an escape sequence if one is near. */
function splitPoint(line: string): number {
  const escape = line.lastIndexOf('\x1b', LONGEST_LINE - 1);
  if (escape > LONGEST_LINE - 32) return escape;
  const code = line.charCodeAt(LONGEST_LINE - 1);
  return code >= 0xd800 && code <= 0xdbff ? LONGEST_LINE - 1 : LONGEST_LINE;
}
