"""Automatic backups: when one is made, that nobody waits for it, and what is left when it is cut off."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from coroutines import asynchronous
from fake_executor import FakeExecutor, World
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wattle_jupyter import backups, health, metrics, safekeeping, symptoms
from wattle_jupyter.backups import Backup
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import StoreUnavailable
from wattle_jupyter.safekeeping import Safekeeping
from wattle_jupyter.settings import Settings
from wattle_jupyter.settings import Store as StoreSettings
from wattle_jupyter.store import Store

LOG = logging.getLogger("test")
HOUR = 3600.0
DAY = 24 * HOUR
NOW = 1_800_000_000.0


class Kept:
    """A store, what keeps it safe, and the hands of its clock."""

    def __init__(self, store: Store, keep: int = 7) -> None:
        self.store = store
        self.now = NOW
        self.safe = Safekeeping(store, DAY, keep, LOG, lambda: self.now)

    @classmethod
    async def open(cls, folder: Path, keep: int = 7) -> Kept:
        return cls(await Store.open(folder), keep)

    async def change(self) -> None:
        """As any commit does: it leaves an event."""
        sql = "INSERT INTO event (kind, at, body) VALUES ('run.changed', ?, '{}')"
        await self.store.write(lambda db: db.execute(sql, (self.now,)))

    async def looked(self, after: float) -> bool:
        """Was a backup made at a look so many seconds later?"""
        self.now += after
        return await self.safe.look() is not None

    def names(self) -> list[str]:
        return [f"{b.name[:13]} {b.why}" for b in backups.listed(self.store.folder)]


def content(backup: Backup, sql: str) -> list[Any]:
    with closing(sqlite3.connect(backup.path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return db.execute(sql).fetchall()


def halves(folder: Path) -> list[str]:
    return [path.name for path in (folder / "backups").iterdir() if ".part" in path.name]


# ------------------------------------------------------------------------------------------------------ when it is due


@asynchronous
async def test_one_is_made_once_a_day_while_something_changes(tmp_path: Path) -> None:
    kept = await Kept.open(tmp_path)
    assert not await kept.looked(after=0)  # nothing was ever kept here
    await kept.change()
    assert await kept.looked(after=HOUR)
    await kept.change()
    assert not await kept.looked(after=23 * HOUR)
    assert await kept.looked(after=HOUR)
    assert not await kept.looked(after=9 * DAY)  # nothing has changed
    await kept.change()
    assert await kept.looked(after=0)
    (*_, first) = backups.listed(tmp_path)
    assert (first.why, first.at) == ("automatic", NOW + HOUR)
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert len(content(first, "SELECT * FROM event")) == 1
    await kept.store.close()


@asynchronous
async def test_one_that_was_made_by_hand_counts_and_what_a_restore_put_aside_does_not(tmp_path: Path) -> None:
    kept = await Kept.open(tmp_path)
    await kept.change()
    await kept.store.back_up("by-hand", now=kept.now)
    await kept.change()
    assert not await kept.looked(after=HOUR)
    aside = tmp_path / "backups" / "20990101T000000.000Z-before-restore"
    aside.mkdir()
    shutil.copy(backups.listed(tmp_path)[0].path, aside / "wattle.db")
    assert await kept.looked(after=DAY)
    await kept.store.close()


@asynchronous
async def test_a_backup_that_is_no_good_keeps_nothing_safe(tmp_path: Path) -> None:
    kept = await Kept.open(tmp_path)
    await kept.change()
    assert await kept.looked(after=0)
    backups.listed(tmp_path)[0].path.write_bytes(b"not a database" * 500)
    assert await kept.looked(after=2 * DAY)
    await kept.store.close()


@asynchronous
async def test_a_clock_that_is_set_by_two_days_neither_stops_backups_nor_makes_them_again_and_again(
    tmp_path: Path,
) -> None:
    kept = await Kept.open(tmp_path, keep=2)
    made = []
    for jump in (0.0, 2 * DAY, -2 * DAY, -2 * DAY, 2 * DAY):
        kept.now += jump
        for _ in range(4):
            await kept.change()
            made.append(await kept.looked(after=HOUR))
    # one after each jump at most, and one day of work later the next one
    assert [sum(made[i : i + 4]) for i in range(0, 20, 4)] == [1, 1, 1, 1, 1]
    await kept.change()
    assert await kept.looked(after=DAY)
    newest, older = backups.listed(tmp_path)
    assert newest.at == kept.now  # the clock was set back, and yet the newest one stays and comes first
    assert len(content(newest, "SELECT * FROM event")) == 21 > len(content(older, "SELECT * FROM event"))
    assert backups.find(tmp_path, "last") == newest.path
    await kept.store.close()


@asynchronous
async def test_the_newest_ones_stay_and_those_made_by_hand_are_never_pushed_out(tmp_path: Path) -> None:
    kept = await Kept.open(tmp_path, keep=2)
    (tmp_path / "backups" / "of-mine.db").write_bytes(b"")
    await kept.store.back_up("by-hand", now=kept.now)
    for _ in range(4):
        await kept.change()
        assert await kept.looked(after=DAY)
    await kept.store.back_up("by-hand", keep=1, now=kept.now)
    assert kept.names() == [
        "of-mine.db mine", "20270119T0800 by-hand", "20270119T0800 automatic", "20270118T0800 automatic",
    ]  # fmt: skip
    await kept.store.close()


# ------------------------------------------------------------------------------------------------- what is in its way


@asynchronous
async def test_without_room_none_is_made_and_health_warns_until_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await Engine.open(Settings(), tmp_path / "s", executor=FakeExecutor(World()), environ={})
    kept = Kept(engine.store)
    engine.safekeeping = kept.safe
    await kept.change()
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=backups.ROOM + 4096))
        assert not await kept.looked(after=0)
        warned = health.summed_up(await health.examine(engine))
        told = metrics.facts_of(engine)
    (reason,) = [check["reason"] for check in warned["checks"] if check["name"] == "backup"]
    assert reason.startswith(f"no backup could be written to {tmp_path}/s/backups: it takes ")
    assert reason.endswith("KiB, and 64 MiB are free, of which 64 MiB must stay; free some space there")
    assert (warned["ready"], warned["state"]) == (True, "degraded")
    assert (told["wattle_backup_trouble"][1], told["wattle_backup_timestamp_seconds"][1]) == (1, 0)
    assert list((tmp_path / "s" / "backups").iterdir()) == []
    assert await kept.looked(after=0)
    assert health.summed_up(await health.examine(engine))["state"] == "ok"
    told = metrics.facts_of(engine)
    assert (told["wattle_backup_trouble"][1], told["wattle_backup_timestamp_seconds"][1]) == (0, NOW)
    await engine.close()


@asynchronous
async def test_a_damaged_database_replaces_no_backup(tmp_path: Path) -> None:
    kept = await Kept.open(tmp_path, keep=1)
    await kept.change()
    assert await kept.looked(after=0)
    (good,) = backups.listed(tmp_path)

    def damage(db: sqlite3.Connection) -> None:
        """An index that does not belong to its table."""
        db.execute("PRAGMA writable_schema = ON")
        wrong = "(SELECT rootpage FROM sqlite_master WHERE name = 'meta')"
        db.execute(f"UPDATE sqlite_master SET rootpage = {wrong} WHERE name = 'event_run'")

    await kept.store.read(damage)
    await kept.store.write(lambda db: db.execute("INSERT INTO event (kind, at, body) VALUES ('x', 1.0, '{}')"))
    assert not await kept.looked(after=DAY)
    assert kept.safe.trouble.startswith(f"no backup was made: the copy of {tmp_path}/wattle.db is damaged (")
    assert kept.safe.trouble.endswith(f"`wattle restore {good.name}` brings back the backup of 2027-01-15 08:00 UTC")
    assert backups.listed(tmp_path) == [good]
    assert halves(tmp_path) == []
    await kept.store.close()


@asynchronous
async def test_an_error_of_our_own_is_told_and_the_next_look_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await Kept.open(tmp_path)
    await kept.change()

    def broken(*_: Any) -> Any:
        raise RuntimeError("oops")

    with monkeypatch.context() as patch:
        patch.setattr(kept.store, "back_up", broken)
        assert not await kept.looked(after=0)
    assert kept.safe.trouble == "no automatic backup was made: RuntimeError('oops'); the log of the server says more"
    assert await kept.looked(after=0)
    assert kept.safe.trouble == ""
    await kept.store.close()


# -------------------------------------------------------------------------------------------------- while others work


BALLAST = 300  # rows, two to a page


def fill(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE pair (place INTEGER PRIMARY KEY, value INTEGER, ballast BLOB)")
    db.executemany("INSERT INTO pair VALUES (?, 0, zeroblob(2000))", ((n,) for n in range(BALLAST)))


def step(db: sqlite3.Connection) -> None:
    """A change at both ends of the file."""
    db.execute("UPDATE pair SET value = value + 1 WHERE place IN (0, ?)", (BALLAST - 1,))


@asynchronous
async def test_reads_and_writes_go_on_while_it_is_made_and_it_is_one_state_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "STEP", 8)
    store = await Store.open(tmp_path)
    await store.write(fill)
    real = store._let_others
    monkeypatch.setattr(store, "_let_others", lambda seconds: real(0.02))
    making = asyncio.create_task(store.back_up("automatic"))
    seen = []
    while not making.done():
        await store.write(step)
        seen += await store.all("SELECT value FROM pair WHERE place = 0")
    low, high = content(await making, "SELECT value FROM pair WHERE value > 0")
    assert low == high
    assert 3 < low[0] <= len(seen)
    assert seen == [(n + 1,) for n in range(len(seen))]
    await store.close()


def spill(db: sqlite3.Connection) -> None:
    """More than fits into SQLite's memory: half of it is in the log when it is taken back."""
    db.execute("UPDATE pair SET value = -1, ballast = zeroblob(12000)")
    raise RuntimeError("taken back")


