"""What it costs when there is more of everything: tasks, runs, streams, bytes of a log."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks import dags, panels, report, streams, workshop
from benchmarks.filling import filled
from benchmarks.jupyter import Server
from benchmarks.trend import exponent
from benchmarks.workshop import CannotRun, Options

TITLE = "Cost against n: tasks, runs, streams, bytes of a log"
NOTE = (
    "*Slope* is the exponent of a fit over the larger half of the points, both axes logarithmic: 1 is linear, 0 does "
    "not depend on n; more than 1.1 is said to bend. *Tasks*: layered runs of `/bin/true`, 8 at once. *Runs*: a "
    "Jupyter server on a store with so many finished runs of ten tasks; *one run* is one of the middle, *start* the "
    "time until the server answers. *Streams*: processes that write 100 lines a second each, all watched by one "
    "client. *Log*: one log of that size, in the page cache; *a line* is asked for by its number, and the first time "
    "after the start of the server the lines before it are counted."
)
MOST = 1.1
RATE = streams.RATE


@dataclass(frozen=True)
class Curve:
    """``what`` costs ``points``: pairs (how many ``of``, cost in ``unit``), by rising number."""

    what: str
    group: str
    of: str
    unit: str
    points: tuple[tuple[float, float], ...]

    @property
    def slope(self) -> float:
        return exponent(self.points)

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "slope": round(self.slope, 3), "target": f"≤ {MOST:g}", "met": self.slope <= MOST}


def run(options: Options) -> list[Curve]:
    found: list[Curve] = []
    for measure in (tasks, runs, lines, logs):
        for curve in measure(options):
            say(curve)
            found.append(curve)
    return found


def say(curve: Curve) -> None:
    reached = "  ".join(f"{panels.short(n)}: {report.number(cost)}" for n, cost in curve.points)
    verdict = "" if curve.slope <= MOST else f"  BENDS (more than {MOST:g})"
    print(f"{curve.what:34} slope {curve.slope:6.2f}  {curve.unit:14} {reached}{verdict}", flush=True)


def table(rows: report.Rows) -> str:
    lines = ["| what | least n | | most n | | slope | |", "|---|--:|--:|--:|--:|--:|---|"]
    for row in rows:
        ends = (
            f"{panels.short(n)} {row['of']} | {report.number(cost)} {row['unit']}"
            for n, cost in (row["points"][0], row["points"][-1])
        )
        what, verdict = f"{row['group']}: {row['what']}", "" if row["met"] else "bends"
        lines.append(f"| {what} | {' | '.join(ends)} | {row['slope']:.2f} | {verdict} |")
    return "\n".join(lines)


def plot(title: str, rows: report.Rows) -> str:
    """A panel for each group of curves that share both axes."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    return panels.draw(
        title,
        [
            panels.Panel(
                title=group, x=curves[0]["of"], y=curves[0]["unit"], log=True,
                lines={curve["what"]: curve["points"] for curve in curves},
                note=f"slope {curves[0]['slope']:.2f}" if len(curves) == 1 else "",
            )
            for group, curves in groups.items()
        ],
    )  # fmt: skip


LOOK = report.Look(table, plot, "medians of three but where something happens once")


# ------------------------------------------------------------------------------------------------------------- tasks


def tasks(options: Options) -> Iterator[Curve]:
    """Seconds of a whole run, and what part of them the server's processor time is."""
    sizes = [10, 30, 100, 300, 1_000]
    sizes += [] if options.quick else [3_000, 10_000]
    sizes += [30_000, 100_000] if options.long else []
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ("seconds", "server_cpu", "submit")}
    for count in sizes:
        file = dags.write_text(dags.layered(count), options.fresh("dag") / "dag.txt")
        took = workshop.engine(options, file, 8, 4 if count <= 1_000 else 1)[-3:]  # what comes first warms up
        for name, points in spent.items():
            points.append((count, statistics.median(found[name] for found in took)))
    for name, what in (("seconds", "until it ended"), ("server_cpu", "processor"), ("submit", "submit")):
        yield Curve(what, "A run of n tasks", "tasks", "s", tuple(spent[name]))


# -------------------------------------------------------------------------------------------------------------- runs


def runs(options: Options) -> Iterator[Curve]:
    sizes = [10, 100, 1_000] if options.quick else [10, 30, 100, 300, 1_000, 3_000, 10_000]
    sizes += [30_000, 100_000] if options.long else []
    found: dict[str, list[tuple[float, float]]] = {}
    for count in sizes:
        server = filled(options, count - 7)  # it makes seven itself
        try:
            for what, path in _questions(server, count).items():
                found.setdefault(what, []).append((count, _milliseconds(server, path, 30)))
        finally:
            server.stop()
        found.setdefault("start", []).append((count, 1e3 * _start(server.folder, options)))
    for what, points in found.items():
        yield Curve(what, "A store with n runs", "runs", "ms", tuple(points))


def _questions(server: Server, count: int) -> dict[str, str]:
    middle = f"wattle/api/runs?page_size=1&page={max(1, count // 2)}"
    one = server.call(middle)["data"]["data"][0]["id"]
    return {"first page": "wattle/api/runs", "one run": f"wattle/api/runs/{one}"}


