"""Looking for a pattern in the log of a task (:mod:`wattle_jupyter.searching`)."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from wattle_jupyter import history
from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.handlers.base import WattleHandler, reads
from wattle_jupyter.handlers.runs import newest_attempt
from wattle_jupyter.logs import LogFile

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
                    self._looking = asyncio.create_task(self.engine.searching.find(file.path, asked))
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
