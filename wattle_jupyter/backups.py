"""Copies of a store's database: made, listed, bounded in number, put back; and words for one that is no good.

A backup is one SQLite file in ``<store>/backups/``, named by when (UTC) and why, so that names sort by age.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from wattle_jupyter.errors import InvalidRequest, NotFound, StoreUnavailable
from wattle_jupyter.guard import BESIDE, DATABASE, is_used, make_folders, take_lock
from wattle_jupyter.migrations import SCHEMA

KEPT = 10
"""Backups that are kept, where no setting says otherwise."""

CHECKED = 256 << 20
"""Bytes up to which a database is looked through when its last owner did not close it: that takes 1 ms for each MB."""
THOROUGH = 64 << 20
"""Bytes up to which indexes are compared with their tables as well: 6 ms for each MB."""

_PATIENCE = 5.0  # seconds: a server that refuses a damaged store takes its lock again and again, for a moment


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup in the store's folder. ``at`` is seconds since the epoch."""

    path: Path
    why: str
    at: float
    size: int

    @property
    def name(self) -> str:
        """What `wattle restore` takes."""
        return self.path.parent.name if self.path.name == DATABASE else self.path.name


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a restore. ``aside`` is the database that was there before, None if there was none."""

    source: Path
    aside: Path | None
    runs: int
    schema: int


# ------------------------------------------------------------------------------------------------------------- making


def make(db: sqlite3.Connection, folder: Path, why: str, keep: int = KEPT) -> Backup:
    """Copy the database that is open as ``db``; nothing else may open it. Not inside of a transaction.

    Raises StoreUnavailable if the disk does not take it; sqlite3.Error if the database is damaged.
    """
    target = folder / "backups" / f"{_stamp()}-{why}.db"
    draft = target.with_suffix(".part")
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        draft.unlink(missing_ok=True)
        db.execute("VACUUM INTO ?", (str(draft),))
        _name_as_copy(draft)
        draft.chmod(0o600)
        _sync(draft)
        draft.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise _no_backup(folder, str(error.strerror)) from error
    except sqlite3.OperationalError as error:
        if _code(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
            raise
        raise _no_backup(folder, str(error)) from error
    finally:
        draft.unlink(missing_ok=True)
    prune(folder, keep)
    return _backup(target)


def make_unowned(folder: Path, keep: int = KEPT) -> Backup:
    """A backup of a store that no server owns. Raises StoreLocked if one does, StoreUnavailable."""
    if not (folder / DATABASE).exists():
        raise StoreUnavailable(f"there is nothing to back up: {folder} has no database yet")
    lock = take_lock(folder)
    try:
        with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as db:
            return make(db, folder, "by-hand", keep)
    except sqlite3.Error as error:
        raise trouble(folder, error) from error
    finally:
        os.close(lock)


def _name_as_copy(path: Path) -> None:
    """Else it would pass for the database itself where it is put back during the session that made it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('session', 'a copy')")


def _no_backup(folder: Path, reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"no backup could be written to {folder / 'backups'}: {reason}; free some space there")


