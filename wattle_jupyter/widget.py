"""The live view of a run in the cell, for front ends without the JupyterLab renderer, and its way to the engine.

Where the page has no Jupyter server of ours, the view talks to the engine through the kernel; the messages of that
relay are those of ``js/src/core/comm.ts``.
"""

from __future__ import annotations

import contextlib
import json
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from wattle_jupyter import owner
from wattle_jupyter.client import Client, encode
from wattle_jupyter.errors import WattleError
from wattle_jupyter.model import Json
from wattle_jupyter.websocket import WebSocket

STATIC = Path(__file__).parent / "static"
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

Say = Callable[[dict[str, Any], list[bytes]], None]


class RunView(anywidget.AnyWidget):
    """Draws one run and keeps it up to date. Holds no token, and of the run only what the notebook saves."""

    _esm = STATIC / "widget.js" if (STATIC / "widget.js").exists() else ""
    _css = STATIC / "widget.css" if (STATIC / "widget.css").exists() else ""
    run = traitlets.Unicode().tag(sync=True)
    store = traitlets.Unicode().tag(sync=True)
    saved = traitlets.Dict().tag(sync=True)

    def __init__(self, client: Client, **traits: Any) -> None:
        super().__init__(**traits)
        self._relay = Relay(client, self._say)
        self.on_msg(self._hear)
        if self.comm is not None:
            self.comm.on_close(lambda _: self._relay.close())

    def __repr__(self) -> str:
        return f"<RunView of {self.saved.get('workflow', '?')}>"

    def close(self) -> None:
        """Take the view and its connections away."""
        self._relay.close()
        super().close()

    def _hear(self, _: object, content: dict[str, Any], buffers: object) -> None:
        self._relay.hear(content)

    def _say(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(content, buffers)


class Relay:
    """Carries messages between a view and the owner of the store, in threads of its own; adds nothing."""

    def __init__(self, client: Client, say: Say) -> None:
        self._client = client
        self._page = say
        self._saying = threading.Lock()
        self._lock = threading.Lock()
        self._connections: dict[str, _Connection] = {}
        self._closed = False

    def hear(self, message: dict[str, Any]) -> None:
        """Take one message of the page; returns at once."""
        verbs = {"open": self._open, "wire": self._wire, "close": self._end, "http": self._http}
        verb = verbs.get(str(message.get("type")))
        if verb is not None and not self._closed:
            verb(message)

    def close(self) -> None:
        """End all connections; what the page says after that is not heard."""
        with self._lock:
            self._closed = True
            connections = list(self._connections.values())
            self._connections.clear()
        for connection in connections:
            connection.close()

    def _say(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        if not self._closed:
            with self._saying:
                self._page(content, buffers or [])

    def _open(self, message: dict[str, Any]) -> None:
        name = str(message.get("conn"))
        connection = _Connection(self._client, name, self._say, self._forget)
        with self._lock:
            before = self._connections.get(name)
            self._connections[name] = connection
        if before:
            before.close()
        connection.start()

    def _forget(self, connection: _Connection) -> None:
        """It ended by itself; the page takes a new name when it comes again."""
        with self._lock:
            if self._connections.get(connection.id) is connection:
                del self._connections[connection.id]

    def _wire(self, message: dict[str, Any]) -> None:
        with self._lock:
            connection = self._connections.get(str(message.get("conn")))
        if connection:
            connection.send(str(message.get("text")))

    def _end(self, message: dict[str, Any]) -> None:
        with self._lock:
            connection = self._connections.pop(str(message.get("conn")), None)
        if connection:
            connection.close()

    def _http(self, message: dict[str, Any]) -> None:
        threading.Thread(target=self._ask, args=(message,), name="wattle-relay-http", daemon=True).start()

    def _ask(self, message: dict[str, Any]) -> None:
        status, body = self._answer(message)
        self._say({"type": "http", "id": message.get("id"), "status": status, "body": body})

    def _answer(self, message: dict[str, Any]) -> tuple[int, Json]:
        method, path = str(message.get("method")), str(message.get("path"))
        key = (message.get("headers") or {}).get("Idempotency-Key")
        if not _allowed(method, path):
            return 0, f"not a request to this API: {method[:10]} {path[:100]}"
        try:
            status, answer = self._client.exchange(method, path, body=encode(message.get("body")), key=key)
            return status, json.loads(answer) if answer else None
        except (WattleError, OSError, ValueError) as error:
            return 0, str(error)


class _Connection(threading.Thread):
    """One WebSocket of a page. What the page says before it is open waits."""

    def __init__(self, client: Client, id: str, say: Say, ended: Callable[[_Connection], None]) -> None:
        super().__init__(name="wattle-relay", daemon=True)
        self._client = client
        self.id = id
        self._say = say
        self._ended = ended
        self._lock = threading.Lock()
        self._early: list[str] = []
        self._socket: WebSocket | None = None
        self._closed = False

    def run(self) -> None:
        reason = "the connection ended"
        try:
            self._opened(self._connect())
            self._pump()
        except (WattleError, OSError) as error:
            reason = str(error)
        finally:
            self.close()
            self._ended(self)
            self._say({"type": "closed", "conn": self.id, "reason": reason}, [])

    def send(self, text: str) -> None:
        with self._lock:
            if self._socket is None:
                self._early.append(text)
                return
            with contextlib.suppress(OSError):  # the pump notices and tells the page
                self._socket.send(text)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._socket:
                self._socket.close()

    def _connect(self) -> WebSocket:
        found, connected = owner.find(self._client.store, start=self._client.start)
        try:
            return WebSocket(connected, f"{found.base_path}events/ws")
        except BaseException:
            connected.close()
            raise

    def _opened(self, socket: WebSocket) -> None:
        with self._lock:
            self._socket = socket
            for text in self._early:
                socket.send(text)
            if self._closed:
                socket.close()

    def _pump(self) -> None:
        while self._socket and (message := self._socket.receive()) is not None:
            if isinstance(message, str):
                self._say({"type": "wire", "conn": self.id, "text": message}, [])
            else:
                self._say({"type": "wire", "conn": self.id}, [message])


def _allowed(method: str, path: str) -> bool:
    """Only what the API has: the page may not choose another place of the server, nor break out of the request line."""
    inside = not path.startswith("/") and ".." not in path.partition("?")[0].split("/")
    return method in ("GET", "POST", "DELETE") and inside and path.isascii() and path.isprintable() and " " not in path


def view_of(client: Client, run: str, store: str, saved: dict[str, Json]) -> dict[str, Json]:
    """The part of an output that front ends with widgets show; empty, with a warning, if the view was not built."""
    if not (STATIC / "widget.js").exists():
        warnings.warn(f"The live view is missing from this installation ({STATIC}): reinstall it", stacklevel=2)
        return {}
    view = RunView(client, run=run, store=store, saved=saved)
    return {WIDGET_MIME: {"version_major": 2, "version_minor": 1, "model_id": view.model_id}}
