"""The store's directories as the keeper sees them: by descriptor, never through a link."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
from typing import Any

_ID = re.compile(r"[0-9a-f]{32}\Z")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def checked_id(text: object) -> str:
    """``text`` if it can be an attempt's id, hence a name of a directory; ValueError if not."""
    if not isinstance(text, str) or not _ID.match(text):
        raise ValueError(f"not an attempt id (32 hex digits): {text!r}")
    return text


class Attempts:
    """The directory ``attempts/`` of a store."""

    def __init__(self, store: str) -> None:
        self.path = os.path.join(store, "attempts")
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def directory(self, attempt: str) -> str:
        return os.path.join(self.path, attempt)

    def open(self, attempt: str, *, create: bool = False) -> int:
        """A descriptor of the attempt's directory. FileNotFoundError if it is missing and not to be made."""
        if create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(attempt, 0o700, dir_fd=self._fd)
        return os.open(attempt, _DIRECTORY, dir_fd=self._fd)

    def take_fifo(self, attempt: str, name: str, dir_fd: int) -> bool:
        """Move the FIFO ``name`` of an ended attempt to another directory, if nobody has it open any longer."""
        path = f"{attempt}/{name}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._fd))
            return False  # somebody could read from it
        except OSError as error:
            if error.errno != errno.ENXIO:
                return False
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._fd)
            try:
                if os.read(fd, 1) == b"":  # nobody could write to it: else there would be something to wait for
                    os.rename(path, name, src_dir_fd=self._fd, dst_dir_fd=dir_fd)
                    return True
            finally:
                os.close(fd)
        except OSError:
            pass  # held by a writer, or deleted meanwhile
        return False

    def remove(self, attempt: str) -> None:
        remove_tree(attempt, self._fd)


def remove_tree(name: str, dir_fd: int) -> None:
    """Delete a directory with all it holds; links in it are deleted, not followed."""
    try:
        inner = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    try:
        for entry in os.listdir(inner):
            if stat.S_ISDIR(os.lstat(entry, dir_fd=inner).st_mode):
                remove_tree(entry, inner)
            else:
                os.unlink(entry, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=dir_fd)


class KeeperLock:
    """``keeper.lock``: who holds it judges. It also keeps the newest owner, which outlives keepers."""

    def __init__(self, store: str) -> None:
        self.path = os.path.join(store, "keeper.lock")
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        """False if another keeper of this store lives."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def in_place(self) -> bool:
        """Is the store still the one that was locked? People delete folders."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except OSError:
            return False

    def read(self) -> tuple[int, str]:
        """(epoch, owner) of the newest owner ever seen; (0, "") at first."""
        data = os.pread(self._fd, 4096, 0)
        try:
            content: Any = json.loads(data)
            return int(content["epoch"]), str(content["owner"])
        except (ValueError, KeyError, TypeError):
            return 0, ""

    def write(self, epoch: int, owner: str) -> None:
        # padded to one length: a single write, so no crash leaves half of it
        os.pwrite(self._fd, json.dumps({"epoch": epoch, "owner": owner, "pid": os.getpid()}).encode().ljust(512), 0)


class Journal:
    """``keeper.log``: what went wrong in the keeper itself, for people. Bounded."""

    def __init__(self, store: str, limit: int = 1 << 20) -> None:
        self._path = os.path.join(store, "keeper.log")
        self._limit = limit

    def write(self, text: str) -> None:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # no place left to complain to
        try:
            if os.fstat(fd).st_size > self._limit:
                os.ftruncate(fd, 0)
            os.write(fd, text.rstrip("\n").encode("utf-8", "replace") + b"\n")
        except OSError:
            pass
        finally:
            os.close(fd)
