"""Real processes for tests: an owner of a scratch store behind its unix socket, and a Jupyter server on a port."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from keeper_stores import end_tasks, keeper_pid

T = TypeVar("T")

API = "/wattle/api/"
_OURS = ("JUPYTER", "JPY_", "WATTLE_", "IPYTHON", "XDG_")


def until(condition: Callable[[], T], timeout: float = 30.0) -> T:
    """The first true answer of ``condition``, asked again and again."""
    end = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {timeout:g} s: {condition}"
        time.sleep(0.02)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder with a path so short that sockets fit into it."""
    path = Path(tempfile.mkdtemp(prefix="wt-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment that knows nothing of this user's Jupyter; its files go below ``home``."""
    home.mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    own = {
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }
    return {**kept, **own, **more}


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Api:
    """Requests of the API, whatever the way there."""

    def connection(self, timeout: float = 30.0) -> http.client.HTTPConnection:
        raise NotImplementedError

    base = API
    credentials: Mapping[str, str] = {}

    def open(
        self, verb: str, path: str, body: Any = None, headers: Mapping[str, str] = {}
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """An answer that is still to be read. ``body`` is sent as JSON unless it is bytes."""
        sent = {**self.credentials, **headers}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = self.connection()
        try:
            with contextlib.suppress(BrokenPipeError):  # refused before all was sent: the answer says why
                connection.request(verb, self.base + path, body, sent)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def raw(
        self, verb: str, path: str, body: Any = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection, response = self.open(verb, path, body, headers)
        with contextlib.closing(connection):
            return response.status, response.read(), response.headers

    def request(
        self, verb: str, path: str, body: Any = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, dict[str, Any]]:
        status, content, _ = self.raw(verb, path, body, headers)
        return status, json.loads(content)

    def get(self, path: str) -> Any:
        """``data`` of an answer that must be a good one."""
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer["data"]

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        status, answer = self.request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        assert status in (200, 201), answer
        return answer["data"]

    def run(self, tasks: Mapping[str, Any], name: str = "w", **fields: Any) -> str:
        """Start a run of a spec with these tasks. Returns its id."""
        return str(self.post("runs", {"spec": {"name": name, "tasks": tasks, **fields}})["id"])

    def state(self, run: str) -> str:
        return str(self.get(f"runs/{run}")["state"])

    def task(self, run: str, task: str) -> Any:
        return self.get(f"runs/{run}/tasks/{quote(task)}")

    def ended(self, run: str, timeout: float = 60.0) -> Any:
        """The run, once it is final."""
        return until(lambda: (d := self.get(f"runs/{run}"))["ended_at"] and d, timeout)

    def running(self, run: str, task: str) -> Any:
        """The task, once its process runs."""
        return until(lambda: (d := self.task(run, task))["history"] and d["history"][-1]["state"] == "running" and d)


class Owned(Api):
    """A process that may own the store in ``store``."""

    def __init__(self, home: Path, store: Path) -> None:
        self.home, self.store = home, store
        self.process: subprocess.Popen[bytes]
        self.output = home / "output.txt"
        self.patience = 30.0  # seconds until it must answer
        self.under: tuple[str, ...] = ()  # what it is started under, a tracer that keeps its pid

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self, command: list[str], **more: str) -> None:
        self.home.mkdir(exist_ok=True)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.under, sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(self.home, **more),
                cwd=self.home,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def end(self, how: signal.Signals = signal.SIGTERM, timeout: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end within {timeout:g} s:\n{self.said()}") from None


class EngineProcess(Owned):
    """``wattle serve`` on a store, asked over its unix socket."""

    def launch(self, **more: str) -> EngineProcess:
        self.start(["-m", "wattle_jupyter", "serve", "--store", str(self.store)], **more)
        until(self.answers, self.patience)
        return self

    def answers(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            owner = json.loads((self.store / "owner.json").read_text())
            return owner["pid"] == self.pid and self.request("GET", "info")[0] == 200
        except OSError:
            return False

    @property
    def socket(self) -> str:
        return str(json.loads((self.store / "owner.json").read_text())["socket"])

    def connection(self, timeout: float = 30.0) -> http.client.HTTPConnection:
        return UnixConnection(self.socket, timeout)


class ServerProcess(Owned):
    """A real ``jupyter server`` on a port of this machine, with a token and the extension."""

    token = "secret"
    credentials: Mapping[str, str] = {"Authorization": "token secret"}
    port = 0

    def launch(self, wait: bool = True, config: str = "", **more: str) -> ServerProcess:
        self.home.mkdir(exist_ok=True)
        self.port = self.port or free_port()
        (self.home / "server.py").write_text(_CONFIG.format(port=self.port, store=str(self.store)) + config)
        self.start(["-m", "jupyter_server", "--config", str(self.home / "server.py")], **more)
        if wait:
            until(self._ready, self.patience)
        return self

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            return bool(self.get("health")["ready"])
        except OSError:
            return False

    def listening(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            self.raw("GET", "health")
        except OSError:
            return False
        return True

    def connection(self, timeout: float = 30.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)


_CONFIG = """
c.ServerApp.jpserver_extensions = {{
    "wattle_jupyter": True, "jupyterlab": False, "jupyter_lsp": False, "notebook_shim": False,
}}
c.ServerApp.allow_unauthenticated_access = False
c.ServerApp.allow_root = True
c.ServerApp.open_browser = False
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = {port}
c.ServerApp.port_retries = 0
c.ServerApp.terminals_enabled = False
c.IdentityProvider.token = "secret"
c.WattleApp.store_dir = {store!r}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clear(store: Path) -> None:
    """End the owner and the keeper of a store and all that it runs."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        owner = json.loads((store / "owner.json").read_bytes())["pid"]
        if owner != os.getpid():  # many tests own their store themselves
            os.kill(owner, signal.SIGKILL)
    with contextlib.suppress(OSError, ValueError, KeyError):
        pid = keeper_pid(store)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        end_tasks(store)


@contextlib.contextmanager
def owned(found: list[Owned]) -> Iterator[None]:
    """End the owners of stores at the end, and all that runs in their stores."""
    try:
        yield
    finally:
        for process in found:
            with contextlib.suppress(AttributeError):  # never started
                process.process.kill()
                process.process.wait()
            clear(process.store)
