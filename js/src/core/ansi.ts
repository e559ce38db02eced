/**
 * Terminal text as styled spans: SGR (16, 256 and true colours, bold, dim, italic, underline, inverse, strike).
 * Everything else that steers a terminal (cursor moves, titles, links) is dropped, and `\r` lets a line be
 * written over, as progress bars do.
 */

/** `fg`, `bg`: a number 0-15 of the theme's palette, or a CSS colour `rgb(…)`. */
export interface Style {
  fg?: number | string;
  bg?: number | string;
  bold?: true;
  dim?: true;
  italic?: true;
  underline?: true;
  inverse?: true;
  strike?: true;
}

export interface Span {
  text: string;
  style: Style;
}

export const PLAIN: Style = Object.freeze({});

// CSI with its final byte; OSC, DCS, PM, APC up to BEL or ST; an escape cut off at the end; other
// two-character escapes; lone control characters
const ESCAPE =
  /\x1b\[([0-9;:<=>?]*)[ -/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b\[?[0-9;:<=>?]*$|\x1b[ -/]*[0-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;

/** One line (without its line feed) as spans, and the style in which the next line begins. */
export function parseLine(line: string, start: Style = PLAIN): { spans: Span[]; end: Style } {
  const { pieces, end } = styled(line, start);
  const plain = pieces.some(piece => piece.text.includes('\r')) ? overwritten(pieces) : pieces;
  return { spans: plain, end };
}

/** The line as a reader sees it, without styles. */
export function plainText(line: string): string {
  return parseLine(line).spans.map(span => span.text).join('');
}

function styled(line: string, start: Style): { pieces: Span[]; end: Style } {
  const pieces: Span[] = [];
  let style = start;
  let at = 0;
  for (const found of line.matchAll(ESCAPE)) {
    push(pieces, line.slice(at, found.index), style);
    if (found[2] === 'm' && !/[<=>?]/.test(found[1] ?? '')) style = sgr(style, found[1] ?? '');
    at = found.index + found[0].length;
  }
  push(pieces, line.slice(at), style);
  return { pieces, end: style };
}

function push(pieces: Span[], text: string, style: Style): void {
  const last = pieces.at(-1);
  if (text === '') return;
  if (last !== undefined && last.style === style) last.text += text;
  else pieces.push({ text, style });
}

/** Play `\r`: what comes after it is written over what was there, character by character. */
function overwritten(pieces: Span[]): Span[] {
  const cells: { char: string; style: Style }[] = [];
  let column = 0;
  for (const { text, style } of pieces) {
    for (const char of text) {
      if (char === '\r') column = 0;
      else cells[column++] = { char, style };
    }
  }
  const spans: Span[] = [];
  for (const { char, style } of cells) push(spans, char, style);
  return spans;
}

const FLAGS: Record<number, keyof Style> = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline', 7: 'inverse', 9: 'strike' };
const CLEARS: Record<number, (keyof Style)[]> = {
  21: ['bold'],
  22: ['bold', 'dim'],
  23: ['italic'],
  24: ['underline'],
  27: ['inverse'],
  29: ['strike'],
  39: ['fg'],
  49: ['bg']
};

function sgr(from: Style, parameters: string): Style {
  const codes = parameters.split(/[;:]/).map(code => (code === '' ? 0 : Number(code)));
  let style: Style = { ...from };
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] ?? 0;
    if (code === 0) style = {};
    else if (code === 38 || code === 48) i += extended(style, code === 38 ? 'fg' : 'bg', codes.slice(i + 1));
    else simple(style, code);
  }
  return style;
}

function simple(style: Style, code: number): void {
  const flag = FLAGS[code];
  if (flag !== undefined) Object.assign(style, { [flag]: true });
  for (const clear of CLEARS[code] ?? []) delete style[clear];
  if (code >= 30 && code <= 37) style.fg = code - 30;
  else if (code >= 40 && code <= 47) style.bg = code - 40;
  else if (code >= 90 && code <= 97) style.fg = code - 82;
  else if (code >= 100 && code <= 107) style.bg = code - 92;
}

/** Colours of `38;5;n` and `38;2;r;g;b`; returns how many parameters were used up. */
function extended(style: Style, side: 'fg' | 'bg', rest: number[]): number {
  const [kind, a, b, c] = rest;
  if (kind === 5 && a !== undefined) {
    style[side] = palette(a);
    return 2;
  }
  if (kind === 2 && a !== undefined && b !== undefined && c !== undefined) {
    style[side] = rgb(a, b, c);
    return 4;
  }
  return rest.length; // not understood: rather no colour than a wrong one
}

function palette(index: number): number | string {
  if (index < 16) return index;
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return rgb(grey, grey, grey);
  }
  const level = (n: number): number => (n === 0 ? 0 : 55 + n * 40);
  const cube = index - 16;
  return rgb(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

const byte = (n: number): number => Math.max(0, Math.min(255, Math.round(n)));
const rgb = (r: number, g: number, b: number): string => `rgb(${byte(r)}, ${byte(g)}, ${byte(b)})`;
