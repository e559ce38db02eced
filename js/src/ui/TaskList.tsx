import { useMemo, useState } from 'preact/hooks';
import { clock, count, plainReason } from '../core/format';
import { progressOf } from '../core/progress';
import type { TaskState } from '../core/reduce';
import { stateWord } from '../core/states';
import { ALL_TASKS, chosen, inStates, type Choice, type Column } from '../core/tasktable';
import type { StateName, TaskRunView } from '../core/wire';
import { trans } from '../core/words';
import { FarBar } from './Far';
import { useNow, useOwnKeys, useWidth } from './hooks';
import { Icon } from './Icon';
import { StateIcon } from './StateIcon';
import { farOf, tookOf } from './taskline';
import { VirtualRows } from './VirtualRows';

const ROW = 26; // px
const FEW = 8; // tasks: with so few nobody needs to choose
const ROOMY = 460; // px: room to say when it started

interface Props {
  tasks: TaskState[];
  selected: string | null;
  onSelect: (task: string, byKey: boolean) => void;
}

/** The tasks as a table: sorted by a column, filtered by state and name. */
export function TaskList({ tasks, selected, onSelect }: Props) {
  const running = tasks.some(task => task.state === 'running');
  const now = useNow(running);
  const [choice, choose] = useState<Choice>(ALL_TASKS);
  const [box, width] = useWidth<HTMLDivElement>();
  useOwnKeys(box);
  const ticking = choice.by === 'duration' && running ? now : 0;
  const rows = useMemo(() => chosen(tasks, choice, ticking || Date.now()), [tasks, choice, ticking]);
  const at = rows.findIndex(task => task.task === selected);
  const key = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -rows.length, End: rows.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const to = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
    if (to !== undefined) onSelect(to.task, true);
  };
  const roomy = width >= ROOMY;
  return (
    <div class={`jp-wattle-list${roomy ? ' jp-mod-roomy' : ''}`} ref={box}>
      {tasks.length > FEW && <Filter tasks={tasks} choice={choice} choose={choose} />}
      <Heads choice={choice} choose={choose} roomy={roomy} />
      {rows.length === 0 ? (
        <p class="jp-wattle-empty" role="status">{tasks.length === 0 ? trans.__('no tasks') : trans.__('No task is like that.')}</p>
      ) : (
        <VirtualRows
          class="jp-wattle-list-rows"
          role="listbox"
          label={trans.__('Tasks')}
          count={rows.length}
          rowHeight={ROW}
          shown={at}
          shownKey={`${selected ?? ''}/${choice.by}/${choice.down}`}
          onKeyDown={key}
          row={i => {
            const task = rows[i];
            return task && <Row key={task.task} task={task} index={i} total={rows.length} now={now} selected={i === at} roomy={roomy} onSelect={onSelect} />;
          }}
        />
      )}
    </div>
  );
}

interface ChoiceProps {
  choice: Choice;
  choose: (choice: Choice) => void;
}

function Filter({ tasks, choice, choose }: ChoiceProps & { tasks: TaskRunView[] }) {
  const kinds = useMemo(() => inStates(tasks), [tasks]);
  const toggle = (state: StateName): void => {
    const states = new Set(choice.states);
    if (!states.delete(state)) states.add(state);
    choose({ ...choice, states });
  };
  // a state that is chosen stays in sight, so that the choice can be taken back
  const shown = [...kinds, ...[...choice.states].filter(state => !kinds.some(([one]) => one === state)).map(state => [state, 0] as [StateName, number])];
  return (
    <div class="jp-wattle-choose">
      <label class="jp-wattle-field">
        <Icon name="search" />
        <input
          type="text"
          value={choice.text}
          spellcheck={false}
          autocomplete="off"
          aria-label={trans.__('Filter tasks by name')}
          placeholder={trans.__('Filter by name')}
          onInput={event => choose({ ...choice, text: event.currentTarget.value })}
          onKeyDown={event => {
            if (event.key !== 'Escape' || choice.text === '') return;
            event.stopPropagation();
            choose({ ...choice, text: '' });
          }}
        />
      </label>
      <span class="jp-wattle-chips" role="group" aria-label={trans.__('Filter by state')}>
        {shown.map(([state, n]) => (
          <button
            key={state}
            type="button"
            class={`jp-wattle-chip jp-mod-${state}`}
            aria-pressed={choice.states.has(state)}
            aria-label={trans.__('%1 %2', count(n), stateWord(state))}
            title={trans.__('Only what is %1', stateWord(state))}
            onClick={() => toggle(state)}
          >
            <StateIcon state={state} />
            {count(n)}
          </button>
        ))}
      </span>
    </div>
  );
}

function Heads({ choice, choose, roomy }: ChoiceProps & { roomy: boolean }) {
  const columns: [Column, string][] = [
    ['task', trans.__('Task')],
    ['state', trans.__('State')],
    ...(roomy ? [['start', trans.__('Started')] as [Column, string]] : []),
    ['duration', trans.__('Duration')]
  ];
  // up, down, as in the workflow; what took long is what one looks for first
  const press = (by: Column): void => {
    const first = by === 'duration';
    if (choice.by !== by) choose({ ...choice, by, down: first });
    else if (choice.down === first) choose({ ...choice, down: !first });
    else choose({ ...choice, by: 'order', down: false });
  };
  return (
    <div class="jp-wattle-heads" role="group" aria-label={trans.__('Sort by')}>
      {columns.map(([by, name]) => {
        const on = choice.by === by;
        return (
          <button key={by} type="button" class={`jp-wattle-headcell jp-mod-${by}`} aria-pressed={on} title={trans.__('Sort by %1', name.toLowerCase())} onClick={() => press(by)}>
            {name}
            <i aria-hidden="true">{on ? (choice.down ? '▾' : '▴') : ''}</i>
          </button>
        );
      })}
    </div>
  );
}

interface RowProps {
  task: TaskState;
  index: number;
  total: number;
  now: number;
  selected: boolean;
  roomy: boolean;
  onSelect: (task: string, byKey: boolean) => void;
}

function Row({ task, index, total, now, selected, roomy, onSelect }: RowProps) {
  const told = progressOf(task);
  return (
    <div
      class={`jp-wattle-list-row jp-mod-${task.state}`}
      role="option"
      aria-selected={selected}
      aria-posinset={index + 1}
      aria-setsize={total}
      data-task={task.task}
      title={[task.task, plainReason(task.reason)].filter(Boolean).join('\n')}
      onClick={() => onSelect(task.task, false)}
    >
      <StateIcon state={task.state} />
      <span class="jp-wattle-list-name">
        {task.task}
        {task.reason !== '' && <span class="jp-wattle-list-reason">{plainReason(task.reason)}</span>}
      </span>
      <span class="jp-wattle-list-word">
        {[stateWord(task.state), farOf(task)].filter(Boolean).join(' ')}
        {told !== null && <FarBar told={told} task={task.task} />}
      </span>
      {roomy && <span class="jp-wattle-list-time jp-mod-start">{clock(task.started_at, now)}</span>}
      <span class="jp-wattle-list-time">{tookOf(task, now)}</span>
    </div>
  );
}
