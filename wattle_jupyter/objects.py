"""The store's folder of objects: files whose names are the SHA-256 of what they hold.

The server, tasks and their runner all write here, hence stdlib only. A file is whole or not there at all: it is written
in ``incoming/`` under a lock, and gets its name once it is on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from wattle_jupyter.beneath import open_beneath
from wattle_jupyter.errors import InvalidRequest, NotFound, StoreUnavailable, TooLarge

MAX_OBJECT = 2 << 30
"""Bytes that one object may have, where no setting says otherwise."""
KEEP_OUTPUTS = 100 << 20
"""Bytes up to which a declared file is kept, where no setting says otherwise."""
PIECE = 1 << 20
"""Bytes that are read or written at a time."""

_HASH = re.compile(r"[0-9a-f]{64}")
_FICLONE = 0x40049409  # the new file shares the blocks of the old one, where the file system can do that
_SETTLED = 60.0  # seconds after which a file that nobody holds is taken for left over


class Objects:
    """A folder of objects. ``limit`` (bytes) bounds one object, ``keep`` the copies of files that tasks declare."""

    def __init__(self, folder: str | os.PathLike[str], limit: int = MAX_OBJECT, keep: int = KEEP_OUTPUTS) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.keep_limit = keep

    def path(self, name: str) -> Path:
        """Where the object of this hash is, if it is there. Raises InvalidRequest for what is no hash."""
        if not _HASH.fullmatch(name):
            raise InvalidRequest(f"{name[:80]!r} names no object: that takes the 64 hex digits of a SHA-256")
        return self.folder / name[:2] / name

    def size(self, name: str) -> int | None:
        """Bytes; None if it is not there."""
        try:
            found = self.path(name).lstat()
        except FileNotFoundError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def wanted(self, name: str) -> int | None:
        """The same for somebody who is about to name it: it stays for a day, whoever names it or not."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path(name))
        return self.size(name)

    def open(self, name: str) -> BufferedReader:
        """Raises NotFound."""
        self.path(name)
        try:
            fd = open_beneath(self.folder, name[:2], name)
        except OSError as error:
            raise NotFound(f"the store has no object {name[:12]}… ({error.strerror})") from None
        if fd is None:
            raise NotFound(f"the store has no object {name[:12]}… (it is no regular file)")
        return os.fdopen(fd, "rb")

    def verified(self, name: str) -> BufferedReader:
        """The same, once all of it was read and found whole. Raises NotFound, StoreUnavailable if it is damaged."""
        file = self.open(name)
        if hash_of(file) != name:
            file.close()
            raise StoreUnavailable(f"{self.path(name)} is damaged: it does not hold what its name says; restore it")
        file.seek(0)
        return file

    def writer(self) -> Writer:
        """For a new object. Raises StoreUnavailable."""
        return Writer(self)

    def keep(self, source: str) -> tuple[str, int] | None:
        """Keep a copy of a file: hash and bytes. None for what is no file or larger than the limit. Raises OSError."""
        file = open_file(source)
        if file is None:
            return None
        with file:
            if os.fstat(file.fileno()).st_size > self.keep_limit:
                return None
            with self.writer() as writer:
                writer.copy(file, self.keep_limit)
                name = writer.publish()
        self._name(name, os.path.basename(source))  # noqa: PTH119
        return name, writer.size

    def kept(self, name: str, source: str) -> Path | None:
        """The copy of the file ``source``, under the name that it had. None if it is gone."""
        copy = self._named(name, os.path.basename(source))  # noqa: PTH119
        return next((path for path in (copy, self.path(name)) if path.exists()), None)

    def _named(self, name: str, word: str) -> Path:
        return self.path(name).with_name(f"{name}.as") / word

    def _name(self, name: str, word: str) -> None:
        """Programs look at the suffix: the copy has the name of the original as well."""
        named = self._named(name, word)
        named.parent.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(self.path(name), named)

    def sweep(self) -> int:
        """Delete what writers left behind that were killed. Returns how many files."""
        gone = 0
        for path in (self.folder / "incoming").glob("*"):
            with contextlib.suppress(OSError):  # its writer lives, or was faster
                if time.time() - path.stat().st_mtime > _SETTLED:
                    shutil.rmtree(path) if path.is_dir() else _delete_unheld(path)
                    gone += 1
        return gone


