"""Runs as the store remembers them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from coroutines import asynchronous
from fake_executor import FakeExecutor, World

from wattle_jupyter import history, liverun, spec
from wattle_jupyter.change import Change, Draft, Request
from wattle_jupyter.errors import Conflict, NotFound
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import Attempt, AttemptState, Left, Run, State, Value
from wattle_jupyter.store import Store

TASKS = {"a": {"run": "true", "outputs": {"n": "rows", "m": "rows"}}, "b": {"run": "echo {{ a.n }}"}}


async def keep(store: Store, id: str, name: str = "w", at: float = 1.0, **columns: Any) -> LiveRun:
    """A run in the store, its first task completed by its second attempt."""
    workflow = spec.load({"name": name, "tasks": TASKS, "working_dir": "/", "params": {"p": 1}})
    fields: dict[str, Any] = {
        "id": id, "workflow": name, "workflow_hash": "h", "snapshot": json.dumps(spec.dump(workflow)),
        "params": {"p": [1]}, "mode": "dependency", "priority": "low", "user": "ada", "created_at": at,
        "state": State.RUNNING,
    }  # fmt: skip
    run = Run(**fields | columns)
    live = liverun.create(run, workflow, iter([id[:31] + "a", id[:31] + "b"]))
    done, attempts = live.task_runs["a"], []
    for n, state in ((1, AttemptState.FAILED), (2, AttemptState.COMPLETED)):
        attempts.append(
            Attempt(id=f"{id[:30]}e{n}", task_run=done.id, run=id, n=n, round=1, executor="local", host="here", epoch=1,
                    state=state)
        )  # fmt: skip
    done.state, done.attempt, done.attempts = State.COMPLETED, attempts[1].id, 2
    values = [Value(attempt=a.id, name="n", kind="json", ref=a.n) for a in attempts]
    body = {"run": {"id": id, "seq": 0}}
    change = Change(
        at=at, new_runs={id: live}, new_attempts={a.id: a for a in attempts}, values=values,
        events=[Draft(id, "run.created", body)],
    )  # fmt: skip
    await store.commit(change)
    return live


def run_id(text: str) -> str:
    return text.ljust(32, "0")


@asynchronous
async def test_a_run_is_found_by_id_prefix_and_last(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    with pytest.raises(NotFound, match="there is no run yet"):
        await history.resolve(store, "last")
    first, second, third = run_id("abcd1"), run_id("abcd2"), run_id("ffff")
    for i, id in enumerate((first, third, second)):
        await keep(store, id, at=float(i))
    assert await history.resolve(store, first) == first
    assert await history.resolve(store, "ffff") == third
    assert await history.resolve(store, "abcd2") == second
    assert await history.resolve(store, "last") == second
    with pytest.raises(Conflict, match="more than one run begins with abcd: give more digits"):
        await history.resolve(store, "abcd")
    for text in ("abcd3", run_id("abcd3")):
        with pytest.raises(NotFound, match=f"no run {text}"):
            await history.resolve(store, text)
    for text in ("abc", "", "ABCD", "%", "abcd%", "latest", "../x", first + "0", "ffff\n"):
        with pytest.raises(NotFound, match="give its id, the first 4 or more digits of it, or `last`"):
            await history.resolve(store, text)
    await store.close()


@asynchronous
async def test_a_run_comes_back_with_newest_attempts_and_the_values_of_what_completed(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    kept = await keep(store, run_id("ab"), given={"x/y": Left("json", 1)})
    live = await history.load(store, kept.run.id)
    found = live.detail(7)
    assert (found["id"], found["workflow"], found["params"], found["seq"]) == (kept.run.id, "w", {"p": [1]}, 7)
    assert [(t["task"], t["state"], t["attempts"]) for t in found["tasks"]] == [
        ("a", "completed", 2),
        ("b", "created", 0),
    ]
    assert found["counts"]["completed"] == 1
    assert live.values == {"x/y": Left("json", 1), "a/n": Left("json", 2)}
    assert (live.waiting, live.active) == ({"a": 0, "b": 0}, 0)
    assert [a.n for a in live.attempts.values()] == [2]
    assert await history.snapshot_of(store, kept.run.id) == kept.run.snapshot
    with pytest.raises(NotFound, match="no run"):
        await history.load(store, run_id("cd"))
    await store.close()


@asynchronous
async def test_what_goes_on_is_found_oldest_first(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    states = [State.RUNNING, State.COMPLETED, State.QUEUED, State.FAILED, State.CREATED, State.CANCELLED]
    for i, state in enumerate(states):
        await keep(store, run_id(f"{i}"), at=10.0 - i, state=state)
    found, unreadable = await history.going_on(store)
    assert [live.run.state for live in found] == ["created", "queued", "running"]
    assert unreadable == {}
    spoilt = found[0].run
    sql = "UPDATE workflow SET spec = '{' WHERE id = ?"
    await store.write(lambda db: db.execute(sql, (spoilt.snapshot_id,)))
    found, unreadable = await history.going_on(store)
    assert spoilt.id in unreadable, "what cannot be read is named"
    assert all(live.run.snapshot_id != spoilt.snapshot_id for live in found), "and keeps no other from going on"
    await store.close()


@asynchronous
async def test_the_newest_run_of_a_workflow_and_its_attempts(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    assert await history.latest_of(store, "w") is None
    for i in range(2):
        await keep(store, run_id(f"{i}"), at=1.0)
    assert await history.latest_of(store, "w") == run_id("1")
    attempts, values = await history.attempts_of(store, run_id("1"), "a")
    assert ([a.n for a in attempts], [(v.name, v.ref) for v in values]) == ([1, 2], [("n", 2)])
    assert await history.attempts_of(store, run_id("1"), "b") == ([], [])
    assert (await history.attempt(store, attempts[0].id)).state is AttemptState.FAILED
    for bad in ("x", "f" * 32, "", "' OR 1"):
        with pytest.raises(NotFound, match="no attempt"):
            await history.attempt(store, bad)
    await store.close()


@asynchronous
async def test_an_event_of_a_big_run_comes_back_as_it_went(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    flow = spec.load({"name": "w", "tasks": {f"t{n}": "true" for n in range(700)}, "working_dir": "/ü"})
    row = Run(
        id=run_id("b"), workflow="w", workflow_hash="h", snapshot=json.dumps(spec.dump(flow)), params={},
        mode="dependency", priority="normal", user="ada",
    )  # fmt: skip
    live = liverun.create(row, flow, (f"{n:032x}" for n in range(700)))
    live.task_runs["t600"].reason = "exit 1 “ü”"
    change = Change(at=1.0, new_runs={row.id: live}, new_task_runs={t.id: t for t in live.task_runs.values()})
    change.events += [
        Draft(row.id, "run.created", {"run": dict(live.detail(0))}),
        Draft(row.id, "run.changed", {"run": {"reason": "é"}, "tasks": []}),
    ]
    sent = await store.commit(change)
    sent[0].body["run"]["seq"] = sent[0].seq
    assert await history.events_since(store, 0, row.id) == sent
    assert len((await history.load(store, row.id)).task_runs) == 700
    await store.close()


@asynchronous
async def test_requests_are_found_by_their_keys(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    keys = ["k", "ü'; --", '"', "", "\\"]
    await store.commit(Change(requests={key: Request(key, "submit", f"run {key}") for key in keys}))
    assert await history.requests(store, [*keys, "other"]) == {key: ("submit", f"run {key}") for key in keys}
    assert await history.requests(store, []) == {}
    await store.close()


@asynchronous
async def test_events_come_after_a_number_in_pieces_with_theirs_in_a_new_run(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    for i in range(4):
        await keep(store, run_id(f"{i % 2}{i}"))
    assert [e.seq for e in await history.events_since(store, 1, None, limit=2)] == [2, 3]
    assert await history.events_since(store, 0, run_id("12")) == []
    (found,) = await history.events_since(store, 0, run_id("11"))
    assert (found.seq, found.body["run"]["seq"]) == (2, 2)
    assert await history.events_since(store, 4, None) == []
    await store.close()


@asynchronous
async def test_long_events_come_in_shorter_pieces_and_none_is_left_out(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    texts = ["x" * (history.PIECE // 3 + n) for n in range(5)] + ["x" * 2 * history.PIECE, "x"]
    await store.commit(Change(events=[Draft(run_id("1"), "run.changed", {"text": text}) for text in texts]))
    seq, pieces = 0, []
    while found := await history.events_since(store, seq, None):
        pieces.append([event.seq for event in found])
        seq = found[-1].seq
    assert pieces == [[1, 2, 3], [4, 5, 6], [7]]
    await store.close()


@asynchronous
async def test_the_fake_executor_keeps_the_part_of_the_contract_that_the_scheduler_relies_on(tmp_path: Path) -> None:
    executor = FakeExecutor(World())
    assert [await FakeExecutor(executor.world).start(epoch) for epoch in (0, 0, 41, 0)] == [1, 2, 42, 43]
    (fact,) = await executor.inspect({"x": "this boot"})
    (other,) = await executor.inspect({"y": "another boot"})
    assert (fact.kind, other.kind) == ("never_started", "lost")
    assert await executor.inspect({"x": "this boot"}) == [fact]  # judged for good
