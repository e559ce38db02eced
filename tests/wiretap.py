"""A wire between a browser and a server that can be cut: every byte passes, until it does not."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from processes import free_port

_PIECE = 1400  # bytes passed on at a time, as on a network: cuts fall into the middle of messages


class Wiretap:
    """Listens on ``port`` and passes on to ``target``, both on this machine. Use as a context manager."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.cuts = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._upgraded: set[tuple[socket.socket, socket.socket]] = set()

    def __enter__(self) -> Wiretap:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _hang_up(pair)

    def cut(self) -> int:
        """Reset every WebSocket there is, as a lost network does. Returns how many there were."""
        with self._lock:
            pairs = list(self._upgraded)
            self._upgraded.clear()
        for pair in pairs:
            _hang_up(pair)
        self.cuts += len(pairs)
        return len(pairs)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the end of the listener
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        back = threading.Thread(target=self._pass, args=(far, near, pair), daemon=True)
        back.start()
        self._pass(near, far, pair)
        back.join()
        with self._lock:
            self._pairs.discard(pair)
            self._upgraded.discard(pair)
        near.close()
        far.close()

    def _pass(self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if b"101 Switching Protocols" in piece:
                    with self._lock:
                        self._upgraded.add(pair)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


def _hang_up(pair: tuple[socket.socket, socket.socket]) -> None:
    for one in pair:
        with contextlib.suppress(OSError):
            # no farewell: what is on its way is lost and the other side sees a reset
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.shutdown(socket.SHUT_RDWR)
