import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { plainText } from '../src/core/ansi';
import { ApiError } from '../src/core/api';
import type { Feed, LogOf, LogQuestion, LogSink } from '../src/core/feed';
import { LogClock } from '../src/core/logclock';
import { LogHits } from '../src/core/loghits';
import { LogLayout } from '../src/core/loglayout';
import { linkQuery, readLink } from '../src/core/loglink';
import { LogReader } from '../src/core/logreader';
import { LogScale } from '../src/core/logscale';
import { LONGEST_LINE, LogWindow } from '../src/core/logwindow';
import { marked, occurrences } from '../src/core/marks';
import { lineUrl, type Page } from '../src/core/page';
import type { LogLinesPage } from '../src/core/wire';
import { FakeLog } from './fakelog';

const utf8 = new TextEncoder();
const OF: LogOf = { run: 'a'.repeat(32), task: 'fit', attempt: 'b'.repeat(32) };
const texts = (window: LogWindow): string[] => window.lines.map(line => plainText(line.text));
const page = (more: Partial<LogLinesPage>): LogLinesPage => ({ attempt: '', offset: 0, next_offset: 0, size: 0, end: false, line: 0, lines: null, offsets: [], text: [], cut: [], broken: [], ...more });

describe('window', () => {
  test('any way to cut the bytes gives the same lines at the same places', () => {
    const whole = utf8.encode('first\nzwei äöü\r\n\n漢字 🎈 end\nlast');
    for (let size = 1; size <= whole.length; size++) {
      const window = new LogWindow();
      for (let i = 0; i < whole.length; i += size) window.write(whole.subarray(i, i + size));
      expect(texts(window)).toEqual(['first', 'zwei äöü', '', '漢字 🎈 end', 'last']);
      expect(window.lines.map(line => line.offset)).toEqual([0, 6, 19, 20, 36]);
      expect([window.next, window.lines.at(-1)?.broken]).toEqual([whole.length, true]);
    }
  });
  test('bytes that are not UTF-8 become replacement characters and keep the places right', () => {
    const window = new LogWindow();
    window.write(new Uint8Array([0x61, 0xff, 0x62, 0x0a, 0xe2, 0x0a, 0x63]));
    expect(texts(window)).toEqual(['a\ufffdb', '\ufffd', 'c']);
    expect(window.lines.map(line => line.offset)).toEqual([0, 4, 6]);
  });
  test('an endless line is cut, however it comes, and the next one is whole', () => {
    const window = new LogWindow();
    const text = 'x'.repeat(3 * LONGEST_LINE + 7);
    for (let i = 0; i < text.length; i += 1000) window.write(utf8.encode(text.slice(i, i + 1000)));
    window.write(utf8.encode('\nnext\n'));
    expect(window.lines.map(line => [line.text.length, line.size, line.cut])).toEqual([[LONGEST_LINE, text.length + 1, true], [4, 5, false]]);
  });
  test('a progress bar that rewrites its line for hours stays one short line', () => {
    const window = new LogWindow();
    for (let i = 0; i < 5_000; i++) window.write(utf8.encode(`\rstep ${i} of 5000`));
    expect(window.length).toBe(1);
    expect(window.lines[0]?.text.length).toBeLessThan(LONGEST_LINE);
    expect(texts(window)).toEqual(['step 4999 of 5000']);
  });
  test('a line that an answer left unfinished goes on with the bytes that follow', () => {
    const window = new LogWindow();
    window.show(page({ offset: 10, next_offset: 16, size: 16, line: 2, lines: 2, offsets: [10, 14], text: ['abc', 'de'], broken: [1] }));
    window.write(utf8.encode('f\nnew\n'));
    expect(window.lines.map(line => [line.offset, line.size, line.text])).toEqual([[10, 4, 'abc'], [14, 4, 'def'], [18, 4, 'new']]);
    expect([window.numberOf(0), window.numberOf(2), window.total]).toEqual([3, 5, 5]);
  });
  test('a colour goes on over the end of the line until it is reset', () => {
    const window = new LogWindow();
    window.write(utf8.encode('\x1b[31mred\nstill\x1b[0m\nplain\n'));
    expect([0, 1, 2].map(i => window.spans(i)[0]?.style)).toEqual([{ fg: 1 }, { fg: 1 }, {}]);
    expect(window.spans(1)[0]?.style).toEqual({ fg: 1 });
  });
  test('it stays small: what is far from the lines in sight is forgotten, and numbers and places stay right', () => {
    const window = new LogWindow(20_000);
    window.line = 0;
    let cut: string | null = null;
    for (let i = 0; i < 2_000; i++) {
      window.write(utf8.encode(`line ${String(i).padStart(4, '0')}\n`));
      cut = window.trim(Math.max(0, window.length - 20), window.length - 1) ?? cut;
    }
    expect(cut).toBe('start');
    expect(window.length).toBeLessThan(400);
    expect([window.lines[0]?.text, window.start]).toEqual([`line ${String((window.numberOf(0) ?? 0) - 1).padStart(4, '0')}`, window.lines[0]?.offset]);
    const next = window.next;
    for (let i = 0; i < 400; i++) window.write(utf8.encode(`line more\n`));
    expect(window.trim(3, 20)).toBe('end');
    expect(window.next).toBeLessThan(next);
    expect(window.size).toBe(next + 4000);
  });
  test('each byte is found in its line', () => {
    const window = new LogWindow();
    window.show(page({ offset: 100, next_offset: 109, size: 200, line: null, offsets: [100, 104, 106], text: ['abc', 'd', 'ef'] }));
    expect([99, 100, 103, 104, 108, 109].map(offset => window.indexOf(offset))).toEqual([-1, 0, 0, 1, 2, -1]);
  });
  test('only what fits on is taken', () => {
    const window = new LogWindow();
    window.show(page({ offset: 10, next_offset: 14, size: 30, line: 1, lines: 4, offsets: [10], text: ['abc'] }));
    expect(window.append(page({ offset: 20, next_offset: 24, size: 30, offsets: [20], text: ['far'] }))).toBe(false);
    expect(window.prepend(page({ offset: 0, next_offset: 5, size: 30, offsets: [0], text: ['far'] }))).toBe(false);
    expect(window.prepend(page({ offset: 6, next_offset: 10, size: 30, line: null, offsets: [6], text: ['out'] }))).toBe(true);
    expect([window.numberOf(0), texts(window)]).toEqual([1, ['out', 'abc']]);
  });
});

