"""A server under a mixed load for long: does anything grow that should not, does anything go wrong."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import dags, machine, panels, report, streams, turns
from benchmarks.creates import percentile
from benchmarks.jupyter import Server
from benchmarks.load import Load
from benchmarks.trend import robust_slope
from benchmarks.workshop import CannotRun, Options
from wattle_jupyter.scheduler import KEPT_SIZES

TITLE = "A server under a mixed load"
NOTE = (
    "Runs of ten shapes (some fail, some are tried again, some take too long), cancels, stops, retries, tasks that "
    "write 100 lines a second or 5 MB at once; meanwhile pages that ask for runs, logs and searches, WebSockets and "
    "event streams that come and go, politely or not, and one that never reads. The newest runs of each workflow are "
    "kept, and what is older is swept away every few seconds instead of every hour, so that the store reaches a "
    "steady size. The server has done 10,000 attempts before, so that what it remembers of the last ones (sizes of "
    "logs, events) is at its bound. *Growth* is the median of the slopes between all pairs of samples after the "
    "warm-up, the first quarter of the time; *idle* is before the load and after it, when all runs have ended."
)
TURN = 0.025  # seconds that a turn of the event loop may take; a bound of the histogram


@dataclass(frozen=True)
class Sample:
    """``at`` is in seconds since the load began, ``long_turns`` and ``long_work`` in a minute since the one
    before."""

    at: float
    server_mib: float
    server_rss: float
    keeper_mib: float
    server_descriptors: int
    keeper_descriptors: int
    server_threads: int
    store_mib: float
    store_files: int
    long_turns: float
    long_work: float
    p95_ms: float
    errors: int
    zombies: int
    attempts: int


@dataclass(frozen=True)
class Trend:
    """How ``what`` of ``who`` went: after the warm-up, at the end, and ``idle``, before the load and after it."""

    what: str
    who: str
    unit: str
    points: tuple[tuple[float, float], ...]
    per_hour: float
    begin: float
    end: float
    idle: tuple[float, float]
    target: str
    met: bool | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Pace:
    """Of a soak: seconds in all and between samples, runs that are kept of each workflow, seconds between sweeps,
    attempts before it begins."""

    seconds: float
    between: float
    keep_runs: int
    sweep: float
    before: int


def pace(options: Options) -> Pace:
    minutes = options.minutes or (1 if options.quick else 10)
    seconds = minutes * 60
    kept, sweep = max(5, min(50, int(minutes * 2))), max(3.0, min(60.0, seconds / 60))
    return Pace(seconds, max(1.0, min(10.0, seconds / 120)), kept, sweep, 500 if options.quick else KEPT_SIZES)


def run(options: Options) -> list[Trend]:
    kept = pace(options)
    config = f"from wattle_jupyter import retention\nretention.EVERY = {kept.sweep!r}\n"
    keep = {"WATTLE_STORE__KEEP_RUNS": str(kept.keep_runs), "WATTLE_STORE__UNDO_DAYS": "0"}
    server = Server(options.fresh("jupyter"), 8, Path(sys.executable), config=config, **keep)
    try:
        server.wait()
        found = soak(server, Load(server, streams.compiled(options)), kept)
    finally:
        server.stop()
    for trend in found:
        say(trend)
    return found


def soak(server: Server, load: Load, kept: Pace) -> list[Trend]:
    warm_up(load, kept.before)
    rest(server)
    sampler = Sampler(server, load)
    before = sampler.sample()
    load.begin()
    samples = []
    until = time.monotonic() + kept.seconds
    while time.monotonic() < until and server.process.poll() is None:
        time.sleep(kept.between)
        samples.append(sampler.sample())
        if len(samples) % 10 == 0:
            print(_line(samples[-1]), flush=True)
    if server.process.poll() is not None:
        raise CannotRun(f"the server ended by itself, {server.process.returncode}: see {server.folder}")
    load.end()
    rest(server)
    after = sampler.sample()
    for what, times in load.errors.most_common():
        print(f"ERROR {times} × {what}", flush=True)
    print(f"done: {dict(load.done)}; the longest turn took {sampler.longest_turn() * 1e3:.0f} ms", flush=True)
    return trends(samples, before, after)


def warm_up(load: Load, attempts: int) -> None:
    """All that is made with the first run is there, and what is remembered of the last runs is at its bound."""
    for _ in range(attempts // 250):
        load.finish(load.start(dags.spec(dags.independent(250), "before", load.server.folder)), "completed", 600)
    load.newest("before")
    load.taken()


def rest(server: Server, seconds: float = 60) -> None:
    """Wait until nothing goes on: no run, no process of a task, no socket."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        stats = server.call("wattle/api/stats")["data"]
        if not any(stats["runs"].values()) and not stats["now"]["sockets"]:
            time.sleep(2)
            return
        time.sleep(0.2)
    raise CannotRun(f"a minute after the load there are still {stats['runs']}, {stats['now']['sockets']:.0f} sockets")


