"""The store: one SQLite file, one connection, nobody else ever opens it.

Why so strict: closing any other descriptor of the file would drop SQLite's POSIX lock, and SQLite before 3.51.3 can
corrupt a WAL that two connections use. The guard is ``flock`` on ``<store>/lock``; the ``epoch`` is the fence.
Every transaction is one function that runs whole in the database's thread, out of reach of cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from wattle_jupyter import backups, definitions, jsontext, rejoin, rows
from wattle_jupyter.aside import turns
from wattle_jupyter.backups import Backup
from wattle_jupyter.change import Change
from wattle_jupyter.errors import StoreUnavailable
from wattle_jupyter.guard import DATABASE, Mark, make_folders, read_mark, take_lock, write_mark
from wattle_jupyter.migrations import SCHEMA
from wattle_jupyter.model import Event
from wattle_jupyter.rejoin import Rejoined

T = TypeVar("T")

_PRAGMAS = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
)

_LONGEST_REST = 0.25  # seconds: so soon a backup sees that the store is being closed


class Store:
    """An open store. Make one with :meth:`open`, end it with :meth:`close`."""

    def __init__(self, folder: Path, db: aiosqlite.Connection, lock: int, keep_backups: int = backups.KEPT) -> None:
        self.folder = folder
        self.id = ""
        self.epoch = 0
        self.generation = uuid.uuid4().hex
        self.rejoined = Rejoined()
        self._keep_backups = keep_backups
        self._db = db
        self._lock = lock
        self._mark: Mark | None = None  # what to leave behind
        self._one_backup = asyncio.Lock()
        self._backing_up: set[asyncio.Task[Backup]] = set()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, folder: Path, *, keep_backups: int = backups.KEPT, owned: Callable[[], None] = lambda: None
    ) -> Store:
        """Take the lock, look whether the database is sound, bring the schema up to date, read who we are.

        ``owned`` is called when the lock is taken and nothing is known against the database.
        Raises StoreLocked if another server owns it, StoreUnavailable if it cannot be used, each with the cure.
        """
        make_folders(folder)
        lock = take_lock(folder)
        try:
            refusal = backups.refusal(folder)
            if refusal is not None:
                raise refusal
            owned()
            db = await _connect(folder)
        except BaseException:
            os.close(lock)
            raise
        store = cls(folder, db, lock, keep_backups)
        try:
            await store._prepare(read_mark(folder))
        except BaseException:
            await store.close()
            raise
        return store

    async def _prepare(self, mark: Mark) -> None:
        if not mark.closed:
            await self.read(lambda db: backups.look_through(db, self.folder))
        await self.read(lambda _: backups.sweep(self.folder))
        if 0 < await self.read(lambda db: _schema(db, self.folder)) < SCHEMA:
            why = f"before-schema-{SCHEMA}"  # nobody waits yet: it is made in one go
            await self.read(lambda db: backups.make(db, self.folder, why, self._keep_backups))
        await self.write(_migrate)
        session = uuid.uuid4().hex
        self.id, self.epoch, self.rejoined = await self.write(lambda db: _identity(db, self.folder, mark, session))
        write_mark(self.folder, Mark(session))
        self._mark = Mark(session, closed=True)

    async def back_up(self, why: str, keep: int | None = None, now: float | None = None) -> Backup:
        """Copy the database into ``backups/``, while others read and write. The newest ``keep`` of its kind stay.

        One at a time; goes on when whoever asked goes away. ``now``, else the time. Raises StoreUnavailable.
        """
        making = asyncio.ensure_future(self._back_up(why, self._keep_backups if keep is None else keep, now))
        self._backing_up.add(making)
        making.add_done_callback(self._backing_up.discard)
        return await asyncio.shield(making)

    async def _back_up(self, why: str, keep: int, now: float | None) -> Backup:
        async with self._one_backup:
            size = await self.read(backups.size_of)
            draft = await asyncio.to_thread(backups.begin, self.folder, why, size, now)
            try:
                await self.read(lambda db: backups.copy(db, draft, self._let_others))
                return await asyncio.to_thread(backups.finish, draft, keep, now, lambda: self._lock < 0)
            except StoreUnavailable as error:
                raise (self._closed() if self._lock < 0 else error) from error
            finally:
                await asyncio.to_thread(backups.discard, draft)

    def _let_others(self, seconds: float) -> None:
        """In the database's thread, between two steps of a copy: do what waits already, and what comes meanwhile."""
        waiting, end = self._db._tx.qsize(), time.monotonic() + min(seconds, _LONGEST_REST)
        while waiting > 0 or time.monotonic() < end:
            if self._lock < 0:
                raise self._closed()
            try:
                done, query = self._db._tx.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return
            waiting -= 1
            assert done is not None, "all that waits comes from read()"
            _perform(done, query)

    async def close(self) -> None:
        """Close the database, then let the lock go. Safe to call twice."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            self._closing = asyncio.ensure_future(self._close(lock))
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _close(self, lock: int) -> None:
        try:
            if self._backing_up:  # it sees that the lock is gone, and ends
                await asyncio.wait(self._backing_up)
            await self._db.close()
            if self._mark is not None:
                with contextlib.suppress(StoreUnavailable):  # the next one looks through the database then
                    write_mark(self.folder, self._mark)
        finally:
            os.close(lock)

    def in_place(self) -> bool:
        """Is the folder still the one that was locked? People delete folders."""
        try:
            return os.path.samestat(os.fstat(self._lock), (self.folder / "lock").stat())
        except OSError:
            return False

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``query`` in the database's thread. It must not write."""
        if self._lock < 0:
            raise self._closed()
        # aiosqlite has no public way to run one function whole in its thread, which is what a transaction needs
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._db._tx.put_nowait((done, partial(query, self._db._conn)))
        try:
            return await asyncio.shield(done)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError):
            raise  # an error of our own: trying again would not help
        except sqlite3.DatabaseError as error:
            if backups.is_damage(error):
                raise backups.trouble(self.folder, error) from error
            raise backups.refused(self.folder, error) from error

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"the store {self.folder} is closed; ask again when a server owns it")

    async def write(self, transaction: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``transaction`` between BEGIN and COMMIT; any error rolls back. Raises StoreUnavailable."""

        def whole(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                result = transaction(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

        return await self.read(whole)

    async def set_epoch(self, epoch: int) -> None:
        """Fence: from now on only what carries this number is obeyed."""

        def transaction(db: sqlite3.Connection) -> None:
            db.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (str(epoch),))

        await self.write(transaction)
        self.epoch = epoch

    async def commit(self, change: Change) -> list[Event]:
        """Write a change in one transaction, with what its new runs run. Returns its events with their numbers.

        What is in the change must stay as it is meanwhile: it becomes rows and text in the database's thread.
        """

        def transaction(db: sqlite3.Connection) -> int:
            with turns if change.big else contextlib.nullcontext():
                definitions.keep(db, change.new_runs.values(), change.at)
                for statement in rows.statements(change):
                    statement.run(db)
                texts = [jsontext.pieces(d.body, 3 if change.big else 0) for d in change.events]
            first = _newest_seq(db) + 1
            for seq, (draft, text) in enumerate(zip(change.events, texts, strict=True), first):
                _keep_event(db, (seq, draft.run, draft.kind, change.at), text)
            return first

        first = await self.write(transaction)
        return [Event(first + i, d.run, d.kind, change.at, d.body) for i, d in enumerate(change.events)]

    async def newest_seq(self) -> int:
        return await self.read(_newest_seq)

    async def all(self, sql: str, args: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """All rows of a query that is a constant of the program; values only ever come in ``args``."""
        return await self.read(lambda db: db.execute(sql, args).fetchall())


def _perform(done: asyncio.Future[Any], query: Callable[[], Any]) -> None:
    """As aiosqlite's thread does it: whoever waits for the answer, or the error, is in a loop."""
    try:
        answer = partial(_settle, done, query(), None)
    except BaseException as error:  # noqa: BLE001 - it is not ours: it goes to whoever asked
        answer = partial(_settle, done, None, error)
    with contextlib.suppress(RuntimeError):  # that loop is closed
        done.get_loop().call_soon_threadsafe(answer)


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)


