"""What the executor is owed: committed starts, stops and acknowledgements, delivered in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Literal

from wattle_jupyter.errors import Unavailable
from wattle_jupyter.executors import AttemptSpec, Executor

PAUSE = 0.5
"""Seconds between tries while the executor cannot be reached."""

_Errand = tuple[Literal["start", "stop", "acknowledge"], AttemptSpec | tuple[str, float] | str]


class Outbox:
    """Delivers in its own task, so that an executor that is slow or away holds up no commit.

    ``tell`` hears why nothing can be delivered just now, and None once it can. An errand leaves the outbox when the
    executor took it; one that raised is delivered again, which every executor's verbs allow.
    """

    def __init__(self, executor: Executor, tell: Callable[[str | None], None]) -> None:
        self._executor = executor
        self._tell = tell
        self._errands: deque[_Errand] = deque()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, start: Sequence[AttemptSpec], stop: Sequence[tuple[str, float]], acknowledge: Sequence[str]) -> None:
        """Call after the commit. ``stop`` holds attempts with their grace in seconds."""
        self._errands.extend(("start", spec) for spec in start)
        self._errands.extend(("stop", pair) for pair in stop)
        self._errands.extend(("acknowledge", attempt) for attempt in acknowledge)
        if self._errands:
            self._filled.set()
            self._empty.clear()

    async def drained(self) -> None:
        """Wait until nothing is owed."""
        await self._empty.wait()

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._errands:
                try:
                    await self._deliver()
                except (Unavailable, OSError) as error:
                    self._tell(f"the executor {self._executor.name} cannot be reached: {error}")
                    await asyncio.sleep(PAUSE)
                else:
                    self._tell(None)
            self._empty.set()

    async def _deliver(self) -> None:
        """The next errands of one kind. Order between kinds matters: a stop must not overtake its start."""
        kind = self._errands[0][0]
        things = [thing for _, thing in takewhile(lambda errand: errand[0] == kind, self._errands)]
        if kind == "start":
            await self._executor.submit([s for s in things if isinstance(s, AttemptSpec)])
        elif kind == "acknowledge":
            await self._executor.acknowledge([str(attempt) for attempt in things])
        else:
            things = things[:1]
            for attempt, grace in (pair for pair in things if isinstance(pair, tuple)):
                await self._executor.signal(attempt, "stop", grace)
        for _ in things:
            self._errands.popleft()
