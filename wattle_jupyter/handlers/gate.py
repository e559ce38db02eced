"""Where requests that come all at once wait for each other, so that what goes on already is not held up by them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from wattle_jupyter.aside import SLICE

AT_ONCE = 5
"""Requests that have waited and get through in one turn of the event loop: each takes it for 0.5 to 1 ms."""


class Gate:
    """``await gate.passed()`` at once if this turn of the event loop has only begun, else in one of the next turns, in
    the order of those who came. Of one loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._watched = False  # is there a turn that somebody passed in
        self._until = 0.0

    async def passed(self) -> None:
        if not self._watched:
            self._begin()
        elif self._waiting or time.monotonic() > self._until:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    def _begin(self) -> None:
        self._watched = True
        self._until = time.monotonic() + SLICE
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Called in the turn after one that somebody passed in."""
        self._watched = False
        if self._waiting:
            for _ in range(min(AT_ONCE, len(self._waiting))):
                turn = self._waiting.popleft()
                if not turn.done():  # else whoever waited went
                    turn.set_result(None)
            self._begin()


def gate_of(settings: dict[str, Any]) -> Gate:
    """The gate of a web application."""
    found: Gate | None = settings.get("wattle_gate")
    if found is None:
        found = settings["wattle_gate"] = Gate()
    return found
