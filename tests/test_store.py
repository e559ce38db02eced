"""The store: one owner, whole transactions, rows that come back as they went."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coroutines import asynchronous
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wattle_jupyter import library, liverun, rows, spec
from wattle_jupyter.change import Change, Draft, Request
from wattle_jupyter.errors import StoreLocked, StoreUnavailable
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import Attempt, AttemptState, Left, Run, State, TaskRun, Value
from wattle_jupyter.store import SCHEMA, Store, split


async def only_threads(count: int) -> None:
    """A thread that was told to end needs a moment for it."""
    async with asyncio.timeout(10):
        while threading.active_count() > count:
            await asyncio.sleep(0.001)


def new_id() -> str:
    return uuid.uuid4().hex


WORKFLOW = spec.load({"name": "w", "tasks": {"a": {"run": "true"}, "b": {"run": "true"}}, "working_dir": "/"})


async def new_run(store: Store, **columns: Any) -> LiveRun:
    """A run that is not in the store yet."""
    fields: dict[str, Any] = {
        "id": new_id(), "workflow": "w", "workflow_hash": spec.digest(WORKFLOW), "params": {},
        "snapshot": json.dumps(spec.dump(WORKFLOW)), "mode": "dependency", "priority": "normal", "user": "ada",
    }  # fmt: skip
    return liverun.create(Run(**fields | columns), WORKFLOW, iter(new_id, None))


def creation(live: LiveRun, *events: Draft) -> Change:
    return Change(at=1.0, new_runs={live.run.id: live}, events=list(events))


def attempt_of(task_run: TaskRun, n: int = 1, **columns: Any) -> Attempt:
    fields: dict[str, Any] = {
        "id": new_id(), "task_run": task_run.id, "run": task_run.run, "n": n, "round": 1, "executor": "local",
        "host": "here", "epoch": 1,
    }  # fmt: skip
    return Attempt(**fields | columns)


# ------------------------------------------------------------------------------------------------------- who may open


@asynchronous
async def test_a_second_owner_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    first = await Store.open(tmp_path)
    with pytest.raises(StoreLocked, match="belongs to another server that runs now"):
        await Store.open(tmp_path)
    await first.close()
    await (await Store.open(tmp_path)).close()


@asynchronous
async def test_a_new_store_has_the_schema_and_an_identity_that_stays(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "deep" / "store")
    assert await store.all("PRAGMA user_version") == [(SCHEMA,)]
    assert await store.all("PRAGMA journal_mode") == [("wal",)]
    assert await store.all("PRAGMA synchronous") == [(2,)]
    await store.set_epoch(7)
    await store.close()
    again = await Store.open(tmp_path / "deep" / "store")
    assert (again.id, again.epoch, len(again.id)) == (store.id, 7, 32)
    assert again.generation != store.generation
    await again.close()


@asynchronous
async def test_only_its_owner_may_enter_the_store_and_read_the_database(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = await Store.open(tmp_path / "s")
        await store.set_epoch(1)
    finally:
        os.umask(old)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [tmp_path / "s", *(tmp_path / "s").iterdir()]}
    assert modes == {
        "s": 0o700, "attempts": 0o700, "objects": 0o700, "backups": 0o700, "lock": 0o600, "wattle.db": 0o600,
        "wattle.db-wal": 0o600, "session": 0o600,
    }  # fmt: skip
    await store.close()


@asynchronous
async def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="cannot be written: Not a directory; set WATTLE_STORE__DIR"):
        await Store.open(tmp_path / "file" / "store")


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.symlink_to("/dev/null")])
@asynchronous
async def test_a_lock_that_is_no_file_is_refused_in_words(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "lock")
    with pytest.raises(StoreUnavailable, match=r"the lock of the store .* cannot be taken: .*WATTLE_STORE__DIR"):
        await Store.open(tmp_path)


@asynchronous
async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.all("PRAGMA user_version = 99")
    await store.close()
    with pytest.raises(StoreUnavailable, match=rf"newer .*\(schema 99, this one knows {SCHEMA}\); upgrade"):
        await Store.open(tmp_path)
    with sqlite3.connect(tmp_path / "wattle.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)
    db.close()


@asynchronous
async def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "wattle.db") as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(StoreUnavailable, match="is the database of another program; move it away"):
        await Store.open(tmp_path)
    with sqlite3.connect(tmp_path / "wattle.db") as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    db.close()


@pytest.mark.parametrize("make", [lambda p: p.write_bytes(b"not a database, but a long enough text" * 99), Path.mkdir])
@asynchronous
async def test_what_is_no_database_is_refused_in_words_and_the_lock_is_free_again(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "wattle.db"
    make(path)
    threads = threading.active_count()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"(is damaged|cannot be opened): .*"):
            await Store.open(tmp_path)
    await only_threads(threads)
    path.rmdir() if path.is_dir() else path.unlink()
    await (await Store.open(tmp_path)).close()


@asynchronous
async def test_a_damaged_database_says_so_and_what_to_do(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.close()
    content = bytearray((tmp_path / "wattle.db").read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    (tmp_path / "wattle.db").write_bytes(content)
    with pytest.raises(StoreUnavailable, match=r"malformed|not a database"):
        await Store.open(tmp_path)


@asynchronous
async def test_closing_twice_and_at_once_is_harmless_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())  # one of an earlier test may be ending
    store = await Store.open(tmp_path)
    assert len(set(threading.enumerate()) - before) == 1
    threads = threading.active_count() - 1
    lock = store._lock
    await asyncio.gather(store.close(), store.close())
    await store.close()
    await only_threads(threads)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lock)
    with pytest.raises(StoreUnavailable, match="is closed"):
        await store.newest_seq()


@asynchronous
async def test_a_close_whose_caller_goes_away_still_frees_the_lock(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await store.close()
    await (await Store.open(tmp_path)).close()


def test_a_script_is_split_at_the_ends_of_its_statements() -> None:
    assert [s.strip() for s in split("-- a; comment\nCREATE TABLE t (x);\nINSERT INTO t VALUES (';');\n")] == [
        "-- a; comment\nCREATE TABLE t (x);",
        "INSERT INTO t VALUES (';');",
    ]


# ------------------------------------------------------------------------------------------------------- transactions


@asynchronous
async def test_a_change_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    live = await new_run(store)
    change = creation(live, Draft(live.run.id, "run.created", {"run": {}}))
    change.requests = {name: Request("k", "submit", live.run.id) for name in ("k", "again")}
    with pytest.raises(sqlite3.IntegrityError):
        await store.commit(change)
    for table in ("run", "task_run", "request", "event"):
        assert await store.all(f"SELECT count(*) FROM {table}") == [(0,)]
    del change.requests["again"]
    assert [e.seq for e in await store.commit(change)] == [1]
    assert await store.all("SELECT count(*) FROM task_run") == [(2,)]
    await store.close()


@asynchronous
async def test_a_row_that_is_not_in_the_expected_state_stops_the_change(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    live = await new_run(store)
    await store.commit(creation(live))
    live.run.state = State.COMPLETED
    with pytest.raises(AssertionError, match="1 rows were not in the state that the scheduler knows"):
        await store.commit(Change(runs={live.run.id: (live.run, State.RUNNING)}))
    assert await store.all("SELECT state FROM run") == [("created",)]
    await store.commit(Change(runs={live.run.id: (live.run, State.CREATED)}))
    assert await store.all("SELECT state FROM run") == [("completed",)]
    await store.close()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (AttemptState.STARTING, AttemptState.STARTING),
        (AttemptState.RUNNING, AttemptState.STARTING),
        (AttemptState.COMPLETED, AttemptState.COMPLETED),
    ],
)
@asynchronous
async def test_the_database_itself_refuses_two_live_attempts_and_two_successes(
    tmp_path: Path, first: AttemptState, second: AttemptState
) -> None:
    store = await Store.open(tmp_path)
    live = await new_run(store)
    one, other = attempt_of(live.task_runs["a"], state=first), attempt_of(live.task_runs["a"], 2, state=second)
    change = creation(live)
    change.new_attempts[one.id] = one
    await store.commit(change)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await store.commit(Change(new_attempts={other.id: other}))
    other.state = AttemptState.FAILED
    await store.commit(Change(new_attempts={other.id: other}))
    await store.close()


@asynchronous
async def test_an_attempt_may_end_and_the_next_one_start_in_one_change(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    live = await new_run(store)
    old, new = attempt_of(live.task_runs["a"]), attempt_of(live.task_runs["a"], 2)
    change = creation(live)
    change.new_attempts[old.id] = old
    await store.commit(change)
    old.state = AttemptState.LOST
    await store.commit(Change(attempts={old.id: (old, AttemptState.STARTING)}, new_attempts={new.id: new}))
    assert await store.all("SELECT state FROM attempt ORDER BY n") == [("lost",), ("starting",)]
    await store.close()


@asynchronous
async def test_a_value_of_an_unknown_attempt_is_refused(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await store.commit(Change(values=[Value(attempt=new_id(), name="x", kind="json", ref=1)]))
    await store.close()


@asynchronous
async def test_events_are_numbered_without_gaps_in_the_order_of_the_commits_over_restarts(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    drafts = [[Draft(None, "workflow.changed", {"name": f"{i}.{j}"}) for j in range(i % 4)] for i in range(40)]
    changes = [Change(at=float(i), events=d) for i, d in enumerate(drafts)]
    numbered = await asyncio.gather(*(store.commit(change) for change in changes[:20]))
    _, event = await library.save(store, library.Recipe.of(WORKFLOW), 1.0)
    await store.close()
    store = await Store.open(tmp_path)
    numbered += await asyncio.gather(*(store.commit(change) for change in changes[20:]))
    count = sum(map(len, drafts)) + 1
    assert event is not None
    assert sorted([event.seq, *(e.seq for events in numbered for e in events)]) == list(range(1, count + 1))
    assert await store.newest_seq() == count
    assert [e.seq for events in numbered for e in events] == sorted(e.seq for events in numbered for e in events)
    await store.close()


@asynchronous
async def test_a_transaction_outlives_whoever_waited_for_it(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    begun, gate = threading.Event(), threading.Event()

    def slow(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO meta VALUES ('one', '1')")
        begun.set()
        gate.wait(10)
        db.execute("INSERT INTO meta VALUES ('two', '2')")

    waiting = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(begun.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    assert await store.all("SELECT key FROM meta WHERE key IN ('one', 'two') ORDER BY key") == [("one",), ("two",)]
    await store.write(lambda db: None)  # no transaction was left open
    await store.close()


@asynchronous
async def test_an_error_in_a_transaction_rolls_back_and_the_next_one_works(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)

    def failing(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO meta VALUES ('x', '1')")
        raise LookupError("no")

    with pytest.raises(LookupError):
        await store.write(failing)
    assert await store.all("SELECT * FROM meta WHERE key = 'x'") == []
    await store.set_epoch(3)
    await store.close()


@asynchronous
async def test_a_disk_that_is_full_is_said_in_words_and_nothing_is_half_written(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    (pages,) = (await store.all("PRAGMA page_count"))[0]
    await store.all(f"PRAGMA max_page_count = {pages}")
    big = Change(events=[Draft(None, "workflow.changed", {"name": "x" * 100_000})])
    with pytest.raises(StoreUnavailable, match="is full: nothing can be recorded or started; free some space there"):
        await store.commit(big)
    await store.all("PRAGMA max_page_count = 1000000")
    assert [e.seq for e in await store.commit(big)] == [1]
    await store.close()


# ------------------------------------------------------------------------------------------------------- rows ↔ nouns

times = st.none() | st.floats(0, 4e9)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
numbers = st.none() | st.integers(0, 2**62)


@given(
    run=st.fixed_dictionaries(
        {
            "params": st.dictionaries(texts, json_values, max_size=3),
            "mode": st.sampled_from(["dependency", "sequential", "parallel"]),
            "priority": st.sampled_from(["high", "normal", "low"]),
            "user": texts,
            "cause": texts,
            "only": st.none() | st.lists(st.sampled_from(["a", "b"]), unique=True),
            "given": st.dictionaries(texts, json_values.map(lambda value: Left("json", value)), max_size=2),
            "scripts": st.dictionaries(texts, texts, max_size=2),
            "state": st.sampled_from(list(State)),
            "reason": texts,
            "cancel_at": times,
            "cancelled_by": st.none() | texts,
            "paused_at": times,
            "created_at": st.floats(0, 4e9),
            "started_at": times,
            "ended_at": times,
        }
    ),
    task_run=st.fixed_dictionaries(
        {
            "state": st.sampled_from(list(State)),
            "reason": texts,
            "round": st.integers(1, 9),
            "failures": st.integers(0, 9),
            "losses": st.integers(0, 9),
            "attempts": st.integers(0, 9),
            "not_before": times,
            "stop_at": times,
            "stopped_by": st.none() | texts,
            "queued_at": times,
            "started_at": times,
            "ended_at": times,
        }
    ),
    attempt=st.fixed_dictionaries(
        {
            "state": st.sampled_from(list(AttemptState)),
            "reason": texts,
            "boot_id": texts,
            "pid": numbers,
            "code": st.none() | st.integers(0, 255),
            "signal": st.none() | st.integers(1, 64),
            "created_at": st.floats(0, 4e9),
            "started_at": times,
            "ended_at": times,
            "peak_rss": numbers,
            "log_size": numbers,
        }
    ),
)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nouns_come_back_from_the_store_as_they_went(
    run: dict[str, Any], task_run: dict[str, Any], attempt: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def round_trip() -> None:
        store = await Store.open(tmp_path_factory.getbasetemp() / "round_trip")
        live = await new_run(store, **run)
        for column, value in task_run.items():
            setattr(live.task_runs["b"], column, value)
        made = attempt_of(live.task_runs["b"], **attempt)
        live.task_runs["b"].attempt = made.id
        change = creation(live)
        change.new_attempts[made.id] = made
        await store.commit(change)
        (run_row,) = await store.all(f"SELECT {rows.RUN_COLUMNS} FROM run WHERE id = ?", (live.run.id,))
        back, total = rows.to_run(run_row)
        live.run.snapshot = ""
        assert (columns(back), total) == (columns(live.run), 2)
        sql = f"SELECT {rows.TASK_RUN_COLUMNS} FROM task_run WHERE run = ? ORDER BY position"
        found = [rows.to_task_run(row) for row in await store.all(sql, (live.run.id,))]
        assert [columns(t) for t in found] == [columns(t) for t in live.task_runs.values()]
        (attempt_row,) = await store.all(f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempt WHERE id = ?", (made.id,))
        assert columns(rows.to_attempt(attempt_row)) == columns(made)
        await store.close()

    asyncio.run(round_trip())


def columns(noun: Any) -> dict[str, Any]:
    return {name: getattr(noun, name) for name in noun.__slots__}
