"""The extension in real servers: they end while tasks go on, the next one takes up, and idle ones leave."""

from __future__ import annotations

import asyncio
import base64
import gc
import shutil
import signal
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import API, EngineProcess, Owned, ServerProcess, until

from wattle_jupyter import door, spec
from wattle_jupyter.errors import StoreUnavailable
from wattle_jupyter.handlers.logs import EventStream
from wattle_jupyter.handlers.socket import SocketHandler

Make = Callable[..., Any]


def counting(folder: Path) -> str:
    """A task that says how often it was started, writes a line, and waits for the file `gate`."""
    gate, starts = folder / "gate", folder / "starts"
    return f"echo started >> {starts}; echo before; while [ ! -e {gate} ]; do sleep 0.05; done; echo after"


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_task_goes_on_when_its_server_ends_and_the_next_takes_it_up(
    make_server: Make, tmp_path: Path, how: signal.Signals
) -> None:
    first: ServerProcess = make_server()
    first.launch()
    run = first.run({"x": counting(tmp_path), "y": {"run": "echo y", "needs": ["x"]}})
    pid = first.running(run, "x")["history"][0]["pid"]
    until((tmp_path / "starts").exists)
    assert first.end(how, timeout=8) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    assert psutil.pid_exists(pid)
    second: ServerProcess = make_server(first.store)
    second.launch()
    assert second.task(run, "x")["state"] == "running"
    assert second.task(run, "x")["history"][0]["pid"] == pid
    (tmp_path / "gate").touch()
    assert second.ended(run)["state"] == "completed"
    assert starts(tmp_path) == 1
    assert second.get(f"runs/{run}/tasks/x/logs")["text"] == "before\nafter\n"
    assert [h["exit_code"] for h in second.task(run, "x")["history"]] == [0]


def test_a_task_that_ends_while_no_server_is_there_is_recorded_with_its_code(make_engine: Make, tmp_path: Path) -> None:
    first: EngineProcess = make_engine()
    first.launch()
    run = first.run({"x": counting(tmp_path) + "; exit 7"})
    pid = first.running(run, "x")["history"][0]["pid"]
    first.end(signal.SIGKILL)
    (tmp_path / "gate").touch()
    until(lambda: not psutil.pid_exists(pid))
    second: EngineProcess = make_engine(first.store)
    second.launch()
    ended = second.ended(run)
    assert (ended["state"], second.task(run, "x")["reason"]) == ("failed", "exit 7")
    assert starts(tmp_path) == 1


def test_two_signals_end_it_as_cleanly_as_one(make_engine: Make) -> None:
    engine: EngineProcess = make_engine()
    engine.launch()
    engine.process.send_signal(signal.SIGTERM)
    engine.process.send_signal(signal.SIGTERM)
    assert engine.process.wait(10) == 0
    # closed as it should be: SQLite took its journal away, the sign at the door is gone
    assert not (engine.store / "wattle.db-wal").exists()
    assert not (engine.store / "owner.json").exists()
    assert not (engine.store / "door.sock").exists()


@pytest.mark.parametrize("path", ["events/ws", "events?since=0", "events?run={run}&progress=1"])
def test_who_watched_and_went_is_forgotten_without_the_collector(
    path: str, jp_serverapp: Any, jp_asyncio_loop: Any, scratch_store: Path, tmp_path: Path
) -> None:
    jp_serverapp.web_app.settings["ws_ping_interval"] = 0  # tornado's timer for it holds a handler for hours

    def watching() -> list[weakref.ref[Any]]:
        kinds = (SocketHandler, EventStream)
        return [weakref.ref(one) for one in gc.get_objects() if isinstance(one, kinds)]

    async def work() -> None:
        await jp_serverapp.extension_manager.start_all_extensions()
        (app,) = jp_serverapp.extension_manager.extension_apps["wattle_jupyter"]
        while app.engine is None:
            await asyncio.sleep(0.02)
        workflow = spec.load({"name": "w", "tasks": {"x": counting(tmp_path)}})
        run = await app.engine.scheduler.submit(workflow, user="me")
        head = f"GET {API}{path.format(run=run)} HTTP/1.1\r\nHost: localhost\r\n"
        if path == "events/ws":
            head += "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            head += f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
        reader, writer = await asyncio.open_unix_connection(scratch_store / "door.sock")
        writer.write(f"{head}\r\n".encode())
        await reader.readuntil(b"hello" if path == "events/ws" else b"data:")
        if path == "events/ws":
            text = b'{"type":"since","seq":0}'
            writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
            await reader.readuntil(b'"events"')
        (handler,) = watching()
        writer.close()
        async with asyncio.timeout(20):
            while handler() is not None:
                await asyncio.sleep(0.02)
        (tmp_path / "gate").touch()
        while app.current_activity() is not None:
            await asyncio.sleep(0.02)
        await jp_serverapp.extension_manager.stop_all_extensions()

    gc.disable()
    try:
        jp_asyncio_loop.run_until_complete(work())
    finally:
        gc.enable()


