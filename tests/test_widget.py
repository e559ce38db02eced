"""The relay of the view: it carries what the page says to the engine and back, unchanged, and ends when told."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattle_jupyter import widget
from wattle_jupyter.client import Client
from wattle_jupyter.websocket import WebSocket
from wattle_jupyter.widget import Relay, _allowed


class Peer:
    """The server's end of a WebSocket over a socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def shake(self, status: bytes = b"101 Switching Protocols") -> bytes:
        first = self.file.readline()
        key = b""
        while line := self.file.readline().strip():
            if line.lower().startswith(b"sec-websocket-key:"):
                key = line.split(b":", 1)[1].strip()
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade"
        self.sock.sendall(b"HTTP/1.1 %s\r\n%s\r\nSec-WebSocket-Accept: %s\r\n\r\n" % (status, upgrade, accept))
        return first

    def send(self, code: int, payload: bytes, *, final: bool = True) -> None:
        first = (0x80 if final else 0) | code
        size = len(payload)
        head = struct.pack(">BB", first, size) if size < 126 else struct.pack(">BBQ", first, 127, size)
        self.sock.sendall(head + payload)

    def receive(self) -> tuple[int, bytes]:
        first, second = self.file.read(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self.file.read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.file.read(8))
        mask = self.file.read(4)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.file.read(size)))

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def pair() -> tuple[WebSocket, Peer]:
    ours, theirs = socket.socketpair()
    peer = Peer(theirs)
    shaking = threading.Thread(target=peer.shake)
    shaking.start()
    found = WebSocket(ours, "/wattle/api/events/ws")
    shaking.join()
    return found, peer


@given(st.text(max_size=70_000))
@settings(max_examples=15, deadline=None)
def test_text_arrives_as_it_was_sent(text: str) -> None:
    ours, peer = pair()
    sending = threading.Thread(target=ours.send, args=(text,))
    sending.start()
    assert peer.receive() == (1, text.encode())
    sending.join()
    ours.close()
    peer.close()


def test_messages_in_pieces_pings_and_bytes_are_understood() -> None:
    ours, peer = pair()
    peer.send(1, b"ab", final=False)
    peer.send(9, b"there?")
    peer.send(0, "cä".encode())
    peer.send(2, b"\x00\xff" * 100)
    assert ours.receive() == "abcä"
    assert peer.receive() == (10, b"there?")
    assert ours.receive() == b"\x00\xff" * 100
    peer.send(8, b"")
    assert ours.receive() is None
    ours.close()
    ours.close()
    peer.close()


def test_a_cut_in_a_message_is_an_end() -> None:
    ours, peer = pair()
    peer.sock.sendall(b"\x81\x05ab")
    peer.close()
    assert ours.receive() is None
    ours.close()


def test_a_server_that_refuses_is_named() -> None:
    ours, theirs = socket.socketpair()
    peer = Peer(theirs)
    shaking = threading.Thread(target=peer.shake, args=(b"403 Forbidden",))
    shaking.start()
    with ours, pytest.raises(ConnectionError, match=r"refused the WebSocket: Handshake status 403 Forbidden$"):
        WebSocket(ours, "/wattle/api/events/ws")
    shaking.join()
    peer.close()


# ---------------------------------------------------------------------------------------------------------------- relay


