import { duration, elapsed } from '../core/format';
import { stateWord } from '../core/states';
import type { TaskRunView } from '../core/wire';
import { trans } from '../core/words';
import { useNow } from './hooks';
import { StateIcon } from './StateIcon';
import { VirtualRows } from './VirtualRows';

const ROW = 26; // px

interface Props {
  tasks: TaskRunView[];
  selected: string | null;
  onSelect: (task: string) => void;
}

/** The tasks as a list: for narrow places, and beside graphs that are too big to read. */
export function TaskList({ tasks, selected, onSelect }: Props) {
  const now = useNow(tasks.some(task => task.state === 'running'));
  const at = tasks.findIndex(task => task.task === selected);
  const key = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -tasks.length, End: tasks.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const to = tasks[Math.max(0, Math.min(tasks.length - 1, at + step))];
    if (to !== undefined) onSelect(to.task);
  };
  return (
    <VirtualRows
      class="jp-wattle-list"
      role="listbox"
      label={trans.__('Tasks')}
      count={tasks.length}
      rowHeight={ROW}
      shown={at}
      onKeyDown={key}
      row={i => {
        const task = tasks[i];
        return task && <Row key={i} task={task} index={i} total={tasks.length} now={now} selected={i === at} onSelect={onSelect} />;
      }}
    />
  );
}

interface RowProps {
  task: TaskRunView;
  index: number;
  total: number;
  now: number;
  selected: boolean;
  onSelect: (task: string) => void;
}

function Row({ task, index, total, now, selected, onSelect }: RowProps) {
  const took = elapsed(task.started_at, task.ended_at, now);
  return (
    <div
      class={`jp-wattle-list-row jp-mod-${task.state}`}
      role="option"
      aria-selected={selected}
      aria-posinset={index + 1}
      aria-setsize={total}
      data-task={task.task}
      title={[task.task, task.reason].filter(Boolean).join('\n')}
      onClick={() => onSelect(task.task)}
    >
      <StateIcon state={task.state} />
      <span class="jp-wattle-list-name">{task.task}</span>
      <span class="jp-wattle-list-word">{stateWord(task.state)}</span>
      <span class="jp-wattle-list-time">{took === null || task.state === 'skipped' ? '' : duration(took)}</span>
    </div>
  );
}
