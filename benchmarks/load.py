"""People and programs that use a server all day: runs of many shapes, cancels, retries, readers that come and go."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.jupyter import Server
from benchmarks.logsocket import LogSocket

Spec = Mapping[str, object]


class Load:
    """Keeps ``ACTORS`` at work from :meth:`begin` to :meth:`end`. What goes wrong is counted and remembered."""

    def __init__(self, server: Server, chatter: Path, seed: int = 1) -> None:
        self.server, self.chatter = server, chatter
        self.over = threading.Event()
        self.errors: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self._taken: list[float] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._keep_on, args=[actor, random.Random(f"{seed} {n}")], daemon=True)
            for n, actor in enumerate(ACTORS)
        ]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self, seconds: float = 120) -> None:
        """Let each finish what it is at. One that does not is an error, too."""
        self.over.set()
        until = time.monotonic() + seconds
        for thread, actor in zip(self._threads, ACTORS, strict=True):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                self.errors[f"{actor.__name__}: did not end"] += 1

    def _keep_on(self, actor: Actor, chance: random.Random) -> None:
        while not self.over.is_set():
            try:
                actor(self, chance)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                if not self.over.is_set():
                    self.errors[f"{actor.__name__}: {_told(error)}"] += 1
            with self._lock:
                self.done[actor.__name__] += 1
            self.over.wait(chance.uniform(0.1, 0.5))

    def ask(self, path: str, body: object = None) -> Any:
        """The data of an answer; it counts for :meth:`taken`."""
        began = time.perf_counter()
        answer = self.server.call(f"wattle/api/{path}", body)
        with self._lock:
            self._taken.append(time.perf_counter() - began)
        return answer["data"]

    def taken(self) -> list[float]:
        """Seconds of each request since the last call."""
        with self._lock:
            found, self._taken = self._taken, []
        return found

    def start(self, spec: Spec) -> str:
        return str(self.ask("runs", {"spec": spec})["id"])

    def finish(self, run: str, state: str, seconds: float = 60) -> None:
        """Wait for the end of a run. Raises if it is another one than this."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.ask(f"runs/{run}")
            if found["ended_at"]:
                if found["state"] != state:
                    raise RuntimeError(f"a run of {found['workflow']} is {found['state']}, not {state}")
                return
            time.sleep(0.3)
        raise RuntimeError(f"a run that should be {state} did not end within {seconds:g} s")

    def newest(self, workflow: str) -> str | None:
        found = self.ask(f"runs?page_size=1&workflow={workflow}")["data"]
        return found[0]["id"] if found else None

    def attempts(self, workflow: str) -> list[str]:
        """Of the newest run of this workflow."""
        run = self.newest(workflow)
        tasks = self.ask(f"runs/{run}")["tasks"] if run else ()
        return [task["attempt"] for task in tasks if task["attempt"]]


Actor = Callable[[Load, random.Random], None]


def _told(error: Exception) -> str:
    said = f": {error.read()[:200]!r}" if isinstance(error, urllib.error.HTTPError) else ""
    return f"{type(error).__name__}: {str(error)[:200]}{said}"


# ------------------------------------------------------------------------------------------------------- runs


def shape(name: str, tasks: Mapping[str, object]) -> Spec:
    return {"name": name, "tasks": tasks, "concurrent": True}


def _wide(load: Load) -> Spec:
    return shape("wide", {**{f"t{n}": {"run": "true"} for n in range(12)}, "last": {"run": "true", "needs": ["t0"]}})


def _chain(load: Load) -> Spec:
    return shape("chain", {f"t{n}": {"run": "echo x", "needs": [f"t{n - 1}"] if n else []} for n in range(6)})


def _failing(load: Load) -> Spec:
    after = {"run": "true", "needs": ["bad"]}
    return shape("failing", {"good": {"run": "true"}, "bad": {"run": "exit 3", "retries": 1}, "after": after})


def _second_time(load: Load) -> Spec:
    """Its task fails first, and completes when it is tried again."""
    mark = f'"{load.server.folder}/$WATTLE_RUN"'
    return shape("second", {"t": {"run": f"mkdir {mark} 2>/dev/null && exit 3; rmdir {mark}", "retries": 2}})


def _late(load: Load) -> Spec:
    return shape("late", {"slow": {"run": ["sleep", "60"], "timeout": 1, "grace": 1}})


def _leaves(load: Load) -> Spec:
    make = {"run": 'echo rows=3 >> "$WATTLE_OUTPUT"; echo data > data.csv', "outputs": {"rows": "rows"}}
    return shape("leaves", {"make": make, "take": {"run": "echo {{ make.rows }}", "needs": ["make"]}})


