import type { Way } from '../core/loghits';

/** What the keys of a log do. */
export interface LogKeyActions {
  find: () => void;
  hit: (way: Way) => void;
  error: (back: boolean) => void;
  top: () => void;
  end: () => void;
  line: () => void;
  follow: () => void;
  wrap: () => void;
  times: () => void;
  numbers: () => void;
  copy: () => void;
  link: () => void;
  download: () => void;
  keys: () => void;
  /** Close what is open; false if nothing is. */
  back: () => boolean;
  page: (pages: number) => void;
}

const KEYS: Record<string, (act: LogKeyActions) => void> = {
  '/': act => act.find(),
  n: act => act.hit('next'),
  N: act => act.hit('previous'),
  e: act => act.error(false),
  E: act => act.error(true),
  g: act => act.top(),
  Home: act => act.top(),
  G: act => act.end(),
  End: act => act.end(),
  ':': act => act.line(),
  f: act => act.follow(),
  w: act => act.wrap(),
  t: act => act.times(),
  l: act => act.numbers(),
  c: act => act.copy(),
  y: act => act.link(),
  d: act => act.download(),
  '?': act => act.keys(),
  ' ': act => act.page(1),
  PageDown: act => act.page(1),
  PageUp: act => act.page(-1)
};

/** A key that was pressed in a log: letters in a field are text, letters with Ctrl are the browser's. */
export function logKey(event: KeyboardEvent, act: LogKeyActions): void {
  const target = event.target as HTMLElement;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || target.matches('input, select, textarea')) return;
  const onButton = target.matches('button, a') && [' ', 'Enter', 'Home', 'End', 'PageUp', 'PageDown'].includes(event.key);
  if (onButton) return;
  if (event.key === 'Escape' ? !act.back() : KEYS[event.key] === undefined) return;
  KEYS[event.key]?.(act);
  event.preventDefault();
  event.stopPropagation();
}
