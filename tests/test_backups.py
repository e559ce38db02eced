"""Care for the data: backups, restores, old schemas, and what is said about a database that is of no use."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coroutines import asynchronous
from processes import EngineProcess, until

from wattle_jupyter import backups, history, migrations
from wattle_jupyter.errors import InvalidRequest, NotFound, StoreLocked, StoreUnavailable
from wattle_jupyter.guard import Mark, read_mark, write_mark
from wattle_jupyter.host.files import Attempts
from wattle_jupyter.host.record import Record
from wattle_jupyter.migrations import SCHEMA
from wattle_jupyter.paging import PageQuery
from wattle_jupyter.runlist import RunList
from wattle_jupyter.store import Store

FIXTURES = Path(__file__).parent / "fixtures"
EVERY = PageQuery(sort_by="created_at")


def plant(folder: Path, schema: int) -> None:
    """A store as a release with this schema left it."""
    folder.mkdir(exist_ok=True)
    db = sqlite3.connect(folder / "wattle.db")
    db.executescript((FIXTURES / f"schema_{schema}.sql").read_text())
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


async def runs_of(store: Store) -> list[str]:
    found, _ = await RunList(store).page(EVERY)
    return [f"{run['workflow']} {run['state']}" for run in json.loads(found)]


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A store with two runs in it, that nobody owns."""
    plant(tmp_path / "s", 1)
    return tmp_path / "s"


async def refused(folder: Path) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await Store.open(folder)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------- old schemas


def test_a_database_of_every_schema_is_kept_here() -> None:
    assert {p.stem for p in FIXTURES.glob("schema_*.sql")} == {f"schema_{n}" for n in range(1, SCHEMA + 1)}
    numbers = sorted(int(p.name[:4]) for p in Path(migrations.__file__).parent.glob("*.sql"))
    assert numbers == list(range(1, SCHEMA + 1))


