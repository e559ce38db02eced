import { stateWord } from '../core/states';
import type { WorkflowSummary } from '../core/wire';
import { trans } from '../core/words';
import { Icon } from './Icon';
import { StateIcon } from './StateIcon';

interface Props {
  workflows: WorkflowSummary[];
  start: (workflow: string) => void;
  open: (run: string) => void;
}

/** What can be run: each with the state of its latest run. */
export function WorkflowRows({ workflows, start, open }: Props) {
  return (
    <ul class="jp-wattle-workflows" aria-label={trans.__('Workflows')} tabindex={0}>
      {workflows.map(one => (
        <Row key={one.name} workflow={one} start={start} open={open} />
      ))}
    </ul>
  );
}

function Row({ workflow, start, open }: { workflow: WorkflowSummary } & Omit<Props, 'workflows'>) {
  const { name, status, description, latest_run: latest, total, version } = workflow;
  const word = latest === null ? trans.__('never run') : stateWord(status);
  const more = [trans._n('%1 task', '%1 tasks', total), word, ...(version > 1 ? [trans.__('version %1', version)] : [])].join(' · ');
  return (
    <li class={`jp-wattle-workflowrow jp-mod-${status}`} title={[name, description].filter(Boolean).join('\n')}>
      <button type="button" class="jp-wattle-workflowrow-open" disabled={latest === null} title={latest === null ? trans.__('It has not run yet') : trans.__('Open its latest run')} onClick={() => latest !== null && open(latest)}>
        <StateIcon state={latest === null ? 'created' : status} />
        <span class="jp-wattle-runrow-name">{name}</span>
        <span class="jp-wattle-runrow-detail">{more}</span>
      </button>
      <button type="button" class="jp-wattle-button jp-mod-start" aria-label={trans.__('Run %1', name)} title={trans.__('Run it with its default params')} onClick={() => start(name)}>
        <Icon name="start" />
      </button>
    </li>
  );
}