def _keep_event(db: sqlite3.Connection, head: tuple[int, str | None, str, float], text: list[str]) -> None:
    """A text in pieces is long: it is written piece by piece, as SQLite would make two copies of it."""
    if len(text) == 1:
        db.execute("INSERT INTO event (seq, run, kind, at, body) VALUES (?, ?, ?, ?, ?)", (*head, text[0]))
        return
    size = sum(map(len, text))  # in bytes, too: JSON of ours is ASCII
    db.execute("INSERT INTO event (seq, run, kind, at, body) VALUES (?, ?, ?, ?, zeroblob(?))", (*head, size))
    with db.blobopen("event", "body", head[0]) as body:
        for piece in text:
            body.write(piece.encode("ascii"))


def _newest_seq(db: sqlite3.Connection) -> int:
    """Of all events that there ever were: the newest may be deleted, and whoever has seen its number waits for more."""
    found = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return int(found[0]) if found else 0


async def _connect(folder: Path) -> aiosqlite.Connection:
    path = folder / DATABASE
    db = aiosqlite.connect(path, isolation_level=None, cached_statements=256)
    # the thread must never keep a server alive whose stop went wrong; close() is still what ends it
    db._thread.daemon = True
    try:
        await db
        os.chmod(path, 0o600)  # noqa: PTH101 - a metadata call on a local file
        for pragma in _PRAGMAS:
            await db.execute_fetchall(pragma)
        await db.execute_fetchall("BEGIN EXCLUSIVE")  # takes the lock now, not at the first write
        await db.execute_fetchall("COMMIT")
    except (sqlite3.Error, OSError) as error:
        await db.close()
        raise backups.trouble(folder, error) from error
    return db


