"""Logs of attempts: files that only grow, read by offset. The byte offset is the id of what comes next."""

from __future__ import annotations

import asyncio
import bisect
import os
import re
import stat
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from wattle_jupyter.errors import Conflict

TICK = 0.02
"""Seconds between two looks at a log that somebody watches."""

PIECE = 256 * 1024
"""Most bytes that are read from one log at a time."""

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
        self.path = store / "attempts" / attempt / "log"
        self._fd = -1

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
        return os.pread(self._fd, limit, offset) if self._open() else b""

    def offset_at(self, when: float) -> int:
        """Where the line begins that was being written at ``when`` (seconds of the epoch); the size if none was."""
        return self._line_start(self._size_at(when)) if self._open() else 0

    def _size_at(self, when: float) -> int:
        """As the keeper's time index says: pairs (time, size then). A log that was written at once has none."""
        try:
            points = list(_POINT.iter_unpack(_whole_points(self.path.with_name("times").read_bytes())))
        except FileNotFoundError:
            known = os.fstat(self._fd)
            points = [(known.st_mtime, known.st_size)]
        before = bisect.bisect_left(points, (when, 0))
        return int(points[before - 1][1]) if before else 0

    def _line_start(self, offset: int) -> int:
        start = max(0, offset - PIECE)
        return start + self.read(start, offset - start).rfind(b"\n") + 1

    def _open(self) -> bool:
        if self._fd < 0:
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            except OSError as error:
                raise Conflict(f"the log of attempt {self.attempt} cannot be read: {error.strerror}") from error
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
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


def _whole_points(data: bytes) -> bytes:
    """Without the last one while it is being written."""
    return data[: len(data) // _POINT.size * _POINT.size]
