import type { LogQuestion } from '../src/core/feed';
import type { LogLinesPage, LogSearch, LogTimes } from '../src/core/wire';

const utf8 = new TextEncoder();

/** A log as the server answers questions about it; `docs/http.md` says what they mean. Lines are whole. */
export class FakeLog {
  bytes: Uint8Array = new Uint8Array();
  ended = false;
  /** Lines are counted. */
  counted = true;
  asked: string[] = [];

  constructor(text = '') {
    this.write(text);
  }

  write(text: string): Uint8Array {
    const more = utf8.encode(text);
    const all = new Uint8Array(this.bytes.length + more.length);
    all.set(this.bytes);
    all.set(more, this.bytes.length);
    this.bytes = all;
    return more;
  }

  answer(what: LogQuestion, query: Record<string, string>): unknown {
    this.asked.push(`${what} ${new URLSearchParams(query).toString()}`);
    if (what === 'lines') return this.lines(query);
    return what === 'times' ? this.times(query) : this.search(query);
  }

  private start(offset: number): number {
    return offset === 0 ? 0 : this.bytes.lastIndexOf(0x0a, offset - 1) + 1;
  }

  private feeds(end: number): number {
    let count = 0;
    for (let at = this.bytes.indexOf(0x0a); at >= 0 && at < end; at = this.bytes.indexOf(0x0a, at + 1)) count += 1;
    return count;
  }

  private lines(query: Record<string, string>): LogLinesPage {
    const size = this.bytes.length;
    const limit = Number(query['limit']);
    let at = Number(query['next'] ?? this.start(Math.min(size, Number(query['offset'] ?? 0))));
    let stop = Infinity;
    if (query['before'] !== undefined) {
      stop = query['before'] === 'end' ? size : Number(query['before']);
      at = this.start(Math.max(0, stop - limit));
    } else if (query['line'] !== undefined) {
      at = 0;
      for (let i = 0; i < Number(query['line']); i++) at = this.bytes.indexOf(0x0a, at) + 1;
    }
    const page: LogLinesPage = {
      attempt: '', offset: at, next_offset: at, size, end: this.ended, offsets: [], text: [], cut: [], broken: [],
      line: this.counted ? this.feeds(at) : null, lines: this.counted ? this.feeds(size) : null
    };
    const from = at;
    while (at < Math.min(size, stop) && (stop !== Infinity || at - from < limit)) {
      const feed = this.bytes.indexOf(0x0a, at);
      const end = feed < 0 ? size : feed + 1;
      if (feed < 0) page.broken.push(page.offsets.length);
      page.offsets.push(at);
      page.text.push(new TextDecoder().decode(this.bytes.subarray(at, feed < 0 ? end : feed)));
      page.next_offset = at = end;
    }
    return page;
  }

  private times(query: Record<string, string>): LogTimes {
    // a byte a second
    const points: number[][] = [];
    for (let i = Number(query['offset']) + 1; i <= Math.min(this.bytes.length, Number(query['end']) + 1); i++) points.push([1_767_261_600 + i, i]);
    return { attempt: '', started_at: '2026-01-01T10:00:00.000Z', points };
  }

  private search(query: Record<string, string>): LogSearch {
    const wanted = new RegExp(query['errors'] ? 'Error' : query['regex'] ? (query['pattern'] ?? '') : (query['pattern'] ?? '').replace(/[^\w ]/g, '\\$&'), query['case'] ? 'g' : 'gi');
    const all: LogSearch = { attempt: '', size: this.bytes.length, count: 0, lines: [], spans: [] };
    const hits: [number, number[][]][] = [];
    const page = this.lines({ offset: '0', limit: '1e9' });
    page.text.forEach((text, i) => {
      const offset = page.offsets[i] ?? 0;
      if (offset < Number(query['from'] ?? 0) || offset >= Number(query['to'] ?? Infinity)) return;
      const spans = [...text.matchAll(wanted)].map(found => [found.index, found.index + found[0].length]);
      if (spans.length > 0) hits.push([offset, spans]);
    });
    const limit = Number(query['limit']);
    const chosen = query['last'] ? hits.slice(-limit) : hits.slice(0, limit);
    return { ...all, count: query['near'] ? chosen.length : hits.length, lines: chosen.map(([line]) => line), spans: chosen.map(([, spans]) => spans) };
  }
}
