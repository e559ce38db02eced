"""The owner's door: a unix socket through which kernels and the command line of the same user come in.

A server with a password, or one behind a JupyterHub, has no token to hand out; the kernel of the operating system says
who is at the other end instead. Same handlers, no port.

The server's authorizer is not asked here: whoever comes in owns the processes and the files that it guards, and a
server that follows has asked its own. That of a JupyterHub could not answer: it knows users of the Hub only.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import stat
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

from jupyter_server.auth.authorizer import AllowAllAuthorizer
from jupyter_server.auth.identity import IdentityProvider, User
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_unix_socket

from wattle_jupyter._version import __version__
from wattle_jupyter.errors import StoreUnavailable
from wattle_jupyter.follower import user_of
from wattle_jupyter.handlers import routes
from wattle_jupyter.owner import PROTOCOL
from wattle_jupyter.preflight import publish

_LIMIT = 107  # bytes that the kernel takes for a socket's path
LONGEST = 100
MAX_BODY = 65 << 20


class DoorIdentity(IdentityProvider):
    """Whoever came through the door is the user that runs the server: :class:`Door` lets nobody else in.

    A server that follows says whom it let in; that is who started the run.
    """

    def get_user(self, handler: Any) -> User:
        name = user_of(handler.request.headers) or user_name()
        return User(username=name, name=name)

    def is_token_authenticated(self, handler: Any) -> bool:
        return True  # like a token: no browser sends it by itself, so there is nothing to forge

    def should_check_origin(self, handler: Any) -> bool:
        return False


class Door(HTTPServer):
    """The HTTP server behind the socket. ``used_at`` is when somebody last came in (monotonic clock)."""

    used_at = 0.0

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        self.used_at = time.monotonic()
        if peer_uid(stream.socket) != os.geteuid():
            stream.close()
            return
        super().handle_stream(stream, address)


def peer_uid(connected: socket.socket) -> int:
    """User id of the process at the other end, as the kernel knows it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()  # the socket's mode 0600 is what guards it there
    found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1])


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without an entry, as in some containers
        return f"uid {os.geteuid()}"


def open_door(settings: dict[str, Any], folder: Path, store_id: str, kind: str, url: str | None) -> Door:
    """Listen, and say where in ``owner.json``."""
    identity = DoorIdentity(parent=None)
    own = {**settings, "identity_provider": identity, "base_url": "/", "allow_remote_access": True}
    own |= {"authorizer": AllowAllAuthorizer(parent=None, identity_provider=identity)}
    own |= {"disable_check_xsrf": True}  # no page reaches a socket, and a JupyterHub's check knows its own cookies only
    own |= {"wattle_door": True, "wattle_follower": None}  # whoever has a door follows nobody
    application = web.Application(routes(), **own)
    path = socket_path(folder)
    door = Door(application, max_body_size=MAX_BODY)
    door.add_socket(_listen(path))
    content = {
        "protocol": PROTOCOL,
        "socket": str(path),
        "base_path": "/wattle/api/",
        "pid": os.getpid(),
        "kind": kind,
        "version": __version__,
        "store": store_id,
        "url": url,
    }
    try:
        publish(folder / "owner.json", json.dumps(content).encode())
    except OSError as error:
        door.stop()
        path = folder / "owner.json"
        raise StoreUnavailable(f"{path} cannot be written: {error.strerror}; make room there") from error
    return door


def _listen(path: Path) -> socket.socket:
    try:
        return bind_unix_socket(str(path), mode=0o600)
    except ValueError:
        raise StoreUnavailable(f"{path} exists and is not a socket; delete it") from None
    except OSError as error:
        too_long = len(os.fsencode(path)) > _LIMIT
        reason = f"its path has more than {_LIMIT} bytes" if too_long else error.strerror or str(error)
        cure = "set XDG_RUNTIME_DIR to a folder with a short path" if too_long else "make room or set WATTLE_STORE__DIR"
        raise StoreUnavailable(f"the socket {path} cannot be made: {reason}; {cure}") from error


def close_door(folder: Path) -> None:
    """Take the sign down. Call while the store's lock is held, so that it is our own."""
    (folder / "owner.json").unlink(missing_ok=True)
    socket_path(folder).unlink(missing_ok=True)


def socket_path(folder: Path) -> Path:
    """In the store if its path is short enough for a socket, else in a folder of this user for such things."""
    path = folder / "door.sock"
    if len(os.fsencode(path)) <= LONGEST:
        return path
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"wattle-{os.geteuid()}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        found = base.lstat()
    except OSError as error:
        cure = "set XDG_RUNTIME_DIR to a folder of yours, or WATTLE_STORE__DIR to one with a shorter path"
        raise StoreUnavailable(f"{base}, for the socket, cannot be made: {error.strerror}; {cure}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StoreUnavailable(f"{base} is not a folder of yours alone; remove it, or set XDG_RUNTIME_DIR")
    return base / (hashlib.blake2b(os.fsencode(folder), digest_size=12).hexdigest() + ".sock")
