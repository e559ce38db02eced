"""What the executor is given before a slot is free, so that tasks that end at once need not wait for the way there and
back: it starts them by itself, in this order."""

from __future__ import annotations

import math
from collections.abc import Iterator

BRIEF = 0.02
"""Seconds. What is ahead cannot be overtaken, so nothing is put there unless tasks take less than this, lately."""

_WEIGHT = 0.2  # of the newest in the mean


class Ahead:
    """Attempts that were given to the executor and wait there for a slot, the oldest first. At most ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._mean = math.inf  # seconds that tasks take, lately
        self._waiting: dict[str, None] = {}

    @property
    def room(self) -> int:
        """How many may be there in all, just now."""
        return self._most if self._mean < BRIEF else 0

    def note(self, seconds: float) -> None:
        """A task ran this long."""
        self._mean = seconds if math.isinf(self._mean) else (1 - _WEIGHT) * self._mean + _WEIGHT * seconds

    def add(self, attempt: str) -> None:
        self._waiting[attempt] = None

    def discard(self, attempt: str) -> None:
        self._waiting.pop(attempt, None)

    def __contains__(self, attempt: object) -> bool:
        return attempt in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)
