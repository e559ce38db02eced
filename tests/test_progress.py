"""How far running tasks are: read while somebody watches, told everywhere alike, kept nowhere."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from coroutines import asynchronous
from processes import EngineProcess, until
from test_socket import Watcher
from test_streams import frames

from wattle_jupyter import progresswatch, tables
from wattle_jupyter.client import Client
from wattle_jupyter.events import Hub
from wattle_jupyter.logs import LogFile
from wattle_jupyter.model import Event
from wattle_jupyter.progresswatch import ProgressWatch
from wattle_jupyter.run import Run
from wattle_jupyter.scheduler import Scheduler
from wattle_jupyter.wire import ProgressView

BAR = r"\rload:  {0}%|████      | {0}/100 [00:10<00:14,  4.1it/s]"


def bars(folder: Path, *shares: int) -> str:
    """A command that draws a bar, the next one when the file ``next`` is there, and ends when ``next2`` is."""
    drawn = [f"printf '{BAR.format(share).replace('%', '%%')}'" for share in shares]
    return f"; {waits(folder / 'next')}; ".join(drawn) + f"; {waits(folder / 'next2')}"


def waits(file: Path) -> str:
    return f"until [ -e {file} ]; do sleep 0.02; done"


@pytest.fixture
def go_on(tmp_path: Path, engine: EngineProcess) -> Iterator[Path]:
    yield tmp_path
    for name in ("next", "next2"):
        (tmp_path / name).touch()


@pytest.fixture
def watcher(engine: EngineProcess) -> Iterator[Watcher]:
    with closing(Watcher(engine)) as made:
        yield made


def at(attempt: str, done: float) -> ProgressView:
    return {"attempt": attempt, "fraction": done / 100, "done": done, "total": 100, "text": f"{done:.0f}/100"}


def test_a_running_task_says_how_far_it_is_and_one_that_ended_does_not(engine: EngineProcess, go_on: Path) -> None:
    run = engine.run({"x": bars(go_on, 42), "quiet": waits(go_on / "next2"), "y": "true"})
    told = until(lambda: engine.task(run, "x")["progress"])
    assert told == at(engine.task(run, "x")["attempt"], 42)
    assert engine.get(f"runs/{run}")["progress"] == {"x": told}
    assert engine.task(run, "quiet")["progress"] is None
    handle = Run(Client(engine.store, start=False), engine.get(f"runs/{run}"))
    assert (handle["x"].progress, handle["quiet"].progress) == (0.42, None)
    assert "▶ running 42 %" in repr(handle.tasks)
    assert "x  [running: 42 %]" in str(handle.graph())
    assert "▶ running 42 %" in tables.status(handle.detail(), exact=True)
    (go_on / "next2").touch()
    engine.ended(run)
    assert engine.task(run, "x")["progress"] is None
    assert engine.get(f"runs/{run}")["progress"] == {}


def test_who_watches_hears_what_is_known_and_then_what_changes(
    engine: EngineProcess, watcher: Watcher, go_on: Path
) -> None:
    run = engine.run({"x": bars(go_on, 42, 43), "y": "sleep 0"})
    attempt = until(lambda: engine.task(run, "x")["progress"])["attempt"]
    watcher.ask(type="watch", runs=[run, "0" * 32])
    assert watcher.message("progress") == {"type": "progress", "run": run, "tasks": {"x": at(attempt, 42)}}
    (go_on / "next").touch()
    assert watcher.message("progress") == {"type": "progress", "run": run, "tasks": {"x": at(attempt, 43)}}
    watcher.ask(type="watch", runs=[])
    watcher.ask(type="watch", runs=[run])
    assert watcher.message("progress")["tasks"] == {"x": at(attempt, 43)}


def test_a_watcher_that_comes_first_hears_of_what_begins_later(
    engine: EngineProcess, watcher: Watcher, go_on: Path
) -> None:
    run = engine.run({"w": waits(go_on / "begin"), "x": {"run": bars(go_on, 7), "needs": ["w"]}})
    engine.running(run, "w")
    watcher.ask(type="watch", runs=[run])
    (go_on / "begin").touch()
    assert watcher.message("progress")["tasks"].keys() == {"x"}


def test_nothing_of_it_is_an_event(engine: EngineProcess, go_on: Path) -> None:
    run = engine.run({"x": bars(go_on, 42)})
    path = f"events?run={run}&progress=1&since=0"
    connection, response = engine.open("GET", path, None, {})
    content = b""
    with closing(connection), response:
        assert response.status == 200
        while b"event: progress" not in content or not content.endswith(b"\n\n"):
            content += response.read1(65536)
    told = [frame for frame in frames(content) if "event" in frame]
    assert json.loads(told[0]["data"])["tasks"]["x"]["text"] == "42/100"
    assert all("id" not in frame for frame in told)
    (go_on / "next2").touch()
    engine.ended(run)
    connection, response = engine.open("GET", f"events?run={run}&since=0", None, {})
    content = b""
    with closing(connection), response:
        while b'"state":"completed"' not in content:
            content += response.read1(65536)
    assert b"42/100" not in content
    assert b"event:" not in content


@pytest.mark.parametrize(
    "asked", [{}, {"runs": "x"}, {"runs": [1]}, {"runs": ["0" * 32] * 1001}], ids=["none", "text", "number", "many"]
)
def test_what_is_no_list_of_runs_is_refused(watcher: Watcher, asked: dict[str, Any]) -> None:
    watcher.ask(type="watch", **asked)
    assert watcher.message("problem")["message"] == "runs must be a list of at most 1000 ids"


def test_progress_of_all_runs_at_once_is_not_to_be_had(engine: EngineProcess) -> None:
    status, answer = engine.request("GET", "events?progress=1")
    assert (status, answer["error"]) == (400, "InvalidRequest")


def test_who_waits_for_a_run_can_be_told(engine: EngineProcess, go_on: Path) -> None:
    client, heard = Client(engine.store, start=False), list[float]()
    run = Run(client, client.submit(spec={"name": "w", "tasks": {"x": bars(go_on, 42, 84)}}))

    def hear(told: Any) -> None:
        heard.append(told["x"]["fraction"])
        (go_on / ("next" if len(heard) == 1 else "next2")).touch()

    assert run.wait(far=hear).status == "completed"
    assert heard == [0.42, 0.84]


# -------------------------------------------------------------------------------------------------- who looks, and when


class Desk:
    """A watch over runs that a test makes up, in a folder of logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "attempts").mkdir()
        self.live: dict[str, Any] = {}
        self.hub = Hub(self._read, 0)
        self.store = SimpleNamespace(folder=folder)
        self.watch = ProgressWatch(cast(Scheduler, self), logging.getLogger("test"))

    async def _read(self, seq: int, run: str | None) -> list[Event]:
        raise AssertionError("all is in memory")

    def state(self, run: str, **attempts: str) -> None:
        tasks = [{"task": task, "state": "running", "attempt": attempt} for task, attempt in attempts.items()]
        seq = self.hub.newest + 1
        self.live[run] = SimpleNamespace(detail={"seq": seq, "tasks": tasks, "counts": {"running": len(tasks)}})
        self.hub.publish([Event(seq=seq, run=run, kind="run.changed", at=0.0, body={})])

    def write(self, attempt: str, text: str) -> None:
        (self.folder / "attempts" / attempt).mkdir(exist_ok=True)
        with (self.folder / "attempts" / attempt / "log").open("a") as file:
            file.write(text)


