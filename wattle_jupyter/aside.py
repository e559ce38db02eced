"""Work that takes longer than others should wait: in a thread so that the event loop feels little of it, or in slices.

Python lets one thread work at a time and changes over every 5 ms. The loop gives its turn up with each look at a
socket, hence would wait for 5 ms several times over for one request. While something is done aside, threads change
over ten times as often.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

SOON = 0.0005
"""Seconds until another thread gets its turn while something is done aside."""


SLICE = 0.003
"""Seconds of the event loop that are taken at a time. Whoever waits may wait for several of those who take one."""


class Turn:
    """``await turn.over()`` between two steps of work: others of the loop have their turn when a slice is over."""

    def __init__(self) -> None:
        self._until = time.monotonic() + SLICE

    async def over(self) -> None:
        if time.monotonic() > self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + SLICE


class Turns:
    """``with turns:`` threads change over soon; when the last of those within is out, as before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._usual = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(SOON, self._usual))
            self._within += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                sys.setswitchinterval(self._usual)


turns = Turns()


class Aside:
    """So many threads. ``await aside(work, …)`` is what ``work(…)`` returns or raises."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="wattle-aside")

    async def __call__(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _politely, work, *args)

    def close(self) -> None:
        """End the threads once they have nothing more to do."""
        self._threads.shutdown(wait=False)


def _politely(work: Callable[..., T], *args: object) -> T:
    with turns:
        return work(*args)


aside = Aside(2)
"""For requests. What must not wait for theirs has threads of its own."""
