"""How long the event loop was busy at a time: until then nobody else's request was looked at.

The time between two looks of the loop at its sockets is measured, by the selector that it asks. So every turn counts,
not a sample of them, and an idle loop costs nothing, where a timer would wake it up again and again. What other
extensions do in that loop counts as well: it is what users wait for. A loop without such a selector (uvloop) is not
measured.

Beside it, the processor time of the turn: the rest of it the loop waited, for a processor that other programs had, or
for threads of its own process.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

LONG = 0.1  # seconds that people begin to notice
REMEMBERED = 60.0  # seconds


class LoopLag:
    """Watches the loop that it is made in until :meth:`stop`. ``observe`` hears how long each turn took and how much
    work it was, in seconds of the clock and of the processor."""

    def __init__(self, observe: Callable[[float, float], None]) -> None:
        self._observe = observe
        self._long: deque[tuple[float, float]] = deque(maxlen=100)
        self._selector: Any = getattr(asyncio.get_running_loop(), "_selector", None)
        if self._selector is not None:
            self._select = self._selector.select
            self._selector.select = self._watched
            self._woke, self._worked = time.monotonic(), time.thread_time()

    def _watched(self, timeout: float | None = None) -> Any:
        began = time.monotonic()
        took = began - self._woke
        self._observe(took, time.thread_time() - self._worked)
        if took > LONG:
            self._long.append((began, took))
        try:
            return self._select(timeout)
        finally:
            self._woke, self._worked = time.monotonic(), time.thread_time()

    def worst(self) -> float:
        """The longest turn of the last minute, in seconds; 0 if none was over a tenth of a second."""
        since = time.monotonic() - REMEMBERED
        return max((took for at, took in self._long if at > since), default=0.0)

    def stop(self) -> None:
        """Leave the loop as it was, unless somebody has put something on top meanwhile."""
        if self._selector is not None and self._selector.select == self._watched:
            self._selector.select = self._select
        self._selector = None
