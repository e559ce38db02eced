"""A WebSocket over a connected unix socket: what the widget's relay needs of ``websocket-client``, no more."""

from __future__ import annotations

import contextlib
import socket

import websocket


class WebSocket:
    """One connection. ``send`` and ``close`` may be called from any thread, ``receive`` from one."""

    def __init__(self, connected: socket.socket, path: str) -> None:
        """Raises ConnectionError if the other side does not answer as a WebSocket server does."""
        connected.settimeout(None)
        self._socket = websocket.WebSocket(enable_multithread=True)
        try:
            self._socket.connect(  # type: ignore[no-untyped-call]
                f"ws://localhost{path}", socket=connected, suppress_origin=True
            )
        except websocket.WebSocketException as error:
            connected.close()
            said = str(error).partition(" -+-+- ")[0]  # what follows are headers, in the library's own notation
            raise ConnectionError(f"the engine refused the WebSocket: {said}") from error
        self._connected = connected

    def send(self, text: str) -> None:
        """Raises OSError if the connection has ended."""
        try:
            self._socket.send(text)
        except websocket.WebSocketException as error:
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        """End the connection; whoever receives is woken."""
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._socket.send_close()
        with contextlib.suppress(OSError):
            self._connected.shutdown(socket.SHUT_RDWR)
        self._connected.close()

    def receive(self) -> str | bytes | None:
        """The next message; None once the connection has ended."""
        try:
            kind, data = self._socket.recv_data()
        except (websocket.WebSocketException, OSError, ValueError):
            return None
        if kind == websocket.ABNF.OPCODE_TEXT:
            return bytes(data).decode("utf-8", "replace")
        return bytes(data) if kind == websocket.ABNF.OPCODE_BINARY else None
