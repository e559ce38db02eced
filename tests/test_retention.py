"""Deleted runs: hidden, brought back, gone; never one that goes on, never one in the hands of a retry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from coroutines import asynchronous
from processes import EngineProcess, until

from wattle_jupyter import retention, spec
from wattle_jupyter.change import Change
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import WattleError
from wattle_jupyter.model import Event
from wattle_jupyter.retention import DAY, PIECE, TASKS, _pieces
from wattle_jupyter.settings import Settings


def ended(engine: EngineProcess, name: str, number: int) -> list[str]:
    """Ids of so many runs, the oldest first."""
    runs = []
    for _ in range(number):
        runs.append(engine.run({"t": {"run": "echo hello"}}, name))
        engine.ended(runs[-1])
    return runs


def test_the_preview_says_what_goes_and_the_rest_stays(engine: EngineProcess) -> None:
    old, new = ended(engine, "many", 4), ended(engine, "few", 1)
    asleep = engine.run({"t": {"run": "sleep 600"}}, "many")
    told = engine.get("cleanup?keep_runs=2")
    assert [(line["workflow"], line["runs"]) for line in told["workflows"]] == [("many", 3)]
    assert told["bytes"] > 0
    assert engine.get("runs?workflow=many")["pagination"]["total"] == 5
    assert engine.post("cleanup", {"keep_runs": 2}) == told
    kept = {run["id"] for run in engine.get("runs")["data"]}
    assert kept >= {asleep, old[-1], *new}
    assert not kept & set(old[:3])
    assert engine.get("cleanup?keep_days=1")["runs"] == 0
    engine.post(f"runs/{asleep}/cancel")
    engine.ended(asleep)


def test_a_deleted_run_is_hidden_everywhere_and_can_be_brought_back(engine: EngineProcess) -> None:
    first, second = ended(engine, "gone", 2)
    assert engine.request("DELETE", f"runs/{second}")[1]["data"] == {"id": second}
    assert engine.request("GET", f"runs/{second}")[0] == 404
    assert engine.request("POST", f"runs/{second}/retry")[0] == 404
    assert engine.get("runs/last")["id"] == first
    assert engine.request("DELETE", f"runs/{second}")[0] == 404
    assert engine.post(f"runs/{second[:10]}/undelete")["id"] == second
    assert engine.get("runs/last")["id"] == second
    assert "hello" in engine.get(f"runs/{second}/tasks/t/logs")["text"]
    assert engine.request("POST", f"runs/{second}/undelete")[0] == 404


def test_a_run_that_goes_on_is_not_deleted(engine: EngineProcess) -> None:
    run = engine.run({"t": {"run": "sleep 600"}}, "busy")
    engine.running(run, "t")
    status, answer = engine.request("DELETE", f"runs/{run}")
    assert (status, answer["message"]) == (409, f"run {run[:8]} is running; cancel it first")
    engine.post(f"runs/{run}/cancel")
    engine.ended(run)


@pytest.mark.parametrize("body", [{}, {"keep_runs": 0}, {"keep_runs": -1}, {"keep_days": True}, {"keep_days": "3"}])
def test_a_cleanup_without_a_sensible_limit_is_refused(engine: EngineProcess, body: dict[str, object]) -> None:
    assert engine.request("POST", "cleanup", body)[0] == 400


def test_what_watches_is_told(engine: EngineProcess) -> None:
    (run,) = ended(engine, "told", 1)
    engine.request("DELETE", f"runs/{run}")
    connection, answer = engine.open("GET", "events?since=0")
    kinds: list[str] = []
    while "run.deleted" not in kinds:
        line = answer.readline().decode()
        assert line, "the stream ended"
        if line.startswith("data:") and (event := json.loads(line[5:]))["run"] == run:
            kinds.append(event["kind"])
    connection.close()
    assert kinds[0] == "run.created"


@asynchronous
async def test_after_the_time_of_grace_nothing_is_left_of_it(tmp_path: Path, scratch_store: Path) -> None:
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    flow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"t": {"run": "echo hello"}}})
    runs = [await engine.scheduler.submit(flow, user="ada", key=f"k{n}") for n in range(2)]
    while engine.scheduler.pending:
        await asyncio.sleep(0.02)
    attempts = {p.name for p in (scratch_store / "attempts").iterdir()}
    assert len(attempts) == 2
    await engine.retention.delete(runs[0])
    assert await engine.retention.sweep() == 0  # the time of grace has begun
    assert {p.name for p in (scratch_store / "attempts").iterdir()} == attempts
    assert await engine.retention.purge(engine.retention._clock() + DAY) == 1
    assert len(list((scratch_store / "attempts").iterdir())) == 1
    for table in ("run", "task_run", "attempt", "request"):
        assert await engine.store.all(f"SELECT count(*) FROM {table}") == [(1,)]
    assert await engine.store.all("SELECT count(*) FROM event WHERE run = ?", (runs[0],)) == [(0,)]
    assert await engine.store.all("SELECT count(*) FROM workflow") == [(1,)]
    assert (await engine.scheduler.detail(runs[1]))["state"] == "completed"
    await engine.close()


@asynchronous
async def test_no_number_of_an_event_is_given_twice(tmp_path: Path, scratch_store: Path) -> None:
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    flow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"t": {"run": "true"}}})
    run = await engine.scheduler.submit(flow, user="ada")
    while engine.scheduler.pending:
        await asyncio.sleep(0.02)
    await engine.retention.delete(run)
    seen = engine.scheduler.hub.newest
    assert await engine.retention.purge(engine.retention._clock() + DAY) == 1
    assert await engine.store.all("SELECT count(*) FROM event") == [(0,)]
    assert await engine.store.newest_seq() == seen
    await engine.scheduler.submit(flow, user="ada")
    assert (await engine.store.all("SELECT min(seq) FROM event"))[0][0] == seen + 1
    while engine.scheduler.pending:
        await asyncio.sleep(0.02)
    await engine.close()


@asynchronous
async def test_what_was_brought_back_before_its_turn_stays(tmp_path: Path, scratch_store: Path) -> None:
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    flow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"t": {"run": "true"}}})
    run = await engine.scheduler.submit(flow, user="ada")
    while engine.scheduler.pending:
        await asyncio.sleep(0.02)
    await engine.retention.delete(run)
    async with engine.scheduler.settled:
        back = asyncio.create_task(engine.retention.undelete(run))
        await engine.store.all("SELECT 1")
        assert not back.done()  # it waits for whoever deletes for good
    assert await back == run
    told = [kind for (kind,) in await engine.store.all("SELECT kind FROM event WHERE run = ? ORDER BY seq", (run,))]
    assert told[-2:] == ["run.deleted", "run.changed"]  # whoever watches sees it again
    assert await engine.retention._purge([run]) == 0
    assert len(list((scratch_store / "attempts").iterdir())) == 1
    assert await engine.store.all("SELECT count(*) FROM event WHERE run = ?", (run,)) != [(0,)]
    await engine.close()


@asynchronous
async def test_a_run_starts_though_its_definition_is_deleted_just_then(tmp_path: Path, scratch_store: Path) -> None:
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    flow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"t": {"run": "true"}}})
    store, commit = engine.store, engine.store.commit

    async def commit_afterwards(change: Change) -> list[Event]:
        await store.write(lambda db: retention._delete(db, runs))
        return await commit(change)

    runs: list[str] = []
    store.commit = commit_afterwards  # type: ignore[method-assign]
    for _ in range(3):
        run = await engine.scheduler.submit(flow, user="ada")
        while engine.scheduler.pending:
            await asyncio.sleep(0.02)
        assert (await engine.scheduler.detail(run))["state"] == "completed"
        await engine.retention.delete(run)
        runs.append(run)
    assert await store.all("SELECT id FROM run") == [(runs[-1],)]
    assert engine.scheduler.trouble is None
    await engine.close()


@asynchronous
async def test_a_retry_and_a_deletion_never_meet(tmp_path: Path, scratch_store: Path) -> None:
    engine = await Engine.open(Settings(), scratch_store, environ={"PATH": "/usr/bin:/bin"})
    flow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"t": {"run": "exit 3"}}})
    for _ in range(15):
        run = await engine.scheduler.submit(flow, user="ada")
        while engine.scheduler.pending:
            await asyncio.sleep(0.005)

        async def deleted(run: str = run) -> None:
            await engine.retention.delete(run)
            await engine.retention.purge(engine.retention._clock() + DAY)

        done = await asyncio.gather(deleted(), engine.scheduler.retry(run, None), return_exceptions=True)
        assert all(d is None or isinstance(d, WattleError) for d in done), done
        while engine.scheduler.pending:
            await asyncio.sleep(0.005)
        assert engine.scheduler.trouble is None
    await engine.close()


def test_the_settings_clean_by_themselves(make_engine: Callable[..., EngineProcess]) -> None:
    engine = make_engine().launch()
    runs = ended(engine, "w", 3)
    assert engine.end() == 0
    engine.launch(WATTLE_STORE__KEEP_RUNS="1", WATTLE_STORE__UNDO_DAYS="0")
    until(lambda: [run["id"] for run in engine.get("runs")["data"]] == runs[2:])
    until(lambda: len(list((engine.store / "attempts").iterdir())) == 1)


def test_runs_go_in_pieces_by_their_number_and_by_their_tasks() -> None:
    small, big = [(f"s{n}", 3) for n in range(PIECE + 1)], [("b0", TASKS), ("b1", 2 * TASKS), ("b2", 1), ("b3", 2)]
    assert [len(piece) for piece in _pieces(small)] == [PIECE, 1]
    assert list(_pieces(big)) == [["b0"], ["b1"], ["b2", "b3"]]
    assert list(_pieces([])) == []
