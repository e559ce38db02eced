"""Copies of a store's database: made, listed, bounded in number, put back; and words for one that is no good.

A backup is one SQLite file in ``<store>/backups/``, named by when (UTC) and why, so that names sort by age.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from wattle_jupyter.errors import InvalidRequest, NotFound, StoreUnavailable
from wattle_jupyter.guard import BESIDE, DATABASE, is_used, make_folders, take_lock
from wattle_jupyter.migrations import SCHEMA
from wattle_jupyter.objects import size_text

KEPT = 10
"""Backups that are kept, where no setting says otherwise."""

AUTOMATIC = "automatic"
"""Why of those that the owner makes by itself; counted apart: they never push out one that somebody asked for."""
ASIDE = "before-restore"
"""Why of what a restore replaced: it may be no good, and is no newer state of what is there now."""

STEP = 64
"""Pages that are copied at a time: a quarter of a MiB, in which a write waits for a millisecond."""
REST = 2.0
"""Times as long as a step took, others come first after it."""
ROOM = 64 << 20
"""Bytes that an automatic backup leaves free on the disk, for those who work."""

_NAME = re.compile(r"(\d{8}T\d{6}\.\d{3})Z-[a-z0-9-]+(?:\.db)?")
_STAMP = "%Y%m%dT%H%M%S.%f"

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


def make(db: sqlite3.Connection, folder: Path, why: str, keep: int = KEPT, now: float | None = None) -> Backup:
    """Copy the database that is open as ``db``; nothing else may open it. Not inside of a transaction.

    Raises StoreUnavailable if the disk does not take it, or the database is damaged.
    """
    draft = begin(folder, why, size_of(db), now)
    try:
        copy(db, draft)
        return finish(draft, keep, now)
    finally:
        discard(draft)


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


def size_of(db: sqlite3.Connection) -> int:
    """Bytes of the database with what is still in its log."""
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def begin(folder: Path, why: str, size: int, now: float | None = None) -> Path:
    """A new, empty file for a backup of ``size`` bytes, beside the place that it will have.

    Raises StoreUnavailable if the disk has no room for it. Whoever calls this holds the store's lock.
    """
    target = folder / "backups"
    try:
        target.mkdir(mode=0o700, exist_ok=True)
        sweep(folder)
        _check_room(folder, size, ROOM if why == AUTOMATIC else 0)
        draft = target / f"{_stamp(folder, now)}-{why}.part"
        draft.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise _no_backup(folder, str(error.strerror)) from error
    return draft


def _check_room(folder: Path, size: int, spare: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + spare:
        stay = f", of which {size_text(spare)} must stay" if spare else ""
        raise _no_backup(folder, f"it takes {size_text(size)}, and {size_text(free)} are free{stay}")


def sweep(folder: Path) -> None:
    """Delete halves of backups, which a crash leaves. Whoever calls this holds the store's lock."""
    for half in (folder / "backups").glob("*.part*"):
        with suppress(OSError):  # it is in nobody's way, and tried again
            half.unlink()


def discard(draft: Path) -> None:
    """Delete what did not become a backup. Harmless for what did."""
    with suppress(OSError):  # it is no backup by its name, and swept away before the next one
        for part in (draft, *_beside(draft)):
            part.unlink(missing_ok=True)