class Sampler:
    """Looks at server, keeper and store from outside, and at what the server says of itself."""

    def __init__(self, server: Server, load: Load) -> None:
        self._server, self._load = server, load
        self._keeper = streams.keeper_of(server)
        self._began = time.monotonic()
        self._turns = ((0, 0), self._began)

    def sample(self) -> Sample:
        pid, now = self._server.process.pid, time.monotonic()
        memory = machine.memory(pid)
        size, files = measured(self._server.folder / "store")
        told = self._server.open("metrics").read().decode()
        taken = self._load.taken() or [0.0]
        long_turns, long_work = self._per_minute((turns.above(told, TURN), turns.above(told, TURN, "work")), now)
        return Sample(
            at=now - self._began,
            server_mib=memory.own,
            server_rss=memory.rss,
            keeper_mib=machine.memory(self._keeper).own,
            server_descriptors=machine.descriptors(pid),
            keeper_descriptors=machine.descriptors(self._keeper),
            server_threads=machine.threads(pid),
            store_mib=size / 2**20,
            store_files=files,
            long_turns=long_turns,
            long_work=long_work,
            p95_ms=percentile(taken, 95) * 1e3,
            errors=sum(self._load.errors.values()),
            zombies=machine.zombies({pid, self._keeper}),
            attempts=attempts_ended(told),
        )

    def _per_minute(self, counted: tuple[int, int], now: float) -> tuple[float, float]:
        (known, then), self._turns = self._turns, (counted, now)
        took, worked = ((is_ - was) / max(0.1, now - then) * 60 for is_, was in zip(counted, known, strict=True))
        return took, worked

    def longest_turn(self) -> float:
        """Seconds."""
        return float(self._server.call("wattle/api/stats")["data"]["latency"]["loop_lag"]["max"])


def measured(folder: Path) -> tuple[int, int]:
    """Bytes and number of all files below."""
    size = number = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it was swept away meanwhile
                size += Path(at, name).lstat().st_size
                number += 1
    return size, number


def attempts_ended(metrics: str) -> int:
    return int(sum(map(float, re.findall(r"^wattle_attempts_ended_total\{[^}]*\} (\S+)$", metrics, re.MULTILINE))))


def _line(sample: Sample) -> str:
    return (
        f"{sample.at:6.0f} s  server {sample.server_mib:.1f} MiB, {sample.server_descriptors} descriptors  keeper "
        f"{sample.keeper_mib:.1f} MiB, {sample.keeper_descriptors}  store {sample.store_mib:.1f} MiB, "
        f"{sample.store_files} files  p95 {sample.p95_ms:.1f} ms  {sample.attempts} attempts  {sample.errors} errors"
    )


# ------------------------------------------------------------------------------------------------------ what follows


@dataclass(frozen=True)
class Quantity:
    """Of a sample. ``growth``: most of it in an hour; ``rest``: what is there after the load was there before it;
    ``none``: there is none of it in the end."""

    name: str
    what: str
    who: str
    unit: str = ""
    growth: float | None = None
    rest: bool = False
    none: bool = False

    def target(self) -> str:
        if self.growth is not None:
            return f"≤ {self.growth:g} {self.unit}/h"
        return "0" if self.none else "idle: no more" if self.rest else ""

    def met(self, trend: Trend) -> bool | None:
        if self.growth is not None:
            return trend.per_hour <= self.growth
        if self.none:
            return trend.idle[1] == 0
        return trend.idle[1] <= trend.idle[0] if self.rest else None


