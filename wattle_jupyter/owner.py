"""Who owns the store, and how to get there: read the owner's file, knock at its door, start an owner if there is none.

The owner writes ``<store>/owner.json`` (0600) with the path of its unix socket. Stdlib only: kernels import this.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattle_jupyter import filesystem, places
from wattle_jupyter.errors import ProtocolMismatch, ServerNotFound

PROTOCOL = 1
"""Number of the agreement between owner and client: this file, the socket, the paths below it."""

START_TIMEOUT = 30.0
"""Seconds that a started engine has until it must answer."""

_NOT_FOR_THE_ENGINE = ("JPY_", "JUPYTERHUB_", "MPLBACKEND", "PYDEVD_")
"""Environment of a kernel that says nothing true about an engine which outlives it, or that is a secret."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What ``owner.json`` says."""

    socket: str
    base_path: str
    pid: int
    kind: str  # "server": a Jupyter server of the user; "serve": the headless one
    version: str
    store: str


def read(store: Path, here: str = "this kernel") -> Owner | None:
    """The owner that the store names, None if it names none. It may be dead. ``here`` is what asks, for people.

    Raises ServerNotFound if the file is not to be trusted, ProtocolMismatch if it speaks another protocol.
    """
    path = store / "owner.json"
    try:
        with path.open("rb") as file:
            _trust(path, os.fstat(file.fileno()))
            content = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        cure = "make it yours, or set WATTLE_STORE__DIR"
        raise ServerNotFound(f"{path} cannot be read: {error.strerror}; {cure}") from None
    except ValueError:
        raise ServerNotFound(f"{path} is not JSON; delete it if no server uses this store") from None
    return _owner(path, content, here)


