import { useEffect, useMemo, useState } from 'preact/hooks';
import { NODE } from '../core/picture';
import { arrangeScene, sceneNow, type Frame, type Scene } from '../core/places';
import type { Edge, TaskRunView } from '../core/wire';

/**
 * The boxes and where they stand; the scene is null while that of a large graph is being worked out. The same names and
 * edges stand at the same places: states do not move anything. `split`: every task in a box of its own.
 */
export function useScene(tasks: TaskRunView[], edges: Edge[], split: boolean): Frame {
  const names = tasks.map(task => task.task).join('\n');
  const shape = useMemo(() => JSON.stringify(edges), [edges]);
  const graph = useMemo(() => ({ names: names === '' ? [] : names.split('\n'), edges, split }), [names, shape, split]);
  const now = useMemo(() => sceneNow(graph.names, graph.edges, NODE, graph.split), [graph]);
  const [arranged, setArranged] = useState<{ graph: typeof graph; scene: Scene } | null>(null);
  useEffect(() => {
    if (now.scene !== null) return undefined;
    const ended = new AbortController();
    void arrangeScene(graph.names, graph.edges, NODE, graph.split, ended.signal).then(scene => {
      if (scene !== null && !ended.signal.aborted) setArranged({ graph, scene });
    });
    return () => ended.abort();
  }, [graph]);
  return { scene: now.scene ?? (arranged?.graph === graph ? arranged.scene : null), room: now.room };
}