describe('scale', () => {
  test('a list that a browser can hold is not scaled', () => {
    const scale = new LogScale(5_000_000);
    expect([scale.height, scale.toScroll(1234), scale.toPixels(1234)]).toEqual([5_000_000, 1234, 1234]);
  });
  test('a longer one is, but exact at both ends, and there and back is the same place', () => {
    const scale = new LogScale(180_000_000);
    expect(scale.height).toBe(8_000_000);
    expect([scale.toScroll(5_000), scale.toScroll(180_000_000 - 5_000)]).toEqual([5_000, 8_000_000 - 5_000]);
    for (const at of [0, 99_999, 100_001, 1e6, 9e7, 1.7e8, 1.8e8]) expect(scale.toPixels(scale.toScroll(at))).toBeCloseTo(at, 3);
    expect(scale.toScroll(90_000_000)).toBeCloseTo(4_000_000);
  });
});

describe('layout', () => {
  const window = new LogWindow();
  window.show(page({ offset: 400, next_offset: 420, size: 1000, line: 40, lines: 100, offsets: [400, 410], text: ['abcdefghi', 'ab'] }));
  test('where lines are counted, rows are known', () => {
    const layout = new LogLayout(window, null);
    expect([layout.rows, layout.before, layout.after, layout.exact]).toEqual([2, 40, 58, true]);
  });
  test('broken lines take more rows, and what is not read is guessed from what is', () => {
    const layout = new LogLayout(window, 4);
    expect([layout.rows, layout.topOf(1), [0, 2, 3, 9].map(row => layout.indexAt(row)), layout.exact]).toEqual([4, 3, [0, 0, 1, 1], false]);
    expect([layout.before, layout.after]).toEqual([80, 116]);
  });
});

