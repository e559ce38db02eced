"""Runs that are not needed any more: hidden first, brought back on request, gone for good after a time of grace.

Only runs that ended are touched, and while the scheduler holds still for them: a retry and a deletion never meet.
Directories of attempts go by the executor, which deletes none that is in use, before their rows do: what a crash leaves
half done is done by the next sweep.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from wattle_jupyter import litter
from wattle_jupyter.errors import Conflict, NotFound, Unavailable
from wattle_jupyter.model import Event, Json
from wattle_jupyter.scheduler import Scheduler
from wattle_jupyter.wire import CleanupLine, CleanupView

DAY = 86_400.0
PIECE = 50  # runs that go in one transaction: others want to write as well
TASKS = 2_000  # of these runs together, unless one alone has more: some 80 ms
EVERY = 3600.0  # seconds between sweeps

_ENDED = "state IN ('completed', 'failed', 'cancelled', 'skipped')"

_CHOSEN = f"""
SELECT id, workflow FROM (
  SELECT id, workflow, state, ended_at, row_number() OVER (PARTITION BY workflow ORDER BY created_at DESC) AS place
  FROM run WHERE deleted_at IS NULL
)
WHERE {_ENDED} AND ((:runs > 0 AND place > :runs) OR (:days > 0 AND ended_at < :now - :days * 86400.0))
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Rule:
    """Which runs go: all but the newest ``runs`` of each workflow, all that ended ``days`` ago; 0 is no limit."""

    runs: int = 0
    days: int = 0


class Retention:
    """Of one store. ``undo`` is the time of grace, in days."""

    def __init__(
        self, scheduler: Scheduler, rule: Rule, undo: int, log: logging.Logger, clock: Callable[[], float] = time.time
    ) -> None:
        self.rule = rule
        self._scheduler = scheduler
        self._store = scheduler.store
        self._objects = scheduler.objects.folder
        self._undo = undo * DAY
        self._log = log
        self._clock = clock

    async def preview(self, rule: Rule) -> CleanupView:
        """What :meth:`clean` would hide, and how many bytes its attempts have."""
        chosen = await self._chosen(rule)
        attempts = await self._store.read(lambda db: [(w, _attempts(db, [run])) for run, w in chosen])
        folder = self._store.folder / "attempts"
        sizes = await asyncio.to_thread(lambda: [(w, sum(_size(folder / a) for a in ids)) for w, ids in attempts])
        lines: dict[str, CleanupLine] = {}
        for workflow, size in sizes:
            line = lines.setdefault(workflow, CleanupLine(workflow=workflow, runs=0, bytes=0))
            line["runs"] += 1
            line["bytes"] += size
        listed = sorted(lines.values(), key=lambda line: -line["bytes"])
        pieces = await self._litter()
        return CleanupView(
            runs=len(chosen),
            bytes=sum(line["bytes"] for line in listed),
            workflows=listed,
            objects=len(pieces),
            object_bytes=sum(piece.size for piece in pieces),
        )

    async def clean(self, rule: Rule) -> CleanupView:
        """Hide what the rule chooses. They can be brought back until the time of grace is over."""
        told = await self.preview(rule)
        chosen = [run for run, _ in await self._chosen(rule)]
        for start in range(0, len(chosen), PIECE):
            await self._hide(chosen[start : start + PIECE])
        await self.tidy()
        return told

    async def tidy(self) -> int:
        """Delete the objects that nothing names any more. Returns how many."""
        before = self._clock() - litter.AGE
        objects, gone = self._objects, 0
        for piece in await self._litter():
            gone += await asyncio.to_thread(litter.throw_away, objects, piece, before)
        if gone:
            self._log.info("wattle: %d objects that nothing names any more are gone", gone)
        return gone

    async def _litter(self) -> list[litter.Piece]:
        """What is found first and not named afterwards: what comes between the two looks is named, or young."""
        before = self._clock() - litter.AGE
        found = await asyncio.to_thread(litter.find, self._objects, set(), before)
        attempts = await self._store.read(litter.active)
        kept = await asyncio.to_thread(litter.left_so_far, self._store.folder, attempts)
        kept |= await self._store.read(litter.named)
        return [piece for piece in found if piece.name not in kept]

    async def delete(self, run: str) -> None:
        """Hide one run. Raises NotFound, Conflict if it has not ended."""
        if await self._hide([run]) == 0:
            found = await self._store.all("SELECT state FROM run WHERE id = ? AND deleted_at IS NULL", (run,))
            if not found:
                raise NotFound(f"no run {run}")
            raise Conflict(f"run {run[:8]} is {found[0][0]}; cancel it first")

    async def _chosen(self, rule: Rule) -> list[tuple[str, str]]:
        args = {"runs": rule.runs, "days": rule.days, "now": self._clock()}
        return await self._store.all(_CHOSEN, args)

    async def _hide(self, runs: Sequence[str]) -> int:
        now = self._clock()

        def transaction(db: sqlite3.Connection) -> list[Event]:
            hidden = [run for run in runs if db.execute(_HIDE, (now, run)).rowcount]
            return [_told(db, "run.deleted", run, now) for run in hidden]

        async with self._scheduler.settled:
            return len(await self._scheduler.record(transaction))

    async def undelete(self, text: str) -> str:
        """Show a hidden run again. Returns its id. Raises NotFound."""
        sql = "SELECT id FROM run WHERE deleted_at IS NOT NULL AND substr(id, 1, ?) = ? LIMIT 2"
        found = await self._store.all(sql, (len(text), text)) if len(text) >= 4 else []
        if len(found) != 1:
            raise NotFound(f"no deleted run {text[:64]!r}: give its id, or the first 4 or more digits of it")
        run = str(found[0][0])
        async with self._scheduler.settled:  # what is being deleted for good stays deleted
            again = "UPDATE run SET deleted_at = NULL WHERE id = ?"
            if await self._store.write(lambda db: db.execute(again, (run,)).rowcount) == 0:
                raise NotFound(f"run {run[:8]} is gone for good")
            summary = await self._scheduler.summary(run)
            now = self._clock()
            await self._scheduler.record(
                lambda db: [_told(db, "run.changed", run, now, run=cast(Json, summary), tasks=[])]
            )
        return run

    # ------------------------------------------------------------------------------------------------ gone for good

    async def run(self) -> None:
        """Sweep now and then, for as long as the server lives."""
        while True:
            try:
                await self.sweep()
            except Unavailable as error:  # the disk or the keeper has trouble: said elsewhere, and there is a next time
                self._log.debug("wattle: nothing was swept: %s", error)
            except Exception:  # noqa: BLE001  whatever it was, it is told, and the loop goes on
                self._log.exception("wattle: runs that are not needed were not deleted; the next try is in an hour")
            await asyncio.sleep(EVERY)

    async def sweep(self) -> int:
        """Hide what the settings' rule chooses; delete what was hidden for long enough. Returns how many are gone."""
        if self.rule.runs or self.rule.days:
            await self.clean(self.rule)
        gone = await self.purge(self._clock() - self._undo)
        await self.tidy()
        return gone

    async def purge(self, before: float) -> int:
        """Delete the runs that were hidden before this time, with all that they left. Returns how many."""
        sql = f"SELECT id, total FROM run WHERE deleted_at <= ? AND {_ENDED}"  # noqa: S608 - constants
        gone = 0
        for piece in _pieces(await self._store.all(sql, (before,))):
            async with self._scheduler.settled:
                gone += await self._purge(piece)
        if gone:
            self._log.info("wattle: %d deleted runs are gone for good", gone)
        return gone

    async def _purge(self, runs: Sequence[str]) -> int:
        kept: set[str] = set()
        # some may have been brought back since they were chosen
        attempts = await self._store.read(lambda db: {run: _attempts(db, [run]) for run in runs if _is_hidden(db, run)})
        try:
            await self._scheduler.executor.forget([id for ids in attempts.values() for id in ids])
        except Conflict as error:  # some are in use: their runs stay hidden until the next sweep
            kept = set(error.details.get("kept", ()))
        free = [run for run, ids in attempts.items() if not kept.intersection(ids)]
        await self._store.write(lambda db: _delete(db, free))
        return len(free)


