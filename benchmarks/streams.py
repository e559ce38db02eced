"""500 processes that write 100 lines a second each, and one client that watches them all."""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

from benchmarks import machine, pairing, workshop
from benchmarks.jupyter import Server
from benchmarks.logsocket import LogSocket
from benchmarks.pairing import Row
from benchmarks.workshop import CannotRun, Options

TITLE = "500 processes × 100 lines a second, one client that watches them all"
NOTE = (
    "Each line carries the time at which it was written. *Seen* is the time until its bytes are at the client, "
    "over all lines after the first second. Processor time is that of server and keeper together, as a share of "
    "one core; the client is another process on the same machine."
)
RATE = 100


def run(options: Options) -> list[Row]:
    seconds = 3 if options.quick else 20
    found = [measure(options, streams, seconds) for streams in ((10, 100) if options.quick else (10, 100, 500))]
    for row in found:
        pairing.say(row)
    return found


def measure(options: Options, streams: int, seconds: int) -> Row:
    chatter = compiled(options)
    server = Server(options.fresh("jupyter"), streams)
    try:
        server.wait()
        command = [str(chatter), str(RATE * seconds), str(RATE)]
        spec = {"name": "chatty", "tasks": {f"t{n}": {"run": command} for n in range(streams)}}
        socket = LogSocket(server)
        made = server.call("wattle/api/runs", {"spec": spec})["data"]["id"]
        attempts = started(server, made, streams)
        keeper = keeper_of(server)
        before = [machine.cpu_seconds(server.process.pid), machine.cpu_seconds(keeper)]
        began = time.monotonic()
        for attempt in attempts:
            socket.subscribe(attempt)
        logs, waits = watch(socket, attempts)
        took = time.monotonic() - began
        cpu = [
            (after - first) / took
            for after, first in zip(
                (machine.cpu_seconds(server.process.pid), machine.cpu_seconds(keeper)), before, strict=True
            )
        ]
        socket.close()
        server.finish(made)
    finally:
        server.stop()
    check(logs, RATE * seconds)
    p95 = statistics.quantiles(waits, n=20)[-1]
    good = p95 <= 0.1 and sum(cpu) <= 0.2
    more: dict[str, float | str] = {
        "lines": float(sum(log.count(b"\n") for log in logs.values())), "lost": "0", "p95 ms": p95 * 1e3,
        "server % of a core": cpu[0] * 100, "keeper % of a core": cpu[1] * 100,
    }  # fmt: skip
    return Row(
        work=f"{streams} streams", who="wattle, seen", median=statistics.median(waits) * 1e3, least=min(waits) * 1e3,
        unit="ms",
        target="p95 ≤ 100 ms, ≤ 20 % of a core", met=good if streams == 500 else None, load=machine.load(), more=more,
    )  # fmt: skip


def compiled(options: Options) -> Path:
    path = options.folder / "chatter"
    if not path.exists():
        source = Path(__file__).with_name("chatter.c")
        subprocess.run([workshop.need("gcc", "gcc"), "-O2", "-o", path, source], check=True)
    return path


def started(server: Server, run: str, count: int) -> list[str]:
    """The attempts of all tasks, once they have one."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        tasks = server.call(f"wattle/api/runs/{run}")["data"]["tasks"]
        found = [task["attempt"] for task in tasks if task["attempt"]]
        if len(found) == count:
            return found
        time.sleep(0.02)
    raise CannotRun("the tasks were not started within a minute")


def keeper_of(server: Server) -> int:
    """Its pid, from the lock that it holds."""
    number = (server.folder / "store" / "keeper.lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(number):
            return int(words[4])
    raise CannotRun("the keeper was not found")


def watch(socket: LogSocket, attempts: list[str]) -> tuple[dict[str, bytearray], list[float]]:
    """All logs to their ends, and how long each line was on its way."""
    logs = {attempt: bytearray() for attempt in attempts}
    arrived: dict[str, list[tuple[int, float]]] = {attempt: [] for attempt in attempts}
    open_logs = set(attempts)
    while open_logs:
        now, what = socket.read()
        if isinstance(what, dict):
            if what["type"] == "log_end":
                open_logs.discard(what["log"])
            continue
        for attempt, offset, data in what:
            if offset != len(logs[attempt]):
                raise CannotRun(f"a gap in the log of {attempt}: {offset} after {len(logs[attempt])}")
            logs[attempt] += data
            arrived[attempt].append((len(logs[attempt]), now))
    return logs, [wait for attempt in attempts for wait in delays(bytes(logs[attempt]), arrived[attempt])]


def delays(log: bytes, arrived: list[tuple[int, float]]) -> list[float]:
    found, place, piece = [], 0, 0
    first = None
    for line in log.splitlines(keepends=True):
        place += len(line)
        while arrived[piece][0] < place:
            piece += 1
        written = float(line.split(b" ", 1)[0])
        first = first or written
        if written > first + 1.0:
            found.append(arrived[piece][1] - written)
    return found


def check(logs: dict[str, bytearray], lines: int) -> None:
    for attempt, log in logs.items():
        numbers = [int(line.split(b" ", 2)[1]) for line in bytes(log).splitlines()]
        if numbers != list(range(lines)):
            raise CannotRun(f"the log of {attempt} has {len(numbers)} lines, not the {lines} that were written")
