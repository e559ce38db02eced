import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Placed } from '../core/layout';
import { NODE } from '../core/picture';
import { arrange, placesNow, room } from '../core/places';
import type { Edge, TaskRunView } from '../core/wire';

export interface Places {
  /** Null while the places of a large graph are being worked out. */
  placed: Placed | null;
  /** Of the frame to draw in, known from the beginning. */
  size: { width: number; height: number };
}

/** Where the tasks stand. The same names and edges stand at the same places: states do not move anything. */
export function usePlaces(tasks: TaskRunView[], edges: Edge[]): Places {
  const names = tasks.map(task => task.task).join('\n');
  const shape = useMemo(() => JSON.stringify(edges), [edges]);
  const graph = useMemo(() => ({ names: names === '' ? [] : names.split('\n'), edges }), [names, shape]);
  const now = useMemo(() => placesNow(graph.names, graph.edges, NODE), [graph]);
  const size = useMemo(() => room(graph.names, graph.edges, NODE, now), [graph]);
  const [arranged, setArranged] = useState<{ graph: typeof graph; placed: Placed } | null>(null);
  useEffect(() => {
    if (now !== null) return undefined;
    const ended = new AbortController();
    void arrange(graph.names, graph.edges, NODE, ended.signal).then(placed => {
      if (placed !== null && !ended.signal.aborted) setArranged({ graph, placed });
    });
    return () => ended.abort();
  }, [graph]);
  return { placed: now ?? (arranged?.graph === graph ? arranged.placed : null), size };
}
