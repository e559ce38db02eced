"""The scheduler with a real store and an executor whose processes the test holds in its hand."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from coroutines import asynchronous
from fake_executor import FakeExecutor, World, away
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wattle_jupyter import history, outbox, outputs, scheduler, spec, statemachine
from wattle_jupyter.change import Change
from wattle_jupyter.errors import Conflict, NotFound, SpecError, StoreUnavailable, TooManyRuns, Unavailable
from wattle_jupyter.library import Recipe
from wattle_jupyter.model import Event, Workflow
from wattle_jupyter.scheduler import Scheduler
from wattle_jupyter.statemachine import Limits
from wattle_jupyter.store import Store

QUIET = logging.Logger("quiet", level=logging.CRITICAL)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "RETRY_COMMIT", 0.01)
    monkeypatch.setattr(outbox, "PAUSE", 0.01)
    monkeypatch.setattr(statemachine, "LOSS_DELAY", 0.01)


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(20):
        while not (value := condition()):
            await asyncio.sleep(0.001)
    return value


def workflow(tasks: dict[str, Any] | None = None, name: str = "w", **extra: Any) -> Workflow:
    tasks = tasks or {"a": {"run": "true"}}
    return spec.load({"name": name, "tasks": tasks, "working_dir": "/", "concurrent": True, **extra})


CHAIN = {"a": {"run": "true"}, "b": {"run": "true", "needs": ["a"]}, "c": {"run": "true", "needs": ["b"]}}


class Server:
    """A store, a scheduler and a world of processes that outlives both."""

    def __init__(self, folder: Path, world: World, before: Any = None, **limits: Any) -> None:
        self.folder, self.world, self.before, self.limits = folder, world, before, limits
        self.now: float | None = None
        self.store: Store
        self.scheduler: Scheduler
        self.executor: FakeExecutor

    async def open(self) -> Server:
        self.store = await Store.open(self.folder)
        self.executor = FakeExecutor(self.world, self.before)
        self.scheduler = Scheduler(
            self.store, self.executor, Limits(**self.limits), environ={"PATH": "/usr/bin:/bin"},
            clock=lambda: time.time() if self.now is None else self.now, log=QUIET,
        )  # fmt: skip
        await self.scheduler.start()
        return self

    async def close(self) -> None:
        await self.scheduler.stop()
        await self.store.close()

    async def __aenter__(self) -> Server:
        return await self.open()

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def crash(self) -> None:
        """End as SIGKILL would: nothing is finished, nothing is said; only the lock goes."""
        for task in self.scheduler._tasks:
            task.cancel()
        await asyncio.gather(*self.scheduler._tasks, return_exceptions=True)
        await self.store.close()

    async def crash_and_restart(self) -> None:
        await self.crash()
        await self.open()

    async def submit(self, wanted: Workflow | Recipe | None = None, **extra: Any) -> str:
        return await self.scheduler.submit(wanted or workflow(), user="ada", **extra)

    async def state(self, run: str) -> str:
        return (await self.scheduler.detail(run))["state"]

    async def states(self, run: str) -> dict[str, str]:
        return {t["task"]: t["state"] for t in (await self.scheduler.detail(run))["tasks"]}

    async def active(self, count: int = 1) -> list[str]:
        """Ids of the attempts that the executor holds, once there are ``count``."""
        return await until(lambda: len(found := self.world.active()) >= count and found)  # type: ignore[no-any-return]

    async def attempt(self, task: str) -> str:
        def find() -> str | None:
            return next((a for a in self.world.active() if self.task_of(a) == task), None)

        return await until(find)  # type: ignore[no-any-return]  # an id

    def task_of(self, attempt: str) -> str:
        return self.world.specs[attempt].env["WATTLE_TASK"]

    async def end(self, task: str, code: int = 0, **how: Any) -> None:
        attempt = await self.attempt(task)
        self.executor.tell(self.world.end(attempt, code, **how))
        await until(lambda: attempt not in self.world.held)

    async def ended(self, run: str) -> str:
        await until(lambda: run not in self.scheduler.live)
        return await self.state(run)


# ------------------------------------------------------------------------------------------------- commit, then act


@asynchronous
async def test_an_attempt_is_on_disk_as_starting_before_the_executor_hears_of_it(tmp_path: Path) -> None:
    server = Server(tmp_path, World())
    seen: list[str] = []

    async def before(verb: str, specs: Any) -> None:
        if verb == "submit":
            for attempt in specs:
                seen.append((await history.attempt(server.store, attempt.id)).state)

    server.before = before
    async with server:
        run = await server.submit(workflow(CHAIN))
        for task in CHAIN:
            await server.end(task)
        assert await server.ended(run) == "completed"
    assert seen == ["starting"] * 3


@asynchronous
async def test_an_end_is_acknowledged_only_when_it_is_on_disk(tmp_path: Path) -> None:
    server = Server(tmp_path, World())
    seen: list[str] = []

    async def before(verb: str, ids: Any) -> None:
        if verb == "acknowledge":
            seen.extend([(await history.attempt(server.store, id)).state for id in ids])

    server.before = before
    async with server:
        await server.submit()
        await server.end("a", 3)
    assert seen == ["failed"]


@asynchronous
async def test_nobody_sees_an_event_or_a_state_that_is_not_on_disk(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        commit, gate, arrived = server.store.commit, asyncio.Event(), asyncio.Event()
        run = await server.submit()
        attempt = await server.attempt("a")
        newest = server.scheduler.hub.newest

        async def slow(change: Change) -> list[Event]:
            arrived.set()
            await gate.wait()
            return await commit(change)

        server.store.commit = slow  # type: ignore[method-assign]  # a disk that takes its time
        server.executor.tell(server.world.end(attempt))
        await arrived.wait()
        assert await server.states(run) == {"a": "running"}
        assert server.scheduler.hub.newest == newest
        assert server.world.held == {attempt}
        gate.set()
        assert await server.ended(run) == "completed"
        assert server.scheduler.hub.newest > newest


@asynchronous
async def test_an_answer_does_not_change_under_whoever_holds_it(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        run = await server.submit(workflow(CHAIN))
        before = await server.scheduler.detail(run)
        await server.end("a")
        assert (before["counts"]["completed"], before["tasks"][0]["state"]) == (0, "running")
        after = await server.scheduler.detail(run)
        assert (after["counts"]["completed"], after["tasks"][0]["state"]) == (1, "completed")


# ------------------------------------------------------------------------------------------------------- recovery


@pytest.mark.parametrize("state", ["unknown", "queued", "running", "exited", "failed", "lost", "never_started"])
@asynchronous
async def test_after_a_crash_an_attempt_in_any_state_is_carried_to_its_end_once(tmp_path: Path, state: str) -> None:
    world = World()
    server = await Server(tmp_path, world, away(10**9, "submit") if state == "unknown" else None).open()
    run = await server.submit(workflow(CHAIN))
    if state != "unknown":
        attempt = await server.attempt("a")
        moves: dict[str, Callable[[], Any]] = {
            "queued": lambda: None, "running": lambda: world.run(attempt), "exited": lambda: world.end(attempt),
            "failed": lambda: world.end(attempt, 7), "lost": lambda: world.vanish(attempt, "lost"),
            "never_started": lambda: world.vanish(attempt, "never_started"),
        }  # fmt: skip
        moves[state]()
    server.before = None
    await server.crash_and_restart()
    if state == "failed":
        assert await server.ended(run) == "failed"
        assert await server.states(run) == {"a": "failed", "b": "skipped", "c": "skipped"}
    else:
        if state != "exited":
            await server.end("a")
        await server.end("b")
        await server.end("c")
        assert await server.ended(run) == "completed"
        assert (await server.scheduler.task(run, "a"))["attempts"] == (
            2 if state in ("lost", "never_started", "unknown") else 1
        )
    await server.close()
    assert world.held == set()


@asynchronous
async def test_a_cancel_survives_a_restart_and_the_stop_is_sent_again(tmp_path: Path) -> None:
    server = await Server(tmp_path, World(), away(10**9, "signal")).open()
    run = await server.submit(workflow(CHAIN))
    attempt = await server.attempt("a")
    await server.scheduler.cancel(run, "ada")
    server.before = None
    assert server.world.stops == []
    await server.crash_and_restart()
    await until(lambda: attempt in server.world.stops)
    await server.end("a", -15, why="stopped")
    assert await server.ended(run) == "cancelled"
    assert (await server.scheduler.task(run, "a"))["reason"] == "stopped by ada"
    await server.close()


@asynchronous
async def test_a_stop_never_overtakes_the_start_that_it_is_for(tmp_path: Path) -> None:
    server = Server(tmp_path, World())
    told: list[tuple[str, str]] = []
    gate = asyncio.Event()

    async def before(verb: str, argument: Any) -> None:
        if verb == "submit":
            await gate.wait()
            told.extend(("submit", s.id) for s in argument)
        elif verb == "signal":
            told.append(("signal", argument))

    server.before = before
    async with server:
        await server.submit()
        second = await server.submit(workflow(name="v"))
        await server.scheduler.cancel(second, "ada")
        gate.set()
        await until(lambda: len(told) == 3)
        attempt = next(a for verb, a in told if verb == "signal")
        assert told.index(("submit", attempt)) < told.index(("signal", attempt))


@asynchronous
async def test_a_finished_run_is_retried_after_a_restart(tmp_path: Path) -> None:
    server = await Server(tmp_path, World()).open()
    run = await server.submit(workflow(CHAIN))
    await server.end("a")
    await server.end("b", 1)
    assert await server.ended(run) == "failed"
    await server.crash_and_restart()
    assert not server.scheduler.pending
    await server.scheduler.retry(run, None)
    assert server.scheduler.pending
    assert (await server.scheduler.task(run, "b"))["attempts"] == 2
    await server.end("b")
    await server.end("c")
    assert await server.ended(run) == "completed"
    assert Counter(map(server.task_of, server.world.starts)) == {"a": 1, "b": 2, "c": 1}
    await server.close()


@asynchronous
async def test_a_stopping_policy_holds_over_a_restart(tmp_path: Path) -> None:
    server = await Server(tmp_path, World()).open()
    tasks = {"a": {"run": "true"}, "b": {"run": "true", "retries": 5}}
    run = await server.submit(workflow(tasks, on_failure="stop"))
    await server.active(2)
    await server.end("a", 1)
    await server.crash_and_restart()
    await server.end("b", 1)
    assert await server.ended(run) == "failed"
    assert (await server.scheduler.task(run, "b"))["attempts"] == 1
    await server.close()


# ------------------------------------------------------------------------------------------------------- requests


@asynchronous
async def test_a_key_starts_one_run_in_one_batch_and_over_a_restart(tmp_path: Path) -> None:
    server = await Server(tmp_path, World()).open()
    runs = await asyncio.gather(*(server.submit(key="k") for _ in range(50)))
    assert len(set(runs)) == 1
    await server.crash_and_restart()
    assert await server.submit(key="k") == runs[0]
    assert len(server.world.specs) == 1
    await server.close()


@asynchronous
async def test_a_key_starts_one_run_when_the_repeat_comes_while_the_first_is_being_committed(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        commit = server.store.commit
        repeats: list[asyncio.Task[str]] = []

        async def commit_meanwhile(change: Change) -> list[Event]:
            if change.new_runs and not repeats:
                repeats.append(asyncio.create_task(server.submit(key="k")))
                await until(lambda: server.scheduler._inbox)  # it looked for the key, and found nothing
            return await commit(change)

        server.store.commit = commit_meanwhile  # type: ignore[method-assign]
        first = await server.submit(key="k")
        assert await repeats[0] == first
        assert server.scheduler.trouble is None


@asynchronous
async def test_a_repeat_is_answered_though_the_disk_says_something_else_by_now(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    wanted = workflow(working_dir=str(folder))
    async with Server(tmp_path / "store", World()) as server:
        run = await server.submit(wanted, key="k")
        folder.rmdir()
        assert await server.submit(wanted, key="k") == run
        for key in (None, "other"):
            with pytest.raises(SpecError, match="no folder"):
                await server.submit(wanted, key=key)
        with pytest.raises(Conflict, match="another request"):
            await server.scheduler.cancel(run, "ada", key="k")


@asynchronous
async def test_a_key_of_another_request_is_refused(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        run = await server.submit(key="k")
        other = await server.submit(key="other")
        with pytest.raises(Conflict, match="another request"):
            await server.scheduler.cancel(run, "ada", key="k")
        await server.scheduler.cancel(run, "ada", key="c")
        await server.scheduler.cancel(run, "ada", key="c")
        with pytest.raises(Conflict, match="another request"):
            await server.scheduler.cancel(other, "ada", key="c")
        answers = await asyncio.gather(
            server.scheduler.cancel(other, "ada", key="x"), server.submit(key="x"), return_exceptions=True
        )
        assert [type(a) for a in answers].count(Conflict) == 1
        assert server.scheduler.trouble is None


@asynchronous
async def test_a_repeated_retry_with_its_key_changes_nothing(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        run = await server.submit()
        await server.end("a", 1)
        await server.ended(run)
        await server.scheduler.retry(run, None, key="r")
        await server.end("a", 1)
        await server.ended(run)
        await server.scheduler.retry(run, None, key="r")
        assert await server.state(run) == "failed"
        assert len(server.world.starts) == 2


@asynchronous
async def test_a_retry_while_the_end_of_the_run_is_being_committed_is_done(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        run = await server.submit()
        commit = server.store.commit
        retries: list[asyncio.Task[None]] = []

        async def commit_meanwhile(change: Change) -> list[Event]:
            if change.attempts and not retries and any(a.state.final for a, _ in change.attempts.values()):
                retries.append(asyncio.create_task(server.scheduler.retry(run, None)))
                await until(lambda: server.scheduler._inbox)
            return await commit(change)

        server.store.commit = commit_meanwhile  # type: ignore[method-assign]
        await server.end("a", 1)
        await until(lambda: retries)
        await retries[0]
        await server.end("a")
        assert await server.ended(run) == "completed"


@asynchronous
async def test_a_refused_retry_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        run = await server.submit()
        await server.end("a")
        assert await server.ended(run) == "completed"
        with pytest.raises(Conflict, match="nothing to retry"):
            await server.scheduler.retry(run, None)
        with pytest.raises(NotFound, match="no task 'z'"):
            await server.scheduler.retry(run, ["z"])
        assert (server.scheduler.live, server.scheduler._machine.live) == ({}, {})
        assert not server.scheduler.pending
        assert await server.state(run) == "completed"


@asynchronous
async def test_requests_about_what_is_not_there_say_so(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        for ask in (server.scheduler.cancel("f" * 32, "ada"), server.scheduler.retry("f" * 32, None)):
            with pytest.raises(NotFound, match="no run ffff"):
                await ask
        run = await server.submit()
        with pytest.raises(NotFound, match="no task 'z'"):
            await server.scheduler.stop_task(run, "z", "ada")
        with pytest.raises(NotFound, match="no task 'z'"):
            await server.scheduler.task(run, "z")
        with pytest.raises(NotFound, match="w has no task 'z'"):
            await server.submit(only=["z"])


@asynchronous
async def test_last_and_a_prefix_name_the_run_that_is_cancelled(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        runs = [await server.submit(workflow(name=n)) for n in "vw"]
        await server.scheduler.cancel("last", "ada")
        await server.scheduler.cancel(runs[0][:12], "ada")
        assert [(await server.scheduler.detail(r))["cancel_at"] is None for r in runs] == [False, False]


@pytest.mark.parametrize(
    "value", [object(), float("nan"), float("inf"), functools.reduce(lambda v, _: [v], range(200), 1)]
)
@asynchronous
async def test_a_param_that_is_not_json_is_refused_and_stops_nothing(tmp_path: Path, value: object) -> None:
    async with Server(tmp_path, World()) as server:
        with pytest.raises(SpecError, match=r"params\.x: .*(not JSON|nested deeper)"):
            await server.submit(workflow(params={"x": 1}), params={"x": value})
        assert await server.state(await server.submit()) == "running"


@asynchronous
async def test_words_that_no_database_takes_stop_nothing(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        run = await server.scheduler.submit(workflow(), user="\udcff")
        attempt = await server.attempt("a")
        server.executor.tell(server.world.vanish(attempt, "never_started", "no such command: \udcff"))
        assert await server.ended(run) == "failed"
        assert (await server.scheduler.task(run, "a"))["reason"] == "no such command: ?"
        assert server.scheduler.trouble is None


@asynchronous
async def test_the_full_queue_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    async with Server(tmp_path, World(), max_active_runs=1, max_queued_runs=3) as server:
        answers = await asyncio.gather(*(server.submit() for _ in range(10)), return_exceptions=True)
        refused = [a for a in answers if isinstance(a, TooManyRuns)]
        assert len(server.scheduler.live) == 10 - len(refused)
        assert 3 <= len(server.scheduler.live) <= 4


@asynchronous
async def test_cancelled_runs_make_room_in_the_queue(tmp_path: Path) -> None:
    async with Server(tmp_path, World(), max_active_runs=1, max_queued_runs=2) as server:
        await server.submit()
        waiting = [await server.submit() for _ in range(2)]
        for run in waiting:
            await server.scheduler.cancel(run, "ada")
        assert await server.state(await server.submit()) == "queued"


@asynchronous
async def test_pending_says_whether_there_is_work(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        assert not server.scheduler.pending
        run = await server.submit()
        assert server.scheduler.pending
        await server.end("a")
        await server.ended(run)
        assert not server.scheduler.pending


# ---------------------------------------------------------------------------------------------------------- trouble


@asynchronous
async def test_while_the_disk_is_full_nothing_is_started_and_then_nothing_is_lost(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        heard: list[str | None] = []
        server.scheduler.on_trouble.append(heard.append)
        commit, full = server.store.commit, asyncio.Event()
        full.set()

        async def refusing(change: Change) -> list[Event]:
            if full.is_set():
                raise StoreUnavailable("the disk is full")
            return await commit(change)

        server.store.commit = refusing  # type: ignore[method-assign]
        asked = asyncio.create_task(server.submit())
        await until(lambda: server.scheduler.trouble)
        assert server.scheduler.trouble == "the disk is full"
        for late in (server.submit(), server.scheduler.define(workflow()), server.scheduler.undefine("w")):
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                await late
        assert server.world.specs == {}
        assert not asked.done()
        full.clear()
        run = await asked
        await server.end("a")
        assert await server.ended(run) == "completed"
        assert heard == ["the disk is full", None]


@asynchronous
async def test_a_server_that_stops_while_the_disk_is_full_answers_who_waits(tmp_path: Path) -> None:
    server = await Server(tmp_path, World()).open()

    async def refusing(change: Change) -> list[Event]:
        raise StoreUnavailable("the disk is full")

    server.store.commit = refusing  # type: ignore[method-assign]
    asked = asyncio.create_task(server.submit())
    await until(lambda: server.scheduler.trouble)
    await server.close()
    with pytest.raises(Unavailable):
        await asked
    with pytest.raises(Unavailable, match="stopping"):
        await server.submit()


@pytest.mark.parametrize("verb", ["submit", "signal", "acknowledge"])
@asynchronous
async def test_an_executor_that_is_away_for_a_while_gets_all_that_it_is_owed(tmp_path: Path, verb: str) -> None:
    async with Server(tmp_path, World(), away(3, verb)) as server:
        heard: list[str | None] = []
        server.scheduler.on_trouble.append(heard.append)
        run = await server.submit()
        await server.attempt("a")
        await server.scheduler.cancel(run, "ada")
        await until(lambda: server.world.stops)
        await server.end("a", -15, why="stopped")
        assert await server.ended(run) == "cancelled"
        await until(lambda: server.scheduler.trouble is None)
        assert heard == ["the executor fake cannot be reached: the keeper is being started again", None]


@asynchronous
async def test_an_executor_that_hangs_holds_up_no_request(tmp_path: Path) -> None:
    async def hang(verb: str, argument: Any) -> None:
        if verb == "submit":
            await asyncio.Event().wait()

    server = await Server(tmp_path, World(), hang).open()
    run = await server.submit()
    assert await server.state(run) == "running"
    await server.scheduler.cancel(run, "ada")
    await server.submit(workflow(name="v"))
    await server.crash()


@pytest.mark.parametrize("where", ["commit", "facts", "executor"])
@asynchronous
async def test_an_error_of_our_own_is_seen_and_requests_are_refused_instead_of_hanging(
    tmp_path: Path, where: str
) -> None:
    async with Server(tmp_path, World()) as server:
        first = await server.submit()
        attempt = await server.attempt("a")

        async def broken(*_: Any) -> Any:
            await asyncio.sleep(0)
            raise AssertionError("a slip")

        if where == "commit":
            server.store.commit = broken  # type: ignore[method-assign]
        elif where == "executor":
            server.executor.before = broken
        else:
            server.scheduler._machine.ended = lambda *_, **__: 1 / 0  # type: ignore[assignment,method-assign]
            server.executor.tell(server.world.end(attempt))
        asked = [asyncio.create_task(server.submit(workflow(name=f"v{i}"))) for i in range(3)]
        await until(lambda: server.scheduler.trouble)
        assert "error of its own" in str(server.scheduler.trouble)
        await asyncio.wait(asked)
        with pytest.raises(Unavailable, match="restart the server, nothing is lost"):
            await server.submit()
        assert await server.state(first) == "running"  # what is on disk can still be read
        trouble = server.scheduler.trouble
        assert trouble == server.scheduler.trouble
    world = server.world
    again = await Server(tmp_path, world).open()
    if world.facts[attempt].kind == "queued":
        again.executor.tell(world.end(attempt))
    assert await again.ended(first) == "completed"
    await again.close()


@asynchronous
async def test_a_back_off_ends_by_itself(tmp_path: Path) -> None:
    async with Server(tmp_path, World()) as server:
        run = await server.submit(workflow({"a": {"run": "true", "retries": 2, "retry_delay": 0.02}}))
        for code in (1, 1, 0):
            await server.end("a", code)
        assert await server.ended(run) == "completed"
        assert (await server.scheduler.task(run, "a"))["attempts"] == 3


@asynchronous
async def test_the_log_of_an_attempt_that_was_lost_has_an_end_too(tmp_path: Path) -> None:
    async with Server(tmp_path, World(), loss_budget=0) as server:
        run = await server.submit()
        attempt = await server.attempt("a")
        assert server.scheduler.final_size(attempt) is None
        server.executor.tell(server.world.vanish(attempt, "lost"))
        assert await server.ended(run) == "failed"
        assert server.scheduler.final_size(attempt) == 0


@asynchronous
async def test_values_that_a_task_left_reach_the_next(tmp_path: Path) -> None:
    tasks = {
        "a": {"run": "true", "outputs": {"n": "rows"}},
        "b": {"run": "echo {{ a.n }}", "inputs": {"n": "a/n"}},
    }
    async with Server(tmp_path, World()) as server:
        run = await server.submit(workflow(tasks))
        attempt = await server.attempt("a")
        folder = tmp_path / "attempts" / attempt
        folder.mkdir()
        (folder / "output").write_text('{"n": "two words"}\n')
        await server.end("a")
        given = server.world.specs[await server.attempt("b")]
        assert given.argv == ("/bin/sh", "-c", "echo 'two words'")
        assert given.env["WATTLE_INPUT_N"] == "two words"
        assert given.env["WATTLE_RUN"] == run
        await server.end("b")
        assert await server.ended(run) == "completed"


@asynchronous
async def test_while_the_files_of_one_task_are_kept_others_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, collect = threading.Event(), outputs.collect

    def slowly(*args: Any) -> Any:
        assert kept.wait(30)
        return collect(*args)

    monkeypatch.setattr(outputs, "collect", slowly)
    tasks = {"a": {"run": "true", "outputs": {"x": "rows"}}, "b": "true", "c": {"run": "true", "needs": ["b"]}}
    async with Server(tmp_path, World()) as server:
        run = await server.submit(workflow(tasks))
        attempt = await server.attempt("a")
        (tmp_path / "attempts" / attempt).mkdir()
        (tmp_path / "attempts" / attempt / "output").write_text("x=1")
        server.executor.tell(server.world.end(attempt, 0))
        await server.end("b")
        await server.end("c")
        assert (await server.states(run))["a"] == "running"
        kept.set()
        assert await server.ended(run) == "completed"


# ------------------------------------------------------------------------------------------------------------ scale


async def work_off(server: Server, workers: random.Random) -> None:
    """End what is active, again and again, until nothing is pending."""
    while server.scheduler.pending:
        active = server.world.active()
        workers.shuffle(active)
        server.executor.tell(*(server.world.end(attempt) for attempt in active))
        await asyncio.sleep(0.001)


@asynchronous
async def test_a_thousand_layered_tasks_complete_each_once_and_in_order(tmp_path: Path) -> None:
    tasks: dict[str, Any] = {
        f"t{layer}_{i}": {"run": "true", "needs": [f"t{layer - 1}_{(i + d) % 50}" for d in range(3)] if layer else []}
        for layer in range(20)
        for i in range(50)
    }
    async with Server(tmp_path, World(), slots=64) as server:
        run = await server.submit(workflow(tasks))
        await work_off(server, random.Random(1))
        assert await server.state(run) == "completed"
        order = {server.task_of(a): n for n, a in enumerate(server.world.starts)}
        assert len(server.world.starts) == len(order) == 1000
        assert all(order[up] < order[name] for name, task in tasks.items() for up in task["needs"])
        assert (server.scheduler.live, server.scheduler._machine.live) == ({}, {})
        await until(lambda: not server.world.held)


@asynchronous
async def test_a_thousand_submits_at_once_all_succeed(tmp_path: Path) -> None:
    async with Server(tmp_path, World(), max_queued_runs=1000) as server:
        runs = await asyncio.gather(*(server.submit(key=f"k{i}") for i in range(1000)))
        assert len(set(runs)) == 1000
        await work_off(server, random.Random(1))
        (counted,) = await server.store.all("SELECT count(*), sum(state = 'completed') FROM run")
        assert tuple(counted) == (1000, 1000)
        assert len(server.world.starts) == 1000


# ---------------------------------------------------------------------------------------------- crashes at any point


class Crash(BaseException):
    """The server is killed here."""


class Fuse:
    """Kills the server at the n-th point that matters: around commits and around what the executor is told."""

    def __init__(self, server: Server) -> None:
        self.server, self.left = server, -1

    def arm(self) -> None:
        commit = self.server.store.commit

        async def commit_or_die(change: Change) -> list[Event]:
            self.pass_by()
            events = await commit(change)
            self.pass_by()
            return events

        async def before(verb: str, argument: Any) -> None:
            if verb != "inspect":
                self.pass_by()

        self.server.store.commit = commit_or_die  # type: ignore[method-assign]
        self.server.executor.before = before

    def pass_by(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash


class Story:
    """Hypothesis' moves on one store with crashes, and what must hold whatever they are."""

    def __init__(self, folder: Path, draw: Callable[[Any], Any]) -> None:
        self.draw = draw
        self.server = Server(folder, World(), slots=3, loss_budget=1000)
        self.server.now = 1000.0
        self.fuse = Fuse(self.server)
        self.runs: list[str] = []
        self.keys = 0
        self.asked: list[asyncio.Task[Any]] = []
        self.kept: dict[str, str] = {}  # key → run that was answered

    async def open(self) -> None:
        self.server.before = None
        await self.server.open()
        self.fuse.arm()

    async def settle(self) -> None:
        """Let everything happen that can happen without us; a blown fuse is a crash and a restart."""
        while True:
            await asyncio.sleep(0.0004)
            if any(task.done() for task in self.server.scheduler._tasks):
                self.check_death()
                for task in self.asked:
                    task.cancel()
                await self.server.crash()
                await self.open()
            elif self.quiet():
                return

    def quiet(self) -> bool:
        mind = self.server.scheduler
        busy = mind._inbox or mind._batch or mind._wake.is_set() or mind._outbox._errands
        return not busy and self.server.executor._told.empty() and all(task.done() for task in self.asked)

    def check_death(self) -> None:
        for task in self.server.scheduler._tasks:
            if task.done() and not task.cancelled():
                assert isinstance(task.exception(), Crash), task.exception()
        assert self.server.scheduler.trouble is None, self.server.scheduler.trouble

    def move(self) -> None:
        world, moves = self.server.world, ["submit", "again", "cancel", "retry", "stop", "wait", "fuse", "fuse"]
        active = world.active()
        move = self.draw(st.sampled_from(moves + ["ok"] * 6 + ["fail", "lose", "run"] if active else moves))
        attempt = self.draw(st.sampled_from(active)) if active else ""
        tell, mind = self.server.executor.tell, self.server.scheduler
        if move == "fuse":
            self.fuse.left = self.draw(st.integers(1, 6))
        elif move == "submit":
            self.keys += 1
            self.ask(self.submit(f"k{self.keys}"))
        elif move == "again" and self.keys:
            self.ask(self.submit(f"k{self.draw(st.integers(1, self.keys))}"))
        elif move == "wait":
            assert self.server.now is not None
            self.server.now += 1000
            mind._wake.set()
        elif move == "ok":
            tell(world.end(attempt))
        elif move == "fail":
            tell(world.end(attempt, 1))
        elif move == "lose":
            tell(world.vanish(attempt, "lost"))
        elif move == "run" and world.facts[attempt].kind == "queued":
            tell(world.run(attempt))
        elif move in ("cancel", "retry", "stop") and self.runs:
            run = self.draw(st.sampled_from(self.runs))
            asks: dict[str, Callable[[], Awaitable[None]]] = {
                "cancel": lambda: mind.cancel(run, "ada"),
                "retry": lambda: mind.retry(run, None),
                "stop": lambda: mind.stop_task(run, "b", "ada"),
            }
            self.ask(asks[move]())

    def ask(self, request: Awaitable[Any]) -> None:
        self.asked.append(asyncio.ensure_future(request))

    async def submit(self, key: str) -> None:
        tasks = {**CHAIN, "d": {"run": "true", "retries": 1}}
        run = await self.server.submit(workflow(tasks), key=key)
        assert self.kept.setdefault(key, run) == run, "one key, two runs"
        if run not in self.runs:
            self.runs.append(run)

    async def finish(self) -> None:
        """No more crashes: everything must come to an end."""
        self.fuse.left = -1
        for _ in range(300):
            await self.settle()
            if not self.server.scheduler.pending and self.quiet():
                break
            assert self.server.now is not None
            self.server.now += 10_000
            self.server.scheduler._wake.set()
            self.server.executor.tell(*(self.server.world.end(a) for a in self.server.world.active()))
        assert not self.server.scheduler.pending, await self.server.store.all("SELECT state, reason FROM task_run")
        for task in self.asked:
            if not task.cancelled() and task.exception() is not None:
                assert isinstance(task.exception(), (Conflict, Unavailable, Crash)), task.exception()

    async def check(self) -> None:
        """The promises, as the database and the world of processes tell them."""
        store, world = self.server.store, self.server.world
        assert len(world.starts) == len(set(world.starts)), "an attempt started twice"
        rows = await store.all("SELECT id, task_run, n, round, state FROM attempt ORDER BY task_run, n")
        by_id = {row[0]: row for row in rows}
        assert set(world.starts) <= set(by_id), "a process that no row knows"
        live = Counter(by_id[a][1] for a in world.active() if a in by_id)
        assert all(count == 1 for count in live.values()), "two live attempts of one task"
        completed = Counter((row[1], row[3]) for row in rows if row[4] == "completed")
        assert all(count == 1 for count in completed.values()), "a task completed twice in a round"
        for attempt, fact in world.facts.items():
            if attempt not in world.held and fact.kind == "exited":
                expected = "completed" if fact.code == 0 else "failed"
                assert by_id[attempt][4] == expected, "an acknowledged end is not on disk as it was"
        states = await store.all("SELECT run, task, state FROM task_run")
        found = {(run, task): state for run, task, state in states}
        for (run, task), state in found.items():
            if state in ("running", "completed"):
                assert all(found[run, up] == "completed" for up in CHAIN.get(task, {}).get("needs", [])), "child first"
        numbers = [row[0] for row in await store.all("SELECT seq FROM event ORDER BY seq")]
        assert numbers == list(range(1, len(numbers) + 1))


