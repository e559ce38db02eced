import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { count } from '../core/format';
import { trans } from '../core/words';

interface Props {
  total: number | null;
  /** Number of a line, from 1. */
  onGo: (line: number) => void;
  onClose: () => void;
}

/** Asks for the number of a line. */
export function LogGoTo({ total, onGo, onClose }: Props) {
  const field = useRef<HTMLInputElement>(null);
  const [bad, setBad] = useState(false);
  useLayoutEffect(() => field.current?.focus(), []);
  const key = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' && event.key !== 'Escape') return;
    event.preventDefault();
    event.stopPropagation();
    const line = Number((event.currentTarget as HTMLInputElement).value.replace(/[\s,.']/g, ''));
    if (event.key === 'Escape') onClose();
    else if (Number.isInteger(line) && line > 0) onGo(line);
    else setBad(true);
  };
  return (
    <div class="jp-wattle-log-find">
      <label class="jp-wattle-find">
        {trans.__('Line')}
        <input ref={field} type="text" inputMode="numeric" aria-invalid={bad} placeholder={total === null ? '1' : trans.__('1 to %1', count(total))} onKeyDown={key} />
      </label>
      {bad && <span class="jp-wattle-quiet jp-mod-problem" role="alert">{trans.__('A number from 1 on, please.')}</span>}
    </div>
  );
}
