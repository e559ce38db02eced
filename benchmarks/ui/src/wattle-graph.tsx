/** The graph of the product, layout included: it takes no places from others. Tasks that are alike do not share a box, as elsewhere. */
import { render } from 'preact';
import { useState } from 'preact/hooks';
import type { TaskRunView } from '../../../js/src/core/wire';
import { Graph } from '../../../js/src/ui/Graph';
import '../../../js/src/ui/wattle.css';
import { drive, seen } from './driver';
import type { Graph as Given } from './graphs';

let change: (with_: (tasks: TaskRunView[]) => TaskRunView[]) => void = () => undefined;

const begin = new Date().toISOString();
const task = (name: string): TaskRunView => ({
  ...{ task: name, state: 'queued', reason: '', attempts: 0, attempt: null, queued_at: null, started_at: begin },
  ...{ ended_at: null, not_before: null, exit_code: null, signal: null }
});

function App({ given }: { given: Given }) {
  const [tasks, setTasks] = useState(() => given.names.map(task));
  change = setTasks;
  return (
    <div class="jp-wattle-run">
      <Graph tasks={tasks} edges={given.edges} selected={null} onSelect={() => undefined} label="Tasks" height={700} apart />
    </div>
  );
}

drive({
  async mount(element, given) {
    render(<App given={given} />, element);
    await seen(() => document.querySelector('.jp-wattle-node, .jp-wattle-canvas') !== null);
  },
  update(changes) {
    change(tasks => {
      const next = [...tasks];
      for (const [i, state] of changes) next[i] = { ...(next[i] as TaskRunView), state };
      return next;
    });
  }
});
