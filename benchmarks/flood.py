"""One process that writes as fast as it can: how much comes through, and what it costs others."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from websocket import WebSocketException

from benchmarks import machine, pairing
from benchmarks.creates import percentile
from benchmarks.jupyter import Server
from benchmarks.logsocket import LogSocket
from benchmarks.pairing import Row
from benchmarks.streams import started
from benchmarks.workshop import Options

TITLE = "One process that writes 200 MB as fast as it can"
NOTE = (
    "Into its log, while a client watches it, reads it slowly (1 MB a second), or never reads. *Memory* is how "
    "much the server grew; *others* is the 95th percentile of `GET wattle/api/info` meanwhile, one after the "
    "other, from a process of the same machine."
)
SIZE = 200_000_000


def run(options: Options) -> list[Row]:
    size = SIZE // 10 if options.quick else SIZE
    readers: dict[str, Callable[[LogSocket, int], None]] = {
        "watched": _all,
        "read slowly": _slowly,
        "never read": _never,
    }
    found = []
    for name, reader in readers.items():
        found += measure(options, name, size, reader)
    for row in found:
        pairing.say(row)
    return found


def measure(options: Options, name: str, size: int, reader: Callable[[LogSocket, int], None]) -> list[Row]:
    server = Server(options.fresh("jupyter"), 2)
    try:
        server.wait()
        line = "x" * 79
        writer = f"yes {line} | head -c {size}"
        warm = server.call(
            "wattle/api/runs", {"spec": {"name": "warm", "tasks": {"w": {"run": f"yes {line} | head -c 1000000"}}}}
        )
        server.finish(warm["data"]["id"])
        before = resident(server)
        made = server.call("wattle/api/runs", {"spec": {"name": "loud", "tasks": {"w": {"run": writer}}}})["data"]["id"]
        (attempt,) = started(server, made, 1)
        socket = LogSocket(server)
        socket.subscribe(attempt)
        began = time.perf_counter()
        thread = threading.Thread(target=reader, args=[socket, size], daemon=True)
        thread.start()
        asked, most = meanwhile(server, made)
        if reader is _all:
            thread.join(120)
        took = time.perf_counter() - began
        socket.close()
        task = server.call(f"wattle/api/runs/{made}/tasks/w")["data"]["history"][-1]
    finally:
        server.stop()
    grown = max(0.0, most - before)
    rate = size / 1e6 / max(1e-3, took)
    others = percentile(asked, 95)
    more: dict[str, float | str] = {
        "memory MiB": grown,
        "others p95 ms": others * 1e3,
        "in the log": f"{task['log_size']:,} bytes",
    }
    target = "≥ 200 MB/s, ≤ 20 MiB, others ≤ 10 ms" if reader is _all else "≤ 20 MiB, others ≤ 10 ms"
    met = grown <= 20 and others <= 0.01 and (reader is not _all or rate >= 200) and task["log_size"] == size
    return [
        Row(
            work=name, who="wattle", median=rate, least=rate, unit="MB/s", target=target, met=met,
            load=machine.load(), more=more,
        )
    ]  # fmt: skip


def meanwhile(server: Server, run: str) -> tuple[list[float], float]:
    """Seconds of small requests until the run ended, and the most memory that the server had."""
    asked, most = [], 0.0
    until = time.monotonic() + 120
    while time.monotonic() < until:
        began = time.perf_counter()
        server.call("wattle/api/info")
        asked.append(time.perf_counter() - began)
        most = max(most, resident(server))
        if len(asked) % 20 == 0 and server.call(f"wattle/api/runs/{run}")["data"]["ended_at"]:
            break
        time.sleep(0.002)
    return asked, most


def resident(server: Server) -> float:
    """MiB."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096 / 2**20


def _all(socket: LogSocket, size: int) -> None:
    seen = 0
    while seen < size:
        _, what = socket.read()
        if not isinstance(what, dict):
            seen += sum(len(data) for _, _, data in what)


def _slowly(socket: LogSocket, size: int) -> None:
    with contextlib.suppress(WebSocketException, OSError):  # closed when the run is over
        while True:
            _, what = socket.read()
            if not isinstance(what, dict):
                time.sleep(sum(len(data) for _, _, data in what) / 1e6)


def _never(socket: LogSocket, size: int) -> None:
    del socket, size
