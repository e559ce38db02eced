import { useLayoutEffect, useRef } from 'preact/hooks';
import { count } from '../core/format';
import { trans } from '../core/words';
import { Icon } from './Icon';

interface Props {
  /** Null: the field is closed. */
  query: string | null;
  set: (query: string | null) => void;
  hits: number;
  at: number;
  next: (step: number) => void;
}

/** Finds tasks by name: Enter goes to the next, Shift + Enter back, Escape closes. */
export function GraphSearch({ query, set, hits, at, next }: Props) {
  const field = useRef<HTMLInputElement>(null);
  const open = query !== null;
  // before the next key comes: what is typed right after `/` is text
  useLayoutEffect(() => (open ? field.current?.focus() : undefined), [open]);
  if (!open) {
    return (
      <button type="button" class="jp-wattle-button jp-mod-glyph" aria-label={trans.__('Find a task')} title={trans.__('Find a task (/)')} onClick={() => set('')}>
        <Icon name="search" />
      </button>
    );
  }
  const key = (event: KeyboardEvent): void => {
    if (event.key === 'Enter') next(event.shiftKey ? -1 : 1);
    else if (event.key === 'Escape') set(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const said = query.trim() === '' ? '' : hits === 0 ? trans.__('none') : trans.__('%1 of %2', count(at + 1), count(hits));
  return (
    <div class="jp-wattle-find" role="search">
      <Icon name="search" />
      <input
        ref={field}
        type="text"
        value={query}
        spellcheck={false}
        autocomplete="off"
        aria-label={trans.__('Find tasks by name')}
        placeholder={trans.__('Find a task')}
        onInput={event => set(event.currentTarget.value)}
        onKeyDown={key}
      />
      <span class="jp-wattle-quiet" role="status">{said}</span>
      <button type="button" class="jp-wattle-button jp-mod-glyph" aria-label={trans.__('Close the search')} title={trans.__('Close (Esc)')} onClick={() => set(null)}>
        <Icon name="clear" />
      </button>
    </div>
  );
}
