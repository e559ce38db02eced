import type { Span } from './ansi';

/** A span of a log, perhaps inside of what was searched for. */
export interface MarkedSpan extends Span {
  mark?: true;
}

/** From one character to another, the end not included. */
export type Range = readonly [number, number];

/** Only ASCII letters, as the server does: others may change their length. */
const lower = (text: string): string => text.replace(/[A-Z]+/g, letters => letters.toLowerCase());

/** Where a plain text occurs. */
export function occurrences(text: string, wanted: string, matchCase: boolean, most = 200): Range[] {
  if (wanted === '') return [];
  const [hay, needle] = matchCase ? [text, wanted] : [lower(text), lower(wanted)];
  const found: Range[] = [];
  for (let at = hay.indexOf(needle); at >= 0 && found.length < most; at = hay.indexOf(needle, at + needle.length)) found.push([at, at + needle.length]);
  return found;
}

/** The spans, cut where a range begins or ends. */
export function marked(spans: readonly Span[], ranges: readonly Range[]): MarkedSpan[] {
  if (ranges.length === 0) return [...spans];
  const result: MarkedSpan[] = [];
  let at = 0;
  let next = 0;
  for (const span of spans) {
    let from = 0;
    while (from < span.text.length) {
      while (next < ranges.length && (ranges[next]?.[1] ?? 0) <= at + from) next += 1;
      const [start, end] = ranges[next] ?? [Infinity, Infinity];
      const inside = start <= at + from;
      const to = Math.min(span.text.length, (inside ? end : start) - at);
      const text = span.text.slice(from, to);
      result.push(inside ? { ...span, text, mark: true } : { ...span, text });
      from = to;
    }
    at += span.text.length;
  }
  return result;
}
