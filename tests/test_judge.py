"""What a new keeper makes of an attempt whose keeper died between its claim and its start line."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import until

from wattle_jupyter.host import keeper as keepers
from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import ENDED, RUNNING, Attempt
from wattle_jupyter.host.files import Attempts, KeeperLock
from wattle_jupyter.host.judge import Judge
from wattle_jupyter.host.keeper import Keeper
from wattle_jupyter.host.pipes import FIFO
from wattle_jupyter.host.process import Kernel
from wattle_jupyter.host.protocol import listen
from wattle_jupyter.host.record import Record
from wattle_jupyter.host.spawn import EXIT_FILE
from wattle_jupyter.host.tree import Trees

ID = "ab" * 16

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(str(tmp_path))


@pytest.fixture
def judge(attempts: Attempts) -> Judge:
    kernel = Kernel()
    return Judge(attempts, kernel, Trees(kernel))


@pytest.fixture
def start(attempts: Attempts) -> Iterator[Start]:
    """Start a shell as a keeper does that dies right afterwards."""
    children = []

    def begin(code: str) -> subprocess.Popen[bytes]:
        kernel = Kernel()
        claim = {"k": "claim", "attempt": ID, "boot": kernel.boot, "machine": kernel.machine, "grace": 0.3}
        folder = attempts.open(ID, create=True)
        record = Record.publish(folder, claim | {"pidns": kernel.namespace, "timeout": None, "keep_children": False})
        os.mkfifo(FIFO, dir_fd=folder)
        out = os.open(FIFO, os.O_RDWR, dir_fd=folder)
        env = {"PATH": os.environ["PATH"], process.COOKIE: ID}
        child = subprocess.Popen(
            ["/bin/sh", "-c", code], stdout=out, stderr=out, start_new_session=True, pass_fds=[record.fd], env=env
        )
        children.append(child)
        for fd in (out, folder):
            os.close(fd)
        record.close()
        return child

    yield begin
    for child in children:
        for proc in process.scan():
            if process.cookie(proc.pid) == ID:
                os.kill(proc.pid, 9)
        child.wait()


def daemons() -> list[process.Proc]:
    return [proc for proc in process.scan() if proc.pid == proc.session and process.cookie(proc.pid) == ID]


def test_a_task_that_runs_is_taken_up(judge: Judge, start: Start) -> None:
    child = start("sleep 600; :")
    until(lambda: process.cookie(child.pid) == ID)
    verdict = judge.judge(ID, "")
    assert isinstance(verdict, Attempt)
    assert (verdict.state, verdict.pid) == (RUNNING, child.pid)
    assert verdict.record is not None
    assert (verdict.record.find("start") or {})["pid"] == child.pid


def test_what_an_ended_task_left_behind_is_not_taken_for_it(judge: Judge, start: Start) -> None:
    child = start("setsid sleep 600 >/dev/null 2>&1 & exit 7")
    until(lambda: len(daemons()) == 1 and child.poll() is not None)
    verdict = judge.judge(ID, "")
    assert isinstance(verdict, Attempt)
    assert verdict.end is not None
    assert verdict.end["kind"] == "lost"
    assert verdict.record is not None
    assert verdict.record.find("start") is None


def test_its_exit_file_tells_how_it_ended(judge: Judge, start: Start, attempts: Attempts) -> None:
    child = start("setsid sleep 600 >/dev/null 2>&1 & exit 7")
    until(lambda: len(daemons()) == 1 and child.poll() is not None)
    Path(attempts.directory(ID), EXIT_FILE).write_text("7")
    verdict = judge.judge(ID, "")
    assert isinstance(verdict, Attempt)
    assert verdict.end is not None
    assert (verdict.end["kind"], verdict.end["code"]) == ("exited", 7)


def test_a_claim_without_a_process_is_lost(judge: Judge, start: Start) -> None:
    start(":").wait()
    verdict = judge.judge(ID, "")
    assert isinstance(verdict, Attempt)
    assert verdict.end is not None
    assert verdict.end["kind"] == "lost"


# --------------------------------------------------------------------------------------- when the machine is in the way


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with listen(str(tmp_path)) as listener:
        made = Keeper(str(tmp_path), KeeperLock(str(tmp_path)), listener, Kernel(), 0.0)
        made.slots = 4
        yield made
        for attempt in made.held.values():
            attempt.lingering = False
            attempt.release()


def refuse_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """The next call finds that no more files may be opened."""
    usual, refused = getattr(owner, name), list[str]()

    def call(*args: Any, **kwargs: Any) -> Any:
        if not refused:
            refused.append(name)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return usual(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


def ended(keeper: Keeper, id: str) -> bool:
    """After one more turn of its loop."""
    for key, _ in keeper._selector.select(0):
        keeper._guard(key.data)
    keeper._tick()
    keeper.reap()
    return id in keeper.held and keeper.held[id].state == ENDED


def spec(folder: Path, id: str = ID) -> dict[str, Any]:
    return {
        "id": id, "task_run": "t", "run": "r", "n": 1, "round": 0, "epoch": 1, "argv": ["/bin/sh", "-c", "exit 3"],
        "cwd": str(folder), "env": {}, "timeout": None, "grace": 0.3, "keep_children": False,
    }  # fmt: skip


def test_a_look_that_fails_leaves_nothing_open(
    judge: Judge, start: Start, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("sleep 600; :")
    refuse_once(monkeypatch, process, "scan")
    open_before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="Too many open files"):
        judge.judge(ID, "")
    assert os.listdir("/proc/self/fd") == open_before


@pytest.mark.parametrize(("owner", "name"), [(keepers, "Pipe"), (process, "open_pidfd")])
def test_a_task_whose_take_over_fails_halfway_is_watched_all_the_same(
    keeper: Keeper, start: Start, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    child = start("sleep 600; :")
    until(lambda: process.cookie(child.pid) == ID)
    refuse_once(monkeypatch, owner, name)
    with pytest.raises(OSError, match="Too many open files"):
        keeper.inspect(ID, "")
    assert keeper.inspect(ID, "")["kind"] == "running"
    child.kill()
    child.wait()
    until(lambda: ended(keeper, ID))


def test_what_an_ended_task_left_behind_is_ended_though_the_first_look_fails(
    keeper: Keeper, start: Start, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start("setsid sleep 600 >/dev/null 2>&1 & exit 7")
    until(lambda: len(daemons()) == 1 and child.poll() is not None)
    Path(attempts.directory(ID), EXIT_FILE).write_text("7")
    refuse_once(monkeypatch, keeper._trees, "signal")
    with pytest.raises(OSError, match="Too many open files"):
        keeper.inspect(ID, "")
    until(lambda: ended(keeper, ID))
    assert daemons() == []
    assert keeper.held[ID].fact()["code"] == 7


def test_who_starts_beside_one_that_cannot_be_looked_at_is_not_forgotten(
    keeper: Keeper, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start("sleep 600; :")
    until(lambda: process.cookie(child.pid) == ID)
    other = "cd" * 16
    for id in (ID, other):
        keeper.enqueue(spec(tmp_path, id), dict(os.environ))
    refuse_once(monkeypatch, keeper.judge, "judge")
    keeper._guard(keeper._tick)
    until(lambda: ended(keeper, other))
    assert keeper.held[other].fact()["code"] == 3
    assert keeper.trouble.text == "tasks cannot be started, and wait: Too many open files"
    until(lambda: not ended(keeper, ID) and keeper.held[ID].pid == child.pid)
    assert keeper.trouble.text == ""


def test_a_stop_reaches_what_an_earlier_keeper_started_though_it_waits_for_a_slot_here(
    keeper: Keeper, start: Start, tmp_path: Path
) -> None:
    child = start("sleep 600; :")
    until(lambda: process.cookie(child.pid) == ID)
    keeper.enqueue(spec(tmp_path), dict(os.environ))
    keeper.stop(ID, "kill", 0.0)
    assert child.wait(30) == -9
    until(lambda: ended(keeper, ID))
    assert (keeper.held[ID].fact()["kind"], keeper.held[ID].fact()["why"]) == ("exited", "stopped")
