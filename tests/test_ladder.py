"""Finding the engine: the store of the own server, the owner of the store, else a started one; by every kernel."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from processes import EngineProcess, ServerProcess, clear, environment, until

from wattle_jupyter import client as clients
from wattle_jupyter import owner, places
from wattle_jupyter.places import Choice, ServerSign

Make = Callable[..., Any]
TABLE: dict[str, str] = yaml.safe_load((Path(__file__).parent / "fixtures" / "bad_situations.yaml").read_text())


def kernel_of(server: ServerProcess, **more: str) -> dict[str, str]:
    """The environment of a kernel that this server started."""
    return environment(server.home, JPY_PARENT_PID=str(server.pid), **more)


def in_kernel(environ: dict[str, str], code: str) -> tuple[str, str]:
    """What it printed, and what it said on the side."""
    program = [sys.executable, "-c", f"import json, wattle_jupyter as wt\n{code}"]
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


ASK = "from wattle_jupyter import client\nprint(client.find().check().pid, client.find().store)"


# ------------------------------------------------------------------------------------------------------- the own server


def test_a_kernel_uses_the_store_of_the_server_that_started_it(make_server: Make, tmp_path: Path) -> None:
    server: ServerProcess = make_server(tmp_path / "configured in the server")
    server.launch()
    environ = kernel_of(server)
    assert places.chosen(environ) == Choice(server.store, f"the Jupyter server of this kernel, pid {server.pid}")
    assert in_kernel(environ, ASK) == (f"{server.pid} {server.store}\n", "")
    sign = places.sign_path(environ, server.pid)
    assert sign.stat().st_mode & 0o777 == 0o600
    assert server.end() == 0
    assert not sign.exists()


def test_a_kernel_that_is_told_another_store_uses_that_and_says_so(make_server: Make, tmp_path: Path) -> None:
    server: ServerProcess = make_server()
    server.launch()
    other = tmp_path / "other"
    try:
        told, said = in_kernel(kernel_of(server, WATTLE_STORE__DIR=str(other)), ASK)
        assert told == f"{owner.read(other).pid} {other}\n"  # type: ignore[union-attr]
        assert said == TABLE["other store"].format(pid=server.pid, its=server.store, ours=other) + "\n"
    finally:
        clear(other)


def test_a_server_without_the_extension_is_named_and_the_engine_works(make_server: Make) -> None:
    server: ServerProcess = make_server()
    server.launch(wait=False, config="c.ServerApp.jpserver_extensions = {'wattle_jupyter': False}\n")
    environ = kernel_of(server)
    until(lambda: places.own_server(environ))
    try:
        told, said = in_kernel({**environ, "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/"}, ASK)
        assert told.split()[0] != str(server.pid)
        assert said == TABLE["no extension"].format(who=f"pid {server.pid}, /user/ann/ of the JupyterHub") + "\n"
    finally:
        clear(places.configured(environ).folder)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process is a kernel of server 4711; the folder is Jupyter's for running things."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    monkeypatch.delenv("WATTLE_STORE__DIR")
    (tmp_path / "jpserver-4711.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(("protocol", "case"), [(0, "older own server"), (99, "newer own server")])
def test_a_server_of_another_version_is_named(kernel: Path, protocol: int, case: str) -> None:
    places.write_sign(os.environ, ServerSign(4711, "/s", "0.0.1", protocol))
    assert owner.note_on_own_server(Path("/s"), os.environ) == TABLE[case]


def test_there_is_nothing_to_say_about_a_server_on_the_same_store(kernel: Path) -> None:
    places.write_sign(os.environ, ServerSign(4711, "/s", "0.0.1", owner.PROTOCOL))
    assert owner.note_on_own_server(Path("/s"), os.environ) == ""


@pytest.mark.parametrize("parent", ["", "x", "12"])
def test_who_was_not_started_by_a_jupyter_server_has_none(kernel: Path, parent: str) -> None:
    assert places.own_server({**os.environ, "JPY_PARENT_PID": parent}) is None
    assert places.chosen({**os.environ, "JPY_PARENT_PID": parent}).by == "the default"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"store": "/s", "version": "1", "protocol": null}'])
def test_a_broken_sign_is_none(kernel: Path, content: str) -> None:
    (kernel / "wattle-4711.json").write_text(content)
    assert places.own_server(os.environ) == ServerSign(4711)


def test_a_sign_that_others_may_write_is_not_believed(kernel: Path) -> None:
    places.write_sign(os.environ, ServerSign(4711, "/s", "0.0.1", 1))
    (kernel / "wattle-4711.json").chmod(0o666)
    assert places.chosen(os.environ).by == "the default"


def test_a_note_is_said_once(kernel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clients._tell_once("a note")
    clients._tell_once("a note")
    assert capsys.readouterr().err == "a note\n"


# ----------------------------------------------------------------------------------------------------- under JupyterHub

HUB = {
    "JUPYTERHUB_API_TOKEN": "hub-secret", "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api", "JUPYTERHUB_USER": "ann",
    "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/", "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:1/user/ann/",
    "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ann", "JPY_API_TOKEN": "hub-secret", "JUPYTERHUB_OAUTH_SCOPES": "[]",
    "CONFIGPROXY_AUTH_TOKEN": "hub-secret", "JUPYTER_TOKEN": "hub-secret",
}  # fmt: skip

RUN = """
from wattle_jupyter import client, run
found = client.find()
made = found.submit(spec={"name": "w", "tasks": {"a": "env"}})
run.Run(found, made).wait(check=True)
print(json.dumps([found.check().kind, made["user"], run.attach("last").logs("a")]))
"""


def test_a_kernel_under_jupyterhub_needs_no_token_and_no_task_sees_one(make_server: Make) -> None:
    server: ServerProcess = make_server()
    server.base = "/user/ann/wattle/api/"
    server.credentials = {"Authorization": "token hub-secret"}
    config = "c.ServerApp.base_url = '/user/ann/'\nc.IdentityProvider.token = 'hub-secret'\n"
    server.launch(config=config, **HUB)
    environ = kernel_of(server, **HUB)
    told, said = in_kernel(environ, RUN)
    kind, user, log = json.loads(told)
    assert (kind, said) == ("server", "")
    assert user == getpass.getuser()
    assert "WATTLE_TASK=a" in log
    assert "hub-secret" not in log
    assert "JUPYTERHUB" not in log

    server.end(signal.SIGTERM)  # the Hub culls the server; the kernel finds its runs all the same
    kind, _, log = json.loads(in_kernel({**environ, "WATTLE_STORE__DIR": str(server.store)}, RUN)[0])
    assert kind == "serve"
    assert "hub-secret" not in log
    found = owner.read(server.store)
    assert found is not None
    assert not [name for name in psutil.Process(found.pid).environ() if name.startswith(("JUPYTERHUB", "JPY_"))]


# ------------------------------------------------------------------------------------------------------ a newer keeper


def test_a_server_older_than_the_keeper_says_what_to_do(make_engine: Make) -> None:
    engine: EngineProcess = make_engine()
    engine.store.mkdir(parents=True)
    hello = {"op": "hello", "protocol": 99, "version": "9.0", "pid": 4711, "n": 1}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(engine.store / "keeper.sock"))
        listener.listen()

        def answer() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as server:
                server.recv(65536)
                server.sendall(json.dumps(hello).encode() + b"\n")
                server.recv(65536)

        keeper = threading.Thread(target=answer)
        keeper.start()
        engine.start(["-m", "wattle_jupyter", "serve", "--store", str(engine.store)])
        assert engine.process.wait(30) == 1
        keeper.join(10)
    assert TABLE["newer keeper"] in engine.said()
    assert "Traceback" not in engine.said()
