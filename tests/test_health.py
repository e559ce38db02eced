"""What is said about the engine's health, of a real engine in each situation that has a check."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from coroutines import asynchronous
from fake_executor import BOOT, FakeExecutor, World

from wattle_jupyter import health, spec
from wattle_jupyter.engine import Engine
from wattle_jupyter.executors import Host
from wattle_jupyter.settings import Scheduler as SchedulerSettings
from wattle_jupyter.settings import Settings
from wattle_jupyter.wire import Health

SLOW = spec.load({"name": "slow", "tasks": {"a": {"run": "true"}}, "working_dir": "/", "concurrent": True})


@asynccontextmanager
async def opened(folder: Path, **scheduler: Any) -> AsyncIterator[Engine]:
    settings = Settings(scheduler=SchedulerSettings(**scheduler))
    engine = await Engine.open(settings, folder, executor=FakeExecutor(World()), environ={"PATH": "/usr/bin:/bin"})
    try:
        yield engine
    finally:
        await engine.close()


async def look(engine: Engine) -> Health:
    return health.summed_up(await health.examine(engine))


@asynchronous
async def test_an_engine_that_is_well_says_ok_of_all_that_it_needs(tmp_path: Path) -> None:
    async with opened(tmp_path / "s") as engine:
        found = await look(engine)
    assert (found["live"], found["ready"], found["state"], found["reasons"]) == (True, True, "ok", [])
    assert [check["name"] for check in found["checks"]] == ["store", "executor", "disk", "backup", "queue", "loop"]


@asynchronous
async def test_a_store_that_takes_no_commits_fails_with_its_reason_until_it_takes_them(tmp_path: Path) -> None:
    async with opened(tmp_path / "s") as engine:
        run = await engine.scheduler.submit(SLOW, user="me")
        await engine.store.all("PRAGMA query_only = ON")  # what a disk that refuses writes looks like from here
        cancelled = asyncio.create_task(engine.scheduler.cancel(run, "me"))
        while "store" not in engine.scheduler.troubles:
            await asyncio.sleep(0.01)
        found = await look(engine)
        await engine.store.all("PRAGMA query_only = OFF")
        await cancelled
        well = await look(engine)
    assert (found["state"], found["ready"]) == ("failed", False)
    assert "readonly" in found["reasons"][0]
    assert [check["name"] for check in found["checks"] if check["state"] == "failed"] == ["store"]
    assert well["state"] == "ok"


@asynchronous
async def test_an_executor_that_is_down_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "s") as engine:
        down = Host(name="here", slots=1, boot_id=BOOT, state="down", reason="the keeper does not start: no memory")
        monkeypatch.setattr(engine.scheduler.executor, "hosts", lambda: [down])
        found = await look(engine)
    assert not found["ready"]
    assert found["reasons"] == ["here: the keeper does not start: no memory"]


@pytest.mark.parametrize(
    ("free", "state", "ready"), [(100 << 20, "degraded", True), (1 << 19, "failed", False), (4 << 30, "ok", True)]
)
def test_little_space_degrades_and_none_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str, ready: bool
) -> None:
    @asynchronous
    async def check() -> None:
        async with opened(tmp_path / "s") as engine:
            monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
            found = await look(engine)
        assert (found["state"], found["ready"]) == (state, ready)
        assert [r for r in found["reasons"] if f"{free >> 20} MiB are free" in r] == found["reasons"]

    check()


@asynchronous
async def test_a_queue_that_is_nearly_full_degrades(tmp_path: Path) -> None:
    async with opened(tmp_path / "s", max_active_runs=1, max_queued_runs=10) as engine:
        for _ in range(10):
            await engine.scheduler.submit(SLOW, user="me")
        found = await look(engine)
    assert (found["state"], found["ready"]) == ("degraded", True)
    assert found["reasons"][0].startswith("9 of at most 10 runs wait; further ones will be refused.")


@asynchronous
async def test_a_loop_that_was_blocked_degrades(tmp_path: Path) -> None:
    async with opened(tmp_path / "s") as engine:
        time.sleep(health.SLOW_LOOP * 1.05)
        await asyncio.sleep(0)
        found = await look(engine)
    assert (found["state"], found["ready"]) == ("degraded", True)
    assert "something blocks its event loop" in found["reasons"][0]


def test_a_server_without_an_engine_is_alive_and_not_ready(make_server: Callable[[], Any]) -> None:
    server = make_server()
    server.launch(wait=False, config="c.WattleApp.options = {'scheduler': {'slots': 0}}\n")
    while not server.listening():
        time.sleep(0.02)
    found = server.get("health")
    assert (found["live"], found["ready"], found["checks"][0]["name"]) == (True, False, "engine")
    status, answer = server.request("GET", "health/ready")
    assert status == 503
    assert answer["data"]["reasons"] == found["reasons"]
    assert server.end() == 0
