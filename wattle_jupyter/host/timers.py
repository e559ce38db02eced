"""One point in time per key: what is to be done, and for which attempt."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

Key = tuple[str, str]


class Timers:
    """Setting a key again moves it; times are monotonic seconds."""

    def __init__(self) -> None:
        self._at: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0

    def set(self, key: Key, at: float) -> None:
        self._at[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))

    def cancel(self, key: Key) -> None:
        self._at.pop(key, None)

    def next_at(self) -> float | None:
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Key]:
        """Keys whose time has come; each is forgotten before it is given."""
        while (at := self.next_at()) is not None and at <= now:
            key = heapq.heappop(self._heap)[2]
            del self._at[key]
            yield key