def _start(folder: Path, options: Options) -> float:
    """Seconds until a server on this store answers, engine and all."""

    def once() -> float:
        began = time.perf_counter()
        server = Server(folder, 4)
        try:
            server.wait(pause=0.005)
            return time.perf_counter() - began
        finally:
            server.stop()

    return statistics.median(once() for _ in range(1 if options.quick else 3))


def _milliseconds(server: Server, path: str, times: int) -> float:
    """The median of so many requests, one after the other, after one that does not count."""
    return 1e3 * statistics.median([_seconds(server, path) for _ in range(times + 1)][1:])


def _seconds(server: Server, path: str) -> float:
    began = time.perf_counter()
    server.call(path)
    return time.perf_counter() - began


# ----------------------------------------------------------------------------------------------------------- streams


def lines(options: Options) -> Iterator[Curve]:
    """Processor seconds of server and keeper for each second in which n processes write, and how late lines are."""
    sizes = [3, 10, 30, 100] if options.quick else [10, 30, 100, 200, 300, 500]
    sizes += [1_000] if options.long else []
    cpu: dict[str, list[tuple[float, float]]] = {"server": [], "keeper": []}
    for count in sizes:
        more = streams.measure(options, count, 2 if options.quick else 8).more
        for who, points in cpu.items():
            points.append((count, max(0.01, float(more[f"{who} % of a core"]))))  # a hundredth of a per cent: no tick
    for who, points in cpu.items():
        yield Curve(who, f"n streams of {RATE} lines/s, watched", "streams", "% of a core", tuple(points))


# -------------------------------------------------------------------------------------------------------------- logs


def logs(options: Options) -> Iterator[Curve]:
    """Questions to logs that grow: where they are read, and how long they are searched."""
    sizes = [100_000, 1_000_000, 10_000_000] if options.quick else [10**n for n in range(4, 10)]
    sizes += [10**10] if options.long else []
    _check_room(options.folder, sum(sizes))
    folder = options.fresh("jupyter")
    made = _written(Server(folder, 2), options, sizes)
    found: dict[str, list[tuple[float, float]]] = {}
    for size, (run, total) in made.items():
        for what, milliseconds in _reads(folder, run, size, total, 1 if options.quick else 3).items():
            found.setdefault(what, []).append((size, milliseconds))
    for what, points in found.items():
        group = "Search in a log of n bytes" if what.startswith("search") else "Reading a log of n bytes"
        yield Curve(what, group, "bytes", "ms", tuple(points))


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < 1.2 * needed:
        raise CannotRun(f"the logs take {needed / 1e9:.3g} GB and {free / 1e9:.3g} GB are free at {folder}")


def _written(server: Server, options: Options, sizes: Sequence[int]) -> dict[int, tuple[str, int]]:
    """A run for each size, and how many lines its log has."""
    block = options.folder / "block.txt"
    block.write_text("".join(f"step {n} loss={n * 7919 % 1_000_003:06d} {'x' * (n % 70)}\n" for n in range(900)))
    try:
        server.wait()
        return {size: _one_log(server, block, size) for size in sizes}
    finally:
        server.stop()


def _one_log(server: Server, block: Path, size: int) -> tuple[str, int]:
    command = f'yes "$(cat {block})" | head -c {size}'
    made = server.call("wattle/api/runs", {"spec": {"name": f"log{size}", "tasks": {"write": {"run": command}}}})
    run = str(made["data"]["id"])
    if server.finish(run, 600) != "completed":
        raise CannotRun(f"the task that writes {size:,} bytes failed")
    until = time.monotonic() + 120
    while time.monotonic() < until:
        page = server.call(f"{_log(run)}/lines?before=end&limit=1")["data"]
        if page["lines"] is not None and page["size"] == size:
            return run, int(page["lines"])
    raise CannotRun(f"the lines of {size:,} bytes were not counted within two minutes")


def _log(run: str) -> str:
    return f"wattle/api/runs/{run}/tasks/write/logs"


def _reads(folder: Path, run: str, size: int, lines: int, rounds: int) -> dict[str, float]:
    """Milliseconds of each question. A server for each round: what it knows of a log it forgets at its end."""
    log = _log(run)
    paths = {
        "a line, first": f"{log}/lines?line={lines // 2}",
        "a line": f"{log}/lines?line={lines // 2}",
        "end": f"{log}/lines?before=end",
        "middle": f"{log}/lines?offset={size // 2}",
    }
    pattern = quote(r"loss=00[0-9]{4} x+$")
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        server = Server(folder, 2)
        try:
            server.wait()
            server.call(f"wattle/api/runs/{run}")
            for what, path in paths.items():
                once = what.endswith("first")
                took = 1e3 * _seconds(server, path) if once else _milliseconds(server, path, 10)
                taken.setdefault(what, []).append(took)
            search = f"{log}/search?regex=1&case=1&pattern={pattern}"
            taken.setdefault("search", []).append(_milliseconds(server, search, 1 if size >= 10**8 else 3))
        finally:
            server.stop()
    return {what: statistics.median(samples) for what, samples in taken.items()}