_HIDE = f"UPDATE run SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL AND {_ENDED}"  # noqa: S608 - constants


def _pieces(runs: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Runs, each with the number of its tasks, as they go in one transaction."""
    piece, tasks = list[str](), 0
    for run, total in runs:
        if piece and (len(piece) == PIECE or tasks + total > TASKS):
            yield piece
            piece, tasks = [], 0
        piece.append(run)
        tasks += total
    if piece:
        yield piece


def _told(db: sqlite3.Connection, kind: str, of: str, now: float, **body: Json) -> Event:
    sql = "INSERT INTO event (run, kind, at, body) VALUES (?, ?, ?, ?)"
    return Event(int(db.execute(sql, (of, kind, now, json.dumps(body))).lastrowid or 0), of, kind, now, body)


def _is_hidden(db: sqlite3.Connection, run: str) -> bool:
    return bool(db.execute("SELECT 1 FROM run WHERE id = ? AND deleted_at IS NOT NULL", (run,)).fetchone())


def _attempts(db: sqlite3.Connection, runs: Sequence[str]) -> list[str]:
    return [row[0] for run in runs for row in db.execute("SELECT id FROM attempt WHERE run = ?", (run,))]


def _delete(db: sqlite3.Connection, runs: Sequence[str]) -> None:
    """Rows of runs that are hidden and ended, and definitions that only they had."""
    for run in runs:
        sql = f"DELETE FROM run WHERE id = ? AND deleted_at IS NOT NULL AND {_ENDED}"  # noqa: S608 - constants
        db.execute("DELETE FROM event WHERE run = ?", (run,))
        db.execute("DELETE FROM request WHERE run = ?", (run,))
        db.execute(sql, (run,))
    db.execute("DELETE FROM workflow WHERE version IS NULL AND id NOT IN (SELECT workflow_id FROM run)")


def _size(folder: Path) -> int:
    """Bytes of the files in an attempt's directory."""
    try:
        with os.scandir(folder) as entries:
            return sum(e.stat(follow_symlinks=False).st_size for e in entries if e.is_file(follow_symlinks=False))
    except OSError:
        return 0
