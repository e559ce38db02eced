"""Where the boxes of a drawing stand: layers from left to right, few crossings, short edges. Deterministic.

Edges over several layers get a dummy point in each layer between, so that they go round boxes instead of through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 8
_SETTLES = 40
Node = tuple[str, int]  # a task (its name, -1), or the point of an edge in a layer ("edge number", layer)


@dataclass(frozen=True, slots=True)
class Layout:
    """``rows``: height of the middle of each task, in rows, the topmost at 0. ``paths``: for each edge, the heights of
    its points in the layers between its ends."""

    layers: Sequence[Sequence[str]]
    rows: Mapping[str, float]
    paths: Sequence[Sequence[float]]
    height: float


def place(layers: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place the tasks of ``layers``; every edge leads from a layer to a later one."""
    columns, chains = _with_points(layers, edges)
    ups, downs = _links(columns, chains)
    columns = _ordered(columns, ups, downs)
    heights = _heights(columns, ups, downs)
    names = [[name for name, point in column if point < 0] for column in columns]
    top = min(heights.values(), default=0.0)
    rows = {name: y - top for (name, point), y in heights.items() if point < 0}
    paths = [[heights[node] - top for node in chain[1:-1]] for chain in chains]
    return Layout(names, rows, paths, max(heights.values(), default=0.0) - top)


def _with_points(
    layers: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]]
) -> tuple[list[list[Node]], list[list[Node]]]:
    depth = {name: i for i, layer in enumerate(layers) for name in layer}
    columns: list[list[Node]] = [[(name, -1) for name in layer] for layer in layers]
    chains: list[list[Node]] = []
    for number, (src, dst) in enumerate(edges):
        points = [(str(number), i) for i in range(depth[src] + 1, depth[dst])]
        for point in points:
            columns[point[1]].append(point)
        chains.append([(src, -1), *points, (dst, -1)])
    return columns, chains


def _links(
    columns: Sequence[Sequence[Node]], chains: Sequence[Sequence[Node]]
) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    ups: dict[Node, list[Node]] = {node: [] for column in columns for node in column}
    downs: dict[Node, list[Node]] = {node: [] for column in columns for node in column}
    for chain in chains:
        for left, right in pairwise(chain):
            ups[right].append(left)
            downs[left].append(right)
    return ups, downs


def _ordered(
    columns: list[list[Node]], ups: Mapping[Node, list[Node]], downs: Mapping[Node, list[Node]]
) -> list[list[Node]]:
    """Barycentre sweeps to and fro; the order with the fewest crossings seen."""
    best, fewest = columns, _crossings(columns, downs)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        forward = sweep % 2 == 0
        columns = _swept(columns, ups if forward else downs, forward)
        count = _crossings(columns, downs)
        if count < fewest:
            best, fewest = columns, count
    return best


def _swept(columns: list[list[Node]], fixed: Mapping[Node, list[Node]], forward: bool) -> list[list[Node]]:
    made = [list(column) for column in columns]
    for i in range(len(made)) if forward else reversed(range(len(made))):
        at = {node: j for column in made for j, node in enumerate(column)}
        keys = {node: _mean([at[other] for other in fixed[node]], at[node]) for node in made[i]}
        made[i].sort(key=keys.__getitem__)
    return made


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(columns: Sequence[Sequence[Node]], downs: Mapping[Node, list[Node]]) -> int:
    count = 0
    for left, right in pairwise(columns):
        at = {node: j for j, node in enumerate(right)}
        ends = [at[other] for node in left for other in sorted(downs[node], key=at.__getitem__)]
        count += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return count


def _room(node: Node) -> float:
    return 0.5 if node[1] < 0 else 0.28  # half of what the node takes; points are thin


def _heights(
    columns: Sequence[Sequence[Node]], ups: Mapping[Node, list[Node]], downs: Mapping[Node, list[Node]]
) -> dict[Node, float]:
    """Every node towards the middle of its neighbours, without overlap and without changing the order."""
    heights: dict[Node, float] = {}
    for column in columns:
        wishes = [float(i) - (len(column) - 1) / 2 for i in range(len(column))]
        heights.update(zip(column, _apart(column, wishes), strict=True))
    for settle in range(_SETTLES):
        forward = settle % 2 == 0
        for column in columns if forward else reversed(columns):
            near = [(ups if forward else downs)[node] or [*ups[node], *downs[node]] for node in column]
            if settle >= _SETTLES - 2:
                near = [[*ups[node], *downs[node]] for node in column]
            wishes = [
                _mean([heights[n] for n in others], heights[node]) for node, others in zip(column, near, strict=True)
            ]
            heights.update(zip(column, _apart(column, wishes), strict=True))
    for column in columns:  # what has just one edge on each side becomes exactly straight
        only = [ups[node][0] if len(ups[node]) == 1 and len(downs[ups[node][0]]) == 1 else node for node in column]
        heights.update(zip(column, _apart(column, [heights[other] for other in only]), strict=True))
    return heights


def _apart(column: Sequence[Node], wishes: Sequence[float]) -> list[float]:
    """The places nearest to the wishes (least squares) that keep order and room: pools of adjacent violators."""
    offsets, at = [], 0.0
    for i, node in enumerate(column):
        at += (_room(column[i - 1]) if i else 0.0) + (_room(node) if i else 0.0)
        offsets.append(at)
    pools: list[tuple[float, int]] = []  # sum of (wish - offset), how many
    for wish, offset in zip(wishes, offsets, strict=True):
        total, count = wish - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    bases = [total / count for total, count in pools for _ in range(count)]
    return [round(base + offset, 4) for base, offset in zip(bases, offsets, strict=True)]
