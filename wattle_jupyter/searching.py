"""Searches in logs, each by a process of its own (:mod:`wattle_jupyter.host.search`).

Such a process takes some 40 ms to start, as long as it then needs for hundreds of megabytes. Who searches mostly
searches again, at the next key that is typed. So after a search one process is made ready for the next, and waits for
it for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattle_jupyter.errors import Conflict, TooManyRuns
from wattle_jupyter.host import search

PATIENCE = 30.0
"""Seconds after which a search is given up."""

SIDE_BY_SIDE = 4
"""Searches that may go on at once."""

READY = 30.0
"""Seconds that a process waits for the next search."""

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from wattle_jupyter.host.search import main; main()"

_ROOT = str(Path(search.__file__).parents[2])
_PAUSE = 0.02  # seconds: the answer goes out first


class Searching:
    """``await find(…)``, as often as one likes, and ``await close()``. Of one event loop."""

    def __init__(self) -> None:
        self._going_on = 0
        self._ready: Process | None = None
        self._task: asyncio.Task[None] | None = None  # makes one ready, and lets it go
        self._closed = False

    async def find(self, path: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What :func:`wattle_jupyter.host.search.find` finds. Raises Conflict if it took too long or the log cannot be
        searched, TooManyRuns if others search already."""
        if self._going_on >= SIDE_BY_SIDE:
            raise TooManyRuns(f"{SIDE_BY_SIDE} searches are going on; try again in a moment")
        self._going_on += 1  # before anything is waited for, else more would find room
        try:
            code, out, err = await self._answer(json.dumps({**asked, "path": str(path)}).encode())
        except TimeoutError:
            raise Conflict(f"the search took longer than {PATIENCE:g} s; make the pattern simpler") from None
        finally:
            self._going_on -= 1
        if code:
            reason = err.decode(errors="replace").strip().rpartition("\n")[2]
            raise Conflict(f"the log could not be searched: {reason or 'the search was ended'}")
        self._keep_one_ready()
        found: dict[str, Any] = json.loads(out)
        return found

    async def close(self) -> None:
        """End the process that is ready. Searches that go on end by themselves."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _answer(self, given: bytes) -> tuple[int | None, bytes, bytes]:
        """Exit code and what it wrote. Raises TimeoutError; the process is gone in any case."""
        process = self._taken() or await _started()
        try:
            out, err = await asyncio.wait_for(process.communicate(given), PATIENCE)
        finally:
            await _end(process)
        return process.returncode, out, err

    def _taken(self) -> Process | None:
        """The one that is ready, if it still lives."""
        process, self._ready = self._ready, None
        if process is None or self._task is None:
            return None
        self._task.cancel()  # it has none to let go any more
        return process if process.returncode is None else None

    def _keep_one_ready(self) -> None:
        if not self._closed and (self._task is None or self._task.done()):
            # in a context of its own: that of the request has the request
            self._task = asyncio.create_task(self._be_ready(), context=contextvars.Context())

    async def _be_ready(self) -> None:
        await asyncio.sleep(_PAUSE)
        try:
            mine = self._ready = await _started()
        except OSError:  # the next search will say so
            return
        try:
            await asyncio.sleep(READY)
        finally:
            if self._ready is mine:
                self._ready = None
                await _end(mine)


async def _started() -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", PROGRAM, _ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )


async def _end(process: Process) -> None:
    """With what it has started to help it, and with its pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    await process.communicate()
