"""Pages of the list of runs: in order, filtered, and never of a time that is over."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from coroutines import asynchronous
from hypothesis import given, settings
from hypothesis import strategies as st
from test_history import keep, run_id

from wattle_jupyter import backups, spec
from wattle_jupyter.engine import Engine
from wattle_jupyter.model import State
from wattle_jupyter.paging import PageQuery
from wattle_jupyter.retention import DAY
from wattle_jupyter.runlist import LONGEST, SORTS, RunList
from wattle_jupyter.settings import Settings
from wattle_jupyter.store import Store

NEWEST = PageQuery(sort_by="created_at")
ENDED: dict[str, Any] = {"state": State.FAILED, "ended_at": 9.0}


async def listed(runs: RunList, query: PageQuery = NEWEST) -> list[dict[str, Any]]:
    text, _ = await runs.page(query)
    return list(json.loads(text))


async def asked(store: Store, runs: RunList, query: PageQuery = NEWEST) -> list[str]:
    """The SQL of a page."""
    said: list[str] = []
    await store.read(lambda db: db.set_trace_callback(said.append))
    await runs.page(query)
    await store.read(lambda db: db.set_trace_callback(None))
    return said


async def told(store: Store, query: PageQuery) -> list[str]:
    """The SQL by which the runs of a page are found."""
    return [sql for sql in await asked(store, RunList(store), query) if "deleted_at" in sql]


async def done(engine: Engine) -> None:
    while engine.scheduler.pending:
        await asyncio.sleep(0.01)


# ------------------------------------------------------------------------------------------------------------ in order


@asynchronous
async def test_pages_of_runs_are_sorted_filtered_and_counted(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    for i in range(5):
        state = State.FAILED if i % 2 else State.COMPLETED
        await keep(store, run_id(f"abc{i}"), name="etl" if i < 3 else "fit", at=float(i), state=state)
    runs = RunList(store)

    async def ids(**query: Any) -> list[str]:
        return [run["id"][3] for run in await listed(runs, PageQuery(**{"sort_by": "created_at", **query}))]

    assert await ids() == list("43210")
    assert await ids(order="asc", page_size=2, page=2) == list("23")
    assert await ids(status=("failed",)) == list("31")
    assert await ids(workflow="fit", status=("failed", "completed")) == list("43")
    assert await ids(search="ABC3") == ["3"]
    assert await ids(search="TL") == list("210")
    assert await ids(sort_by="workflow", order="asc") == list("01234")
    assert await ids(search="' OR 1 --") == []
    assert await ids(search="_L") == await ids(search="%") == await ids(search="\\") == []
    found, told = await runs.page(PageQuery(sort_by="state", page_size=2))
    (first, _) = json.loads(found)
    assert (told["total"], told["total_pages"], first["counts"]["completed"], first["total"]) == (5, 3, 1, 2)
    await store.close()


@asynchronous
async def test_totals_and_sorted_pages_are_read_from_an_index_alone(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await keep(store, run_id("a"), name="etl", **ENDED)
    said: list[str] = []
    for more in ({}, {"status": ("failed",)}, {"workflow": "etl"}, {"search": "e"}):
        for sort in ("started_at", "ended_at", "workflow", "state"):
            said += await told(store, PageQuery(sort_by=sort, **more))
    assert len(said) == 32
    for sql in said:
        steps = [row[3] for row in await store.all(f"EXPLAIN QUERY PLAN {sql}") if " run " in row[3]]
        assert [step for step in steps if "COVERING INDEX" not in step] == [], sql
    await store.close()


@asynchronous
async def test_what_is_asked_for_most_is_not_sorted(tmp_path: Path) -> None:
    """By their creation, whatever they are filtered by, and by their end where they are of one workflow."""
    store = await Store.open(tmp_path)
    await keep(store, run_id("a"), name="etl", **ENDED)
    said = await told(store, PageQuery(sort_by="ended_at", workflow="etl", status=("failed",)))
    for more in ({}, {"status": ("failed",)}, {"workflow": "etl"}, {"search": "e"}):
        said += await told(store, PageQuery(sort_by="created_at", **more))
    pages = [sql for sql in said if "ORDER BY" in sql]
    assert len(pages) == 5
    for sql in pages:
        steps = [row[3] for row in await store.all(f"EXPLAIN QUERY PLAN {sql}")]
        assert "USE TEMP B-TREE FOR ORDER BY" not in steps, sql
    await store.close()


# ------------------------------------------------------------------------------------------------------ what is kept


@asynchronous
async def test_what_is_not_there_is_looked_for_once(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    for i in range(3):
        await keep(store, run_id(f"{i}"), name="etl", at=float(i), **ENDED)
    runs = RunList(store)
    for query in (PageQuery(sort_by="created_at", search="fit"), PageQuery(sort_by="created_at", page=2, page_size=3)):
        (counted,) = await asked(store, runs, query)
        assert counted.startswith("SELECT count(*)")
        assert await listed(runs, query) == []
    await store.close()


@asynchronous
async def test_only_what_goes_on_is_read_again(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await keep(store, run_id("a"), at=1.0, **ENDED)
    await keep(store, run_id("b"), at=2.0)
    runs = RunList(store)
    before = await runs.page(NEWEST)
    rows = [sql for sql in await asked(store, runs) if "params" in sql or "task_run" in sql]
    assert len(rows) == 2
    assert all(run_id("b") in sql and run_id("a") not in sql for sql in rows)
    assert await runs.page(NEWEST) == before == await RunList(store).page(NEWEST)
    await store.close()


@asynchronous
async def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    for i in range(4):
        await keep(store, run_id(f"{i}"), at=float(i), **ENDED)
    runs = RunList(store, kept=2)
    await runs.page(PageQuery(sort_by="created_at", page_size=1, page=3))
    await runs.page(PageQuery(sort_by="created_at", page_size=1, page=2))
    await runs.page(PageQuery(sort_by="created_at", page_size=1, page=3))  # it is the one that was used last
    await runs.page(PageQuery(sort_by="created_at", page_size=1, page=1))
    assert list(runs._kept) == [run_id("1"), run_id("3")]
    await keep(store, run_id("8"), at=8.0, params={"p": "x" * LONGEST}, **ENDED)
    assert [len(run["params"]["p"]) for run in await listed(runs)] == [LONGEST, 1, 1, 1, 1]
    assert run_id("8") not in runs._kept
    assert len(runs._kept) == 2
    await store.close()


@asynchronous
async def test_a_retried_run_is_shown_as_it_goes_on_and_as_it_ended_again(tmp_path: Path, scratch_store: Path) -> None:
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    tasks = {
        "t": {"run": "test -e ready || exit 3; test -e go || sleep 600", "grace": 0.2},
        "after": {"run": "true", "needs": ["t"]},
    }
    flow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": tasks})
    run = await engine.scheduler.submit(flow, user="ada")
    await done(engine)

    async def seen() -> tuple[Any, ...]:
        (shown,) = await listed(engine.runs)
        assert shown == await engine.scheduler.summary(run)
        return (
            shown["state"],
            shown["reason"],
            shown["ended_at"] is None,
            {k: n for k, n in shown["counts"].items() if n},
        )

    assert await seen() == await seen() == ("failed", "t failed: exit 3", False, {"failed": 1, "skipped": 1})
    (tmp_path / "ready").touch()
    await engine.scheduler.retry(run, None)
    while (now := await seen())[0] != "running":
        assert now[2], "it has not ended"
    await engine.scheduler.cancel(run, "ada")
    await done(engine)
    assert await seen() == await seen() == ("cancelled", "cancelled by ada", False, {"cancelled": 2})
    (tmp_path / "go").touch()
    await engine.scheduler.retry(run, None)
    await done(engine)
    assert await seen() == await seen() == ("completed", "", False, {"completed": 2})
    await engine.close()


@asynchronous
async def test_a_deleted_run_is_listed_no_more_until_it_is_brought_back(tmp_path: Path, scratch_store: Path) -> None:
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    flow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"t": {"run": "true"}}})
    run = await engine.scheduler.submit(flow, user="ada")
    await done(engine)
    text, told = await engine.runs.page(NEWEST)
    await engine.retention.delete(run)
    gone, told_gone = await engine.runs.page(NEWEST)
    assert (gone, told_gone["total"]) == ("[]", 0)
    await engine.retention.undelete(run)
    assert await engine.runs.page(NEWEST) == (text, told)
    await engine.retention.delete(run)
    await engine.retention.purge(engine.retention._clock() + DAY)
    assert (await engine.runs.page(NEWEST))[0] == "[]"
    await engine.close()


@asynchronous
async def test_a_restored_database_is_shown_as_it_is(tmp_path: Path, scratch_store: Path) -> None:
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    flow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"t": {"run": "exit 3"}}})
    await engine.scheduler.submit(flow, user="ada")
    await done(engine)
    before = await engine.runs.page(NEWEST)
    await engine.store.back_up("by hand")
    await engine.scheduler.submit(flow, user="ada")
    await done(engine)
    assert (await engine.runs.page(NEWEST))[1]["total"] == 2
    await engine.close()
    backups.restore(scratch_store, backups.find(scratch_store, "last"))
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    assert await engine.runs.page(NEWEST) == before
    await engine.close()


# ------------------------------------------------------------------------------------------------ whatever happens

IDS = [run_id(digit) for digit in "01234"]
END = (
    "UPDATE run SET state = ?, reason = 'r' || ?, ended_at = ?, cancel_at = ? WHERE id = ?",
    "UPDATE task_run SET state = ? WHERE run = ?",
)
DEEDS = st.one_of(
    st.tuples(st.just("end"), st.sampled_from(IDS), st.sampled_from(["completed", "failed", "cancelled"])),
    st.tuples(st.just("retry"), st.sampled_from(IDS), st.sampled_from(["queued", "running"])),
    st.tuples(st.just("delete"), st.sampled_from(IDS), st.just("")),
    st.tuples(st.just("undelete"), st.sampled_from(IDS), st.just("")),
    st.tuples(st.just("purge"), st.sampled_from(IDS), st.just("")),
)
QUERIES = st.builds(
    PageQuery,
    sort_by=st.sampled_from(sorted(SORTS)),
    order=st.sampled_from(["asc", "desc"]),
    page=st.integers(1, 3),
    page_size=st.integers(1, 5),
    status=st.sampled_from([(), ("completed",), ("failed", "running")]),
    workflow=st.sampled_from(["", "w", "v"]),
    search=st.sampled_from(["", "w", "2"]),
)


def do(deed: str, run: str, state: str, now: float, db: sqlite3.Connection) -> None:
    """What the scheduler and the retention write."""
    if deed == "purge":
        db.execute("DELETE FROM run WHERE id = ? AND deleted_at IS NOT NULL", (run,))
    elif deed in ("delete", "undelete"):
        at = now if deed == "delete" else None
        db.execute("UPDATE run SET deleted_at = ? WHERE id = ? AND ended_at IS NOT NULL", (at, run))
    else:
        at = now if deed == "end" else None
        db.execute(END[0], (state, now, at, at, run))
        db.execute(END[1], (state, run))


@settings(deadline=None)
@given(st.lists(st.tuples(DEEDS, QUERIES), min_size=1, max_size=12))
def test_whatever_happens_a_page_is_what_it_would_be_with_nothing_kept(played: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), played))


async def _play(folder: Path, played: list[Any]) -> None:
    store = await Store.open(folder / "s")
    for i, run in enumerate(IDS):
        await keep(store, run, name="v" if i % 2 else "w", at=float(i))
    runs, few = RunList(store), RunList(store, kept=2)
    for now, (deed, query) in enumerate(played, 10):
        verb, run, state = deed
        await store.write(partial(do, verb, run, state, float(now)))
        expected = await RunList(store).page(query)
        assert await runs.page(query) == await few.page(query) == await runs.page(query) == expected
    await store.close()