def grow(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO pair SELECT max(place) + 1, max(value), zeroblob(50000) FROM pair")
    step(db)


def shrink(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM pair WHERE place BETWEEN 100 AND 200")
    step(db)


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    work=st.lists(st.sampled_from([step, spill, grow, shrink]), max_size=12),
    when=st.lists(st.integers(0, 20), min_size=12, max_size=12),
    pages=st.integers(4, 64),
)
def test_whatever_happens_meanwhile_it_is_one_state_of_the_database(
    work: list[Callable[[sqlite3.Connection], None]], when: list[int], pages: int, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("copied")
    source = sqlite3.connect(folder / "wattle.db", isolation_level=None)
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "wal_autocheckpoint = 20", "synchronous = OFF"):
        source.execute(f"PRAGMA {pragma}").fetchall()
    source.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
    fill(source)
    plan = sorted(zip(when, work, strict=False), key=lambda moment: moment[0])
    turns = iter(range(10**9))

    def turn(_: float) -> None:
        now = next(turns)
        while plan and plan[0][0] <= now:
            source.execute("BEGIN IMMEDIATE")
            try:
                plan.pop(0)[1](source)
                source.execute("COMMIT")
            except RuntimeError:
                source.execute("ROLLBACK")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "STEP", pages)
        draft = backups.begin(folder, "automatic", 0)
        backups.copy(source, draft, turn)
    made = backups.finish(draft, 5)
    everything = "SELECT place, value, length(ballast) FROM pair"
    assert content(made, everything) == source.execute(everything).fetchall()
    source.close()
    shutil.rmtree(folder)