def copy(db: sqlite3.Connection, draft: Path, turn: Callable[[float], None] | None = None) -> None:
    """Copy page by page. Every :data:`STEP` pages ``turn`` is called with the seconds for which others should come
    first; these may read and write through ``db``, whose changes go into the copy as well. What it raises ends it.

    Raises StoreUnavailable if the disk does not take it; sqlite3.Error if the database is damaged.
    """
    began = time.monotonic()

    def stepped(status: int, _remaining: int, _total: int) -> None:
        nonlocal began
        if turn is not None and status != sqlite3.SQLITE_DONE:  # what is changed after the end is not in it
            turn((time.monotonic() - began) * REST)
            began = time.monotonic()

    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as target:
            # until it is whole it is worth nothing: it is synced once, by finish()
            target.execute("PRAGMA synchronous = OFF")
            target.execute("PRAGMA journal_mode = OFF")
            db.backup(target, pages=STEP if turn else -1, progress=stepped)
    except sqlite3.OperationalError as error:
        if _code(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
            raise
        raise _no_backup(draft.parent.parent, str(error)) from error


def finish(draft: Path, keep: int, now: float | None = None, stopped: Callable[[], bool] = bool) -> Backup:
    """Make a copy that is whole a backup: looked through, on the disk, under its name; then the oldest ones go.

    ``keep`` of its kind stay. Touches only the copy, so that any thread may do it; ``stopped`` ends a look that takes
    too long. Raises StoreUnavailable if the disk does not take it or what was copied is damaged: no other backup goes.
    """
    folder, target = draft.parent.parent, draft.with_suffix(".db")
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            db.set_progress_handler(stopped, 100_000)
            _look_through_copy(db, folder)
            db.execute("PRAGMA journal_mode = DELETE")  # one file, on a disk that cannot be written as well
            # else it would pass for the database itself where it is put back during the session that made it
            db.execute("INSERT OR REPLACE INTO meta VALUES ('session', 'a copy')")
        if now is not None:
            os.utime(draft, (now, now))
        _sync(draft)
        draft.rename(target)
        _sync(target.parent)
        made = _backup(target)
        prune(folder, keep, automatic=made.why == AUTOMATIC)
    except OSError as error:
        raise _no_backup(folder, str(error.strerror)) from error
    except sqlite3.Error as error:
        if is_damage(error):
            raise _damaged_copy(folder, str(error)) from error
        raise _no_backup(folder, str(error)) from error
    return made


def _look_through_copy(db: sqlite3.Connection, folder: Path) -> None:
    """Pages are copied as they are: without a look, backups of a damaged database would replace the good ones."""
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise _damaged_copy(folder, str(found).splitlines()[-1])


def _damaged_copy(folder: Path, reason: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"no backup was made: the copy of {folder / DATABASE} is damaged ({reason}), as the database may be; end the "
        f"server that uses it, then `wattle doctor` looks through it; {cure(folder)}"
    )


def _no_backup(folder: Path, reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"no backup could be written to {folder / 'backups'}: {reason}; free some space there")


def listed(folder: Path) -> list[Backup]:
    """All backups, the newest first."""
    found: list[Backup] = []
    for path in (*(folder / "backups").glob("*.db"), *(folder / "backups").glob(f"*/{DATABASE}")):
        with suppress(FileNotFoundError):  # a newer one has just pushed it out
            found.append(_backup(path))
    return sorted(found, key=lambda backup: backup.name, reverse=True)


def newest(folder: Path) -> Backup | None:
    """The one that knows most of what is there now."""
    return next((backup for backup in listed(folder) if backup.why != ASIDE), None)


def prune(folder: Path, keep: int, *, automatic: bool = False) -> None:
    """Delete all but the newest ``keep``: of the automatic ones, or of the others. Files of other names stay."""
    made = [b for b in listed(folder) if _NAME.fullmatch(b.name) and (b.why == AUTOMATIC) == automatic]
    for old in made[keep:]:
        for path in (old.path, *(_beside(old.path))):
            path.unlink(missing_ok=True)
        if old.path.name == DATABASE:
            old.path.parent.rmdir()


def _backup(path: Path) -> Backup:
    name = path.parent.name if path.name == DATABASE else path.stem
    found = path.stat()
    return Backup(path, name.partition("-")[2], found.st_mtime, found.st_size)


def _stamp(folder: Path, now: float | None = None) -> str:
    """A time for a name. Never before that of a backup that is there: a clock that was set back must not make the
    newest one look like the oldest, which goes first."""
    when = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    for known in filter(None, (_NAME.fullmatch(backup.name) for backup in listed(folder))):
        with suppress(ValueError, OverflowError):  # a name that only looks like one of ours
            after = datetime.strptime(known[1], _STAMP).replace(tzinfo=UTC) + timedelta(milliseconds=1)
            when = max(when, after)
    return f"{when.strftime(_STAMP)[:-3]}Z"


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
    last = next(iter(listed(folder)), None)
    if last is None:
        return f"there is no backup: move the folder {folder} away to begin anew"
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(last.at))
    return f"`wattle restore {last.name}` brings back the backup of {when} UTC"


def look_through(db: sqlite3.Connection, folder: Path) -> None:
    """Raises StoreUnavailable if the database is damaged. At most 0.4 s; large ones are not looked through."""
    size = size_of(db)
    if size <= CHECKED:
        check = "integrity_check(1)" if size <= THOROUGH else "quick_check(1)"
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
        with opened(source) as db:
            db.execute("VACUUM INTO ?", (str(draft),))
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            return _checked(db, source)
    except sqlite3.Error as error:
        if _code(error) == sqlite3.SQLITE_FULL:
            raise StoreUnavailable(f"{folder} has no room for {source.name}: {error}; free some space there") from error
        raise InvalidRequest(f"{source} cannot be restored: {error}; name another backup") from error


@contextmanager
def opened(source: Path) -> Iterator[sqlite3.Connection]:
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
    aside = folder / "backups" / f"{_stamp(folder)}-{ASIDE}"
    aside.mkdir(mode=0o700)
    for part in files:
        part.rename(aside / part.name)
    _sync(aside)
    return aside / DATABASE
