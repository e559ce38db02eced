"""What keeps the keeper from its work: it waits, says why, goes on by itself, and no task fails for it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path

import pytest
from coroutines import asynchronous
from faults import disk
from faults.catalog import FAULTS
from keeper_stores import store
from processes import scratch

from wattle_jupyter.executors import AttemptSpec, Fact, local
from wattle_jupyter.executors.local import LocalExecutor
from wattle_jupyter.host.trouble import Trouble, passes

__all__ = ["store"]


def test_the_oldest_trouble_is_told_until_it_is_over() -> None:
    trouble = Trouble()
    assert (trouble.news(), trouble.text) == (False, "")
    trouble.set("a", "no room")
    trouble.set("b", "no files")
    assert (trouble.news(), trouble.news(), trouble.text) == (True, False, "no room")
    trouble.over("a")
    assert (trouble.news(), trouble.text) == (True, "no files")
    trouble.over("b")
    trouble.over("b")
    assert (trouble.news(), trouble.text) == (True, "")


def test_what_the_machine_lacks_passes_and_what_is_wrong_with_a_task_does_not() -> None:
    assert all(passes(OSError(number, "")) for number in (errno.ENOSPC, errno.EMFILE, errno.EAGAIN, errno.EIO))
    assert not any(passes(OSError(number, "")) for number in (errno.ENOENT, errno.EACCES, errno.ENOEXEC))
    assert not passes(ValueError("no"))


async def heard(told: list[str | None], words: str | None) -> None:
    async with asyncio.timeout(30):
        while not (told and (told[-1] == words if words is None else words in (told[-1] or ""))):
            await asyncio.sleep(0.02)


@asynchronous
async def test_a_keeper_that_stands_still_is_told_with_the_cure(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_PULSE", 0.2)
    executor, told = LocalExecutor(store, 2), list[str | None]()
    executor.watch(told.append)
    await executor.start(0)
    pid = executor.keeper_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await heard(told, f"kill -CONT {pid}")
    finally:
        os.kill(pid, signal.SIGCONT)
    await heard(told, None)
    await executor.close()


def spec(id: str) -> AttemptSpec:
    return AttemptSpec(
        id=id, task_run="3" * 32, run="4" * 32, n=1, round=1, epoch=1, argv=("true",), cwd="/", env={"PATH": os.defpath}
    )


@asynchronous
async def test_tasks_wait_for_room_and_one_that_waits_can_be_stopped() -> None:
    if reason := FAULTS["disk"].cannot():
        pytest.skip(reason)
    with scratch() as folder, disk.small_disk(folder / "s", 1):
        executor, told = LocalExecutor(folder / "s", 1), list[str | None]()
        executor.watch(told.append)
        await executor.start(0)
        ballast = disk.Ballast(folder / "s")
        ballast.take(0)
        stopped, waits = "1" * 32, "2" * 32
        await executor.submit([spec(stopped), spec(waits)])
        await heard(told, "tasks cannot be started, and wait: No space left on device")
        await executor.signal(stopped, "stop", 1.0)
        events = executor.events()
        found: list[Fact] = []
        async with asyncio.timeout(30):
            while not found:
                found += [fact for fact in await anext(events) if fact.kind != "queued"]
            assert [(fact.id, fact.kind, fact.why) for fact in found] == [(stopped, "never_started", "stopped")]
            ballast.give_back()
            while not any(fact.kind == "exited" for fact in found):
                found += await anext(events)
        assert (found[-1].id, found[-1].code) == (waits, 0)
        await heard(told, None)
        await executor.close()
        disk.end_keeper(folder / "s")
