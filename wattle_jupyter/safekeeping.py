"""Backups that the owner of a store makes by itself: now and then, where something changed since the last one.

Whether one is due is read from the backups that are there, so it does not matter which server made them, or when the
clock was set. What keeps one from being made is a warning: work goes on, and it is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable

from wattle_jupyter import backups
from wattle_jupyter.backups import AUTOMATIC, Backup
from wattle_jupyter.clock import JUMP
from wattle_jupyter.errors import Unavailable
from wattle_jupyter.objects import size_text
from wattle_jupyter.store import Store

FIRST = 30.0
"""Seconds after the start before the first look: recovery and the first pages come first."""
LOOK = 600.0
"""Seconds between looks: so long after the disk has room again a backup that was due is made."""

Newest = tuple[int, float | None]
"""How many changes were ever committed, and when the last of those that are kept was."""
_UNTOUCHED: Newest = (0, None)


class Safekeeping:
    """Of one store. A backup is due ``every`` so many seconds, never if that is 0; the newest ``keep`` stay."""

    def __init__(
        self, store: Store, every: float, keep: int, log: logging.Logger, clock: Callable[[], float] = time.time
    ) -> None:
        self.trouble = ""
        """Why the backup that is due could not be made, and what to do; empty if there is none due."""
        self._store = store
        self._every = every
        self._keep = keep
        self._log = log
        self._clock = clock

    async def run(self) -> None:
        """Look now and then, for as long as the server owns the store."""
        if self._every:
            await asyncio.sleep(FIRST)
            while True:
                await self.look()
                await asyncio.sleep(min(LOOK, self._every))

    async def look(self) -> Backup | None:
        """Make a backup if one is due. What keeps it from being made is in :attr:`trouble`."""
        made: Backup | None = None
        trouble = ""
        try:
            if await self._is_due():
                made = await self._store.back_up(AUTOMATIC, self._keep, self._clock())
        except Unavailable as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001  whatever it was, it is told, and there is a next time
            self._log.exception("wattle: no automatic backup was made")
            trouble = f"no automatic backup was made: {error!r}; the log of the server says more"
        if made is not None:
            self._log.info("wattle: the database was backed up: %s (%s)", made.name, size_text(made.size))
        if trouble and trouble != self.trouble:
            self._log.warning("wattle: %s", trouble)
        self.trouble = trouble
        return made

    async def _is_due(self) -> bool:
        newest = await asyncio.to_thread(backups.newest, self._store.folder)
        # one of tomorrow is of a clock that has been set back since: nobody knows how old it is
        if newest is not None and -JUMP <= self._clock() - newest.at < self._every:
            return False
        kept = _UNTOUCHED if newest is None else await asyncio.to_thread(_kept, newest)
        return await self._store.read(_last_change) != kept


def _last_change(db: sqlite3.Connection) -> Newest:
    seq = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    at = db.execute("SELECT at FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return (seq[0] if seq else 0, at[0] if at else None)


def _kept(backup: Backup) -> Newest | None:
    """What the backup knows; None if it is gone, or no good: then it keeps nothing."""
    try:
        with backups.opened(backup.path) as db:
            return _last_change(db)
    except (sqlite3.Error, OSError):
        return None
