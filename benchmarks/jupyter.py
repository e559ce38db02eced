"""The engine where it lives: in a real Jupyter server, asked by HTTP, while a widget's socket is open."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import websocket

from benchmarks import dags, machine
from benchmarks.workshop import CannotRun, Options, environment

_FINAL = ("completed", "failed", "cancelled")


class Server:
    """A Jupyter server with the extension, everything of it below ``folder``, and a socket that watches all events.

    ``config`` is Python that it runs before it starts; ``more`` goes into its environment.
    """

    def __init__(
        self, folder: Path, slots: int, python: Path = Path(sys.executable), *, config: str = "", **more: str
    ) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
        places |= {"WATTLE_STORE__DIR": "store", "HOME": "home"}
        for name in places.values():
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        if config:
            (folder / "config" / "jupyter_server_config.py").write_text(config)
        env = environment(**{key: str(folder / name) for key, name in places.items()})
        env |= {"WATTLE_SCHEDULER__SLOTS": str(slots), "JUPYTER_TOKEN": self.token, **more}
        command = [str(python), "-m", "jupyter", "server", "--no-browser", "--allow-root", f"--port={self.port}"]
        with (folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port-retries=0", f"--ServerApp.root_dir={folder}"],
                env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.watcher: Any = None

    def call(self, path: str, body: object = None) -> Any:
        """The answer's JSON. POST if there is a body, else GET."""
        with self.open(path, body) as answer:
            return json.loads(answer.read() or b"null")

    def open(self, path: str, body: object = None, seconds: float = 120) -> Any:
        """The answer, to be read and closed."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        return urllib.request.urlopen(request, timeout=seconds)

    def wait(self, path: str = "wattle/api/info", seconds: float = 60, pause: float = 0.05) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.call(path)
                return
            time.sleep(pause)
        raise CannotRun(f"the Jupyter server did not come up:\n{(self.folder / 'server.log').read_text()[-1500:]}")

    def settle(self) -> None:
        """Wait until it does nothing: other extensions look around after a start, for language servers and the like."""
        until, before = time.monotonic() + 30, machine.cpu_seconds(self.process.pid)
        while time.monotonic() < until:
            time.sleep(1)
            now = machine.cpu_seconds(self.process.pid)
            if now - before < 0.03:
                return
            before = now

    def watch(self) -> None:
        """Open the socket that a widget has."""
        url = f"ws://127.0.0.1:{self.port}/wattle/api/events/ws?token={self.token}"
        self.watcher = websocket.create_connection(url, timeout=120)
        hello = json.loads(self.watcher.recv())
        self.watcher.send(json.dumps({"type": "since", "seq": hello["seq"]}))

    def finish(self, run: str, seconds: float = 120) -> str:
        """The state in which a run ends."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            state = str(self.call(f"wattle/api/runs/{run}")["data"]["state"])
            if state in _FINAL:
                return state
            time.sleep(0.05)
        raise CannotRun(f"the run {run} did not end within {seconds:g} s")

    def run(self, dag: dags.Dag) -> float:
        """Seconds from the request to the message on the socket that says that the run is over."""
        return self.run_spec(dags.spec(dag, "bench", self.folder))

    def run_spec(self, spec: Mapping[str, object]) -> float:
        began = time.perf_counter()
        run = self.call("wattle/api/runs", {"spec": spec})["data"]["id"]
        while True:
            message = json.loads(self.watcher.recv())
            for event in message.get("events", ()):
                state = event["body"].get("run", {}).get("state")
                if event["run"] == run and state in _FINAL:
                    if state != "completed":
                        raise CannotRun(f"the run in Jupyter is {state}: {event['body']['run']['reason']}")
                    return time.perf_counter() - began

    def stop(self) -> None:
        if self.watcher is not None:
            self.watcher.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def servers(options: Options, slots: Sequence[int]) -> Iterator[dict[int, Server]]:
    """One for each number of slots, up and watched."""
    running: dict[int, Server] = {}
    try:
        for number in slots:
            running[number] = Server(options.fresh("jupyter"), number)
        for server in running.values():
            server.wait()
            server.watch()
            server.run(dags.independent(20))
        yield running
    finally:
        for server in running.values():
            server.stop()
