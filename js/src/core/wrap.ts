import { parseLine, type Span } from './ansi';

const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\ud83c-\ud83e][\udc00-\udfff]/u;

/** Columns that a text takes in a monospaced font; tabs go to the next multiple of 8. */
export function columns(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let at = 0;
  for (const char of text) at += char === '\t' ? 8 - (at % 8) : WIDE.test(char) ? 2 : 1;
  return at;
}

/** How many rows a line needs at this width. */
export function rowsOf(line: string, width: number): number {
  const cheap = line.length <= width && /^[\x20-\x7e]*$/.test(line);
  return cheap ? 1 : splitSpans(parseLine(line).spans, width).length;
}

/** The spans of a line, broken into rows of at most `width` columns. */
export function splitSpans<S extends Span>(spans: readonly S[], width: number): S[][] {
  const rows: S[][] = [[]];
  let used = 0;
  for (const span of spans) {
    let piece = '';
    for (const char of span.text) {
      const wide = char === '\t' ? 8 - (used % 8) : columns(char);
      if (used + wide > width && used > 0) {
        if (piece !== '') rows.at(-1)?.push({ ...span, text: piece });
        rows.push([]);
        piece = '';
        used = 0;
      }
      piece += char;
      used += wide;
    }
    if (piece !== '') rows.at(-1)?.push({ ...span, text: piece });
  }
  return rows;
}
