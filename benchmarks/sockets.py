"""Many pages open at once: how soon each of them hears of a change."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import statistics
import time
from collections.abc import Sequence
from datetime import datetime

from benchmarks import machine, pairing
from benchmarks.jupyter import Server
from benchmarks.pairing import Row
from benchmarks.turns import Blocked
from benchmarks.workshop import CannotRun, Options

TITLE = "500 pages, 20 changes of state a second"
NOTE = (
    "Each page is a WebSocket of its own. *Heard* is the time from the commit of a change (its `at`, in "
    "milliseconds) until its bytes are at the client, over all clients and changes, after the first two seconds; "
    "all clients are one process on the same machine, whose own work counts as well. *Turns* are those in which the "
    "server's event loop was busy for over 10 ms at a stretch (`wattle_loop_lag_seconds`), in brackets those with over "
    "10 ms of its own work (`wattle_loop_work_seconds`): while all pages open at once, and while things change."
)
CHANGES = 20  # a second
WARM_UP = 2.0  # seconds
_AT = re.compile(rb'"at":"([^"]+)"')


class Page(asyncio.Protocol):
    """A WebSocket client that only looks at the time when bytes come, and at the stamps in them."""

    def __init__(self, server: Server, seq: int) -> None:
        self.server, self.seq = server, seq
        self.waits: list[tuple[float, float]] = []  # when it came, and how long after the commit
        self.open = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET /wattle/api/events/ws?token={self.server.token} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        transport.write(request.encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if b'"type":"hello"' in data and not self.open.done():
            self.open.set_result(None)
            self._ask(f'{{"type":"since","seq":{self.seq}}}'.encode())
        for stamp in _AT.findall(data):
            self.waits.append((now, now - datetime.fromisoformat(stamp.decode()).timestamp()))

    def _ask(self, text: bytes) -> None:
        mask = bytes(4)  # of zeros: the text as it is
        self.transport.write(bytes([0x81, 0x80 | len(text)]) + mask + text)  # type: ignore[attr-defined]


async def watch(server: Server, pages: int, seconds: float) -> tuple[list[float], Blocked, Blocked]:
    """Seconds from commit to arrival, of all changes at all pages; turns while they opened, and since."""
    loop = asyncio.get_running_loop()
    newest = (await asyncio.to_thread(server.call, "wattle/api/runs?page_size=1"))["data"]["data"]
    seq = (await asyncio.to_thread(server.call, f"wattle/api/runs/{newest[0]['id']}"))["data"]["seq"] if newest else 0
    before = await blocked(server)
    opened: list[Page] = []
    for _ in range(pages):
        _, page = await loop.create_connection(lambda: Page(server, seq), "127.0.0.1", server.port)
        opened.append(page)
    async with asyncio.timeout(60):
        await asyncio.gather(*(page.open for page in opened))
    opening = await blocked(server)
    tasks = {
        f"t{i}": {"run": ["sleep", "0.05"]} for i in range(int(CHANGES * seconds / 2))
    }  # each starts and ends: two changes
    paced = {"name": "paced", "tasks": tasks, "mode": "sequential", "concurrent": True}
    began = time.time()
    run = (await asyncio.to_thread(server.call, "wattle/api/runs", {"spec": paced}))["data"]["id"]
    await asyncio.to_thread(server.finish, run, 600)
    await asyncio.sleep(0.5)
    changing = await blocked(server)
    counts = {len(page.waits) for page in opened}
    for page in opened:
        page.transport.close()
    if len(counts) != 1:
        raise CannotRun(f"not every page heard the same: {sorted(counts)}")
    waits = [wait for page in opened for at, wait in page.waits if at > began + WARM_UP]
    return waits, opening.since(before), changing.since(opening)


async def blocked(server: Server) -> Blocked:
    with await asyncio.to_thread(server.open, "metrics") as page:
        return Blocked.told(page.read().decode())


def run(options: Options) -> list[Row]:
    found: list[Row] = []
    for pages in (1, 100, 500):
        server = Server(options.fresh("jupyter"), 1)
        try:
            server.wait()
            before = machine.cpu_seconds(server.process.pid)
            began = time.monotonic()
            waits, opening, changing = asyncio.run(watch(server, pages, 4 if options.quick else 20))
            cpu = (machine.cpu_seconds(server.process.pid) - before) / (time.monotonic() - began)
        finally:
            server.stop()
        found += _rows(pages, waits, cpu, opening, changing)
    for row in found:
        pairing.say(row)
    return found


def _rows(pages: int, waits: Sequence[float], cpu: float, opening: Blocked, changing: Blocked) -> list[Row]:
    work = f"{pages} page{'s' * (pages > 1)}"
    p95 = statistics.quantiles(waits, n=20)[-1]
    more: dict[str, float | str] = {
        "messages": float(len(waits)), "p95 ms": p95 * 1e3, "turns, opening": str(opening), "changing": str(changing),
        "server cores": cpu,
    }  # fmt: skip
    return [
        Row(
            work=work, who="wattle, heard", median=statistics.median(waits) * 1e3, least=min(waits) * 1e3, unit="ms",
            target="p95 ≤ 50 ms, no turn with over 10 ms of work", met=p95 <= 0.05 and not changing.work,
            load=machine.load(), more=more,
        )
    ]  # fmt: skip
