"""How server and keeper talk: JSON lines over a unix socket that only this user can reach.

Server: ``hello own start inspect ack signal forget``.
Keeper: ``hello refused owned superseded facts inspected forgot error``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

PROTOCOL = 1
"""Raised when an older side could misunderstand a newer one."""

SOCKET_NAME = "keeper.sock"
_PATH_LIMIT = 107  # bytes in a socket's address
_LINE_LIMIT = 256 << 20

Message = dict[str, Any]

_text = json.JSONEncoder(separators=(",", ":")).encode


def encode(message: Message) -> bytes:
    return _text(message).encode() + b"\n"


class Lines:
    """Bytes in, messages out. ValueError for what is no message."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        self._parts.append(data)
        self._size += len(data)
        if self._size > _LINE_LIMIT:
            raise ValueError(f"a line of more than {_LINE_LIMIT} bytes")
        if b"\n" not in data:
            return
        *whole, rest = b"".join(self._parts).split(b"\n")
        self._parts, self._size = [rest], len(rest)
        for line in whole:
            try:
                message = json.loads(line)
            except RecursionError:
                raise ValueError("a message is nested too deep") from None
            if not isinstance(message, dict):
                raise ValueError("a message must be an object")
            yield message


class Address:
    """The socket's address in a store; a descriptor stands in for a path that is too long for one."""

    def __init__(self, store: str) -> None:
        path = os.path.join(store, SOCKET_NAME)
        self._dir_fd = -1
        if len(os.fsencode(path)) > _PATH_LIMIT:
            self._dir_fd = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            path = f"/proc/self/fd/{self._dir_fd}/{SOCKET_NAME}"
            if not os.path.isdir(os.path.dirname(path)):
                raise OSError(f"the path of the store is too long for a socket ({_PATH_LIMIT} bytes): {store}")
        self.path = path

    def close(self) -> None:
        if self._dir_fd >= 0:
            os.close(self._dir_fd)
            self._dir_fd = -1


def listen(store: str) -> socket.socket:
    """Bind the keeper's socket, mode 0600. Only for the holder of the keeper's lock."""
    address = Address(store)
    mask = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address.path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address.path)
    finally:
        os.umask(mask)
        address.close()
    listener.listen(16)
    listener.setblocking(False)
    return listener


def peer_uid(sock: socket.socket) -> int | None:
    """User at the other end; None where the platform does not tell (then the socket's mode alone guards)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, 12))[1])


def is_own_user(sock: socket.socket) -> bool:
    return peer_uid(sock) in (None, os.getuid())