class Writer:
    """An object on its way into the store: a binary file to write to, then :meth:`publish`."""

    def __init__(self, objects: Objects) -> None:
        self.size = 0
        self._objects = objects
        self._hash = hashlib.sha256()
        with _told(objects.folder):
            incoming = objects.folder / "incoming"
            incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd, path = tempfile.mkstemp(dir=incoming, prefix="")
            self._path: Path | None = Path(path)
            fcntl.flock(self._fd, fcntl.LOCK_SH)

    def write(self, data: Any) -> int:
        """Raises TooLarge over the limit, StoreUnavailable if the disk does not take it."""
        view = memoryview(data).cast("B")
        self.size += len(view)
        if self.size > self._objects.limit:
            raise TooLarge(
                f"the object is larger than {size_text(self._objects.limit)}, which is the limit "
                "([store] max_object); write it to a file and pass its path on",
                limit=self._objects.limit,
            )
        self._hash.update(view)
        self._append(view)
        return len(view)

    def copy(self, file: BufferedReader, limit: int) -> None:
        """Take in what ``file`` holds, sharing its blocks if the file system can. Raises OSError."""
        cloned = self._clone(file)
        # of a clone: what we have now, whatever becomes of the original
        with os.fdopen(os.dup(self._fd if cloned else file.fileno()), "rb") as source:
            while data := source.read(PIECE):
                self.size += len(data)
                if self.size > limit:
                    raise OSError(errno.EFBIG, f"it grew beyond {size_text(limit)} while it was copied")
                self._hash.update(data)
                if not cloned:
                    self._append(memoryview(data))

    def _clone(self, file: BufferedReader) -> bool:
        try:
            fcntl.ioctl(self._fd, _FICLONE, file.fileno())
        except OSError:  # another file system, or one that cannot
            return False
        return True

    def _append(self, rest: memoryview) -> None:
        with _told(self._objects.folder):
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    @property
    def hash(self) -> str:
        """Of what was written up to now."""
        return self._hash.hexdigest()

    def publish(self) -> str:
        """Give it its name, on the disk for good. Returns its hash. Raises StoreUnavailable."""
        assert self._path is not None, "published once"
        target = self._objects.path(self.hash)
        with _told(self._objects.folder):
            os.fchmod(self._fd, 0o400)  # a task that has its path must not change it by accident
            os.fsync(self._fd)
            if not target.parent.exists():
                target.parent.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(self._objects.folder)
            self._path.replace(target)
            _sync_folder(target.parent)
        self._path = None
        self.close()
        return target.name

    def close(self) -> None:
        """Give up what was not published. Safe to call twice."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_file(path: str | os.PathLike[str]) -> BufferedReader | None:
    """A file to read; None for a folder and for what could block. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return os.fdopen(fd, "rb")


def hash_of(file: BinaryIO) -> str:
    """SHA-256 of the rest of a file."""
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # all that we open has readinto


def size_text(size: float) -> str:
    """``3.1 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:,.3g} TiB"


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Errors of the disk in words."""
    try:
        yield
    except OSError as error:
        cure = "free some space there" if error.errno in _FULL else "make it yours to write"
        raise StoreUnavailable(f"nothing can be written to {folder}: {error.strerror}; {cure}") from error


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: BaseException | None) -> bool:
    """Is it for want of room on the disk?"""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error is not None and error.errno in _FULL


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _delete_unheld(path: Path) -> None:
    """Raises OSError if its writer lives: it holds a lock."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)  # killed just before it was named, it is read-only
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(fd)
