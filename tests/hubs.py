"""A real JupyterHub behind its real proxy, whose users have Jupyter servers with this extension."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from processes import Api, clear, environment, free_port, scratch, until

ROOT = Path(__file__).resolve().parent.parent
PROXY = ROOT / "js" / "node_modules" / ".bin" / "configurable-http-proxy"
PASSWORD = "opensesame"
_SERVICE = "token-of-the-tests"
_FIRST_UID = 61_234


class Refused(Exception):
    """What the hub did not do."""


@cache
def has_accounts() -> bool:
    """May this process give its children accounts of their own? Those exist in a mount namespace of the hub only:
    nothing of the machine is changed."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("nsenter")):
        return False
    trial = ["unshare", "--mount", "mount", "--bind", "/etc/passwd", "/etc/passwd"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def shut_above(path: Path) -> Path | None:
    """The first folder on the way there that other accounts may not enter."""
    return next((p for p in reversed([path, *path.parents]) if not p.stat().st_mode & 0o001), None)


class Hub:
    """JupyterHub under a base URL of its own. Its users are made by :meth:`member`."""

    base = "/science/"

    def __init__(self, folder: Path) -> None:
        self.folder, self.accounts = folder, has_accounts()
        self.port, self._hub_port, self._proxy_port = free_port(), free_port(), free_port()
        self.members: list[Member] = []

    def launch(self, *names: str) -> Hub:
        assert PROXY.exists(), "the proxy of JupyterHub is missing: run `npm ci` in js/, or `python3 dev.py test`"
        self.folder.chmod(0o711)
        self.members = [Member(self, name, _FIRST_UID + n if self.accounts else None) for n, name in enumerate(names)]
        config = _CONFIG.format(
            base=self.base, port=self.port, hub_port=self._hub_port, proxy_port=self._proxy_port, proxy=str(PROXY),
            folder=str(self.folder), python=sys.executable, service=_SERVICE, password=PASSWORD,
            spawner="jupyterhub.spawner." + ("" if self.accounts else "Simple") + "LocalProcessSpawner",
            environment={"JUPYTER_PATH": str(self._extensions()), "JUPYTERHUB_ACTIVITY_INTERVAL": "1"},
        )  # fmt: skip
        (self.folder / "hub.py").write_text(config)
        command = [sys.executable, "-m", "jupyterhub", "-f", str(self.folder / "hub.py")]
        if self.accounts:
            command = ["unshare", "--mount", "sh", "-ec", f'{self._world()} exec "$@"', "sh", *command]
        with (self.folder / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env=environment(self.folder / "own", PYTHONPATH=""),
            )  # fmt: skip
        until(self._up, 60)
        for member in self.members:
            self.ask("POST", f"users/{member.name}")
            member.credentials = {"Authorization": f"token {self.ask('POST', f'users/{member.name}/tokens')['token']}"}
        return self

    def _world(self) -> str:
        """Shell commands that give the hub's processes the accounts, and those a way to this Python and this clone."""
        mine = [(m.name, m.uid, m.home) for m in self.members]
        lines = {
            "passwd": [f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n" for name, uid, home in mine],
            "group": [f"{name}:x:{uid}:\n" for name, uid, _ in mine],
        }
        said = []
        for file, more in lines.items():
            (self.folder / file).write_text(Path("/etc", file).read_text() + "".join(more))
            said.append(f"mount --bind {self.folder / file} /etc/{file}")
        needed = {Path(path): shut_above(Path(path)) for path in (os.path.realpath(sys.base_prefix), ROOT)}
        for n, (path, shut) in enumerate(needed.items()):
            said += [f"mkdir {self.folder}/{n}; mount --bind {shlex.quote(str(path))} {self.folder}/{n}"] * bool(shut)
        said += [f"mount -t tmpfs -o mode=755 none {shlex.quote(str(shut))}" for shut in {*needed.values()} if shut]
        for n, (path, shut) in enumerate(needed.items()):
            there = shlex.quote(str(path))
            said += [f"mkdir -p {there}; mount --bind {self.folder}/{n} {there}"] * bool(shut)
        return "".join(f"{one}; " for one in said)

    def _extensions(self) -> Path:
        """A data path with the extension for the page as it was built last."""
        built, link = ROOT / "wattle_jupyter" / "labextension", self.folder / "share/labextensions/wattle-jupyter"
        if built.exists():
            link.parent.mkdir(parents=True)
            link.symlink_to(built)
        return self.folder / "share"

    def said(self) -> str:
        return (self.folder / "hub.log").read_text(errors="replace")

    def _up(self) -> bool:
        assert self.process.poll() is None, self.said()
        with contextlib.suppress(OSError, Refused):  # the proxy is there before the hub
            return self.ask("GET", "users") is not None
        return False

    def ask(self, verb: str, path: str) -> Any:
        """The hub's own API, as a service that may manage users. None for an answer without content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(verb, f"{self.base}hub/api/{path}", headers={"Authorization": f"token {_SERVICE}"})
            answer = connection.getresponse()
            content = answer.read()
        if answer.status >= 400:
            raise Refused(f"{verb} {path}: {answer.status} {content.decode()}")
        return json.loads(content) if content else None

    def start_servers(self) -> None:
        """Those of all members, side by side."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Member.start_server, self.members))

    def end(self) -> None:
        """Its end ends the servers of the users and the proxy."""
        try:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):  # one of a hub that was killed
                os.kill(int((self.folder / "proxy.pid").read_text()), signal.SIGKILL)
            for member in self.members:
                clear(member.store)


class Member(Api):
    """A user of the hub; requests go to the user's own server, through the proxy."""

    def __init__(self, hub: Hub, name: str, uid: int | None) -> None:
        self.hub, self.name, self.uid = hub, name, uid
        self.base = f"{hub.base}user/{name}/wattle/api/"
        self.home = hub.folder / "home" / name
        self.home.mkdir(parents=True, mode=0o700)
        if uid is not None:
            os.chown(self.home, uid, uid)

    @property
    def store(self) -> Path:
        return self.home / ".local/share/jupyter/wattle"

    def connection(self, timeout: float = 30.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=timeout)

    def server(self) -> Any:
        """What the hub knows about the user's server, None if it does not run."""
        return self.hub.ask("GET", f"users/{self.name}")["servers"].get("")

    def start_server(self) -> None:
        """Returns when it answers and owns its store."""
        self.hub.ask("POST", f"users/{self.name}/server")
        until(lambda: (found := self.server()) and found["ready"], 60)
        until(lambda: self.request("GET", "health")[1].get("data", {}).get("ready"))

    def stop_server(self) -> None:
        self.hub.ask("DELETE", f"users/{self.name}/server")
        until(lambda: self.server() is None)

    def elsewhere(self, verb: str, path: str) -> Any:
        """Another path of the user's server. None for an answer without content."""
        connection = self.connection()
        with contextlib.closing(connection):
            connection.request(verb, path, headers=dict(self.credentials))
            answer = connection.getresponse()
            content = answer.read()
        assert answer.status < 400, (verb, path, answer.status, content)
        return json.loads(content) if content else None

    def python(self, code: str, *words: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run Python as the user, outside of Jupyter."""
        command = [sys.executable, "-c", code, *words]
        if self.uid is not None:
            account = ("--setgid", str(self.uid), "--setuid", str(self.uid))
            command = ["nsenter", "--target", str(self.hub.process.pid), "--mount", *account, *command]
        plain = {"HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, env=plain, capture_output=True, text=True, timeout=timeout, check=False)


@contextlib.contextmanager
def running(*names: str) -> Iterator[Hub]:
    """A hub with these users until the end of the block."""
    with scratch() as folder:
        hub = Hub(folder)
        try:
            yield hub.launch(*names)
        finally:
            hub.end()


_CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}{base}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.last_activity_interval = 1
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = {spawner!r}
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.LocalProcessSpawner.shell_cmd = []
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser", "--allow-root"]
c.Spawner.args = ["--LabApp.expose_app_in_browser=True"]
c.Spawner.default_url = "/lab"
c.Spawner.environment = {environment!r}
c.JupyterHub.services = [dict(name="tests", api_token={service!r})]
c.JupyterHub.load_roles = [
    dict(name="tests", services=["tests"], scopes=["admin:users", "admin:servers", "tokens", "read:users:activity"]),
]
"""
