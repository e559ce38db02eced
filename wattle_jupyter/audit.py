"""Who changed what: one JSON line for each request that changes something, whatever came of it.

``<store>/audit.log`` (0600) and one predecessor of it; the older one goes when the newer one is full. Names and ids
only: no params, no values, no specs, no tokens.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from wattle_jupyter.wire import AuditEntry

MOST = 4 << 20
"""Bytes of one file; there are at most two."""

_LONGEST = 200  # characters of a text in an entry


class Audit:
    """The log of one store. Only its owner writes."""

    def __init__(self, folder: Path, log: logging.Logger, most: int = MOST) -> None:
        self._path = folder / "audit.log"
        self._log = log
        self._most = most
        self._failing = False

    def note(self, entry: AuditEntry) -> None:
        """Append an entry. A disk that does not take it is said in the server's log, once; the request stands."""
        short = {key: value[:_LONGEST] if isinstance(value, str) else value for key, value in entry.items()}
        line = json.dumps(short, separators=(",", ":")).encode() + b"\n"
        try:
            self._append(line)
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._log.error("wattle: %s cannot be written: %s", self._path, error.strerror)
            self._failing = True

    def _append(self, line: bytes) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(fd).st_size
            if os.write(fd, line) < len(line):  # the disk is full: half a line would spoil the next one
                os.ftruncate(fd, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            size += len(line)
        finally:
            os.close(fd)
        if size >= self._most:
            self._path.replace(self._older)

    @property
    def _older(self) -> Path:
        return self._path.with_name("audit.log.1")

    def newest(self, limit: int) -> list[AuditEntry]:
        """At most so many entries, the newest first. Reads the disk."""
        found: list[AuditEntry] = []
        for path in (self._path, self._older):
            for line in _backwards(path):
                if len(found) == limit:
                    return found
                found.append(line)
        return found


def _backwards(path: Path) -> Iterator[AuditEntry]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines):
        try:
            entry: AuditEntry = json.loads(line)
        except (ValueError, RecursionError):
            continue  # cut off by a full disk or a crash
        yield entry
