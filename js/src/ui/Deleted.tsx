import { trans } from '../core/words';
import { Act, Problem, useActs, type Doing } from './Act';

/** The run that is shown was deleted: nothing more happens to it, but it can be brought back. */
export function Deleted({ doing, readOnly }: { doing: Doing; readOnly: string | null }) {
  const acts = useActs(doing, null);
  return (
    <div class="jp-wattle-note jp-mod-row" role="status">
      <span>{trans.__('This run was deleted on the server.')}</span>
      <Act text={trans.__('Undo')} hint={trans.__('Bring the run back')} off={readOnly} busy={acts.busy} run={() => acts.act({ verb: 'undelete' })} />
      <Problem acts={acts} />
    </div>
  );
}
