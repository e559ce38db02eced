import { plainText } from '../core/ansi';
import type { LogWindow } from '../core/logwindow';

/** A place in the text of a log: a character of the line that begins at a byte. */
export interface TextPlace {
  line: number;
  /** Row of the line, where long lines are broken. */
  part: number;
  char: number;
}

export interface TextRange {
  from: TextPlace;
  to: TextPlace;
  /** It was selected from its end on. */
  backward: boolean;
}

const ROW = '.jp-wattle-log-line';

/** What is selected in the rows of `box`; null if nothing is, or more than them. */
export function selectedText(box: Element): TextRange | null {
  const selection = document.getSelection();
  if (selection === null || selection.isCollapsed || selection.rangeCount === 0) return null;
  const range = selection.getRangeAt(0);
  if (!box.contains(range.startContainer) || !box.contains(range.endContainer)) return null;
  const from = placeOf(range.startContainer, range.startOffset);
  const to = placeOf(range.endContainer, range.endOffset);
  const backward = selection.anchorNode === range.endContainer && selection.anchorOffset === range.endOffset;
  return from === null || to === null ? null : { from, to, backward };
}

/** Select it again: rows that move in the page lose what is selected in them. */
export function selectAgain(box: Element, { from, to, backward }: TextRange): void {
  const [start, end] = [pointOf(box, from), pointOf(box, to)];
  if (start === null || end === null) return;
  const [anchor, focus] = backward ? [end, start] : [start, end];
  document.getSelection()?.setBaseAndExtent(anchor.node, anchor.offset, focus.node, focus.offset);
}

export const sameRange = (a: TextRange | null, b: TextRange | null): boolean => JSON.stringify(a) === JSON.stringify(b);

function pointOf(box: Element, { line, part, char }: TextPlace): { node: Node; offset: number } | null {
  const row = box.querySelector(`${ROW}[data-line="${line}"][data-part="${part}"]`);
  if (row === null) return null;
  const texts = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
  let left = char;
  for (let node = texts.nextNode(); node !== null; node = texts.nextNode()) {
    const { length } = node.nodeValue ?? '';
    if (left <= length) return { node, offset: left };
    left -= length;
  }
  return { node: row, offset: row.childNodes.length };
}

function placeOf(node: Node, offset: number): TextPlace | null {
  const element = node instanceof Element ? node : node.parentElement;
  // between two rows: the one that follows
  const row = element?.closest<HTMLElement>(ROW) ?? (node.childNodes[offset] ?? node.childNodes[offset - 1]);
  if (!(row instanceof HTMLElement) || !row.matches(ROW)) return null;
  const line = Number(row.dataset['line']);
  const part = Number(row.dataset['part'] ?? 0);
  if (!row.contains(node)) return { line, part, char: node.childNodes[offset] === row ? 0 : textBefore(row, row, row.childNodes.length) };
  return { line, part, char: textBefore(row, node, offset) };
}

function textBefore(row: Element, node: Node, offset: number): number {
  const range = document.createRange();
  range.setStart(row, 0);
  range.setEnd(node, offset);
  return range.toString().replace(/\n$/, '').length;
}

/**
 * The selected text as the log holds it, without codes: also of rows that are not drawn, and long lines whole. Null if
 * a part of it is not in the window any longer.
 */
export function textOf(window: LogWindow, { from, to }: TextRange, rowsBefore: (index: number, part: number) => number): string | null {
  const [first, last] = [window.indexOf(from.line), window.indexOf(to.line)];
  if (first < 0 || last < 0) return null;
  const start = rowsBefore(first, from.part) + from.char;
  const end = rowsBefore(last, to.part) + to.char;
  if (first === last) return plainText(window.lines[first]?.text ?? '').slice(start, end);
  const parts: string[] = [];
  for (let i = first; i <= last; i++) {
    const text = plainText(window.lines[i]?.text ?? '');
    parts.push(i === first ? text.slice(start) : i === last ? text.slice(0, end) : text);
    if (i < last && !window.lines[i]?.broken) parts.push('\n');
  }
  return parts.join('');
}
