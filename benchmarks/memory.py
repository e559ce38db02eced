"""What a server holds in memory: idle, with a run that goes on and after it, with many pages, while a log is read."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import websocket

from benchmarks import dags, machine, probe, report, workshop
from benchmarks.jupyter import Server
from benchmarks.logsocket import LogSocket
from benchmarks.starting import disabled
from benchmarks.streams import keeper_of
from benchmarks.workshop import CannotRun, Options

TITLE = "Memory of the server"
NOTE = (
    "*Own* is what the process shares with no other one. *Objects* are those of Python that were made since Jupyter "
    "began to load extensions and can still be reached, counted by tracemalloc in a second server that does the same "
    "(counting takes memory itself); the last column has the places in the code that made most of what is there in "
    "addition to the state before it. Pages are WebSockets. While the log is read, one client watches all of it, "
    "another one asks for lines here and there, and it is searched."
)
PATIENCE = 300.0  # seconds: counting makes a start some times slower
MIB = 1 << 20


@dataclass(frozen=True)
class Held:
    """What a process holds in one ``state``, in MiB. ``most``: by place, what is more than in the state ``beside``."""

    state: str
    rss: float
    own: float
    objects: float
    keeper: float
    beside: str
    most: Mapping[str, float]

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "work": "its own", "who": self.state, "median": self.own, "unit": "MiB"}


def run(options: Options) -> list[Held]:
    found = [*bare(options)]
    idle = found[-1]
    for scenario in scenarios(options):
        found += compare(options, scenario, idle)
    return found


def say(held: Held) -> None:
    print(
        f"{held.state:38} own {held.own:7.1f} MiB  rss {held.rss:7.1f}  objects {held.objects:7.1f}  "
        f"keeper {held.keeper:5.1f}  {_most(held.most)}",
        flush=True,
    )


def _most(most: Mapping[str, float]) -> str:
    return ", ".join(f"{place} {size:.1f}" for place, size in most.items())


def table(rows: report.Rows) -> str:
    lines = ["| state | own MiB | RSS | objects | keeper, own | more than | by |", "|---|--:|--:|--:|--:|---|---|"]
    for row in rows:
        sizes = " | ".join(f"{row[name]:.1f}" for name in ("own", "rss", "objects", "keeper"))
        lines.append(f"| {row['state']} | {sizes} | {row['beside']} | {_most(row['most'])} |")
    return "\n".join(lines)


LOOK = report.Look(table, report.plot, "once each")


# ------------------------------------------------------------------------------------------------------ what is asked


@dataclass
class Watched:
    """A server, and what it said of itself in each state."""

    server: Server
    traced: bool
    memory: dict[str, machine.Memory]
    keeper: dict[str, float]
    places: dict[str, dict[str, int]]

    def look(self, state: str) -> None:
        if self.traced:
            self.places[state] = probe.ask(self.server.folder / "held")
        else:
            self.memory[state] = machine.memory(self.server.process.pid)
            self.keeper[state] = machine.memory(keeper_of(self.server)).own


Scenario = Callable[[Watched], None]


@contextmanager
def watched(options: Options, *, traced: bool, **more: str) -> Iterator[Watched]:
    folder = options.fresh("jupyter")
    config = ""
    if traced:
        config = (
            f"import sys\nsys.path.append({str(workshop.ROOT)!r})\nfrom pathlib import Path\n"
            f"from benchmarks import probe\nprobe.watch(Path({str(folder / 'held')!r}))\n"
        )
    server = Server(folder, 8, Path(sys.executable), config=config, **more)
    try:
        yield Watched(server, traced, {}, {}, {})
    finally:
        server.stop()


def bare(options: Options) -> list[Held]:
    """Without the extension, and with it."""
    found: dict[bool, Watched] = {}
    for traced in (False, True):
        with watched(options, traced=traced, JUPYTER_CONFIG_PATH=str(disabled(options))) as without:
            without.server.wait("api/status", PATIENCE)
            if traced:
                places = probe.ask(without.server.folder / "held")
            else:
                memory = machine.memory(without.server.process.pid)
        with watched(options, traced=traced) as found[traced]:
            settle(found[traced].server)
            found[traced].look("idle")
    first = Held("without the extension", memory.rss, memory.own, sum(places.values()) / MIB, 0.0, "", {})
    idle = _held("idle", found[False], found[True], first.state, places)
    say(first)
    say(idle)
    return [first, idle]


def settle(server: Server) -> None:
    """All that is imported or made with the first run is there."""
    server.wait(seconds=PATIENCE)
    server.finish(
        server.call("wattle/api/runs", {"spec": dags.spec(dags.layered(20), "first", server.folder)})["data"]["id"]
    )
    server.call("wattle/api/stats")


def compare(options: Options, scenario: Scenario, idle: Held) -> list[Held]:
    """The states of a scenario, as two servers tell of them that do the same."""
    seen = {}
    for traced in (False, True):
        with watched(options, traced=traced) as seen[traced]:
            settle(seen[traced].server)
            seen[traced].look("idle")
            scenario(seen[traced])
    plain, counted = seen[False], seen[True]
    states = [state for state in plain.memory if state != "idle"]
    found = [_held(state, plain, counted, idle.state, counted.places["idle"]) for state in states]
    for held in found:
        say(held)
    return found


def _held(state: str, plain: Watched, counted: Watched, beside: str, before: Mapping[str, int]) -> Held:
    memory, places = plain.memory[state], counted.places[state]
    return Held(
        state=state, rss=memory.rss, own=memory.own, objects=sum(places.values()) / MIB,
        keeper=plain.keeper[state], beside=beside, most=more_than(before, places),
    )  # fmt: skip


def more_than(before: Mapping[str, int], after: Mapping[str, int], count: int = 4) -> dict[str, float]:
    """The places that hold most in addition, in MiB; none that holds less than a tenth of one."""
    grown = {place: (size - before.get(place, 0)) / MIB for place, size in after.items()}
    largest = sorted(grown.items(), key=lambda item: -item[1])[:count]
    return {place: round(size, 2) for place, size in largest if size >= 0.1}


# ---------------------------------------------------------------------------------------------------------- scenarios


def scenarios(options: Options) -> list[Scenario]:
    counts = (200,) if options.quick else (1_000, 10_000)
    pages = 50 if options.quick else 500
    size = 50_000_000 if options.quick else 1_000_000_000
    return [
        *(lambda seen, count=count: half_done(seen, count) for count in counts),
        lambda seen: many_pages(seen, pages),
        lambda seen: long_log(seen, size),
    ]


def half_done(seen: Watched, count: int) -> None:
    """A run of ten layers, of which the sixth waits for a file; then it goes on to its end."""
    server, go = seen.server, seen.server.folder / "go"
    spec = dags.spec(dags.layered(count), "layered", server.folder)
    tasks: Any = spec["tasks"]
    for name, task in tasks.items():
        if name.startswith("t5_"):
            task["run"] = ["sh", "-c", f"until [ -e {go} ]; do sleep 0.1; done"]
    made = server.call("wattle/api/runs", {"spec": spec})["data"]["id"]
    until = time.monotonic() + 300
    while server.call("wattle/api/runs?page_size=1")["data"]["data"][0]["counts"]["completed"] < count // 2:
        if time.monotonic() > until:
            raise CannotRun(f"half of {count:,} tasks did not end within five minutes")
        time.sleep(0.2)
    server.call(f"wattle/api/runs/{made}")
    seen.look(f"{count:,} tasks, half done")
    go.touch()
    server.finish(made, 300)
    server.call(f"wattle/api/runs/{made}")
    seen.look(f"{count:,} tasks, ended")


def many_pages(seen: Watched, count: int) -> None:
    server = seen.server
    pages = [_page(server) for _ in range(count)]
    seen.look(f"{count} pages open")
    made = server.call("wattle/api/runs", {"spec": dags.spec(dags.layered(100), "heard", server.folder)})["data"]["id"]
    for page in pages:
        _hear(page, made)
    seen.look(f"{count} pages that have heard of a run")
    for page in pages:
        page.close()
    until = time.monotonic() + 60
    while server.call("wattle/api/stats")["data"]["now"]["sockets"]:
        if time.monotonic() > until:
            raise CannotRun("the server has sockets whose clients went a minute ago")
        time.sleep(0.1)
    seen.look(f"{count} pages closed")


def _page(server: Server) -> Any:
    page = websocket.create_connection(
        f"ws://127.0.0.1:{server.port}/wattle/api/events/ws?token={server.token}", timeout=60
    )
    seq = json.loads(page.recv())["seq"]
    page.send(json.dumps({"type": "since", "seq": seq}))
    return page


def _hear(page: Any, run: str) -> None:
    """All messages up to the one that says that the run ended."""
    while True:
        for event in json.loads(page.recv()).get("events", ()):
            if event["run"] == run and event["body"].get("run", {}).get("ended_at"):
                return


def long_log(seen: Watched, size: int) -> None:
    server = seen.server
    made = server.call(
        "wattle/api/runs", {"spec": {"name": "long", "tasks": {"w": {"run": f"yes {'x' * 79} | head -c {size}"}}}}
    )["data"]["id"]
    if server.finish(made, 600) != "completed":
        raise CannotRun(f"the task that writes {size:,} bytes failed")
    label = f"a log of {size / 1e6:,.0f} MB"
    seen.look(f"{label}, written")
    attempt = server.call(f"wattle/api/runs/{made}/tasks/w")["data"]["attempt"]
    half, done = threading.Event(), threading.Event()
    reader = threading.Thread(target=_read_all, args=[server, attempt, size, half, done], daemon=True)
    reader.start()
    log = f"wattle/api/runs/{made}/tasks/w/logs"
    for part in range(20):
        server.call(f"{log}/lines?offset={size * part // 20}&limit=1000000")
    server.call(f"{log}/search?regex=1&pattern=y%2B")
    if not half.wait(600):
        raise CannotRun(f"half of {size:,} bytes were not read within ten minutes")
    seen.look(f"{label}, being read")
    if not done.wait(600):
        raise CannotRun(f"{size:,} bytes were not read within twenty minutes")
    seen.look(f"{label}, read")


def _read_all(server: Server, attempt: str, size: int, half: threading.Event, done: threading.Event) -> None:
    socket = LogSocket(server, timeout=300)
    socket.subscribe(attempt)
    count = 0
    while count < size:
        _, what = socket.read()
        if not isinstance(what, dict):
            count += sum(len(data) for _, _, data in what)
        if count >= size // 2:
            half.set()
    socket.close()
    done.set()
