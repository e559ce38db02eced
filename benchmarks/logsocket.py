"""A client of the WebSocket that takes in logs and looks at the time."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import websocket

from benchmarks.jupyter import Server


class LogSocket:
    """``read`` returns what came next: ``(attempt, offset, bytes)`` of a frame, or a message as a dict."""

    def __init__(self, server: Server, *, timeout: float = 60.0) -> None:
        url = f"ws://127.0.0.1:{server.port}/wattle/api/events/ws?token={server.token}"
        self.socket = websocket.create_connection(url, timeout=timeout)

    def subscribe(self, attempt: str) -> None:
        self.say(type="subscribe", log=attempt, offset=0)

    def say(self, **message: object) -> None:
        self.socket.send(json.dumps(message))

    def read(self) -> tuple[float, list[tuple[str, int, bytes]] | dict[str, Any]]:
        """When it came, and what."""
        kind, data = self.socket.recv_data()
        now = time.time()
        if kind != websocket.ABNF.OPCODE_BINARY:
            return now, json.loads(data)
        (length,) = struct.unpack(">I", data[:4])
        place, pieces = 4 + length, []
        for attempt, offset, size in json.loads(data[4:place]):
            pieces.append((attempt, offset, data[place : place + size]))
            place += size
        return now, pieces

    def close(self) -> None:
        self.socket.close()
