import { plainText } from '../core/ansi';
import type { Feed, LogOf } from '../core/feed';
import { bytes, count } from '../core/format';
import type { LogReader } from '../core/logreader';
import type { LogLinesPage } from '../core/wire';
import { trans } from '../core/words';

const MOST = 20_000_000; // bytes: a clipboard is not a disk
const PIECE = 1 << 20;

interface Copy {
  text: string | null;
  /** What to tell the reader. */
  said: string;
}

/** The lines that begin from one byte to another, or all of the log; without codes, read from the server if need be. */
export async function linesBetween(feed: Feed, of: LogOf, { window }: LogReader, range: { from: number; to: number } | null): Promise<Copy> {
  const from = range?.from ?? 0;
  const to = range?.to ?? window.size - 1;
  if (to - from > MOST) return { text: null, said: trans.__('%1 are too much to copy: download the log', bytes(to - from)) };
  const lines: string[] = [];
  let whole = true;
  let at = from;
  while (at <= to) {
    const page: LogLinesPage = await feed.logAsk(of, 'lines', { next: String(at), limit: String(PIECE) }, new AbortController().signal);
    if (page.offsets.length === 0) break;
    page.offsets.forEach((offset, i) => {
      if (offset <= to) lines.push(plainText(page.text[i] ?? '') + (page.broken.includes(i) ? '' : '\n'));
    });
    whole &&= page.cut.every(i => (page.offsets[i] ?? 0) > to);
    at = page.next_offset;
  }
  const text = lines.join('');
  const number = text.replace(/\n$/, '').split('\n').length;
  const copied = trans._n('%2 line copied', '%2 lines copied', number, count(number));
  return { text, said: whole ? copied : trans.__('%1; very long ones without their end', copied) };
}

/** Put it on the clipboard. What to tell the reader. */
export async function copyText({ text, said }: Copy): Promise<string> {
  if (text === null) return said;
  try {
    await navigator.clipboard.writeText(text);
    return said;
  } catch {
    return copyByHand(text) ? said : trans.__('The browser does not allow it'); // pages on plain http may not
  }
}

/** The old way, which works everywhere. */
function copyByHand(text: string): boolean {
  const area = document.createElement('textarea');
  const focused = document.activeElement;
  area.value = text;
  area.style.position = 'fixed';
  area.style.opacity = '0';
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  return done;
}