describe('marks', () => {
  const plain = (text: string) => [{ text, style: {} }];
  test('text is found where it occurs, with or without its case', () => {
    expect(occurrences('Error: error', 'ERROR', false)).toEqual([[0, 5], [7, 12]]);
    expect(occurrences('Error: error', 'error', true)).toEqual([[7, 12]]);
    expect(occurrences('İ x', 'X', false)).toEqual([[2, 3]]);
  });
  test('spans are cut at the marks and keep their styles', () => {
    const spans = [{ text: 'abc', style: { fg: 1 } }, { text: 'def', style: {} }];
    expect(marked(spans, [[1, 5]])).toEqual([
      { text: 'a', style: { fg: 1 } }, { text: 'bc', style: { fg: 1 }, mark: true }, { text: 'de', style: {}, mark: true }, { text: 'f', style: {} }
    ]);
    expect(marked(plain('abab'), [[0, 2], [2, 4]]).every(span => span.mark)).toBe(true);
    expect(marked(plain('ab'), [])).toEqual(plain('ab'));
  });
});

test('a link leads back to its line, and what is no link to nothing', () => {
  const link = { ...OF, task: 'a b&c', byte: 123_456_789_012 };
  expect(readLink(`?${linkQuery(link)}`)).toEqual(link);
  for (const bad of ['', '?wattle-run=1', `?${linkQuery(link)}`.replace('byte=', 'byte=-'), `?${linkQuery({ ...link, attempt: '../x' })}`]) expect(readLink(bad)).toBeNull();
});

test('a link stays in the front end that it was copied from', () => {
  const at: Page = { base: 'http://hub/user/ada/', api: '', ws: '', token: 'secret' };
  const doc = (href: string) => ({ location: { href } }) as Document;
  expect(lineUrl(at, { ...OF, byte: 7 }, doc('http://hub/user/ada/lab/tree/x.ipynb'))).toMatch(/^http:\/\/hub\/user\/ada\/lab\?wattle-run=a{32}&.*byte=7$/);
  expect(lineUrl(at, { ...OF, byte: 7 }, doc('http://hub/user/ada/notebooks/x.ipynb'))).toMatch(/^http:\/\/hub\/user\/ada\/tree\?wattle/);
  expect(lineUrl(at, { ...OF, byte: 7 })).not.toContain('secret');
});

/** A feed with one log. */
class OneLog {
  sink: LogSink | null = null;
  from = -1;
  signal: AbortSignal | null = null;
  fail: Error | null = null;
  constructor(readonly log: FakeLog) {}
  feed = {
    logAsk: (_: LogOf, what: LogQuestion, query: Record<string, string>) => (this.fail ? Promise.reject(this.fail) : Promise.resolve(this.log.answer(what, query))),
    log: (_: string, offset: number, sink: LogSink, signal: AbortSignal) => {
      [this.from, this.sink, this.signal] = [offset, sink, signal];
    }
  } as unknown as Feed;
  /** The log grows, and who follows hears it. */
  grow(text: string): void {
    const at = this.log.bytes.length;
    const bytes = this.log.write(text);
    if (this.signal?.aborted === false) this.sink?.bytes(at, bytes);
  }
}

const numbered = (count: number): string => Array.from({ length: count }, (_, i) => `line ${String(i).padStart(7, '0')}\n`).join('');
const LINE = 13; // bytes