QUANTITIES = (
    Quantity("server_mib", "memory", "server, its own", "MiB", growth=10),
    Quantity("server_rss", "memory", "server, RSS", "MiB"),
    Quantity("keeper_mib", "memory", "keeper, its own", "MiB", growth=10),
    Quantity("server_descriptors", "open descriptors", "server", rest=True),
    Quantity("keeper_descriptors", "open descriptors", "keeper", rest=True),
    Quantity("server_threads", "threads", "server"),
    Quantity("store_mib", "size of the store", "all files", "MiB"),
    Quantity("store_files", "files in the store", "all"),
    Quantity("long_turns", f"turns of the loop above {TURN * 1e3:.0f} ms", "server", "a minute"),
    Quantity("long_work", f"turns of the loop above {TURN * 1e3:.0f} ms", "its own work", "a minute"),
    Quantity("p95_ms", "requests", "p95", "ms"),
    Quantity("attempts", "attempts", "ended"),
    Quantity("zombies", "what must not be", "zombies", none=True),
    Quantity("errors", "what must not be", "errors", none=True),
)


def trends(samples: Sequence[Sample], before: Sample, after: Sample) -> list[Trend]:
    """What became of each quantity. The first quarter of the samples is the warm-up."""
    return [_trend(quantity, samples, before, after) for quantity in QUANTITIES]


def _trend(quantity: Quantity, samples: Sequence[Sample], before: Sample, after: Sample) -> Trend:
    def value(sample: Sample) -> float:
        return float(getattr(sample, quantity.name))

    points = tuple((sample.at / 60, value(sample)) for sample in samples)
    warm = points[len(points) // 4 :]
    tail = max(1, len(warm) // 5)
    found = Trend(
        what=quantity.what, who=quantity.who, unit=quantity.unit, points=points, per_hour=robust_slope(warm) * 60,
        begin=statistics.median(y for _, y in warm[:tail]), end=statistics.median(y for _, y in warm[-tail:]),
        idle=(value(before), value(after)), target=quantity.target(),
    )  # fmt: skip
    return replace(found, met=quantity.met(found))


def say(trend: Trend) -> None:
    verdict = "" if trend.met is None else f"  (target {trend.target}: {'met' if trend.met else 'MISSED'})"
    print(
        f"{f'{trend.what}: {trend.who}':36} idle {trend.idle[0]:9.1f}  load {trend.begin:9.1f} → {trend.end:9.1f}  "
        f"idle {trend.idle[1]:9.1f}  {trend.per_hour:+9.2f} {trend.unit}/h{verdict}",
        flush=True,
    )


def table(rows: report.Rows) -> str:
    lines = [
        "| what | idle, before | after the warm-up | at the end | idle, after | growth an hour | target | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        numbers = (row["idle"][0], row["begin"], row["end"], row["idle"][1], row["per_hour"])
        verdict = "" if row["met"] is None else ("met" if row["met"] else "missed")
        what = f"{row['what']}: {row['who']}{f' ({unit})' if (unit := row['unit']) else ''}"
        lines.append(f"| {what} | {' | '.join(map(report.number, numbers))} | {row['target']} | {verdict} |")
    return "\n".join(lines)


def plot(title: str, rows: report.Rows) -> str:
    """A panel for each ``what``, over minutes."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["what"], []).append(row)
    return panels.draw(
        title,
        [
            panels.Panel(
                title=what, x="minutes", y=group[0]["unit"], lines={row["who"]: row["points"] for row in group},
                note=f"{report.number(group[0]['per_hour'])} more an hour" if len(group) == 1 else "",
            )
            for what, group in groups.items()
        ],
    )  # fmt: skip


LOOK = report.Look(table, plot, "one server, samples all the time")
