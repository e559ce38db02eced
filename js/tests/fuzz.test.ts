/** What a page reads from logs and notebooks, fed with what nobody would write. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PLAIN, parseLine, plainText, type Span } from '../src/core/ansi';
import { isRunId, isSavedRun } from '../src/core/reduce';

const PIECES = [
  '\x1b', '\x1b[', '\x1b[31m', '\x1b[38;5;208m', '\x1b[38;2;1;2;3m', '\x1b[48;2;', '\x1b[0m', '\x1b[1;4;7m', '\x1b[2K',
  '\x1b]8;;javascript:x\x07', '\x1b]0;title\x1b\\', '\x1bP', '\x9b31m', '\r', '\b', '\t', '\0', ';', 'm', '9'.repeat(400),
  '<img src=x onerror=x>', '"', '&lt;', '\u202e', '\ud800', '😀', 'é'
];
const LINES = fc.array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary', maxLength: 4 })), { maxLength: 30 })
  .map(pieces => pieces.join('').replaceAll('\n', ''));
const STYLES = /^(fg|bg|bold|dim|italic|underline|inverse|strike)$/;

function isSound({ style }: Span): boolean {
  return Object.entries(style).every(([key, value]) =>
    STYLES.test(key) && (value === true || (typeof value === 'number' ? value >= 0 && value < 16 : /^rgb\(\d{1,3}, ?\d{1,3}, ?\d{1,3}\)$/.test(value))));
}

test('any line is text in styles that we know, without anything that steers a terminal', () => {
  fc.assert(fc.property(LINES, LINES, (first, second) => {
    const { spans, end } = parseLine(first);
    const all = [...spans, ...parseLine(second, end).spans, { text: '', style: end }];
    expect(all.every(isSound)).toBe(true);
    expect(all.map(span => span.text).join('')).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
    expect(plainText(first)).toBe(spans.map(span => span.text).join(''));
  }), { numRuns: 1000 });
}, 60_000);

test('a line without control characters is shown as it is', () => {
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }), text => {
    fc.pre(!/[\x00-\x1f\x7f-\x9f]/.test(text));
    expect(parseLine(text).spans).toEqual(text === '' ? [] : [{ text, style: PLAIN }]);
  }), { numRuns: 300 });
}, 60_000);

test('whatever a notebook holds where a run should be, it is a run or it is none', () => {
  const some = fc.anything({ maxDepth: 1 });
  const tasks = fc.array(fc.record({ task: some, state: some, reason: some }, { requiredKeys: [] }), { maxLength: 3 });
  const likely = fc.record({ version: fc.constantFrom(1, 2, '1'), workflow: some, state: some, tasks, edges: some });
  fc.assert(fc.property(fc.oneof(some, likely), data => {
    expect(typeof isSavedRun(data)).toBe('boolean');
    expect(typeof isRunId(data)).toBe('boolean');
  }), { numRuns: 300 });
}, 60_000);
