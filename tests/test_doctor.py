"""What the doctor finds, in real situations: each rung of the ladder, and what was left behind or is in the way."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keeper_stores import keeper_pid
from processes import EngineProcess, ServerProcess

from wattle_jupyter import doctor, filesystem, places

Make = Callable[..., Any]


def line(report: str, label: str) -> str:
    """What follows this label."""
    return next(text[11:] for text in report.splitlines() if text.startswith(f"{label:<11}"))


def test_a_headless_owner_is_described(engine: EngineProcess) -> None:
    found = doctor.examine(engine.store)
    report = doctor.report(found)
    info = engine.get("info")
    assert line(report, "owner") == (
        f"kind serve, pid {engine.pid}, version {info['version']}, socket {engine.socket}, answers, ready yes, "
        f"epoch {info['epoch']}"
    )
    assert line(report, "keeper") == f"pid {keeper_pid(engine.store)}"
    assert line(report, "way") == (
        "through the door of `wattle serve`, which owns the store; a coming JupyterLab takes it over"
    )
    assert line(report, "chosen by") == "the command"
    assert found["store"]["file system"] in filesystem.LOCAL
    assert [text for text in found["problems"] if "extension" not in text] == []


def test_an_owner_a_follower_and_their_kernel(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    owner: ServerProcess = make_server()
    owner.launch()
    follower: ServerProcess = make_server(owner.store)
    follower.launch(JUPYTER_RUNTIME_DIR=str(owner.home / "runtime"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(owner.home / "runtime"))
    monkeypatch.delenv("WATTLE_STORE__DIR")
    monkeypatch.setenv("JPY_PARENT_PID", str(owner.pid))
    found = doctor.examine(owner.store)
    assert found["store"]["chosen by"] == f"the Jupyter server of this kernel, pid {owner.pid}"
    assert found["way"] == "through the door of the Jupyter server of this kernel, which owns the store"
    assert found["followers"] == [follower.pid]
    monkeypatch.delenv("JPY_PARENT_PID")
    assert doctor.examine(owner.store)["way"] == "through the door of a Jupyter server, which owns the store"
    (owner.home / "runtime" / f"jpserver-{os.getpid()}.json").write_text("{}")
    monkeypatch.setenv("JPY_PARENT_PID", str(os.getpid()))
    assert any("without the extension" in text for text in doctor.examine(owner.store)["problems"])


def test_the_sign_of_a_killed_owner_is_nothing_to_worry_about(make_engine: Make) -> None:
    engine: EngineProcess = make_engine()
    engine.launch()
    engine.end(signal.SIGKILL)
    report = doctor.report(doctor.examine(engine.store))
    assert line(report, "owner") == (
        f"none; the last one (pid {engine.pid}) has ended: it was killed and left its sign behind; "
        "the next owner takes that away"
    )
    assert line(report, "way") == "nobody owns the store: the first run, or any other change, starts `wattle serve`"


def test_an_owner_that_hangs_is_named_with_the_cure(make_engine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: EngineProcess = make_engine()
    engine.launch()
    engine.process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(doctor, "PATIENCE", 0.5)
    found = doctor.examine(engine.store)
    engine.process.send_signal(signal.SIGCONT)
    assert found["way"] == "through the door of the owner, who does not answer"
    (problem,) = [text for text in found["problems"] if "owner" in text]
    assert problem.endswith(f"if it hangs, end it: kill -9 {engine.pid}")


def test_a_socket_of_nobody_is_named(tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    sign = {"protocol": 1, "socket": str(path), "pid": os.getpid(), "kind": "serve", "version": "0", "store": "s"}
    (tmp_path / "owner.json").write_text(json.dumps(sign))
    problems = "\n".join(doctor.examine(tmp_path)["problems"])
    assert f"process {os.getpid()} is named as the owner but does not hold the store: delete" in problems


def test_an_owner_without_a_door_is_named(make_engine: Make) -> None:
    engine: EngineProcess = make_engine()
    engine.launch()
    (engine.store / "owner.json").unlink()
    found = doctor.examine(engine.store)
    assert found["owner"] == {"state": f"process {engine.pid}, without a door"}
    assert any(f"kill {engine.pid}" in text for text in found["problems"])


def test_a_store_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = doctor.examine(tmp_path / "file" / "store")
    assert any(text.endswith("set WATTLE_STORE__DIR to a folder of your own") for text in found["problems"])


def test_a_file_system_that_is_not_local_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "kind", lambda path: "nfs4")
    assert any("lies on nfs4, which other machines may use" in p for p in doctor.examine(tmp_path)["problems"])


def test_where_settings_come_from_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("WATTLE_STORE__DIR")
    assert doctor.examine(tmp_path)["settings"] == f"defaults (there is no {tmp_path}/wattle.toml)"
    (tmp_path / "wattle.toml").write_text(f'[store]\ndir = "{tmp_path}/s"\n')
    monkeypatch.setenv("WATTLE_SCHEDULER__SLOTS", "3")
    found = doctor.examine(places.store_dir(os.environ))
    assert found["settings"] == f"{tmp_path}/wattle.toml, WATTLE_SCHEDULER__SLOTS"
    assert found["store"]["chosen by"] == f"{tmp_path}/wattle.toml"
