"""A suspended owner (SIGSTOP, Ctrl-Z, a debugger) keeps the store: nobody takes it, and everybody is told why."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import EngineProcess, ServerProcess, until

from wattle_jupyter import owner
from wattle_jupyter.client import Client
from wattle_jupyter.errors import ServerNotFound

Make = Callable[..., Any]


def suspend(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    until(lambda: owner.is_stopped(pid))


def test_a_suspended_owner_is_named_with_the_cure_and_goes_on_where_it_was(make_server: Make, tmp_path: Path) -> None:
    first: ServerProcess = make_server()
    first.launch()
    second: ServerProcess = make_server(first.store)
    second.launch()
    go = tmp_path / "go"
    wait = f"echo start >> {tmp_path}/starts; while [ ! -e {go} ]; do sleep 0.02; done"
    run = second.run({"a": wait, "b": {"run": f"echo b >> {tmp_path}/starts", "needs": ["a"]}})
    second.running(run, "a")
    suspend(first.pid)
    for verb, path in (("GET", "runs"), ("POST", f"runs/{run}/cancel")):
        status, answer = second.request(verb, path)
        assert status == 503
        assert f"(pid {first.pid}) is suspended and answers nobody" in answer["message"]
        assert f"kill -CONT {first.pid}; or end it: kill -9 {first.pid}" in answer["message"]
    with pytest.raises(ServerNotFound, match="is suspended and answers nobody; what runs goes on"):
        Client(first.store).check()
    go.touch()
    os.kill(first.pid, signal.SIGCONT)
    assert second.ended(run)["state"] == "completed"
    assert (tmp_path / "starts").read_text() == "start\nb\n"

    run = second.run({"a": f"echo start >> {tmp_path}/starts; sleep 600"})
    second.running(run, "a")
    suspend(first.pid)
    first.process.kill()
    first.process.wait()
    until(lambda: second.get("info")["role"] == "owner")
    second.post(f"runs/{run}/cancel")
    assert [view["attempts"] for view in second.ended(run)["tasks"]] == [1]
    assert (tmp_path / "starts").read_text() == "start\nb\nstart\n"


def test_a_suspended_wattle_serve_leaves_the_store_to_a_full_server(make_engine: Make, make_server: Make) -> None:
    serve: EngineProcess = make_engine()
    serve.launch()
    run = serve.run({"a": "sleep 600"})
    serve.running(run, "a")
    suspend(serve.pid)
    full: ServerProcess = make_server(serve.store)
    full.launch()
    assert serve.process.wait(20) == 0
    assert full.state(run) == "running"
    full.post(f"runs/{run}/cancel")
    full.ended(run)


def test_nobody_is_called_suspended_where_that_cannot_be_known() -> None:
    assert not owner.is_stopped(0)
    assert not owner.is_stopped(os.getpid())
