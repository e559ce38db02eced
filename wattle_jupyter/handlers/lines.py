"""A log as lines, from any byte on, and when they were written: for windows that move through long logs."""

from __future__ import annotations

import asyncio

from wattle_jupyter import history
from wattle_jupyter.errors import Conflict, InvalidRequest
from wattle_jupyter.handlers.base import WattleHandler, reads
from wattle_jupyter.handlers.logs import LogSizes
from wattle_jupyter.handlers.runs import newest_attempt
from wattle_jupyter.loglines import LineIndex, LineIndexes, Piece, line_start, lines_before, lines_from
from wattle_jupyter.logs import PIECE, LogFile
from wattle_jupyter.view import stamp
from wattle_jupyter.wire import LogLinesPage, LogTimes

MAX_PIECE = 1 << 20
LARGEST = 1 << 53

SOON = 0.03
"""Seconds that an answer waits for the numbers of its lines; they are there in the next one otherwise."""

PATIENCE = 25.0
"""Seconds that counting up to a certain line may take."""


class TaskLogLinesHandler(WattleHandler):
    own_pages_only = True

    @property
    def _indexes(self) -> LineIndexes:
        found: LineIndexes = self.settings.setdefault("wattle_line_indexes", LineIndexes())
        return found

    @reads
    async def get(self, text: str, task: str) -> None:
        run = await history.resolve(self.engine.store, text)
        attempt = await newest_attempt(self.engine, run, task, self.get_query_argument("attempt", None))
        limit = self.number("limit", PIECE // 4, 1, MAX_PIECE)
        if attempt is None:
            self.answer(_page("", Piece(0), 0, (0, 0), over=False))
            return
        sizes = LogSizes(self, run, task, attempt)
        await sizes.load()
        with LogFile(self.engine.store.folder, attempt) as file:
            over = sizes() is not None
            size = file.size()
            index = await self._indexes.count(self.engine.store.folder, attempt, 0)
            piece = await self._piece(file, index, size, limit)
            await self._indexes.count(self.engine.store.folder, attempt, SOON)
            first = piece.offsets[0] if piece.offsets else piece.next_offset
            number, total = await asyncio.to_thread(lambda: (index.before(file, first), index.before(file, size)))
            if total is not None and file.read(size - 1, 1) not in (b"", b"\n"):
                total += 1
            self.answer(_page(attempt, piece, size, (number, total), over=over))

    async def _piece(self, file: LogFile, index: LineIndex, size: int, limit: int) -> Piece:
        """What was asked for: lines before a byte, from a line, from where the last answer ended, or around a byte."""
        before = self.get_query_argument("before", None)
        if before is not None:
            end = size if before == "end" else min(size, self.number("before", 0, 0, LARGEST))
            return await asyncio.to_thread(lines_before, file, end, limit)
        if self.get_query_argument("line", None) is not None:
            start = await self._find(file, index, self.number("line", 0, 0, LARGEST))
        elif self.get_query_argument("next", None) is not None:
            start = min(size, self.number("next", 0, 0, LARGEST))
        else:
            offset = min(size, self.number("offset", 0, 0, LARGEST))
            start = await asyncio.to_thread(line_start, file, offset)
        return await asyncio.to_thread(lines_from, file, start, limit, size)

    async def _find(self, file: LogFile, index: LineIndex, line: int) -> int:
        """Where the line begins; the last one for a number too large. Raises Conflict if that takes too long."""

        def found() -> int | None:
            return index.find(file, line)

        def enough(index: LineIndex) -> bool:
            return index.find(file, line) is not None

        await self._indexes.count(self.engine.store.folder, file.attempt, PATIENCE, enough)
        offset = await asyncio.to_thread(found)
        if offset is not None and offset < file.size():
            return offset
        if index.counting is not None and not index.counting.done():
            raise Conflict(f"line {line:,} was not reached within {PATIENCE:g} s; try again: the counting goes on")
        size = file.size()
        last = size - 1 if size and file.read(size - 1, 1) == b"\n" else size
        return await asyncio.to_thread(line_start, file, last)


def _page(attempt: str, piece: Piece, size: int, numbers: tuple[int | None, int | None], *, over: bool) -> LogLinesPage:
    return LogLinesPage(
        attempt=attempt,
        offset=piece.offsets[0] if piece.offsets else piece.next_offset,
        next_offset=piece.next_offset,
        size=size,
        end=over,
        line=numbers[0],
        lines=numbers[1],
        offsets=piece.offsets,
        text=piece.text,
        cut=piece.cut,
        broken=piece.broken,
    )


class TaskLogTimesHandler(WattleHandler):
    own_pages_only = True

    @reads
    async def get(self, text: str, task: str) -> None:
        run = await history.resolve(self.engine.store, text)
        attempt = await newest_attempt(self.engine, run, task, self.get_query_argument("attempt", None))
        start, end = self.number("offset", 0, 0, LARGEST), self.number("end", LARGEST, 0, LARGEST)
        if end < start:
            raise InvalidRequest(f"end must not be before offset: {end} is before {start}")
        if attempt is None:
            self.answer(LogTimes(attempt="", started_at=None, points=[]))
            return
        known = await history.attempt(self.engine.store, attempt)
        with LogFile(self.engine.store.folder, attempt) as file:
            points = await asyncio.to_thread(file.times, start, end)
        began = None if known.started_at is None else stamp(known.started_at)
        self.answer(LogTimes(attempt=attempt, started_at=began, points=[list(point) for point in points]))