SHAPES: Sequence[tuple[Callable[[Load], Spec], str]] = (
    (_wide, "completed"),
    (_chain, "completed"),
    (_failing, "failed"),
    (_second_time, "completed"),
    (_late, "failed"),
    (_leaves, "completed"),
)


def runner(load: Load, chance: random.Random) -> None:
    make, state = chance.choice(SHAPES)
    load.finish(load.start(make(load)), state)


def canceller(load: Load, chance: random.Random) -> None:
    run = load.start(shape("slow", {f"t{n}": {"run": ["sleep", "30"]} for n in range(4)}))
    time.sleep(chance.uniform(0.0, 1.5))
    if chance.random() < 0.5:
        load.ask(f"runs/{run}/tasks/t0/stop", {})
    load.ask(f"runs/{run}/cancel", {})
    load.finish(run, "cancelled")


def retrier(load: Load, chance: random.Random) -> None:
    run = load.start(shape("again", {"bad": {"run": "exit 1"}, "after": {"run": "true", "needs": ["bad"]}}))
    load.finish(run, "failed")
    for _ in range(chance.randrange(1, 4)):
        load.ask(f"runs/{run}/retry", {})
        load.finish(run, "failed")


def writer(load: Load, chance: random.Random) -> None:
    command = [str(load.chatter), str(chance.randrange(200, 1000)), "100"]
    load.finish(load.start(shape("chatty", {f"t{n}": {"run": command} for n in range(4)})), "completed")


def flooder(load: Load, chance: random.Random) -> None:
    size = chance.randrange(1_000_000, 5_000_000)
    load.finish(load.start(shape("flood", {"t": {"run": f"yes {'x' * 79} | head -c {size}"}})), "completed")
    load.over.wait(5)


# ------------------------------------------------------------------------------------------------------- readers


def page(load: Load, chance: random.Random) -> None:
    """A person who looks at runs, and into one of them."""
    for path in ("runs", "runs?status=failed&sort_by=ended_at", "workflows", "stats", "health"):
        load.ask(path)
        time.sleep(0.05)
    run = load.newest(chance.choice(("wide", "failing", "chatty")))
    if run:
        task = chance.choice(load.ask(f"runs/{run}")["tasks"])["task"]
        for path in ("", "/logs?offset=-1000", "/logs/lines?before=end", "/logs/search?pattern=fox&near=1"):
            load.ask(f"runs/{run}/tasks/{task}{path}")
            time.sleep(0.05)


def watcher(load: Load, chance: random.Random) -> None:
    """A page with a WebSocket: all events, and the logs of what writes now. It goes politely, or just goes."""
    link = LogSocket(load.server)
    try:
        _, hello = link.read()
        assert isinstance(hello, dict)
        link.say(type="since", seq=hello["seq"])
        places = dict.fromkeys(load.attempts("chatty"), 0)
        for attempt in places:
            link.subscribe(attempt)
        until = time.monotonic() + chance.uniform(0.5, 4)
        while time.monotonic() < until and not load.over.is_set():
            _, what = link.read()
            if not isinstance(what, dict):
                _go_on(places, what)
    finally:
        if chance.random() < 0.5:
            link.socket.sock.shutdown(socket.SHUT_RDWR)
        link.close()


def _go_on(places: dict[str, int], pieces: Sequence[tuple[str, int, bytes]]) -> None:
    for attempt, offset, data in pieces:
        if places[attempt] != offset:
            raise RuntimeError(f"a log goes on at {offset}, not at {places[attempt]}")
        places[attempt] += len(data)


def deaf(load: Load, chance: random.Random) -> None:
    """A page that asks for everything and does not read."""
    link = LogSocket(load.server)
    try:
        for name in ("flood", "chatty"):
            for attempt in load.attempts(name):
                link.subscribe(attempt)
        load.over.wait(chance.uniform(1, 6))
    finally:
        link.close()


def listener(load: Load, chance: random.Random) -> None:
    """Server-sent events, for some seconds."""
    run = load.newest("chatty")
    paths = ["events"] + ([f"runs/{run}/tasks/t0/logs/stream"] if run else [])
    with load.server.open(f"wattle/api/{chance.choice(paths)}", seconds=20) as answer:
        until = time.monotonic() + chance.uniform(0.5, 4)
        with contextlib.suppress(TimeoutError):  # nothing happened for long
            while time.monotonic() < until and answer.readline():
                pass


ACTORS: Sequence[Actor] = (
    runner, runner, runner, canceller, retrier, writer, flooder, page, page, watcher, watcher, deaf, listener, listener,
)  # fmt: skip
