"""A WebSocket client over a connected unix socket (RFC 6455), stdlib only: what the widget's relay needs, no more."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import threading

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
MAX_MESSAGE = 64 * 1024 * 1024


class WebSocket:
    """One connection. ``send`` and ``close`` may be called from any thread, ``receive`` from one."""

    def __init__(self, connected: socket.socket, path: str) -> None:
        """Raises ConnectionError if the other side does not answer as a WebSocket server does."""
        connected.settimeout(None)
        self._sock = connected
        self._file = connected.makefile("rb")
        self._sending = threading.Lock()
        self._shake_hands(path)

    def _shake_hands(self, path: str) -> None:
        key = base64.b64encode(os.urandom(16))
        self._sock.sendall(
            b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (path.encode("ascii"), key)
        )
        status = self._file.readline(4096)
        headers = {}
        while (line := self._file.readline(4096)).strip():
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        expected = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        if b" 101 " not in status or headers.get(b"sec-websocket-accept") != expected:
            said = status.decode("latin-1").strip() or "no answer"
            raise ConnectionError(f"the engine refused the WebSocket: {said}")

    def send(self, text: str) -> None:
        self._send(_TEXT, text.encode())

    def close(self) -> None:
        try:
            self._send(_CLOSE, b"")
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # closed already
        finally:
            self._sock.close()

    def receive(self) -> str | bytes | None:
        """The next message; None once the connection has ended."""
        parts: list[bytes] = []
        kind = 0
        try:
            while True:
                final, code, payload = self._frame()
                if code == _PING:
                    self._send(_PONG, payload)
                elif code == _CLOSE:
                    return None
                elif code != _PONG:
                    kind = code or kind
                    parts.append(payload)
                    if sum(map(len, parts)) > MAX_MESSAGE:
                        return None
                    if final:
                        whole = b"".join(parts)
                        return whole.decode() if kind == _TEXT else whole
        except (OSError, EOFError, ValueError):
            return None

    def _frame(self) -> tuple[bool, int, bytes]:
        first, second = self._read(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._read(8))
        if second & 0x80 or size > MAX_MESSAGE:
            raise ValueError("a server's frame is never masked, nor that large")
        return bool(first & 0x80), first & 0x0F, self._read(size)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _send(self, code: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = struct.pack(">BB", 0x80 | code, 0x80 | size)
        elif size < 1 << 16:
            head = struct.pack(">BBH", 0x80 | code, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", 0x80 | code, 0x80 | 127, size)
        mask = os.urandom(4)
        # as one large number: a loop over the bytes would cost a second per 10 MB
        stream = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")
        with self._sending:
            self._sock.sendall(head + mask + masked)
