"""Python's collector of garbage, so that it never holds up a server for long.

A full collection looks at everything in memory that can hold something else: 220,000 objects in a Jupyter server that
has just started. Meanwhile, for 0.1 to 0.4 s, no thread does anything else. What is there is therefore *set aside*
(`gc.freeze`): it is freed as before as soon as nobody holds it, and is only not looked through. A full collection looks
at what came since; when there is so much of that that it takes long, it is set aside as well.

What is set aside and then held by nothing but itself, as connections are that were open just then, stays until all is
looked through. That is when the process has nothing to do, or, however busy it is, when much was set aside.

A Python that collects in small steps by itself (3.14) is left alone.
"""

from __future__ import annotations

import gc
import time
from typing import Any

LONG = 0.008
"""Seconds of work that a full collection may be without being the last one to look at what it saw."""

OFTEN = 300.0
"""Seconds between two looks through all in a process that is never idle."""

MUCH = 1.25
"""Growth of what is set aside that makes it look, as with Python's own rule for full collections."""

_FULL_AFTER = 2  # collections of the middle generation, each of some 8,000 new objects
_IDLE = 0.02  # of a core
_QUIET = 10  # calls of `rest` in a row that saw an idle process: half a minute of the server


class Garbage:
    """:meth:`start`, then :meth:`rest` every few seconds, and :meth:`stop`. Of the whole process: have one."""

    def __init__(self) -> None:
        self._usual: tuple[int, int, int] | None = None
        self._began = 0.0
        self._more = False  # was something set aside since all was looked through?
        self._looked = (time.monotonic(), 0)  # when, and how much was set aside then
        self._quiet = 0
        self._seen = (time.monotonic(), time.process_time())

    def start(self) -> None:
        """Set aside what there is; again when there is more that stays."""
        young, middle, old = gc.get_threshold()
        if not (young and old):  # it collects nothing, or by itself in small steps
            return
        self._set_aside()
        if self._usual is None:
            self._usual = (young, middle, old)
            gc.set_threshold(young, middle, _FULL_AFTER)
            gc.callbacks.append(self._heed)

    def stop(self) -> None:
        """As it was before."""
        if self._usual is not None:
            gc.callbacks.remove(self._heed)
            gc.set_threshold(*self._usual)
            gc.unfreeze()
        self._usual = None

    def rest(self) -> None:
        """Look through all of it if that is due, and the process did nothing for some calls."""
        now, used = time.monotonic(), time.process_time()
        (before, used_before), self._seen = self._seen, (now, used)
        self._quiet = self._quiet + 1 if used - used_before < _IDLE * (now - before) else 0
        if self._more and (self._quiet >= _QUIET or self._is_much(now)):
            gc.unfreeze()
            gc.collect()
            self._set_aside()
            self._quiet = 0
            self._seen = (time.monotonic(), time.process_time())

    def _is_much(self, now: float) -> bool:
        then, count = self._looked
        if now - then < OFTEN:
            return False
        self._looked = (now, count)  # counting takes milliseconds, too
        return gc.get_freeze_count() > MUCH * count

    def _set_aside(self) -> None:
        gc.freeze()
        self._more = False
        self._looked = (time.monotonic(), gc.get_freeze_count())

    def _heed(self, phase: str, info: dict[str, Any]) -> None:
        """Called by the collector, which has done its work at ``stop``."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began = time.thread_time()  # that a processor was waited for does not make it long
        elif time.thread_time() - self._began > LONG:
            gc.freeze()
            self._more = True