describe('reader', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
  afterEach(() => void vi.useRealTimers());
  const open = (text: string) => {
    const one = new OneLog(new FakeLog(text));
    const ended = new AbortController();
    const reader = new LogReader(one.feed, OF, () => undefined, ended.signal);
    return { one, reader, ended };
  };

  test('a long log is opened at its end with one question, and goes on live', async () => {
    const { one, reader } = open(numbered(50_000));
    await reader.go({ end: true });
    expect(one.log.asked).toEqual(['lines before=end&limit=131072']);
    expect([reader.atEnd, one.from, reader.window.size, reader.window.total]).toEqual([true, 50_000 * LINE, 50_000 * LINE, 50_000]);
    one.grow('more\n');
    expect([texts(reader.window).at(-1), reader.window.numberOf(reader.window.length - 1)]).toEqual(['more', 50_001]);
  });
  test('any place of it is one question away, and then nothing is streamed', async () => {
    const { one, reader } = open(numbered(50_000));
    await reader.go({ end: true });
    expect(await reader.go({ byte: 25_000 * LINE + 3 })).toBe(25_000 * LINE);
    expect([texts(reader.window)[0], reader.window.numberOf(0)]).toEqual(['line 0025000', 25_001]);
    expect([reader.atEnd, one.signal?.aborted]).toEqual([false, true]);
    expect(await reader.go({ line: 40_000 })).toBe(40_000 * LINE);
    const asked = one.log.asked.length;
    expect(await reader.go({ line: 40_005 })).toBe(40_005 * LINE); // it is here
    expect(one.log.asked).toHaveLength(asked);
  });
  test('it reads on before the lines in sight come to the end of the window, on both sides', async () => {
    const { reader } = open(numbered(60_000));
    await reader.go({ byte: 30_000 * LINE });
    reader.seen(0, 30);
    await vi.advanceTimersByTimeAsync(1);
    expect(texts(reader.window)[0]).toBe('line 0019917');
    reader.seen(reader.window.length - 40, reader.window.length - 10);
    await vi.advanceTimersByTimeAsync(1);
    const all = texts(reader.window);
    expect(all.length).toBeGreaterThan(30_000);
    expect(all).toEqual(Array.from({ length: all.length }, (_, i) => `line ${String(19_917 + i).padStart(7, '0')}`));
  });
  test('reading on to the end it follows again, without a gap', async () => {
    const { one, reader } = open(numbered(12_000));
    await reader.go({ byte: 0 });
    one.grow('late\n');
    reader.seen(reader.window.length - 30, reader.window.length - 1);
    await vi.advanceTimersByTimeAsync(1);
    expect(reader.atEnd).toBe(true);
    one.grow('later\n');
    expect(texts(reader.window).slice(-3)).toEqual(['line 0011999', 'late', 'later']);
  });
  const much = `${'x'.repeat(259)}\n`.repeat(1_000);
  const flood = async (one: OneLog, seconds: number, reader?: LogReader): Promise<void> => {
    for (let i = 0; i < 20 * seconds; i++) {
      reader?.seen(reader.window.length - 30, reader.window.length - 1);
      one.grow(much); // 5 MB a second
      await vi.advanceTimersByTimeAsync(50);
    }
  };
  test('of a flood that is followed the newest lines are looked at a few times a second, and all of them again when it is over', async () => {
    const { one, reader } = open(numbered(100));
    reader.following = true;
    await reader.go({ end: true });
    await flood(one, 2, reader);
    expect([one.signal?.aborted, reader.atEnd, reader.window.length < 2_000]).toEqual([true, true, true]);
    expect(one.log.bytes.length - reader.window.next).toBeLessThan(2_000_000);
    const asked = one.log.asked.length;
    await flood(one, 1, reader);
    expect(one.log.asked.length - asked).toBeLessThan(12);
    await vi.advanceTimersByTimeAsync(1_500);
    expect([one.signal?.aborted, one.from]).toEqual([false, one.log.bytes.length]);
    one.grow('after\n');
    expect([texts(reader.window).at(-1), reader.window.size, reader.window.total]).toEqual(['after', one.log.bytes.length, 60_101]);
  });
  test('whoever scrolls up in a flood stays there, reads on upwards, and nothing is passed over', async () => {
    const { one, reader } = open(numbered(100));
    reader.following = true;
    await reader.go({ end: true });
    await flood(one, 2, reader);
    reader.following = false;
    const [start, size] = [reader.window.start, one.log.bytes.length];
    await flood(one, 1);
    expect([reader.window.start, one.log.bytes.length > size]).toEqual([start, true]);
    reader.seen(0, 30);
    await vi.advanceTimersByTimeAsync(1);
    expect(reader.window.start).toBeLessThan(start);
    const all = texts(reader.window);
    expect(all).toEqual(new TextDecoder().decode(one.log.bytes.subarray(reader.window.start, reader.window.next)).trimEnd().split('\n'));
  });
  test('a log that ends in a flood is read to its end', async () => {
    const { one, reader } = open(numbered(100));
    reader.following = true;
    await reader.go({ end: true });
    await flood(one, 2, reader);
    one.log.write('the end\n');
    one.log.ended = true;
    await vi.advanceTimersByTimeAsync(300);
    expect([reader.ended, texts(reader.window).at(-1)]).toEqual([true, 'the end']);
    const asked = one.log.asked.length;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(one.log.asked).toHaveLength(asked);
  });
  test('a reader who stays above while very much is written keeps the lines, and the log lets go of its end', async () => {
    const { one, reader } = open(numbered(100));
    await reader.go({ end: true });
    for (let i = 0; i < 30; i++) {
      reader.seen(0, 30);
      one.grow(numbered(5_000));
    }
    expect(texts(reader.window).slice(0, 3)).toEqual(['line 0000000', 'line 0000001', 'line 0000002']);
    expect([reader.atEnd, reader.window.length < 80_000]).toEqual([false, true]);
    await vi.advanceTimersByTimeAsync(2_100);
    expect(reader.window.size).toBe(one.log.bytes.length); // the bar knows how long the log has become
    await reader.go({ end: true });
    expect([reader.atEnd, texts(reader.window).at(-1)]).toEqual([true, 'line 0004999']);
  });
  test('numbers of lines come as soon as they are counted', async () => {
    const { one, reader } = open(numbered(20_000));
    one.log.counted = false;
    await reader.go({ end: true });
    expect(reader.window.numberOf(0)).toBeNull();
    one.log.counted = true;
    await vi.advanceTimersByTimeAsync(400);
    expect(reader.window.numberOf(reader.window.length - 1)).toBe(20_000);
  });
  test('a server that is away is asked again until it answers', async () => {
    const { one, reader } = open('there\n');
    one.fail = new Error('no connection');
    const going = reader.go({ end: true });
    await vi.advanceTimersByTimeAsync(600);
    expect([reader.problem, reader.opened]).toEqual(['no connection', false]);
    one.fail = null;
    await vi.advanceTimersByTimeAsync(5_000);
    await going;
    expect([reader.problem, texts(reader.window)]).toEqual([null, ['there']]);
  });
  test('a server that refuses is not asked again', async () => {
    const { one, reader } = open('');
    one.fail = new ApiError(404, 'NotFound', 'no such run');
    expect(await reader.go({ end: true })).toBeNull();
    expect([reader.problem, vi.getTimerCount()]).toEqual(['no such run', 0]);
  });
  test('when it is taken away nothing stays behind', async () => {
    const { one, reader, ended } = open(numbered(20_000));
    await reader.go({ byte: 0 });
    ended.abort();
    expect(vi.getTimerCount()).toBe(0);
    expect(one.signal?.aborted ?? true).toBe(true);
  });
});

