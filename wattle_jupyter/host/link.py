"""Connections of servers to the keeper: non-blocking, never waited for."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from wattle_jupyter.host.protocol import Lines, Message, encode


class Link:
    """One connection."""

    def __init__(
        self,
        sock: socket.socket,
        selector: selectors.BaseSelector,
        receive: Callable[[Link, Message], None],
        gone: Callable[[Link], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._selector = selector
        self._receive = receive
        self._gone = gone
        self._lines = Lines()
        self._out = bytearray()
        self._last = False
        self.greeted = False
        self.open = True
        selector.register(sock, selectors.EVENT_READ, self.step)

    def step(self) -> None:
        """Something can be read or written."""
        if self.open and self._out:
            self._flush()
        if self.open and not self._last:
            self.read()

    def read(self) -> bool:
        """Take what has come so far; False if there was nothing."""
        try:
            data = self._sock.recv(1 << 20)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        try:
            for message in self._lines.feed(data):
                self._receive(self, message)
        except ValueError as error:
            self.send({"op": "error", "message": f"not a message of the keeper's protocol: {error}"}, last=True)
        return self.open

    def drain(self) -> None:
        """Take everything that was sent to us."""
        while self.open and self.read():
            pass

    def send(self, message: Message, *, last: bool = False) -> None:
        if self.open:
            self._out += encode(message)
            self._last |= last
            self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._last and not self._out:
            self.close()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        if self._selector.get_key(self._sock).events != events:
            self._selector.modify(self._sock, events, self.step)

    def close(self) -> None:
        if self.open:
            self.open = False
            self._selector.unregister(self._sock)
            self._sock.close()
            self._gone(self)
