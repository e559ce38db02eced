"""What waits, in the order in which it will be served: tasks for a slot, tasks for a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import NamedTuple

HEAD_START: Mapping[str, float] = {"high": 0.0, "normal": 300.0, "low": 900.0}
"""Seconds. What is ready is served in the order of the time since when it is ready, plus this. So a higher priority
goes first, and what waited long enough goes before what came later, whatever its priority: nothing starves."""


class Entry(NamedTuple):
    """A run (``task`` is empty) or one of its tasks. The smallest is served first; ``tie`` is the order of arrival."""

    rank: float
    tie: int
    run: str
    task: str = ""


def shifted(entry: Entry, by: float) -> Entry:
    return Entry(entry.rank + by, entry.tie, entry.run, entry.task)


class Queues:
    """Two queues. Entries may be stale: whoever takes one looks whether it still waits."""

    def __init__(self) -> None:
        self._ready: list[Entry] = []
        self._timers: list[Entry] = []
        self._arrivals = 0

    def add_ready(self, run: str, task: str, since: float, priority: str) -> None:
        heapq.heappush(self._ready, self._entry(since + HEAD_START[priority], run, task))

    def add_timer(self, run: str, task: str, at: float) -> None:
        heapq.heappush(self._timers, self._entry(at, run, task))

    def shift(self, by: float) -> None:
        """The clock was set by so many seconds: everything keeps its place, and its time from now."""
        for queue in (self._ready, self._timers):
            queue[:] = [shifted(entry, by) for entry in queue]

    def put_back(self, entry: Entry) -> None:
        """A task that was taken and could not start: it keeps its place."""
        heapq.heappush(self._ready, entry)

    def take_ready(self) -> Entry | None:
        return heapq.heappop(self._ready) if self._ready else None

    def take_due(self, now: float) -> Iterator[Entry]:
        """Tasks whose time has come."""
        while self._timers and self._timers[0].rank <= now:
            yield heapq.heappop(self._timers)

    @property
    def next_timer(self) -> float | None:
        return self._timers[0].rank if self._timers else None

    def _entry(self, rank: float, run: str, task: str) -> Entry:
        self._arrivals += 1
        return Entry(rank, self._arrivals, run, task)