describe('hits', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const TEXT = 'alpha\nError one\nbeta\nError two\nerror three\n';
  const look = (text = TEXT) => {
    const one = new OneLog(new FakeLog(text));
    return { one, hits: new LogHits(one.feed, OF, () => undefined, new AbortController().signal) };
  };
  const query = (text: string, more = {}) => ({ text, regex: false, matchCase: false, ...more });
  const settle = () => vi.advanceTimersByTimeAsync(1);

  test('the first hit from here on is gone to, then all are counted', async () => {
    const { hits } = look();
    expect(await hits.search(query('error'), 10)).toBe(21);
    await settle();
    expect([hits.count, hits.ordinal]).toEqual([3, 2]);
  });
  test('next and previous go round, and say so', async () => {
    const { one, hits } = look();
    await hits.search(query('error'), 0);
    await settle();
    const asked = one.log.asked.length;
    expect(await hits.step('next', 7)).toBe(21);
    expect(await hits.step('next', 22)).toBe(31);
    expect([await hits.step('next', 32), hits.wrapped !== null, hits.ordinal]).toEqual([6, true, 1]);
    expect(await hits.step('previous', 6)).toBe(31);
    expect(one.log.asked).toHaveLength(asked); // all known: nobody was asked
  });
  test('case is heeded if that is wanted', async () => {
    const { hits } = look();
    await hits.search(query('Error', { matchCase: true }), 0);
    await settle();
    expect(hits.count).toBe(2);
  });
  test('characters that match a regular expression are told by the server, for lines in sight', async () => {
    const { hits } = look();
    await hits.search(query('err\\w+ t', { regex: true }), 0);
    await settle();
    expect(hits.spans.get(21)).toEqual([[0, 7]]);
    hits.spans.clear();
    hits.see(30, 44);
    await vi.advanceTimersByTimeAsync(200);
    expect([...hits.spans.keys()]).toEqual([31]);
  });
  test('hits that are written meanwhile are counted too, each once', async () => {
    const { one, hits } = look();
    await hits.search(query('error'), 0);
    await settle();
    one.grow('another error\n');
    hits.grow(one.log.bytes.length, false);
    await vi.advanceTimersByTimeAsync(2_000);
    hits.grow(one.log.bytes.length, false);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(hits.count).toBe(4);
    expect(await hits.step('next', 32)).toBe(TEXT.length);
  });
  test('what is not there is counted as none', async () => {
    const { hits } = look();
    expect(await hits.search(query('gamma'), 0)).toBeNull();
    await settle();
    expect([hits.count, hits.busy]).toEqual([0, false]);
  });
  test('why a pattern is refused is said, and forgotten with the next one', async () => {
    const { one, hits } = look();
    one.fail = new ApiError(400, 'InvalidRequest', "'(' is not a regular expression");
    expect(await hits.search(query('(', { regex: true }), 0)).toBeNull();
    expect(hits.problem).toBe("'(' is not a regular expression");
    one.fail = null;
    await hits.search(query('beta'), 0);
    expect(hits.problem).toBeNull();
  });
  test('errors are gone to without a pattern', async () => {
    const { hits } = look();
    expect(await hits.error('previous', 30)).toBe(21);
    expect(hits.query).toBeNull();
  });
});

test('when a line was written is known for what is in sight, as time of day and since the start', async () => {
  const one = new OneLog(new FakeLog('abc\ndef\n'));
  const clock = new LogClock(one.feed, OF, () => undefined, new AbortController().signal);
  expect(clock.text(4, 'since')).toBe('');
  clock.see(0, 8, 8);
  await Promise.resolve();
  await Promise.resolve();
  expect(clock.text(4, 'since')).toBe('+0:00:05.0');
  expect(clock.text(4, 'clock')).toMatch(/^\d\d:\d\d:\d\d\.0$/);
  expect(clock.text(4, 'off')).toBe('');
});
