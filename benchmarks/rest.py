"""Requests to the API, beside the cheapest one that the same Jupyter server answers itself."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

from benchmarks import dags, pairing, workshop
from benchmarks.filling import filled
from benchmarks.jupyter import Server
from benchmarks.pairing import Row, Target
from benchmarks.workshop import CannotRun, Options

TITLE = "REST, authenticated, with 10,000 runs in the store"
NOTE = (
    "wrk with one thread, 1 and 16 connections, a token in each request. Beside `api/status`, the cheapest "
    "authenticated route of jupyter_server itself. The page is 20 of 10,000 runs, filtered by workflow and state, "
    "sorted by their end. *p95* is of the same requests while a run of 1,000 tasks goes on, beside the same "
    "server with nothing to do."
)
STATUS = "jupyter_server api/status"
ROUTES = {
    STATUS: "api/status",
    "wattle info": "wattle/api/info",
    "wattle page of runs": "wattle/api/runs?page_size=20&status=completed&sort_by=ended_at&workflow=w3",
}
SCRIPT = Path(__file__).with_name("wrk.lua")


def run(options: Options) -> list[Row]:
    server = filled(options, 1000 if options.quick else 10_000)
    found: list[Row] = []
    try:
        for connections in (1, 16):
            found += compare(options, server, connections)
        found += busy(options, server)
    finally:
        server.stop()
    for row in found:
        pairing.say(row)
    return found


def compare(options: Options, server: Server, connections: int) -> list[Row]:
    said: dict[str, dict[str, float]] = {}

    def measure(name: str) -> float:
        said[name] = wrk(server, ROUTES[name], connections, 1 if options.quick else 3)
        return 1 / said[name]["rate"]

    samples = pairing.alternate({n: lambda n=n: measure(n) for n in ROUTES}, rounds=options.rounds, seconds=90)  # type: ignore[misc]
    targets = [Target("wattle info", STATUS, most=1.15), Target("wattle page of runs", STATUS, most=2.5)]
    more = {name: {"requests/s": 1 / min(samples[name]), "p95 ms": said[name]["p95"] * 1e3} for name in ROUTES}
    work = f"GET, {connections} connection{'s' * (connections > 1)}"
    return pairing.rows(work, samples, scale=1e3, unit="ms", beside=STATUS, targets=targets, more=more)


def busy(options: Options, server: Server) -> list[Row]:
    """p95 of a page of runs, by turns with and without a run of 1,000 tasks."""
    server.watch()
    route = ROUTES["wattle page of runs"]

    def idle() -> float:
        return wrk(server, route, 1, 2)["p95"]

    def at_work() -> float:
        going = threading.Thread(target=server.run, args=[dags.layered(1000)])
        going.start()
        try:
            return wrk(server, route, 1, 2)["p95"]
        finally:
            going.join()

    samples = pairing.alternate(
        {"wattle, idle": idle, "wattle, 1,000 tasks": at_work}, rounds=options.rounds, seconds=60
    )
    targets = [Target("wattle, 1,000 tasks", "wattle, idle", most=3.0)]
    return pairing.rows(
        "p95 while a run goes on", samples, scale=1e3, unit="ms", beside="wattle, idle", targets=targets
    )


def wrk(server: Server, route: str, connections: int, seconds: int) -> dict[str, float]:
    command = [
        workshop.need("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT),
        "-H", f"Authorization: token {server.token}", f"http://127.0.0.1:{server.port}/{route}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().rsplit("\n", 1)[-1])
    if found["errors"]:
        raise CannotRun(f"{found['errors']:.0f} requests to {route} failed:\n{done.stdout}")
    return found
