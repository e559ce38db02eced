"""Where requests that come all at once wait for each other, so that what goes on already is not held up by them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from wattle_jupyter.aside import SLICE

AT_ONCE = 5
"""Requests that have waited and get through in one turn of the event loop: each takes it for 0.5 to 1 ms."""
SENDING = 16
"""Pages that are sent what is new to them in one turn, if they have waited: each takes it for 0.1 to 0.2 ms."""


class Gate:
    """``await gate.passed()`` at once if this turn of the event loop has only begun, else in one of the next turns, in
    the order of those who came, so many ``at_once``. Of one loop."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
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
            for _ in range(min(self._at_once, len(self._waiting))):
                turn = self._waiting.popleft()
                if not turn.done():  # else whoever waited went
                    turn.set_result(None)
            self._begin()


def gate_of(settings: dict[str, Any]) -> Gate:
    """The gate of a web application for requests."""
    return _gate(settings, "wattle_gate", AT_ONCE)


def sending_of(settings: dict[str, Any]) -> Gate:
    """That for what goes out to its pages: when the loop was held up, all of them are due at the same time."""
    return _gate(settings, "wattle_sending", SENDING)


def _gate(settings: dict[str, Any], name: str, at_once: int) -> Gate:
    found: Gate | None = settings.get(name)
    if found is None:
        found = settings[name] = Gate(at_once)
    return found