@pytest.mark.parametrize("schema", range(1, SCHEMA))
@asynchronous
async def test_a_store_of_an_old_schema_is_backed_up_then_brought_up_to_date(tmp_path: Path, schema: int) -> None:
    plant(tmp_path, schema)
    store = await Store.open(tmp_path)
    assert await store.all("PRAGMA user_version") == [(SCHEMA,)]
    assert await runs_of(store) == ["nap completed", "etl failed"]
    live = await history.load(store, (await store.all("SELECT id FROM run WHERE workflow = 'etl'"))[0][0])
    assert [str(t.state) for t in live.task_runs.values()] == ["completed", "failed", "skipped"]
    await store.close()
    (made,) = backups.listed(tmp_path)
    assert made.why == f"before-schema-{SCHEMA}"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    with sqlite3.connect(made.path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (schema,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


@asynchronous
async def test_a_store_of_todays_schema_opens_as_it_is(tmp_path: Path) -> None:
    """When there is a next schema, this one is of a release: it must be in the fixtures by then."""
    plant(tmp_path, SCHEMA)
    store = await Store.open(tmp_path)
    assert await runs_of(store) == ["nap completed", "etl failed"]
    await store.close()
    assert backups.listed(tmp_path) == []


@asynchronous
async def test_an_upgrade_can_be_undone_for_an_older_release(used: Path) -> None:
    await (await Store.open(used)).close()
    restored = backups.restore(used, backups.find(used, "last"))
    assert (restored.schema, restored.runs) == (1, 2)
    with sqlite3.connect(used / "wattle.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()


@asynchronous
async def test_an_upgrade_that_cannot_be_backed_up_changes_nothing(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(backups, "_sync", full)
    said = await refused(used)
    assert said == f"no backup could be written to {used}/backups: No space left on device; free some space there"
    assert list((used / "backups").iterdir()) == []
    with sqlite3.connect(used / "wattle.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()


@asynchronous
async def test_a_newer_store_names_the_backup_that_leads_back(used: Path) -> None:
    store = await Store.open(used)
    await store.all("PRAGMA user_version = 99")
    await store.close()
    name = backups.listed(used)[0].name
    assert (await refused(used)).endswith(
        f"upgrade this installation, or go back to what it was before: `wattle restore {name}`"
    )


# ------------------------------------------------------------------------------------------------- backups and restores


@asynchronous
async def test_a_backup_holds_all_that_was_committed_and_the_oldest_ones_go(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, keep_backups=3)
    for epoch in range(1, 6):
        await store.set_epoch(epoch)
        made = await store.back_up("by-hand")
        assert made.size == made.path.stat().st_size > 0
    await store.close()
    found = []
    for backup in backups.listed(tmp_path):
        with sqlite3.connect(backup.path) as db:
            found += db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        db.close()
    assert found == ["5", "4", "3"]
    assert {p.suffix for p in (tmp_path / "backups").iterdir()} == {".db"}


@asynchronous
async def test_a_restore_is_refused_while_an_owner_lives_and_changes_nothing(used: Path) -> None:
    store = await Store.open(used)
    with pytest.raises(StoreLocked, match="belongs to another server that runs now; use that one, or end it"):
        backups.restore(used, backups.find(used, "last"))
    await store.set_epoch(7)
    await store.close()


@asynchronous
async def test_a_restore_can_be_undone(used: Path) -> None:
    store = await Store.open(used)
    await store.set_epoch(7)
    await store.close()
    restored = backups.restore(used, backups.find(used, "last"))
    assert restored.aside is not None
    store = await Store.open(used)
    assert store.epoch == 1
    await store.close()
    backups.restore(used, backups.find(used, restored.aside.parent.name))
    store = await Store.open(used)
    assert store.epoch == 7
    assert await runs_of(store) == ["nap completed", "etl failed"]
    await store.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a database" * 500, "cannot be restored: file is not a database; name another backup"),
        (b"", "is not a backup of a store; name one that `wattle backup` made"),
    ],
)
@asynchronous
async def test_what_is_no_backup_is_refused_and_the_store_stays(used: Path, content: bytes, words: str) -> None:
    bad = used.parent / "bad.db"
    bad.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        backups.restore(used, bad)
    assert str(caught.value) == f"{bad} {words}"
    with pytest.raises(InvalidRequest, match="is the database of the store itself; name a backup of it"):
        backups.restore(used, used / "wattle.db")
    with pytest.raises(NotFound, match=r"no backup 'nowhere\.db': neither a file nor one of the store's; .* is empty"):
        backups.find(used, "nowhere.db")
    store = await Store.open(used)
    assert await runs_of(store) == ["nap completed", "etl failed"]
    await store.close()


def test_a_damaged_backup_is_refused(used: Path) -> None:
    db = sqlite3.connect(used / "wattle.db", isolation_level=None)
    made = backups.make(db, used, "by-hand")
    db.close()
    content = bytearray(made.path.read_bytes())
    content[4096 * 3 :] = os.urandom(len(content) - 4096 * 3)
    made.path.write_bytes(content)
    with pytest.raises(InvalidRequest, match="name another backup"):
        backups.restore(used, made.path)
    assert (used / "wattle.db").exists()


# ------------------------------------------------------------------------------------------------------- what is broken


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)


async def prepared(folder: Path) -> str:
    """A store of today that was not closed, with a backup. Returns the backup's name."""
    store = await Store.open(folder)
    made = await store.back_up("by-hand")
    await store.close()
    write_mark(folder, Mark(read_mark(folder).session))
    return made.name


@asynchronous
async def test_a_store_that_was_not_closed_is_looked_through_and_a_damage_names_the_newest_backup(used: Path) -> None:
    name = await prepared(used)
    damage(used / "wattle.db")
    for _ in range(2):
        said = await refused(used)
        assert said.startswith(f"{used}/wattle.db is damaged: ")
        assert f"; `wattle restore {name}` brings back the backup of 20" in said
    backups.restore(used, backups.find(used, name))
    store = await Store.open(used)
    assert await runs_of(store) == ["nap completed", "etl failed"]
    await store.close()


@asynchronous
async def test_a_damage_is_looked_for_once_while_the_file_is_the_same(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(used)
    damage(used / "wattle.db")
    looked: list[Path] = []
    look = backups.look_through
    monkeypatch.setattr(backups, "look_through", lambda db, folder: (looked.append(folder), look(db, folder)))
    for _ in range(5):
        await refused(used)
    assert len(looked) <= 2  # the first close may still write to the file


@pytest.mark.parametrize("what", ["is gone", "is empty"])
@asynchronous
async def test_a_database_that_is_gone_is_not_begun_anew_over_the_runs_of_the_old_one(used: Path, what: str) -> None:
    name = await prepared(used)
    for path in used.glob("wattle.db*"):
        path.unlink()
    if what == "is empty":
        (used / "wattle.db").touch()
    said = await refused(used)
    assert said.startswith(f"{used}/wattle.db {what}, though runs were kept in it; `wattle restore {name}` brings back")
    backups.restore(used, backups.find(used, "last"))
    await (await Store.open(used)).close()


@asynchronous
async def test_without_a_backup_the_cure_is_to_begin_anew(used: Path) -> None:
    (used / "attempts" / uuid.uuid4().hex).mkdir(parents=True)
    (used / "wattle.db").unlink()
    assert (await refused(used)).endswith(f"there is no backup: move the folder {used} away to begin anew")


@asynchronous
async def test_a_truncated_database_is_refused_in_words(used: Path) -> None:
    name = await prepared(used)
    with (used / "wattle.db").open("r+b") as file:
        file.truncate(4096 * 5 + 100)
    assert f"`wattle restore {name}` brings back" in await refused(used)


@asynchronous
async def test_a_store_that_was_closed_opens_without_a_look(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await Store.open(used)).close()
    monkeypatch.setattr(backups, "look_through", lambda *_: pytest.fail("looked"))
    await (await Store.open(used)).close()


# nothing but a user namespace of its own keeps root from writing to a folder that is read-only
READ_ONLY = """
import asyncio, sys
from pathlib import Path
from wattle_jupyter.errors import WattleError
from wattle_jupyter.store import Store
try:
    asyncio.run(Store.open(Path(sys.argv[1])))
except WattleError as error:
    print(error)
"""


def as_nobody(folder: Path) -> str:
    command = [sys.executable, "-c", READ_ONLY, str(folder)]
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_store_that_cannot_be_written_is_refused_in_words(used: Path) -> None:
    used.chmod(0o500)
    (used / "attempts").mkdir(exist_ok=True)
    try:
        said = as_nobody(used)
    finally:
        used.chmod(0o700)
    assert "cannot be " in said
    assert said.endswith(("set WATTLE_STORE__DIR to a folder of your own", "yours to read and write"))


# --------------------------------------------------------------------------------------------- taken up after a restore


def leave_attempt(folder: Path, task_run: str, run: str, n: int, *lines: dict[str, Any], round: int = 1) -> str:
    """What the keeper leaves of an attempt."""
    id = uuid.uuid4().hex
    dir_fd = Attempts(str(folder)).open(id, create=True)
    claim = {"k": "claim", "attempt": id, "task_run": task_run, "run": run, "n": n, "round": round, "epoch": 1}
    record = Record.publish(dir_fd, claim | {"at": 5.0})
    for line in lines:
        record.append(line)
    record.close()
    os.close(dir_fd)
    return id


def exited(code: int) -> dict[str, Any]:
    return {"k": "exit", "code": code, "signal": None, "why": "", "ended_at": 9.0, "peak_rss": None}


@asynchronous
async def test_attempts_that_a_restored_database_does_not_know_are_taken_up(used: Path) -> None:
    store = await Store.open(used)
    await store.close()
    backup = backups.find(used, "last")
    with sqlite3.connect(backup) as db:
        run, task_run = db.execute("SELECT run, id FROM task_run WHERE task = 'clean'").fetchone()
    db.close()
    first = leave_attempt(used, task_run, run, 2, exited(4), round=2)
    second = leave_attempt(used, task_run, run, 3, exited(0), round=2)
    strange = leave_attempt(used, uuid.uuid4().hex, uuid.uuid4().hex, 1, exited(0))
    backups.restore(used, backup)
    store = await Store.open(used)
    assert set(store.rejoined.taken) == {first, second}
    assert store.rejoined.strange == [strange]
    rows = await store.all("SELECT n, round, state, reason FROM attempt WHERE task_run = ? ORDER BY n", (task_run,))
    assert rows == [(1, 1, "failed", "exit 3"), (2, 2, "failed", "exit 4"), (3, 2, "starting", "")]
    sql = "SELECT state, round, attempts, attempt, failures FROM task_run WHERE id = ?"
    assert await store.all(sql, (task_run,)) == [("running", 2, 3, second, 1)]
    assert await store.all("SELECT state, ended_at FROM run WHERE id = ?", (run,)) == [("running", None)]
    await store.close()
    store = await Store.open(used)
    assert store.rejoined.taken == []  # once
    await store.close()


def test_a_run_that_went_on_after_its_backup_runs_no_task_twice(make_engine: Callable[..., EngineProcess]) -> None:
    engine = make_engine().launch()
    count = engine.home / "count"
    task = f"echo $WATTLE_TASK >> {count}; while [ ! -e {engine.home}/go ]; do sleep 0.02; done"
    after = {"b": {"run": f"echo b >> {count}", "needs": ["a"]}, "c": {"run": f"echo c >> {count}", "needs": ["b"]}}
    run = engine.run({"a": {"run": task}, **after})
    engine.running(run, "a")
    name = str(engine.post("backups")["name"])
    (engine.home / "go").touch()
    assert engine.ended(run)["state"] == "completed"
    assert engine.end() == 0
    backups.restore(engine.store, backups.find(engine.store, name))
    engine.launch()
    assert engine.ended(run)["state"] == "completed"
    assert count.read_text().split() == ["a", "b", "c"]
    assert [a["state"] for t in "abc" for a in engine.task(run, t)["history"]] == ["completed"] * 3
    until(lambda: "attempts that it did not know were taken up again" in engine.said())
    assert json.loads((engine.store / "session").read_text())["closed"] is False


# --------------------------------------------------------------------------------------------------- the command line


def say(words: list[str], store: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "wattle_jupyter", *words, "--store", str(store)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_backup_and_restore_on_the_command_line(make_engine: Callable[..., EngineProcess]) -> None:
    engine = make_engine().launch()
    run = engine.run({"t": {"run": "true"}})
    engine.ended(run)
    target = engine.home / "mine.db"
    code, said = say(["backup", str(target)], engine.store)  # by the owner
    assert code == 0, said
    assert f"back to it: `wattle restore {target}`" in said
    assert say(["backup", str(target)], engine.store)[0] == 2  # it is there already
    code, said = say(["restore", str(target)], engine.store)
    assert code == 3
    assert "is in use by a server, which would not notice: end that server" in said
    assert engine.end() == 0
    engine.store.joinpath("wattle.db").write_bytes(b"not a database" * 999)
    code, said = say(["restore", "last"], engine.store)
    assert code == 0, said
    assert said.startswith("restored: 1 run, from ")
    code, said = say(["backup"], engine.store)  # nobody owns the store
    assert code == 0, said
    engine.launch()
    assert engine.state(run) == "completed"