def _migration(number: int) -> str:
    folder = resources.files("wattle_jupyter.migrations")
    name = next(f.name for f in folder.iterdir() if f.name.startswith(f"{number:04d}_"))
    return (folder / name).read_text()


def _schema(db: sqlite3.Connection, folder: Path) -> int:
    """The schema of what is there, 0 for nothing. Raises StoreUnavailable if it is not for us."""
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if not found and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreUnavailable(f"{folder / DATABASE} is the database of another program; move it away")
    if found > SCHEMA:
        raise StoreUnavailable(
            f"the store {folder} was written by a newer wattle-jupyter (schema {found}, this one knows {SCHEMA}); "
            f"upgrade this installation{_older_backup(folder, found)}"
        )
    return found


def _older_backup(folder: Path, schema: int) -> str:
    """The upgrade made one before it changed anything: the way back for those who need it."""
    made = [b.name for b in backups.listed(folder) if b.why in (f"before-schema-{n}" for n in range(2, schema + 1))]
    return f", or go back to what it was before: `wattle restore {made[0]}`" if made else ""


def _migrate(db: sqlite3.Connection) -> None:
    for number in range(db.execute("PRAGMA user_version").fetchone()[0] + 1, SCHEMA + 1):
        for statement in split(_migration(number)):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number:d}")


def split(script: str) -> Iterable[str]:
    """Statements of a script, one by one: ``executescript`` would commit the transaction that must hold them all."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _identity(db: sqlite3.Connection, folder: Path, mark: Mark, session: str) -> tuple[str, int, Rejoined]:
    known = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if "id" not in known:
        known = {"id": uuid.uuid4().hex, "epoch": "0", "created_at": repr(time.time())}
        db.executemany("INSERT INTO meta VALUES (?, ?)", known.items())
    was_here = known.get("session") == mark.session
    rejoined = Rejoined() if was_here else rejoin.rejoin(db, folder)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('session', ?)", (session,))
    return known["id"], int(known["epoch"]), rejoined
