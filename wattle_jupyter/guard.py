"""The folder of a store: who may use it, and how the last one left it.

The guard is ``flock`` on ``<store>/lock``. ``<store>/session`` names the last opening of the database and says whether
that one closed it; the database names it too, so a database that was put in its place by hand is recognised.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from wattle_jupyter.errors import StoreLocked, StoreUnavailable

DATABASE = "wattle.db"
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by suffix."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Mark:
    """The last opening: its name, and whether it was closed."""

    session: str | None = None
    closed: bool = False


def make_folders(folder: Path) -> None:
    """Create the store's folders, for their owner only. Raises StoreUnavailable if that is not possible."""
    try:
        for part in (folder, folder / "attempts", folder / "objects", folder / "backups"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise _unwritable(folder, error) from error


def take_lock(folder: Path, patience: float = 0.0) -> int:
    """The store's lock as an open descriptor. Raises StoreLocked if another process has it for ``patience`` seconds."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unusable_lock(folder, error) from error
    end = time.monotonic() + patience
    try:
        while not _locked(fd):
            if time.monotonic() >= end:
                what = "belongs to another server that runs now; use that one, or end it"
                raise StoreLocked(f"the store {folder} {what}")
            time.sleep(0.02)
    except OSError as error:
        os.close(fd)
        raise _unusable_lock(folder, error) from error
    except StoreLocked:
        os.close(fd)
        raise
    return fd


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_mark(folder: Path) -> Mark:
    """How the last one left the store; an empty mark if nobody said."""
    try:
        found = json.loads((folder / "session").read_bytes())
        return Mark(str(found["session"]), bool(found["closed"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Mark()


def write_mark(folder: Path, mark: Mark) -> None:
    """Call while the lock is held. Raises StoreUnavailable."""
    draft = folder / "session.new"
    try:
        draft.touch(mode=0o600)
        with draft.open("w") as file:
            json.dump({"session": mark.session, "closed": mark.closed}, file)
            file.flush()
            os.fsync(file.fileno())  # else the mark of a clean end could outlive a power cut, and spare the look
        draft.replace(folder / "session")
    except OSError as error:
        raise _unwritable(folder, error) from error


def is_used(folder: Path) -> bool:
    """Were runs kept here? Then a database must be there."""
    with contextlib.suppress(OSError):
        parts = (folder / "attempts", folder / "backups")
        return read_mark(folder).session is not None or any(any(part.iterdir()) for part in parts)
    return False


def _unwritable(folder: Path, error: OSError) -> StoreUnavailable:
    cure = "free some space there" if error.errno in _FULL else "set WATTLE_STORE__DIR to a folder of your own"
    return StoreUnavailable(f"the store {folder} cannot be written: {error.strerror}; {cure}")


def _unusable_lock(folder: Path, error: OSError) -> StoreUnavailable:
    cure = (
        "free some space there"
        if error.errno in _FULL
        else "set WATTLE_STORE__DIR to a folder of your own on a local disk"
    )
    return StoreUnavailable(f"the lock of the store {folder} cannot be taken: {error.strerror}; {cure}")
