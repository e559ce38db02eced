"""The owner's unix socket: who comes in, where it lies, and who owns a store when two servers want it."""

from __future__ import annotations

import asyncio
import errno
import getpass
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import EngineProcess, ServerProcess

from wattle_jupyter import door
from wattle_jupyter.errors import StoreUnavailable

Make = Callable[..., Any]
TABLE: dict[str, str] = yaml.safe_load((Path(__file__).parent / "fixtures" / "bad_situations.yaml").read_text())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_sign_says_where_the_door_is_and_nobody_else_may_use_it(engine: EngineProcess) -> None:
    sign = json.loads((engine.store / "owner.json").read_text())
    assert sign == {
        "protocol": 1, "socket": str(engine.store / "door.sock"), "base_path": "/wattle/api/", "pid": engine.pid,
        "kind": "serve", "version": engine.get("info")["version"], "store": engine.get("info")["store"], "url": None,
    }  # fmt: skip
    assert mode(engine.store / "owner.json") == 0o600
    assert mode(engine.store / "door.sock") == 0o600
    assert mode(engine.store) == 0o700
    assert engine.get("info")["user"] == getpass.getuser()


def test_the_door_needs_no_token_and_no_xsrf_and_tells_none(engine: EngineProcess) -> None:
    status, _, headers = engine.raw("POST", "workflows", {"name": "d", "tasks": {"x": "true"}})
    assert status == 201
    assert "Set-Cookie" not in headers
    assert "token=" not in engine.said()


def test_only_the_api_is_behind_the_door(engine: EngineProcess) -> None:
    connection = engine.connection()
    for path in ("/", "/api/contents", "/api/status", "/wattle/api/../../api/status", "/lab", "/tree"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 404, path
    connection.close()


@pytest.mark.parametrize(("uid", "answered"), [(os.geteuid(), True), (os.geteuid() + 1, False)])
def test_another_user_is_turned_away(
    monkeypatch: pytest.MonkeyPatch,
    scratch_store: Path,
    jp_serverapp: Any,
    jp_asyncio_loop: Any,
    uid: int,
    answered: bool,
) -> None:
    async def knock() -> bytes:
        scratch_store.mkdir()
        monkeypatch.setattr(door, "peer_uid", lambda connected: uid)
        made = door.open_door(jp_serverapp.web_app.settings, scratch_store, "id", "server", None)
        ours = await jp_asyncio_loop.run_in_executor(None, ask, scratch_store / "door.sock")
        made.stop()
        await made.close_all_connections()
        return ours

    assert (b"HTTP/1.1 200" in jp_asyncio_loop.run_until_complete(knock())) is answered


def ask(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        try:
            connection.sendall(b"GET /wattle/api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(65536)
        except ConnectionError:
            return b""


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert door.peer_uid(ours) == os.geteuid()


def test_a_store_with_a_long_path_has_its_door_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = tmp_path / "s", tmp_path / ("x" * 100) / "s"
    monkeypatch.setattr(door, "LONGEST", len(os.fsencode(short / "door.sock")))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert door.socket_path(short) == short / "door.sock"
    found = door.socket_path(long)
    assert found.parent == tmp_path / f"wattle-{os.geteuid()}"
    assert mode(found.parent) == 0o700
    assert found == door.socket_path(long)
    assert found != door.socket_path(long / "other")


def test_a_folder_that_others_may_write_holds_no_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / f"wattle-{os.geteuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StoreUnavailable, match="is not a folder of yours alone"):
        door.socket_path(tmp_path / ("x" * 120))
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(StoreUnavailable, match="is not a folder of yours alone"):
        door.socket_path(tmp_path / ("x" * 120))


def refused(settings: dict[str, Any], folder: Path) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        door.open_door(settings, folder, "id", "server", None)
    return str(caught.value)


def full(*args: object, **more: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def too_long(*args: object, **more: object) -> None:
    """As Python says it; tornado would leave the socket open."""
    raise OSError("AF_UNIX path too long")


def test_no_room_for_the_door_is_said_in_words(
    jp_serverapp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = jp_serverapp.web_app.settings
    monkeypatch.setattr(door, "LONGEST", 1000)
    monkeypatch.setattr(door, "bind_unix_socket", too_long)
    said = refused(settings, tmp_path / ("x" * 100))
    assert said == TABLE["long runtime folder"].format(path=tmp_path / ("x" * 100) / "door.sock")
    monkeypatch.setattr(door, "LONGEST", 10)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    base = tmp_path / "gone" / f"wattle-{os.geteuid()}"
    assert refused(settings, tmp_path) == TABLE["no runtime folder"].format(base=base)


def test_a_full_disk_at_the_door_is_said_in_words(
    jp_serverapp: Any, scratch_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = jp_serverapp.web_app.settings
    scratch_store.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(door, "bind_unix_socket", full)
        said = refused(settings, scratch_store)
        assert said == TABLE["full disk for the socket"].format(path=scratch_store / "door.sock")
    monkeypatch.setattr(door, "publish", full)
    assert refused(settings, scratch_store) == TABLE["full disk for the sign"].format(path=scratch_store / "owner.json")


def test_an_engine_of_a_store_with_a_long_path_works(make_engine: Make, tmp_path: Path) -> None:
    engine: EngineProcess = make_engine(tmp_path / ("long" * 30) / "store")
    engine.launch(XDG_RUNTIME_DIR=str(engine.home))
    assert len(os.fsencode(engine.socket)) <= 107
    assert engine.ended(engine.run({"x": "true"}))["state"] == "completed"


def test_a_headless_engine_yields_to_a_full_server(make_engine: Make, make_server: Make, tmp_path: Path) -> None:
    engine: EngineProcess = make_engine()
    engine.launch()
    gate, count = tmp_path / "gate", tmp_path / "starts"
    run = engine.run({"a": f"echo x >> {count}; while [ ! -e {gate} ]; do sleep 0.05; done"})
    engine.running(run, "a")
    server: ServerProcess = make_server(engine.store)
    server.launch()
    assert engine.process.wait(10) == 0
    sign = json.loads((engine.store / "owner.json").read_text())
    assert (sign["kind"], sign["pid"]) == ("server", server.pid)
    gate.touch()
    assert server.ended(run)["state"] == "completed"
    assert count.read_text() == "x\n"


def test_a_second_headless_engine_ends_at_once(make_engine: Make) -> None:
    first: EngineProcess = make_engine()
    first.launch()
    second: EngineProcess = make_engine(first.store)
    second.start(["-m", "wattle_jupyter", "serve", "--store", str(first.store)])
    second.process.wait(15)
    assert first.get("health")["ready"] is True
    assert json.loads((first.store / "owner.json").read_text())["pid"] == first.pid


def test_a_request_whose_body_is_cut_off_is_not_waited_for(
    scratch_store: Path, jp_serverapp: Any, jp_asyncio_loop: Any
) -> None:
    head = (
        b"POST /wattle/api/workflows HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )

    def cut() -> bytes:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(str(scratch_store / "door.sock"))
            connected.sendall(head)
            return connected.recv(100)

    def waiting() -> int:
        return sum("_execute" in repr(task) for task in asyncio.all_tasks())

    async def watch() -> None:
        scratch_store.mkdir()
        made = door.open_door(jp_serverapp.web_app.settings, scratch_store, "id", "server", None)
        assert b"100 (Continue)" in await jp_asyncio_loop.run_in_executor(None, cut)
        async with asyncio.timeout(20):
            while waiting():
                await asyncio.sleep(0.01)
        made.stop()
        await made.close_all_connections()

    jp_asyncio_loop.run_until_complete(watch())
