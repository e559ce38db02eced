"""Looking for a pattern in the log of a task, by a process of its own (:mod:`wattle_jupyter.host.search`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from wattle_jupyter import history
from wattle_jupyter.errors import Conflict, InvalidRequest, TooManyRuns
from wattle_jupyter.handlers.base import WattleHandler, reads
from wattle_jupyter.handlers.runs import newest_attempt
from wattle_jupyter.host import search
from wattle_jupyter.logs import LogFile

PATIENCE = 30.0
"""Seconds after which a search is given up."""

_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from wattle_jupyter.host.search import main; main()"
_ROOT = str(Path(search.__file__).parents[2])
_SIDE_BY_SIDE = 4
_MOST = 10_000
_LONGEST = 1_000
LARGEST = 1 << 53


class TaskLogSearchHandler(WattleHandler):
    own_pages_only = True
    _looking: asyncio.Task[dict[str, Any]] | None = None

    def on_connection_close(self) -> None:
        """Who types another pattern goes away: that search must not take the place of the next one."""
        super().on_connection_close()
        if self._looking is not None:
            self._looking.cancel()

    @reads
    async def get(self, text: str, task: str) -> None:
        run = await history.resolve(self.engine.store, text)
        attempt = await newest_attempt(self.engine, run, task, self.get_query_argument("attempt", None))
        asked = self._asked()
        found: dict[str, Any] = {"size": 0, "count": 0, "lines": [], "spans": []}
        if attempt is not None:
            with LogFile(self.engine.store.folder, attempt) as file:
                if file.size():
                    self._looking = asyncio.create_task(look(file.path, asked))
                    try:
                        found = await self._looking
                    except asyncio.CancelledError:
                        return
                    finally:
                        self._looking = None  # its context has this handler
        self.answer({"attempt": attempt or "", **found})

    def _asked(self) -> dict[str, Any]:
        """What the searching process is given."""
        stop = self.number("to", -1, -1, LARGEST)
        return {
            "pattern": self._pattern(),
            "ignore_case": not self._flag("case"),
            "most": self.number("limit", 1_000, 1, _MOST),
            "start": self.number("from", 0, 0, LARGEST),
            "stop": None if stop < 0 else stop,
            "last": self._flag("last"),
            "count_all": not self._flag("near"),
            "finished": self._flag("finished"),
        }

    def _flag(self, name: str) -> bool:
        return self.get_query_argument(name, "0") == "1"

    def _pattern(self) -> str | None:
        """What to look for. With ``regex=1`` a regular expression, else plain text; None for errors of all kinds."""
        if self._flag("errors"):
            return None
        text = self.get_query_argument("pattern", "", strip=False)
        if not text or len(text) > _LONGEST:
            raise InvalidRequest(f"pattern must have 1 to {_LONGEST:,} characters, not {len(text):,}")
        if not self._flag("regex"):
            return re.escape(text)
        try:
            re.compile(text.encode())
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidRequest(f"{text[:80]!r} is not a regular expression: {error}") from None
        return text


_running: set[object] = set()


async def look(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What the searching process found. Raises Conflict if it took too long, TooManyRuns if others look already."""
    if len(_running) >= _SIDE_BY_SIDE:
        raise TooManyRuns(f"{_SIDE_BY_SIDE} searches are going on; try again in a moment")
    place = object()
    _running.add(place)  # before anything is waited for, else more would find room
    try:
        code, out, err = await _searched(json.dumps({**asked, "path": str(path)}).encode())
    except TimeoutError:
        raise Conflict(f"the search took longer than {PATIENCE:g} s; make the pattern simpler") from None
    finally:
        _running.discard(place)
    if code:
        reason = err.decode(errors="replace").strip().rpartition("\n")[2]
        raise Conflict(f"the log could not be searched: {reason or 'the search was ended'}")
    found: dict[str, Any] = json.loads(out)
    return found


async def _searched(given: bytes) -> tuple[int | None, bytes, bytes]:
    """Exit code and what it wrote. Raises TimeoutError; the process is gone in any case."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _PROGRAM, _ROOT, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(given), PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started to help it
        await process.wait()
    return process.returncode, out, err