def test_a_server_with_pending_work_is_not_idle(
    jp_serverapp: Any, jp_asyncio_loop: Any, scratch_store: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        await jp_serverapp.extension_manager.start_all_extensions()
        (app,) = jp_serverapp.extension_manager.extension_apps["wattle_jupyter"]
        while app.engine is None:
            await asyncio.sleep(0.02)
        assert app.current_activity() is None
        workflow = spec.load({"name": "w", "tasks": {"x": counting(tmp_path)}})
        await app.engine.scheduler.submit(workflow, user="me")
        assert app.current_activity() == {"wattle": "runs are going on"}
        assert jp_serverapp.extension_manager.any_activity()
        before = jp_serverapp.web_app.last_activity()
        app._beat()
        assert jp_serverapp.web_app.last_activity() > before
        (tmp_path / "gate").touch()
        while app.current_activity() is not None:
            await asyncio.sleep(0.02)
        await jp_serverapp.extension_manager.stop_all_extensions()
        assert not (scratch_store / "owner.json").exists()

    jp_asyncio_loop.run_until_complete(work())


def test_an_idle_engine_ends_by_itself_and_leaves_a_clean_store(make_engine: Make) -> None:
    engine: Owned = make_engine()
    engine.start(["-m", "wattle_jupyter", "serve", "--store", str(engine.store), "--idle", "1"])
    assert engine.process.wait(20) == 0
    assert not (engine.store / "owner.json").exists()
    assert "Traceback" not in engine.said()


def test_an_engine_with_work_is_not_idle(make_engine: Make, tmp_path: Path) -> None:
    engine: EngineProcess = make_engine()
    engine.start(["-m", "wattle_jupyter", "serve", "--store", str(engine.store), "--idle", "1"])
    until(engine.answers)
    run = engine.run({"x": "sleep 3; echo done"})
    assert engine.process.wait(30) == 0
    engine.launch()
    assert engine.state(run) == "completed"


def test_a_server_whose_store_cannot_be_used_says_so_and_serves_the_rest(make_server: Make, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    server: ServerProcess = make_server(blocked / "store")
    server.launch(wait=False)
    until(server.listening)
    health = until(lambda: (h := server.get("health"))["reasons"][0].startswith("the store") and h)
    assert health["ready"] is False
    status, answer = server.request("GET", "runs")
    assert (status, answer["error"]) == (503, "Unavailable")
    assert answer["message"] == (
        f"the store {blocked / 'store'} cannot be written: Not a directory; "
        "set WATTLE_STORE__DIR to a folder of your own"
    )
    assert server.end() == 0


def test_a_wrong_setting_is_said_and_the_server_serves_the_rest(make_server: Make) -> None:
    server: ServerProcess = make_server()
    server.launch(wait=False, config="c.WattleApp.options = {'scheduler': {'slots': 0}}\n")
    until(server.listening)
    reasons = until(lambda: server.get("health")["reasons"])
    assert "`slots` must be a whole number from 1 to 100000, not 0" in reasons[0]
    assert server.end() == 0


def test_settings_of_the_servers_configuration_count(make_server: Make) -> None:
    server: ServerProcess = make_server()
    server.launch(config="c.WattleApp.options = {'scheduler': {'slots': 1}}\n")
    run = server.run({"a": "sleep 60", "b": "sleep 60"})
    counts = until(lambda: (c := server.get(f"runs/{run}")["counts"])["running"] and c)
    assert (counts["running"], counts["queued"]) == (1, 1)
    server.post(f"runs/{run}/cancel")
    server.ended(run)


def test_a_headless_engine_that_cannot_start_says_why_and_ends_with_a_code(make_engine: Make) -> None:
    engine: EngineProcess = make_engine()
    (engine.store / "door.sock").mkdir(parents=True)  # nothing that a socket could take the place of
    engine.start(["-m", "wattle_jupyter", "serve", "--store", str(engine.store)])
    assert engine.process.wait(20) == 1
    assert "door.sock exists and is not a socket" in engine.said()


def test_a_server_whose_door_cannot_open_lets_the_store_go_and_tries_again(
    jp_serverapp: Any, jp_asyncio_loop: Any, scratch_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = door.open_door
    tries: list[str | None] = []

    def shut_twice(*args: Any) -> Any:
        tries.append(jp_serverapp.web_app.settings.get("wattle_trouble"))
        if len(tries) < 3:
            raise StoreUnavailable("no place for the door")
        return opened(*args)

    async def work() -> None:
        monkeypatch.setattr(door, "open_door", shut_twice)
        await jp_serverapp.extension_manager.start_all_extensions()
        (app,) = jp_serverapp.extension_manager.extension_apps["wattle_jupyter"]
        while app.engine is None:
            await asyncio.sleep(0.02)
        await jp_serverapp.extension_manager.stop_all_extensions()

    jp_asyncio_loop.run_until_complete(asyncio.wait_for(work(), 30))
    assert tries[1:] == ["no place for the door"] * 2


def test_a_headless_server_whose_store_is_removed_ends(make_engine: Make) -> None:
    engine: EngineProcess = make_engine()
    engine.launch()
    shutil.rmtree(engine.store)
    until(lambda: engine.process.poll() is not None)


def test_a_server_whose_store_is_removed_makes_a_new_one(make_server: Make) -> None:
    server: ServerProcess = make_server()
    server.launch()
    before = server.get("info")["store"]
    assert server.ended(server.run({"a": "true"}))["state"] == "completed"
    shutil.rmtree(server.store)
    until(lambda: server.request("GET", "info")[1].get("data", {}).get("store", before) != before)
    assert server.get("runs")["data"] == []
    assert server.ended(server.run({"a": "true"}))["state"] == "completed"
    assert f"the store {server.store} was removed while it was in use; a new, empty one is made" in server.said()
    assert server.end() == 0
    assert "Traceback" not in server.said(), server.said()


def test_a_server_whose_store_is_removed_during_a_run_goes_on_too(make_server: Make, tmp_path: Path) -> None:
    server: ServerProcess = make_server()
    server.launch()
    before = server.get("info")["store"]
    pid = server.running(server.run({"x": counting(tmp_path)}), "x")["history"][0]["pid"]
    shutil.rmtree(server.store)
    until(lambda: server.request("GET", "info")[1].get("data", {}).get("store", before) != before)
    assert server.ended(server.run({"a": "true"}))["state"] == "completed"
    (tmp_path / "gate").touch()
    until(lambda: not psutil.pid_exists(pid))
    assert server.end() == 0
    assert "Traceback" not in server.said(), server.said()


def test_a_full_runtime_folder_costs_only_the_sign(make_server: Make) -> None:
    server: ServerProcess = make_server()
    block = "import wattle_jupyter.places as p\ndef full(*a): raise OSError(28, 'No space left on device')\n"
    server.launch(config=f"{block}p.write_sign = full\n")
    assert server.ended(server.run({"a": "true"}))["state"] == "completed"
    path = server.home / "runtime" / f"wattle-{server.pid}.json"
    assert f"{path} cannot be written: No space left on device; kernels go by their own settings" in server.said()
    assert server.end() == 0
    assert "Traceback" not in server.said(), server.said()
