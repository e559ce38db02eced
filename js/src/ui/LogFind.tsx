import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { count } from '../core/format';
import type { LogHits, LogQuery, Way } from '../core/loghits';
import { trans } from '../core/words';
import { Icon } from './Icon';

const TYPED = 180; // ms without a key after which the server is asked

interface Props {
  hits: LogHits;
  query: LogQuery;
  onQuery: (query: LogQuery) => void;
  /** Look for the query as it is now. */
  onFind: () => void;
  onStep: (way: Way) => void;
  onClose: () => void;
}

/** Looks for text or a regular expression in the whole log: Enter goes to the next hit, Shift + Enter back, Escape closes. */
export function LogFind({ hits, query, onQuery, onFind, onStep, onClose }: Props) {
  const field = useRef<HTMLInputElement>(null);
  const asked = useRef<string | null>(null);
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  const find = (): void => {
    asked.current = JSON.stringify(query);
    onFind();
  };
  const { text, regex, matchCase } = query;
  useEffect(() => {
    if (asked.current === null && hits.query !== null) asked.current = JSON.stringify(query); // opened again
    if (asked.current === JSON.stringify(query)) return undefined;
    const timer = setTimeout(find, TYPED);
    return () => clearTimeout(timer);
  }, [text, regex, matchCase]);
  const key = (event: KeyboardEvent): void => {
    if (event.key === 'Enter') asked.current === JSON.stringify(query) ? onStep(event.shiftKey ? 'previous' : 'next') : find();
    else if (event.key === 'Escape') onClose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="jp-wattle-log-find" role="search">
      <div class="jp-wattle-find">
        <Icon name="search" />
        <input
          ref={field}
          type="text"
          value={text}
          spellcheck={false}
          autocomplete="off"
          aria-label={trans.__('Find in the log')}
          placeholder={regex ? trans.__('Regular expression') : trans.__('Find in the log')}
          aria-invalid={hits.problem !== null}
          onInput={event => onQuery({ ...query, text: event.currentTarget.value })}
          onKeyDown={key}
        />
        <Switch on={matchCase} text="Aa" hint={trans.__('Upper and lower case matter')} set={on => onQuery({ ...query, matchCase: on })} />
        <Switch on={regex} text=".*" hint={trans.__('A regular expression')} set={on => onQuery({ ...query, regex: on })} />
      </div>
      <span class={`jp-wattle-quiet${hits.problem === null ? '' : ' jp-mod-problem'}`} role="status">{said(hits, text)}</span>
      <button type="button" class="jp-wattle-button jp-mod-glyph" aria-label={trans.__('Previous hit')} title={trans.__('Previous hit (Shift Enter, N)')} disabled={hits.query === null} onClick={() => onStep('previous')}>
        <Icon name="up" />
      </button>
      <button type="button" class="jp-wattle-button jp-mod-glyph" aria-label={trans.__('Next hit')} title={trans.__('Next hit (Enter, n)')} disabled={hits.query === null} onClick={() => onStep('next')}>
        <Icon name="down" />
      </button>
      <button type="button" class="jp-wattle-button jp-mod-glyph" aria-label={trans.__('Close the search')} title={trans.__('Close (Esc)')} onClick={onClose}>
        <Icon name="clear" />
      </button>
    </div>
  );
}

function said(hits: LogHits, text: string): string {
  if (hits.problem !== null) return hits.problem;
  if (text === '' || hits.query === null) return '';
  if (hits.count === 0 || (hits.count === null && !hits.busy && hits.current === null)) return trans.__('no line');
  if (hits.count === null) return trans.__('searching…');
  const all = trans._n('%2 line', '%2 lines', hits.count, count(hits.count));
  const where = hits.ordinal === null ? all : trans.__('%1 of %2', count(hits.ordinal), all);
  return hits.wrapped ? trans.__('%1, from the other end', where) : where;
}

function Switch(props: { on: boolean; text: string; hint: string; set: (on: boolean) => void }) {
  return (
    <button type="button" class="jp-wattle-button jp-mod-toggle jp-mod-glyph" aria-pressed={props.on} aria-label={props.hint} title={props.hint} onClick={() => props.set(!props.on)}>
      {props.text}
    </button>
  );
}