def _trust(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ServerNotFound(f"{path} belongs to, or can be written by, somebody else: not trusted; delete it")


def _owner(path: Path, content: Any, here: str) -> Owner:
    content = content if isinstance(content, dict) else {}
    protocol = content.get("protocol")
    if protocol != PROTOCOL:
        older = "restart that server" if isinstance(protocol, int) and protocol < PROTOCOL else f"restart {here}"
        raise ProtocolMismatch(
            f"The owner of the store (wattle-jupyter {content.get('version', '?')}) speaks protocol {protocol}, "
            f"this side speaks {PROTOCOL}; {older} so that both run the same version",
            theirs=protocol,
            ours=PROTOCOL,
        )
    try:
        base = str(content.get("base_path", "/wattle/api/"))
        where = (str(content["socket"]), base if base.endswith("/") else base + "/", int(content["pid"]))
    except (KeyError, TypeError, ValueError):
        raise ServerNotFound(f"{path} lacks the owner's socket or pid; delete it if no server uses the store") from None
    return Owner(*where, *(str(content.get(key, "?")) for key in ("kind", "version", "store")))


def connect(owner: Owner, timeout: float) -> socket.socket:
    """A connection to the owner's door. Raises OSError if nobody is there, ServerNotFound if it is another user."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.settimeout(timeout)
        door.connect(owner.socket)
        _check_peer(door, owner.socket)
    except BaseException:
        door.close()
        raise
    return door


def _check_peer(door: socket.socket, path: str) -> None:
    if hasattr(socket, "SO_PEERCRED"):
        peer = door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid = struct.unpack("3i", peer)[1]
    else:
        uid = Path(path).stat().st_uid
    if uid != os.geteuid():
        raise ServerNotFound(f"The socket {path} is held by user {uid}, not by you: not trusted")


def find(store: Path, *, start: bool = True, timeout: float = 60.0) -> tuple[Owner, socket.socket]:
    """The owner of the store and a fresh connection to it; one is started if there is none and ``start`` is true.

    Raises ServerNotFound with the reason and the cure.
    """
    found = knock(store, timeout)
    if found is None and _is_busy(store):
        found = _wait_for_busy(store, timeout)
    if found is not None:
        return found
    if not start:
        raise ServerNotFound(f"No server owns the store {store}; start one with `wattle serve` or in JupyterLab")
    return _start(store, timeout)


def knock(store: Path, timeout: float, here: str = "this kernel") -> tuple[Owner, socket.socket] | None:
    """The owner and a connection to it, or None if nobody answers."""
    owner = read(store, here)
    if owner is None:
        return None
    try:
        door = connect(owner, timeout)
    except (ConnectionError, FileNotFoundError):
        return None
    except TimeoutError:
        _refuse_stopped(owner.pid, store)
        raise
    try:
        _refuse_stopped(peer_pid(door), store)
    except BaseException:
        door.close()
        raise
    return owner, door


def peer_pid(connected: socket.socket) -> int:
    """Pid of the process that listens, as the kernel knows it: a file may be old. 0 where that cannot be known."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    return int.from_bytes(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)


def _refuse_stopped(pid: int, store: Path) -> None:
    """A process that was suspended still holds the store and answers nobody; nobody may take it away from it."""
    if is_stopped(pid):
        raise ServerNotFound(
            f"The server that owns the store {store} (pid {pid}) is suspended and answers nobody; what runs goes on. "
            f"Let it go on: kill -CONT {pid}; or end it: kill -9 {pid}, then the next server takes over by itself",
            pid=pid,
        )


def is_stopped(pid: int) -> bool:
    """Was the process suspended, by SIGSTOP, Ctrl-Z or a debugger? False where that cannot be known."""
    try:
        with Path(f"/proc/{pid}/stat").open("rb") as file:
            return file.read().rpartition(b") ")[2][:1] in b"Tt"
    except OSError:
        return False


def _is_busy(store: Path) -> bool:
    """The file names a living process whose door is shut: it is about to open or to close."""
    owner = read(store)
    return owner is not None and alive(owner.pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _wait_for_busy(store: Path, timeout: float, patience: float = 3.0) -> tuple[Owner, socket.socket] | None:
    end = time.monotonic() + patience
    while time.monotonic() < end and _is_busy(store):
        time.sleep(0.05)
        if found := knock(store, timeout):
            return found
    return None


# ------------------------------------------------------------------------------------------------- starting an engine


def _start(store: Path, timeout: float) -> tuple[Owner, socket.socket]:
    if refusal := filesystem.refusal(store, places.vouched(os.environ)):
        raise ServerNotFound(refusal[0].upper() + refusal[1:])
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = (store / "serve.log").open("ab")
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}"
        cure = "set WATTLE_STORE__DIR to a folder of your own"
        raise ServerNotFound(f"The store {store} cannot be used ({reason}); {cure}") from None
    with log, _one_starter(store):
        if found := knock(store, timeout):
            return found
        logged = log.tell()  # before the child writes: the position is shared with it
        return _await_answer(store, _spawn(store, log.fileno()), logged, timeout)


@contextlib.contextmanager
def _one_starter(store: Path) -> Iterator[None]:
    """Of several kernels that miss the engine at once, one starts it and the others wait for that."""
    with (store / "serve.log").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _spawn(store: Path, output: int) -> subprocess.Popen[bytes]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_FOR_THE_ENGINE)}
    process = subprocess.Popen(
        [sys.executable, "-m", "wattle_jupyter", "serve", "--store", str(store)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environ,
        start_new_session=True,
    )
    # it may end long before this process does: somebody has to reap it
    threading.Thread(target=process.wait, name="wattle-serve-reaper", daemon=True).start()
    return process


def _await_answer(
    store: Path, process: subprocess.Popen[bytes], logged: int, timeout: float
) -> tuple[Owner, socket.socket]:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        ended = process.returncode is not None
        found = knock(store, timeout)
        if not found and ended:
            # it ends at once if another server came first: that one's door opens soon
            found = _wait_for_busy(store, timeout)
            if not found:
                raise ServerNotFound(_why_not(store, f"`wattle serve` ended with code {process.returncode}", logged))
        if found:
            if found[0].pid != process.pid and not ended:
                process.terminate()  # somebody else came first: ours must not wake up later and find the store free
            return found
        time.sleep(0.03)
    raise ServerNotFound(_why_not(store, f"`wattle serve` did not answer within {START_TIMEOUT:g} s", logged))


def _why_not(store: Path, what: str, logged: int) -> str:
    with (store / "serve.log").open("rb") as file:
        file.seek(logged)
        last = file.read().decode("utf-8", "replace").strip().splitlines()[-8:]
    lines = "".join(f"\n  {line}" for line in last) or " (it wrote nothing)"
    own = note_on_own_server(store, os.environ)
    note = f"\n{own}" if own else ""
    return f"No engine for the store {store}: {what}. The end of {store / 'serve.log'}:{lines}{note}"


# ------------------------------------------------------------------------------------------------------ our own server


def note_on_own_server(store: Path, environ: Mapping[str, str]) -> str:
    """Why the pages of the Jupyter server that started this kernel do not show this store, with the cure, or nothing.

    The engine is found without that server: by the store, whose owner is at its door whoever it is. So it is a note.
    """
    server = places.own_server(environ)
    if server is None or (server.store == str(store) and server.protocol == PROTOCOL):
        return ""
    prefix = environ.get("JUPYTERHUB_SERVICE_PREFIX")
    who = f"The Jupyter server of this kernel (pid {server.pid}{f', {prefix} of the JupyterHub' if prefix else ''})"
    if not server.store:
        return (
            f"{who} runs without the extension of wattle-jupyter: runs work, but its pages do not know them; "
            "run `jupyter server extension enable wattle_jupyter` in its environment and restart it"
        )
    if server.protocol != PROTOCOL:
        older = server.protocol is not None and server.protocol < PROTOCOL
        return (
            f"{who} runs wattle-jupyter {server.version}, which speaks protocol {server.protocol}, this kernel "
            f"{PROTOCOL}; restart {'that server' if older else 'this kernel'} so that both run the same version"
        )
    return (
        f"{who} serves the store {server.store}, this kernel uses {store}: its pages show other runs; "
        "unset WATTLE_STORE__DIR in the kernel, or start the server with the same"
    )