class Page:
    """A relay whose answers can be waited for."""

    def __init__(self, store: Path) -> None:
        self.heard: queue.Queue[tuple[dict[str, Any], list[bytes]]] = queue.Queue()
        self.relay = Relay(Client(store, start=False), lambda content, buffers: self.heard.put((content, buffers)))

    def say(self, **message: Any) -> None:
        self.relay.hear(message)

    def next(self) -> tuple[dict[str, Any], list[bytes]]:
        return self.heard.get(timeout=30)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[Page, socket.socket]]:
    """A page, and the socket where the owner of its store listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "door.sock"))
        server.listen()
        sign = {"protocol": 1, "socket": str(tmp_path / "door.sock"), "pid": os.getpid()}
        (tmp_path / "owner.json").write_text(json.dumps(sign))
        (tmp_path / "owner.json").chmod(0o600)
        found = Page(tmp_path)
        yield found, server
        found.relay.close()


def test_the_relay_carries_text_and_bytes_both_ways(page: tuple[Page, socket.socket]) -> None:
    there, server = page
    there.say(type="open", conn="c1")
    there.say(type="wire", conn="c1", text='{"type":"since","seq":0}')
    peer = Peer(server.accept()[0])
    assert peer.shake() == b"GET /wattle/api/events/ws HTTP/1.1\r\n"
    assert peer.receive() == (1, b'{"type":"since","seq":0}')
    peer.send(1, b'{"type":"hello"}')
    peer.send(2, b"\x00\x01")
    assert there.next() == ({"type": "wire", "conn": "c1", "text": '{"type":"hello"}'}, [])
    assert there.next() == ({"type": "wire", "conn": "c1"}, [b"\x00\x01"])
    there.say(type="wire", conn="c1", text="later")
    assert peer.receive() == (1, b"later")
    peer.close()
    assert there.next() == ({"type": "closed", "conn": "c1", "reason": "the connection ended"}, [])


def test_closing_ends_the_connection_of_the_owner(page: tuple[Page, socket.socket]) -> None:
    there, server = page
    there.say(type="open", conn="c1")
    peer = Peer(server.accept()[0])
    peer.shake()
    peer.send(1, b"hi")
    there.next()
    there.say(type="close", conn="c1")
    assert peer.receive()[0] == 8
    peer.close()


def test_the_end_of_the_view_ends_all_its_connections(page: tuple[Page, socket.socket]) -> None:
    there, server = page
    there.say(type="open", conn="c1")
    peer = Peer(server.accept()[0])
    peer.shake()
    peer.send(1, b"hi")
    there.next()
    there.relay.close()
    assert peer.receive()[0] == 8
    there.say(type="open", conn="c2")
    peer.close()
    assert there.heard.empty()


def test_without_an_engine_the_page_is_told(tmp_path: Path) -> None:
    there = Page(tmp_path)
    there.say(type="open", conn="c1")
    closed, _ = there.next()
    assert (closed["type"], closed["conn"]) == ("closed", "c1")
    assert "No server owns the store" in closed["reason"]
    there.say(type="http", id="h1", method="GET", path="info", body=None)
    answer, _ = there.next()
    assert (answer["id"], answer["status"]) == ("h1", 0)
    assert "No server owns the store" in answer["body"]


def test_a_request_and_its_key_are_passed_on(page: tuple[Page, socket.socket]) -> None:
    there, server = page
    there.say(type="http", id="h1", method="POST", path="runs/r1/cancel", body={}, headers={"Idempotency-Key": "k1"})
    connected = server.accept()[0]
    with connected, connected.makefile("rb") as file:
        lines = []
        while line := file.readline().strip():
            lines.append(line)
        assert lines[0] == b"POST /wattle/api/runs/r1/cancel HTTP/1.1"
        assert b"Idempotency-Key: k1" in lines
        assert file.read(2) == b"{}"
        connected.sendall(b'HTTP/1.1 409 X\r\nContent-Length: 15\r\n\r\n{"error": "no"}')
    assert there.next()[0] == {"type": "http", "id": "h1", "status": 409, "body": {"error": "no"}}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "runs"), ("GET", "/etc"), ("GET", "../contents"), ("GET", "runs/../../x"), ("GET", "a b"),
        ("GET", "a\r\nb: c"),
    ],
)  # fmt: skip
def test_the_page_cannot_leave_the_api(tmp_path: Path, method: str, path: str) -> None:
    assert not _allowed(method, path)
    there = Page(tmp_path)
    there.say(type="http", id="h1", method=method, path=path, body=None)
    assert there.next()[0]["body"].startswith("not a request to this API")


def test_an_unknown_message_is_passed_over(tmp_path: Path) -> None:
    there = Page(tmp_path)
    there.say(type="nonsense")
    there.say()
    assert there.heard.empty()


# ----------------------------------------------------------------------------------------------------------------- view


def test_the_view_holds_the_run_and_what_is_saved_and_no_secret(tmp_path: Path) -> None:
    saved = {"version": 1, "workflow": "etl", "state": None, "tasks": [], "edges": []}
    view = widget.RunView(Client(tmp_path, start=False), run="r1", store="s1", saved=saved)
    synced = {name for name in view.keys if not name.startswith("_")}
    assert {"run", "store", "saved"} <= synced
    assert not any("token" in name for name in synced)
    assert repr(view) == "<RunView of etl>"
    view.close()
    assert view._relay._closed


def test_an_installation_without_the_view_says_so_and_shows_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widget, "STATIC", tmp_path)
    with pytest.warns(UserWarning, match="The live view is missing from this installation"):
        assert widget.view_of(Client(tmp_path, start=False), "r1", "s1", {}) == {}
