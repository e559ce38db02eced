"""Logs of attempts: files that only grow, read by offset. The byte offset is the id of what comes next."""

from __future__ import annotations

import asyncio
import bisect
import os
import re
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from wattle_jupyter.beneath import open_beneath
from wattle_jupyter.errors import Conflict

TICK = 0.02
"""Seconds between two looks at a log that somebody watches."""

PIECE = 256 * 1024
"""Most bytes that are read from one log at a time."""

USUAL = 64 * 1024
"""Bytes that are asked for where few are expected: room for more costs 17 µs each time, as much as 20 small reads."""

_POINT = struct.Struct("<dQ")  # an entry of the keeper's time index: seconds since the epoch, size of the log then
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one attempt's log, from ``offset`` on."""

    attempt: str
    offset: int
    data: bytes


class LogFile:
    """The log of one attempt. It may not exist yet, or no longer: then it is empty."""

    def __init__(self, store: Path, attempt: str) -> None:
        if not _ID.fullmatch(attempt):
            raise ValueError(f"not an attempt's id: {attempt!r}")
        self.attempt = attempt
        self._attempts = store / "attempts"
        self.path = self._attempts / attempt / "log"
        self._fd = -1
        self._fills = True  # did the last read get all that it asked for

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def size(self) -> int:
        return os.fstat(self._fd).st_size if self._open() else 0

    def read(self, offset: int, limit: int = PIECE) -> bytes:
        """At most ``limit`` bytes from ``offset`` on; empty at the end."""
        if not self._open():
            return b""
        asked = limit if self._fills else min(limit, USUAL)
        data = os.pread(self._fd, asked, offset)
        self._fills = len(data) == asked
        if self._fills and asked < limit:
            data += os.pread(self._fd, limit - asked, offset + asked)
        return data

    def offset_at(self, when: float) -> int:
        """Where the line begins that was being written at ``when`` (seconds of the epoch); the size if none was."""
        return self._line_start(self._size_at(when)) if self._open() else 0

    def _size_at(self, when: float) -> int:
        """As the keeper's time index says: pairs (time, size then). A log that was written at once has none."""
        fd = self._open_times()
        if fd is None:
            known = os.fstat(self._fd)
            points = [(known.st_mtime, known.st_size)]
        else:
            with os.fdopen(fd, "rb") as file:
                points = list(_POINT.iter_unpack(_whole_points(file.read())))
        before = bisect.bisect_left(points, (when, 0))
        return int(points[before - 1][1]) if before else 0

    def times(self, start: int, end: int, most: int = 4096) -> list[tuple[float, int]]:
        """When the bytes from ``start`` to ``end`` were written: pairs (seconds of the epoch, size of the log then).

        The first pair with a size above a byte says when it was there. Of more than ``most``, some are left out.
        """
        fd = self._open_times()
        if fd is None:  # it was written at once
            known = os.fstat(self._fd) if self._open() else None
            return [(known.st_mtime, known.st_size)] if known is not None and known.st_size > start else []
        try:
            count = os.fstat(fd).st_size // _POINT.size
            first = bisect.bisect_right(range(count), start, key=lambda i: _point(fd, i)[1])
            last = min(count, bisect.bisect_left(range(count), end, first, key=lambda i: _point(fd, i)[1]) + 1)
            step = max(1, -(-(last - first) // most))
            chosen = [_point(fd, i) for i in range(first, last, step)]
            return chosen if (last - first - 1) % step == 0 else [*chosen, _point(fd, last - 1)]
        finally:
            os.close(fd)

    def _line_start(self, offset: int) -> int:
        start = max(0, offset - PIECE)
        return start + self.read(start, offset - start).rfind(b"\n") + 1

    def _open_times(self) -> int | None:
        try:
            return open_beneath(self._attempts, self.attempt, "times")
        except OSError:
            return None

    def _open(self) -> bool:
        if self._fd < 0:
            try:
                fd = open_beneath(self._attempts, self.attempt, "log")
            except FileNotFoundError:
                return False
            except OSError as error:
                raise Conflict(f"the log of attempt {self.attempt} cannot be read: {error.strerror}") from error
            if fd is None:
                raise Conflict(f"the log of attempt {self.attempt} cannot be read: it is no regular file")
            self._fd = fd
        return True


async def follow(file: LogFile, offset: int, final_size: Callable[[], int | None]) -> AsyncIterator[Chunk]:
    """Everything from ``offset`` on as it is written, until the log is final and read to its end.

    ``final_size()`` is the size of the log once it is final, None before. The consumer sets the pace.
    """
    while True:
        over = final_size()
        data = file.read(offset)
        if data:
            yield Chunk(file.attempt, offset, data)
            offset += len(data)
        elif over is not None:
            return
        else:
            await asyncio.sleep(TICK)


def _point(fd: int, index: int) -> tuple[float, int]:
    when, size = _POINT.unpack(os.pread(fd, _POINT.size, index * _POINT.size))
    return when, size


def _whole_points(data: bytes) -> bytes:
    """Without the last one while it is being written."""
    return data[: len(data) // _POINT.size * _POINT.size]
