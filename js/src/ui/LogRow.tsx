import type { Span, Style } from '../core/ansi';
import type { MarkedSpan } from '../core/marks';

interface Props {
  spans: readonly MarkedSpan[];
  line: number;
}

/** One row of a log: text and colours, never markup. */
export function LogRow({ spans, line }: Props) {
  return (
    <div class="jp-wattle-log-line" data-line={line}>
      <Spans spans={spans} />
      {'\n'}
    </div>
  );
}

export function Spans({ spans }: { spans: readonly MarkedSpan[] }) {
  return <>{spans.map((span, i) => (span.mark ? <mark key={i}>{styled(span, i)}</mark> : styled(span, i)))}</>;
}

const styled = ({ text, style }: Span, key: number) =>
  isPlain(style) ? text : <span key={key} class={classes(style)} style={colours(style)}>{text}</span>;

const isPlain = (style: Style): boolean => Object.keys(style).length === 0;

function classes({ bold, dim, italic, underline, strike }: Style): string {
  const names = { bold, dim, italic, underline, strike };
  return Object.entries(names).filter(([, on]) => on).map(([name]) => `jp-mod-${name}`).join(' ');
}

function colours({ fg, bg, inverse }: Style): { color?: string; background?: string } {
  const [front, back] = inverse ? [bg ?? 'paper', fg ?? 'ink'] : [fg, bg];
  return { ...(front === undefined ? {} : { color: css(front) }), ...(back === undefined ? {} : { background: css(back) }) };
}

function css(colour: number | string): string {
  if (colour === 'paper') return 'var(--jp-wattle-paper)';
  if (colour === 'ink') return 'var(--jp-wattle-ink)';
  return typeof colour === 'number' ? `var(--jp-wattle-ansi-${colour})` : colour;
}