def listed(folder: Path) -> list[Backup]:
    """All backups, the newest first."""
    parts = (folder / "backups").glob
    found = [*parts("*.db"), *parts(f"*/{DATABASE}")]
    return sorted(map(_backup, found), key=lambda backup: backup.name, reverse=True)


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest ``keep``."""
    for old in listed(folder)[keep:]:
        for path in (old.path, *(_beside(old.path))):
            path.unlink(missing_ok=True)
        if old.path.name == DATABASE:
            old.path.parent.rmdir()


def _backup(path: Path) -> Backup:
    name = path.parent.name if path.name == DATABASE else path.stem
    found = path.stat()
    return Backup(path, name.partition("-")[2], found.st_mtime, found.st_size)


def _stamp() -> str:
    now = time.time()
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in BESIDE]


# ----------------------------------------------------------------------------------------------------- what is no good


def trouble(folder: Path, error: sqlite3.Error | OSError) -> StoreUnavailable:
    """What keeps the database of ``folder`` from being used, with the cure."""
    path, code = folder / DATABASE, _code(error)
    if is_damage(error):
        return damaged(folder, str(error))
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(f"the store {folder} cannot be opened: {error}; free some space there")
    return StoreUnavailable(f"{path} cannot be opened: {error}; make it, and the folder, yours to read and write")


def refused(folder: Path, error: sqlite3.Error) -> StoreUnavailable:
    """Why an open database takes nothing just now, and what makes it go on."""
    if _code(error) == sqlite3.SQLITE_FULL:
        return StoreUnavailable(
            f"the disk of the store {folder} is full: nothing can be recorded or started; free some space there: "
            "work then goes on by itself"
        )
    return StoreUnavailable(
        f"the store {folder} cannot be written: {error}; work goes on by itself when that is over, "
        "`wattle doctor` says more"
    )


def is_damage(error: Exception) -> bool:
    """Is what is in the file wrong, rather than the disk?"""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def damaged(folder: Path, reason: str) -> StoreUnavailable:
    """Words for a database that is there and of no use."""
    return StoreUnavailable(f"{folder / DATABASE} is damaged: {reason}; {cure(folder)}")


def refusal(folder: Path) -> StoreUnavailable | None:
    """Why the database need not be opened: it is missing or empty although runs were kept in it, or it was found
    damaged by this process and is still the same. None if nothing is known against it."""
    path = folder / DATABASE
    known = _found_damaged.get(path)
    if known is not None and known[0] == _identity(path):
        return damaged(folder, known[1])
    try:
        size = path.stat().st_size if path.is_file() else 0 if not path.exists() else 1
    except OSError as error:
        return trouble(folder, error)
    if size or not is_used(folder) or any(beside.exists() for beside in _beside(path) if path.exists()):
        return None
    what = "is empty" if path.exists() else "is gone"
    return StoreUnavailable(f"{path} {what}, though runs were kept in it; {cure(folder)}")


def cure(folder: Path) -> str:
    """What to do about a database that is of no use."""
    newest = next(iter(listed(folder)), None)
    if newest is None:
        return f"there is no backup: move the folder {folder} away to begin anew"
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(newest.at))
    return f"`wattle restore {newest.name}` brings back the backup of {when} UTC"


def look_through(db: sqlite3.Connection, folder: Path) -> None:
    """Raises StoreUnavailable if the database is damaged. At most 0.4 s; large ones are not looked through."""
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if pages * size <= CHECKED:
        check = "integrity_check(1)" if pages * size <= THOROUGH else "quick_check(1)"
        found = db.execute(f"PRAGMA {check}").fetchone()[0]
        if found != "ok":
            reason = str(found).splitlines()[-1]
            _found_damaged[folder / DATABASE] = (_identity(folder / DATABASE), reason)
            raise damaged(folder, reason)


_found_damaged: dict[Path, tuple[object, str]] = {}
"""A server tries again and again to open its store, which must not cost a look through it each time."""


def _identity(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


# ------------------------------------------------------------------------------------------------------------ restoring


def find(folder: Path, text: str) -> Path:
    """The file that is meant: a path, the name of a backup, or ``last``. Raises NotFound with what there is."""
    known = listed(folder)
    for backup in known:
        if text in ("last", backup.name, backup.name.removesuffix(".db")):
            return backup.path
    path = Path(text).expanduser().absolute()
    if path.is_file():
        return path
    names = "; there are: " + ", ".join(b.name for b in known) if known else f"; {folder / 'backups'} is empty"
    raise NotFound(f"no backup {text!r}: neither a file nor one of the store's{names}")


def restore(folder: Path, source: Path, keep: int = KEPT) -> Restored:
    """Put a backup in the place of the store's database, which is kept aside as one more backup.

    Raises StoreLocked while a server owns the store, InvalidRequest for what is no backup, StoreUnavailable.
    What was started after the backup was made is taken up when the store is next opened: nothing runs twice.
    """
    make_folders(folder)
    lock = take_lock(folder, _PATIENCE)
    try:
        draft = folder / f"{DATABASE}.restoring"
        try:
            runs, schema = _copy(source, draft, folder)
            _sync(draft)
            aside = _put_aside(folder)
            draft.replace(folder / DATABASE)
            _sync(folder)
        finally:
            for path in (draft, *_beside(draft)):
                path.unlink(missing_ok=True)
        prune(folder, keep)
    except OSError as error:
        raise StoreUnavailable(f"{source} could not be restored: {error.strerror}: {error.filename}") from error
    finally:
        os.close(lock)
    return Restored(source, aside, runs, schema)


def _copy(source: Path, draft: Path, folder: Path) -> tuple[int, int]:
    """A checked copy. Returns how many runs it holds, and its schema."""
    if source.resolve() == (folder / DATABASE).resolve():
        raise InvalidRequest(f"{source} is the database of the store itself; name a backup of it")
    for path in (draft, *_beside(draft)):
        path.unlink(missing_ok=True)
    try:
        with _opened(source) as db:
            db.execute("VACUUM INTO ?", (str(draft),))
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            return _checked(db, source)
    except sqlite3.Error as error:
        if _code(error) == sqlite3.SQLITE_FULL:
            raise StoreUnavailable(f"{folder} has no room for {source.name}: {error}; free some space there") from error
        raise InvalidRequest(f"{source} cannot be restored: {error}; name another backup") from error


@contextmanager
def _opened(source: Path) -> Iterator[sqlite3.Connection]:
    """Without a change to the file: it may be the only copy, on a disk that cannot be written."""
    wal = source.with_name(source.name + "-wal")
    mode = "mode=rw" if wal.exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"file:{quote(str(source))}?{mode}", uri=True, isolation_level=None)) as db:
        yield db


def _checked(db: sqlite3.Connection, source: Path) -> tuple[int, int]:
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise InvalidRequest(f"{source} is damaged: {found}; name another backup")
    schema = db.execute("PRAGMA user_version").fetchone()[0]
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    if not schema or not {"meta", "run", "attempt"} <= names:
        raise InvalidRequest(f"{source} is not a backup of a store; name one that `wattle backup` made")
    if schema > SCHEMA:
        raise InvalidRequest(
            f"{source} was written by a newer wattle-jupyter (schema {schema}, this one knows {SCHEMA}); "
            "upgrade this installation"
        )
    return db.execute("SELECT count(*) FROM run").fetchone()[0], schema


def _put_aside(folder: Path) -> Path | None:
    path = folder / DATABASE
    files = [part for part in (path, *_beside(path)) if part.exists()]
    if not files:
        return None
    aside = folder / "backups" / f"{_stamp()}-before-restore"
    aside.mkdir(mode=0o700)
    for part in files:
        part.rename(aside / part.name)
    _sync(aside)
    return aside / DATABASE
