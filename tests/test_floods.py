"""Too much of everything at once, against a real server: it answers others meanwhile, and its memory stays bounded."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psutil
import pytest
from processes import EngineProcess, ServerProcess, until

MB = 1 << 20


def memory(server: ServerProcess | EngineProcess) -> int:
    """Bytes that it holds."""
    return int(psutil.Process(server.pid).memory_info().rss)


@pytest.fixture
def flooded(server: ServerProcess) -> ServerProcess:
    """Warm, so that what it holds for good is there before it is measured."""
    server.ended(server.run({"t": {"run": "true"}}))
    return server


def flood(port: int, head: str, size: int) -> tuple[bytes, int]:
    """Send a head and ``size`` bytes until the server has enough. Its answer, and how much it took."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as sock:
        sock.sendall(head.encode())
        sent, piece = 0, b"x" * MB
        with contextlib.suppress(ConnectionError):
            while sent < size:
                if "chunked" in head:
                    sock.sendall(b"%x\r\n" % len(piece))
                sock.sendall(piece)
                sent += len(piece)
                if "chunked" in head:
                    sock.sendall(b"\r\n")
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            answer = sock.recv(4096)
    return answer, sent


@pytest.mark.parametrize("token", ["", "Authorization: token secret\r\n"], ids=["stranger", "owner"])
@pytest.mark.parametrize("length", [f"Content-Length: {400 * MB}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["runs", "backups"])
def test_a_body_of_400_mb_is_not_taken_in(flooded: ServerProcess, path: str, length: str, token: str) -> None:
    before = memory(flooded)
    head = f"POST /wattle/api/{path} HTTP/1.1\r\nHost: 127.0.0.1:{flooded.port}\r\n{token}"
    answer, sent = flood(flooded.port, f"{head}Content-Type: application/json\r\n{length}\r\n\r\n", 400 * MB)
    assert b" 200 " not in answer
    assert b" 201 " not in answer
    assert sent < 100 * MB
    assert memory(flooded) - before < 100 * MB
    assert flooded.get("health")["ready"]


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def web_socket(port: int) -> socket.socket:
    """An open WebSocket, after its handshake."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.sendall(
        f"GET /wattle/api/events/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: token secret\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    assert b" 101 " in head, head
    return sock


def test_a_thousand_sockets_cost_little_and_others_are_answered(make_server: Callable[..., ServerProcess]) -> None:
    with many_files(), ExitStack() as stack:
        server = make_server().launch()
        before = memory(server)
        for _ in range(1000):
            stack.enter_context(closing(web_socket(server.port)))
        server.ended(server.run({"t": {"run": "true"}}))  # its events go to all of them
        assert memory(server) - before < 200 * MB
    open_files = psutil.Process(server.pid).num_fds
    until(lambda: open_files() < 200)
    assert server.get("health")["ready"]


def text(sock: socket.socket, message: dict[str, object]) -> None:
    """Send one masked text frame."""
    data = json.dumps(message).encode()
    sock.sendall(struct.pack("!BB", 0x81, 0x80 | len(data)) + bytes(4) + data)


@pytest.mark.parametrize("way", ["socket", "stream", "download"])
def test_a_reader_that_never_reads_costs_no_memory(flooded: ServerProcess, way: str) -> None:
    run = flooded.run({"t": {"run": f"head -c {200 * MB} /dev/zero | tr '\\0' 'x' | fold -w 200"}})
    attempt = flooded.ended(run)["tasks"][0]["attempt"]
    before = memory(flooded)
    with ExitStack() as stack:
        for _ in range(5):
            if way == "socket":
                sock = stack.enter_context(closing(web_socket(flooded.port)))
                text(sock, {"type": "subscribe", "log": attempt, "offset": 0})
            else:
                query = "logs/stream?offset=0" if way == "stream" else "logs?download=1"
                connection, _ = flooded.open("GET", f"runs/{run}/tasks/t/{query}")
                stack.enter_context(closing(connection))
        worst = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            worst = max(worst, memory(flooded) - before)
            assert flooded.get("health")["ready"]
    assert worst < 60 * MB


def test_a_line_of_10_mb_is_read_in_pages(flooded: ServerProcess) -> None:
    run = flooded.run({"t": {"run": f"head -c {10 * MB} /dev/zero | tr '\\0' 'x'"}})
    flooded.ended(run)
    before, read = memory(flooded), 0
    while read < 10 * MB:
        page = flooded.get(f"runs/{run}/tasks/t/logs?offset={read}&limit={MB}")
        assert 0 < len(page["text"]) <= MB
        read += len(page["text"])
    assert read == 10 * MB
    assert memory(flooded) - before < 60 * MB


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_log_of_1_gb_is_served_from_the_disk(flooded: ServerProcess) -> None:
    run = flooded.run({"t": {"run": f"head -c {1024 * MB} /dev/zero | tr '\\0' 'x' | fold -w 200"}})
    flooded.ended(run, timeout=600)
    before = memory(flooded)
    connection, answer = flooded.open("GET", f"runs/{run}/tasks/t/logs?download=1")
    worst = read = 0
    with closing(connection):
        while data := answer.read(8 * MB):
            read += len(data)
            worst = max(worst, memory(flooded) - before)
    assert read == 1024 * MB + 1024 * MB // 200
    assert worst < 100 * MB


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_spec_of_100_000_tasks_keeps_nobody_from_being_answered(flooded: ServerProcess) -> None:
    tasks = {f"t{i}": {"run": "true", "needs": [f"t{i - 1}"] if i else []} for i in range(100_000)}
    before = memory(flooded)
    status, answer = flooded.request("POST", "workflows", {"name": "big", "tasks": tasks})
    assert status == 201, answer
    assert memory(flooded) - before < 1500 * MB
    assert flooded.get("workflows/big")["total"] == 100_000
    assert flooded.get("health")["ready"]
