"""What a new keeper makes of an attempt whose keeper died between its claim and its start line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import until

from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import RUNNING, Attempt
from wattle_jupyter.host.files import Attempts
from wattle_jupyter.host.judge import Judge
from wattle_jupyter.host.pipes import FIFO
from wattle_jupyter.host.process import Kernel
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
