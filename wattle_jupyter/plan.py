"""Who waits for whom: the order, the edges and the layers of a workflow, by its mode.

Linear in tasks and edges, and true readiness: a task waits for its own upstream tasks, never for a level.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast

from wattle_jupyter.model import Task, Workflow
from wattle_jupyter.wire import Edge

_MOST_CYCLES = 5


class Plan:
    """Immutable once made. Raises ValueError for a cycle, which :func:`wattle_jupyter.spec.load` has refused already.

    ``order``: all tasks, upstream first, else as defined. ``upstream`` and ``downstream``: what a task waits for and
    what waits for it. ``edges``: the same, for drawing, by destination in order of definition.
    """

    def __init__(self, workflow: Workflow) -> None:
        tasks = workflow.tasks
        needs = {name: () if workflow.mode == "parallel" else task.upstream for name, task in tasks.items()}
        self.order: list[str] = topological(needs)
        if len(self.order) < len(tasks):
            raise ValueError("cycle: " + arrows(cycles(needs)[0]))
        if workflow.mode == "sequential":
            needs = _chain(self.order, tasks)
        self.upstream: Mapping[str, tuple[str, ...]] = needs
        self.downstream: Mapping[str, tuple[str, ...]] = _turned(needs)
        self._tasks = tasks

    @property
    def edges(self) -> list[Edge]:
        """Made anew each time: the plan of a big run stays in memory, and is asked for them now and then."""
        return [
            cast("Edge", vars(_EdgeFields(src, name, _kind(task, src))))
            for name, task in self._tasks.items()
            for src in self.upstream[name]
        ]

    def layers(self) -> list[list[str]]:
        """Tasks by the length of the longest path that leads to them; in a layer, as defined."""
        depth: dict[str, int] = {}
        for name in self.order:
            depth[name] = max((depth[up] + 1 for up in self.upstream[name]), default=0)
        layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
        for name in self.upstream:
            layers[depth[name]].append(name)
        return layers

    def descendants(self, *names: str) -> list[str]:
        """All tasks that wait for one of ``names``, directly or not, in order of discovery. A name is among them if it
        waits for another one."""
        seen: dict[str, None] = {}
        queue = list(names)
        for current in queue:
            fresh = [down for down in self.downstream[current] if down not in seen]
            seen.update(dict.fromkeys(fresh))
            queue.extend(fresh)
        return list(seen)


class _EdgeFields:
    """Instances share the names of their attributes: half as large as other mappings."""

    def __init__(self, src: str, dst: str, kind: Literal["data", "order"]) -> None:
        self.src, self.dst, self.kind = src, dst, kind


def topological(upstream: Mapping[str, Sequence[str]]) -> list[str]:
    """Upstream first, else in the mapping's order. What is on a cycle or behind one is left out."""
    rank = {name: i for i, name in enumerate(upstream)}
    names = list(upstream)
    waiting = {name: len(ups) for name, ups in upstream.items()}
    downstream = _turned(upstream)
    ready = [rank[name] for name, count in waiting.items() if not count]
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for down in downstream[name]:
            waiting[down] -= 1
            if not waiting[down]:
                heapq.heappush(ready, rank[down])
    return order


def cycles(upstream: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """One cycle of each knot of tasks that wait for each other: in the direction of flow, first task at both ends, in
    the mapping's order. At most five."""
    sound = set(topological(upstream))
    if len(sound) == len(upstream):
        return []
    import networkx as nx  # noqa: PLC0415 - 0.2 s, and only a broken workflow needs it

    rank = {name: i for i, name in enumerate(upstream)}
    graph = nx.DiGraph((up, name) for name, ups in upstream.items() if name not in sound for up in ups)
    knots = [sorted(knot, key=rank.__getitem__) for knot in nx.strongly_connected_components(graph)]
    loops = [k for k in knots if len(k) > 1 or graph.has_edge(k[0], k[0])]
    chosen = sorted(loops, key=lambda knot: rank[knot[0]])[:_MOST_CYCLES]
    return [_from_first([src for src, _ in nx.find_cycle(graph.subgraph(k), k[0])], rank) for k in chosen]


def _from_first(loop: list[str], rank: Mapping[str, int]) -> list[str]:
    first = min(range(len(loop)), key=lambda i: rank[loop[i]])
    return [*loop[first:], *loop[:first], loop[first]]


def arrows(names: Iterable[str]) -> str:
    return " → ".join(names)


def _turned(upstream: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    downstream: dict[str, list[str]] = {name: [] for name in upstream}
    for name, ups in upstream.items():
        for up in ups:
            downstream[up].append(name)
    return {name: tuple(downs) for name, downs in downstream.items()}


def _chain(order: Sequence[str], tasks: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    before = dict(zip(order[1:], order, strict=False))
    return {
        name: tuple(dict.fromkeys((*((before[name],) if name in before else ()), *task.data_needs)))
        for name, task in tasks.items()
    }


def _kind(task: Task, src: str) -> Literal["data", "order"]:
    return "data" if src in task.data_needs else "order"
