"""Many runs created at the same moment: do all succeed, and how long does each take."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence

from benchmarks import machine, pairing
from benchmarks.jupyter import Server
from benchmarks.pairing import Row
from benchmarks.workshop import CannotRun, Options

TITLE = "100 and 1,000 creates at the same moment"
NOTE = (
    "So many clients, each with a connection of its own, post a run of a stored workflow at once. Each answer is "
    "a run that is on disk (`synchronous=FULL`); its task runs meanwhile. *Query* is `GET runs` of the first 20 "
    "meanwhile, one after the other. Beside them so many `GET api/status` at once, which jupyter_server answers "
    "itself: what tornado needs for the requests alone. StepFlow Monitor's published benchmark says that 0 of 100 "
    "concurrent creates succeeded."
)
STATUS = "jupyter_server api/status"


class Client:
    """A connection of its own for one request, which is sent when :meth:`ask` is awaited."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def connect(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        return self

    async def ask(self, verb: str, path: str, body: object = None, key: str = "") -> tuple[float, int, bytes]:
        """Seconds from the first byte out to the last byte in, status, body."""
        sent = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{verb} /{path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: token {self.server.token}",
            "Connection: close", "Content-Type: application/json", f"Content-Length: {len(sent)}",
            *([f"Idempotency-Key: {key}"] if key else []),
        ]  # fmt: skip
        began = time.perf_counter()
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
        answer = await self.reader.read()
        self.writer.close()
        return time.perf_counter() - began, int(answer.split(b" ", 2)[1]), answer.split(b"\r\n\r\n", 1)[1]


async def status(server: Server, count: int) -> list[float]:
    """Seconds of so many questions at once that Jupyter's own server answers."""
    clients = [await Client(server).connect() for _ in range(count)]
    return [seconds for seconds, _, _ in await asyncio.gather(*(c.ask("GET", "api/status") for c in clients))]


async def burst(server: Server, count: int) -> tuple[list[float], list[float]]:
    """Seconds of each create, and of each query meanwhile."""
    clients = [await Client(server).connect() for _ in range(count)]
    creates = [
        asyncio.create_task(client.ask("POST", "wattle/api/runs", {"workflow": "one"}, f"{count}-{n}"))
        for n, client in enumerate(clients)
    ]
    queries: list[float] = []
    while not all(task.done() for task in creates):
        queries.append((await (await Client(server).connect()).ask("GET", "wattle/api/runs"))[0])
    done = [task.result() for task in creates]
    refused = [(status, body[:200]) for _, status, body in done if status != 201]
    if refused:
        raise CannotRun(f"{len(refused)} of {count} creates failed: {refused[0]}")
    if len({json.loads(body)["data"]["id"] for _, _, body in done}) != count:
        raise CannotRun("two creates were given the same run")
    return [seconds for seconds, _, _ in done], queries


def run(options: Options) -> list[Row]:
    found: list[Row] = []
    for count in (100, 1000):
        creates: list[float] = []
        others: list[float] = []
        queries: list[float] = []
        for _ in range(1 if options.quick else 3):
            server = Server(options.fresh("jupyter"), 2, WATTLE_SCHEDULER__MAX_QUEUED_RUNS="2000")
            try:
                server.wait()
                spec = {"name": "one", "tasks": {"a": {"run": ["/bin/true"]}}, "concurrent": True}
                server.call("wattle/api/workflows", spec)
                server.settle()
                others += asyncio.run(status(server, count))
                taken, asked = asyncio.run(burst(server, count))
            finally:
                server.stop()
            creates += taken
            queries += asked
        target = 0.05 if count == 100 else None
        found.append(_row(f"{count} at once", STATUS, others, None, None))
        found.append(
            _row(f"{count} at once", "wattle, create", creates, target, len(creates) / max(1e-9, sum(creates)) * count)
        )
        found.append(_row(f"{count} at once", "wattle, query meanwhile", queries, 0.01, None))
    for row in found:
        pairing.say(row)
    return found


def percentile(seconds: Sequence[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] if len(seconds) > 1 else seconds[0]


def _row(work: str, who: str, seconds: Sequence[float], most: float | None, rate: float | None) -> Row:
    p95 = percentile(seconds, 95)
    more: dict[str, float | str] = {"p95 ms": p95 * 1e3, "succeeded": "all"}
    if rate is not None:
        more["creates/s"] = rate
    return Row(
        work=work, who=who, median=statistics.median(seconds) * 1e3, least=min(seconds) * 1e3, unit="ms",
        runs=len(seconds),
        target="" if most is None else f"p95 < {most * 1e3:g} ms", met=None if most is None else p95 < most,
        load=machine.load(), more=more,
    )  # fmt: skip