@given(data=st.data())
@hypothesis_settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_whatever_happens_and_whenever_the_server_is_killed_no_promise_is_broken(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    async def play() -> None:
        story = Story(tmp_path_factory.mktemp("store"), data.draw)
        await story.open()
        try:
            for _ in range(data.draw(st.integers(4, 14))):
                story.move()
                await story.settle()
                await story.check()
            await story.finish()
            await story.check()
        finally:
            await story.server.crash()
            await asyncio.gather(*story.asked, return_exceptions=True)

    asyncio.run(asyncio.wait_for(play(), 60))


@asynchronous
async def test_a_new_run_and_its_definition_are_one_transaction(tmp_path: Path) -> None:
    async with Server(tmp_path, World(), max_active_runs=0) as server:
        write, writes = server.store.write, list[list[Any]]()

        async def counted(transaction: Any) -> Any:
            result = await write(transaction)
            sql = "SELECT (SELECT count(*) FROM workflow), (SELECT max(version) FROM workflow), count(*) FROM run"
            writes.append(await server.store.all(sql))
            return result

        server.store.write = counted  # type: ignore[method-assign]
        for _ in range(3):
            await server.submit(workflow(), key=f"k{len(writes)}")
        assert writes == [[(1, None, n)] for n in (1, 2, 3)]


@asynchronous
async def test_a_stored_workflow_is_read_and_put_into_words_once_for_all_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server(tmp_path, World()) as server:
        await server.scheduler.define(workflow())
        first = await server.submit(await server.scheduler.recipe("w"))
        seen = list[int]()
        for name in ("restore", "dump", "digest_of"):
            monkeypatch.setattr(spec, name, functools.partial(seen_in, seen, getattr(spec, name)))
        again = await server.submit(await server.scheduler.recipe("w"))
        assert first != again
        assert seen == []


@asynchronous
async def test_what_runs_of_a_workflow_share_is_changed_by_none_of_them(tmp_path: Path) -> None:
    tasks = {"a": {"run": "echo {{ p }}", "env": {"X": "1"}, "retries": 1}, "b": {"run": "true", "needs": ["a"]}}
    async with Server(tmp_path, World()) as server:
        await server.scheduler.define(workflow(tasks, params={"p": {"deep": [1]}}, env={"Y": "2"}))
        recipe = await server.scheduler.recipe("w")
        before = copy.deepcopy(recipe)
        one = await server.submit(recipe)
        two = await server.submit(recipe, params={"p": 2}, only=["b"])
        await server.scheduler.cancel(two, "ada")
        await server.end("b", code=143)
        await server.end("a", code=1)
        await server.end("a", code=1)
        assert await server.ended(one) == "failed"
        await server.scheduler.retry(one, None)
        await server.end("a")
        await server.end("b")
        assert await server.ended(one) == "completed"
        assert await server.scheduler.recipe("w") is recipe
        assert recipe == before
        assert await history.snapshot_of(server.store, two) == recipe.text
        assert spec.digest_of(json.loads(recipe.text)) == recipe.digest == spec.digest(recipe.workflow)


@asynchronous
async def test_a_definition_is_put_into_words_out_of_the_loop_s_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await Server(tmp_path, World()).open()
    ours, seen = threading.get_ident(), list[int]()
    for name in ("dump", "digest_of"):
        monkeypatch.setattr(spec, name, functools.partial(seen_in, seen, getattr(spec, name)))
    await server.scheduler.define(workflow())
    await server.submit()
    assert len(seen) >= 4
    assert ours not in seen
    await server.close()


def seen_in(threads: list[int], call: Callable[..., Any], *args: Any) -> Any:
    threads.append(threading.get_ident())
    return call(*args)