A, B = "a" * 32, "b" * 32


def timers() -> list[Any]:
    """What is due before the time of this test is over."""
    loop = cast(Any, asyncio.get_running_loop())
    return [timer for timer in loop._scheduled if not timer.cancelled() and timer.when() < loop.time() + 5]


@asynchronous
async def test_nobody_watches_or_nothing_runs_and_nothing_is_done(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.state("r", x=A)
    assert desk.watch._task is None
    with desk.watch.watcher(["r", "unknown"]) as watcher:
        desk.write(A, "[1/2] a\n")
        assert (await watcher.news())["r"]["x"]["text"] == "1/2"
        desk.state("r")
        while desk.watch._running["r"].attempts or timers():
            await asyncio.sleep(0.01)
        desk.state("r", x=A)
        desk.write(A, "[2/2] a\n")
        assert (await watcher.news())["r"]["x"]["text"] == "2/2"
    assert desk.watch._task is None
    assert not desk.watch._running


@asynchronous
async def test_each_of_many_watchers_hears_of_its_runs_and_a_log_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, read = Desk(tmp_path), list[bytes]()
    reads = progresswatch.gauge.read
    monkeypatch.setattr(progresswatch.gauge, "read", lambda tail, before: read.append(tail) or reads(tail, before))
    desk.write(A, "[1/2] a\n")
    desk.write(B, "[3/4] b\n")
    desk.state("r", x=A)
    desk.state("s", x=B)
    with (
        desk.watch.watcher(["r"]) as one,
        desk.watch.watcher(["s"]) as other,
        desk.watch.watcher(["r", "s"]) as both,
    ):
        assert {run: told["x"]["text"] for run, told in (await both.news()).items()} == {"r": "1/2", "s": "3/4"}
        assert [*(await one.news())] == ["r"]
        assert [*(await other.news())] == ["s"]
        assert len(read) == 2
        desk.write(B, "nothing that counts\n")
        desk.write(A, "[2/2] a\n")
        assert [*(await both.news())] == ["r"]
    assert not desk.watch._watchers


@asynchronous
async def test_what_began_since_the_last_look_is_told_at_the_next_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write(A, "[1/2] a\n")
    desk.write(B, "[3/4] b\n")
    desk.state("r", x=A)
    with desk.watch.watcher(["r"]) as watcher:
        await watcher.news()
        desk.state("r", x=A, y=B)
        assert (await desk.watch._look_again("r")).keys() == {"x"}
        assert (await watcher.news())["r"].keys() == {"y"}


@asynchronous
async def test_a_log_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "attempts" / A / "log").mkdir(parents=True)
    desk.state("r", x=A, y=B)
    assert await desk.watch.of_run("r") == {}


@asynchronous
async def test_a_disk_that_refuses_one_log_keeps_nobody_from_hearing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, reads = Desk(tmp_path), LogFile.read

    def read(log: LogFile, offset: int, limit: int) -> bytes:
        if log.attempt == A:
            raise OSError(errno.EIO, "Input/output error")
        return reads(log, offset, limit)

    monkeypatch.setattr(LogFile, "read", read)
    desk.write(A, "[1/2] a\n")
    desk.write(B, "[3/4] b\n")
    desk.state("r", x=A, y=B)
    with desk.watch.watcher(["r"]) as watcher:
        async with asyncio.timeout(10):
            assert (await watcher.news())["r"].keys() == {"y"}


@asynchronous
async def test_many_running_tasks_leave_the_loop_to_others_between_them(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    names = {f"t{n}": f"{n:032x}" for n in range(2000)}
    for attempt in names.values():
        desk.write(attempt, "[1/2] a\n")
    desk.state("r", **names)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(others())
    assert len(await desk.watch.of_run("r")) == len(names)
    counting.cancel()
    assert turns > 3
