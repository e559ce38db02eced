import { describe, expect, test } from 'vitest';
import { parseLine, plainText } from '../src/core/ansi';
import { bytes, clock, duration, elapsed } from '../src/core/format';
import { columns, rowsOf, splitSpans } from '../src/core/wrap';
import { trans } from '../src/core/words';

const spans = (line: string) => parseLine(line).spans.map(({ text, style }) => [text, style]);

describe('ansi', () => {
  test('styles begin, combine and end', () => {
    expect(spans('a\x1b[1;31mb\x1b[22mc\x1b[0md')).toEqual([['a', {}], ['b', { bold: true, fg: 1 }], ['c', { fg: 1 }], ['d', {}]]);
  });
  test.each([
    ['\x1b[92mx', { fg: 10 }],
    ['\x1b[103mx', { bg: 11 }],
    ['\x1b[38;5;9mx', { fg: 9 }],
    ['\x1b[38;5;196mx', { fg: 'rgb(255, 0, 0)' }],
    ['\x1b[48;5;244mx', { bg: 'rgb(128, 128, 128)' }],
    ['\x1b[38;2;1;2;3mx', { fg: 'rgb(1, 2, 3)' }],
    ['\x1b[38;2;999;2;3mx', { fg: 'rgb(255, 2, 3)' }],
    ['\x1b[3;4;7;9mx', { italic: true, underline: true, inverse: true, strike: true }],
    ['\x1b[31;39mx', {}],
    ['\x1b[38;7mx', {}]
  ])('%j', (line, style) => expect(spans(line)).toEqual([['x', style]]));

  test('cursor moves, titles, links and bells are dropped', () => {
    expect(plainText('\x1b[2Ka\x1b[10;3Hb\x1b]0;title\x07c\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\x07\x1b(B')).toBe('abclink');
  });
  test('an escape that is cut off does not show', () => expect(plainText('a\x1b[31')).toBe('a'));
  test('a return writes over, and keeps what is longer below', () => expect(plainText('downloading\r 100 %')).toBe(' 100 %ading'));
  test('a return at the end of a line changes nothing', () => expect(plainText('done\r')).toBe('done'));
  test('text that looks like HTML stays text', () => expect(plainText('<img src=x onerror=alert(1)>')).toBe('<img src=x onerror=alert(1)>'));
  test('tabs stay', () => expect(plainText('a\tb')).toBe('a\tb'));
});

describe('wrap', () => {
  test('wide characters take two columns, tabs go to the next stop', () => {
    expect(columns('漢字')).toBe(4);
    expect(columns('a\tb')).toBe(9);
  });
  test('a line is broken at the width and keeps its styles', () => {
    const rows = splitSpans(parseLine('\x1b[31mabcdef\x1b[0mgh').spans, 3);
    expect(rows.map(row => row.map(span => span.text).join(''))).toEqual(['abc', 'def', 'gh']);
    expect(rows[1]?.[0]?.style).toEqual({ fg: 1 });
  });
  test('codes take no room', () => expect(rowsOf('\x1b[31mabc\x1b[0m', 3)).toBe(1));
  test('an empty line takes a row', () => expect(rowsOf('', 3)).toBe(1));
});

describe('format', () => {
  test.each([[0, '< 0.1 s'], [0.099, '< 0.1 s'], [0.1, '0.1 s'], [9.94, '9.9 s'], [9.96, '10 s'], [59.4, '59 s'], [59.6, '1 min 00 s'], [200, '3 min 20 s'], [7500, '2 h 05 min'], [270_000, '3 d 3 h'], [-5, '< 0.1 s']])(
    'a duration of %s s is %s', (seconds, text) => expect(duration(seconds)).toBe(text));
  test.each([[0, '0 B'], [999, '999 B'], [1_200, '1.2 kB'], [999_700, '1.0 MB'], [5_400_000_000, '5.4 GB']])('%s bytes are %s', (n, text) => expect(bytes(n)).toBe(text));
  test('one thing is singular', () => expect([1, 2].map(n => trans._n('%1 task of %2', '%1 tasks of %2', n, 'etl'))).toEqual(['1 task of etl', '2 tasks of etl']));
  test('what runs is measured to now, what ended to its end, what did not start not at all', () => {
    const start = '2026-01-01T00:00:00.000Z';
    expect(elapsed(start, null, Date.parse(start) + 1500)).toBe(1.5);
    expect(elapsed(start, '2026-01-01T00:00:02.000Z', 0)).toBe(2);
    expect(elapsed(null, null, 0)).toBeNull();
    expect(elapsed(start, null, 0)).toBe(0);
  });
  test('a time of another day names the day', () => {
    const time = '2026-01-01T12:00:00.000Z';
    expect(clock(time, Date.parse(time) + 5 * 86_400_000).length).toBeGreaterThan(clock(time, Date.parse(time)).length);
    expect(clock(null, 0)).toBe('');
  });
});