@asynchronous
async def test_two_at_once_are_made_one_after_the_other(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    made = await asyncio.gather(*(store.back_up(why) for why in ("by-hand", "automatic", "by-hand")))
    assert len({backup.name for backup in made}) == 3
    assert halves(tmp_path) == []
    await store.close()


@asynchronous
async def test_whoever_asked_may_go_away(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    asked = asyncio.create_task(store.back_up("by-hand"))
    await asyncio.sleep(0)
    asked.cancel()
    async with asyncio.timeout(10):
        while not backups.listed(tmp_path):
            await asyncio.sleep(0.01)
    await store.close()


# ---------------------------------------------------------------------------------------------------------- cut off


@asynchronous
async def test_a_store_that_is_closed_meanwhile_waits_for_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "STEP", 1)
    store = await Store.open(tmp_path)
    await store.write(fill)
    real, begun = store._let_others, threading.Event()

    def slowly(_: float) -> None:
        begun.set()
        real(60.0)

    monkeypatch.setattr(store, "_let_others", slowly)
    making = asyncio.create_task(store.back_up("automatic"))
    await asyncio.to_thread(begun.wait)
    await store.close()
    with pytest.raises(StoreUnavailable, match="is closed; ask again when a server owns it"):
        await making
    assert list((tmp_path / "backups").iterdir()) == []
    again = await Store.open(tmp_path)
    assert await again.all("SELECT count(*) FROM pair") == [(BALLAST,)]
    await again.close()


HANGS = """
import asyncio, sys, time
from pathlib import Path
from wattle_jupyter import backups
from wattle_jupyter.store import Store

def hang(*_, **__):
    print("here", flush=True)
    time.sleep(600)

async def main(folder, point, rows):
    store = await Store.open(Path(folder))
    rows = f"WITH n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n LIMIT {rows}) SELECT x, 0, zeroblob(2000) FROM n"
    await store.write(lambda db: db.execute(f"CREATE TABLE pair AS {rows}"))
    await store.back_up("by-hand")
    if point == "copy":
        turns = iter(range(1000))
        backups.STEP = 1
        store._let_others = lambda _: hang() if next(turns) == 100 else None
    else:
        setattr(backups, point, hang)
    await store.back_up("automatic")

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=["copy", "_look_through_copy", "_sync", "prune"])
def killed_at(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A server was killed when a backup had come so far."""
    command = [sys.executable, "-c", HANGS, str(tmp_path), request.param, str(BALLAST)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        server.kill()
        assert (said, server.wait()) == ("here\n", -signal.SIGKILL)
    return str(request.param)


@asynchronous
async def test_a_server_that_is_killed_in_the_middle_leaves_a_whole_backup_or_none(
    tmp_path: Path, killed_at: str
) -> None:
    whole = killed_at == "prune"
    assert bool(halves(tmp_path)) is not whole
    known = backups.listed(tmp_path)
    assert [backup.why for backup in known] == (["automatic", "by-hand"] if whole else ["by-hand"])
    for backup in known:
        assert content(backup, "SELECT count(*) FROM pair") == [(BALLAST,)]
    store = await Store.open(tmp_path)
    assert halves(tmp_path) == []
    assert await store.all("SELECT count(*) FROM pair") == [(BALLAST,)]
    assert (await store.back_up("automatic")).size > BALLAST * 2000
    await store.close()


# ---------------------------------------------------------------------------------------------------------- by itself


@pytest.mark.parametrize(("hours", "number"), [(24, 1), (0, 0)])
def test_an_engine_makes_them_by_itself_unless_the_setting_says_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, number: int
) -> None:
    @asynchronous
    async def check() -> None:
        monkeypatch.setattr(safekeeping, "FIRST", 0.0)
        monkeypatch.setattr(safekeeping, "LOOK", 0.01)
        settings = Settings(store=StoreSettings(backup_hours=hours))
        engine = await Engine.open(settings, tmp_path / "s", executor=FakeExecutor(World()), environ={})
        await Kept(engine.store).change()
        if number:
            async with asyncio.timeout(10):
                while not backups.listed(tmp_path / "s"):
                    await asyncio.sleep(0.01)
        else:
            assert engine._caring[1].done()
        await engine.close()
        assert len(backups.listed(tmp_path / "s")) == number

    check()


def test_the_doctor_says_how_old_the_newest_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "backups").mkdir()
    assert symptoms.backup(tmp_path).startswith("none yet; a server makes one by itself")
    (tmp_path / "backups" / "20270115T080000.000Z-automatic.db").write_bytes(b"")
    (tmp_path / "backups" / "20270114T080000.000Z-by-hand.db").write_bytes(b"")
    at = backups.listed(tmp_path)[0].at
    for age, words in ((5, "new"), (300, "5 min old"), (9000, "2 h old"), (9 * DAY, "9 d old"), (-DAY, "of a time to")):
        monkeypatch.setattr("wattle_jupyter.symptoms.time.time", lambda then=at + age: then)
        assert symptoms.backup(tmp_path).startswith(f"20270115T080000.000Z-automatic.db, {words}")
    assert symptoms.backup(tmp_path).endswith("; 2 in all")
