import { plainReason } from '../core/format';
import { attemptWord } from '../core/states';
import type { AttemptView } from '../core/wire';
import { trans } from '../core/words';

interface Props {
  history: readonly AttemptView[];
  value: string | null;
  choose: (id: string) => void;
}

/** All attempts of a task with what became of them; the chosen one's log is shown. */
export function LogAttempts({ history, value, choose }: Props) {
  return (
    <select class="jp-wattle-select" aria-label={trans.__('Attempt')} title={trans.__('Whose log is shown')} value={value ?? ''} onChange={event => choose(event.currentTarget.value)}>
      {history.map(one => (
        <option key={one.id} value={one.id}>{told(one)}</option>
      ))}
    </select>
  );
}

function told({ n, state, reason }: AttemptView): string {
  const word = attemptWord(state);
  const why = plainReason(reason);
  return why === '' || why === word ? trans.__('Attempt %1: %2', n, word) : trans.__('Attempt %1: %2, %3', n, word, why);
}
