import { bytes, count } from '../core/format';
import type { ClockMode } from '../core/logclock';
import type { LogReader } from '../core/logreader';
import { trans } from '../core/words';
import { Icon, type IconName } from './Icon';

export interface LogActions {
  find: () => void;
  error: (back: boolean) => void;
  follow: () => void;
  wrap: () => void;
  times: () => void;
  copy: () => void;
  keys: () => void;
}

interface Props {
  reader: LogReader;
  follow: boolean;
  wrap: boolean;
  clock: ClockMode;
  finding: boolean;
  /** How many lines are picked. */
  picked: number;
  keysShown: boolean;
  /** What happened last, for a moment. */
  said: string | null;
  url: string | null;
  act: LogActions;
}

/** What a log is, and what can be done with it. */
export function LogBar({ reader, follow, wrap, clock, finding, picked, keysShown, said, url, act }: Props) {
  return (
    <div class="jp-wattle-log-bar">
      <span class="jp-wattle-quiet" role="status" title={summary(reader)}>{said ?? summary(reader)}</span>
      <Tool icon="search" text={trans.__('Find')} hint={trans.__('Find in the whole log (/)')} on={finding} run={act.find} />
      <Tool icon="alert" text={trans.__('Next error')} hint={trans.__('Go to the next line that looks like an error (e, back: E)')} run={back => act.error(back)} />
      <Tool icon="follow" text={trans.__('Follow')} hint={trans.__('Stay at the end of the log (f)')} on={follow} run={act.follow} />
      <Tool icon="wrap" text={trans.__('Wrap')} hint={trans.__('Break long lines (w)')} on={wrap} run={act.wrap} />
      <Tool icon="clock" text={clock === 'since' ? trans.__('Since start') : trans.__('Times')} hint={trans.__('When lines were written: time of day, since the start, off (t)')} on={clock !== 'off'} run={act.times} />
      <Tool icon="copy" text={picked > 0 ? trans._n('Copy %2 line', 'Copy %2 lines', picked, count(picked)) : trans.__('Copy')} hint={trans.__('Copy the picked lines or the whole log, without colours (c)')} run={act.copy} />
      {url !== null && (
        <a class="jp-wattle-button jp-wattle-tool" href={url} download title={trans.__('Download the whole log (d)')} aria-label={trans.__('Download')}>
          <Icon name="download" />
          <span class="jp-wattle-tool-text">{trans.__('Download')}</span>
        </a>
      )}
      <Tool icon="keys" text={trans.__('Keys')} hint={trans.__('Show what the keys do (?)')} on={keysShown} run={act.keys} />
    </div>
  );
}

function Tool(props: { icon: IconName; text: string; hint: string; on?: boolean; run: (back: boolean) => void }) {
  const { icon, text, hint, on, run } = props;
  return (
    <button type="button" class={`jp-wattle-button jp-wattle-tool${on === undefined ? '' : ' jp-mod-toggle'}`} aria-pressed={on} aria-label={text} title={hint} onClick={event => run(event.shiftKey)}>
      <Icon name={icon} />
      <span class="jp-wattle-tool-text">{text}</span>
    </button>
  );
}

function summary({ window, opened, ended, loading }: LogReader): string {
  if (!opened) return loading ? trans.__('Reading…') : '';
  const size = ended ? bytes(window.size) : trans.__('%1 so far', bytes(window.size));
  const lines = window.whole ? window.length : window.total;
  if (lines === null) return trans.__('%1, counting lines…', size);
  return trans._n('%2 line, %3', '%2 lines, %3', lines, count(lines), size);
}
