"""The record of one attempt: an append-only file of JSON lines. Its existence is the claim, its lock the life.

Kinds of lines: ``claim`` ``start`` ``stop`` ``exit`` ``swept``; instead of a start ``tombstone`` or ``never_started``;
instead of an exit ``lost``. Only the holder of the keeper's lock writes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from typing import Any

NAME = "record"
HEIRLOOM = 500
"""Lowest number of the descriptor by which a task inherits the lock: no shell script uses it."""

_DRAFT = "record.new"
_RESERVED = 4096  # allocated with the claim, so that a full disk cannot swallow the exit line

Line = dict[str, Any]

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Record:
    """An open record. ``lines`` is what it holds."""

    def __init__(self, fd: int, lines: list[Line], end: int) -> None:
        self.fd = fd
        self.lines = lines
        self._end = end

    @classmethod
    def publish(cls, dir_fd: int, line: Line) -> Record:
        """Create, lock and publish in one step with its first line. FileExistsError if the attempt has a record."""
        # a draft left by a crash may be the record itself, linked: hence unlinked, never truncated
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_DRAFT, dir_fd=dir_fd)
        fd = os.open(_DRAFT, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
        record = cls(fd, [], 0)
        try:
            _reserve(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record.append(line)
            os.link(_DRAFT, NAME, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        except BaseException:
            record.close()
            raise
        finally:
            with contextlib.suppress(OSError):  # published or not, a name too many does no harm
                os.unlink(_DRAFT, dir_fd=dir_fd)
        return record

    @classmethod
    def open(cls, dir_fd: int) -> Record:
        """Open an existing record. FileNotFoundError if there is none."""
        fd = os.open(NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)
        lines, end = parse(_read_all(fd))
        return cls(fd, lines, end)

    def append(self, line: Line) -> None:
        data = _encode(line).encode() + b"\n"
        done = 0
        while done < len(data):
            done += os.pwrite(self.fd, data[done:], self._end + done)
        self._end += len(data)
        self.lines.append(line)

    def find(self, kind: str) -> Line | None:
        return next((line for line in self.lines if line["k"] == kind), None)

    def lock(self) -> bool:
        """Take the lock; False if a process of the task still holds it."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def parse(data: bytes) -> tuple[list[Line], int]:
    """The whole lines in ``data`` and where they end. A torn last line, and what is reserved, do not count."""
    lines: list[Line] = []
    end = 0
    while (newline := data.find(b"\n", end)) >= 0:
        try:
            line = json.loads(data[end:newline])
        except (ValueError, RecursionError):
            break
        if not isinstance(line, dict) or not isinstance(line.get("k"), str):
            break
        lines.append(line)
        end = newline + 1
    return lines, end


def _reserve(fd: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, _RESERVED)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise


def _read_all(fd: int) -> bytes:
    parts = []
    offset = 0
    while part := os.pread(fd, 65536, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
