"""The power goes at every write: each image of the store is opened by the real engine, as after a new start.

Nothing that a client had been shown may be gone, the database must be whole, and nothing that had begun may begin
again under the same attempt.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import time
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from survival.client import BriefUser
from survival.disk import TRACED, Disk, Op, read
from survival.machine import CONTRADICTIONS, Machine
from survival.scene import Scene
from survival.workload import Sampler
from wattle_jupyter import settings
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import StoreUnavailable
from wattle_jupyter.executors import AttemptSpec, Fact, Host
from wattle_jupyter.host.files import KeeperLock
from wattle_jupyter.host.keeper import Keeper
from wattle_jupyter.host.process import Kernel
from wattle_jupyter.host.protocol import listen

Fault = tuple[str, str]
MODES = ("safe", "torn", "all")


@dataclass
class History:
    """A store's life: the calls, when events were shown, when attempts began."""

    ops: list[Op]
    shown: list[tuple[float, int]]
    begun: dict[str, float]

    def newest_shown(self, at: float) -> int:
        place = bisect_right(self.shown, (at, 1 << 62))
        return self.shown[place - 1][1] if place else 0


class Recording(Scene):
    """A store whose server and keeper are watched by strace."""

    def __init__(self, folder: Path, package: Path) -> None:
        folder.mkdir(parents=True)
        workload = Sampler(folder / "work", random.Random(0), timed=True)
        machine = Machine(folder, package, jupyter=False)
        super().__init__(machine, workload, BriefUser(machine, workload, random.Random(0)), random.Random(0))

    def record(self) -> History:
        tally = self.played(self._play)
        assert not tally.violations, f"without any cut: {tally.violations}"
        begun: dict[str, float] = {}
        for line in (self.workload.folder / "times").read_text().splitlines():
            attempt, at = line.split()
            begun.setdefault(attempt, float(at))
        return History(read(self.machine.folder / "calls", self.machine.store), self.watcher.seen_at, begun)

    def _play(self) -> None:
        log = str(self.machine.folder / "calls")
        words = ("-ttt", "-y", "-xx", "-s", "1000000", "-o", log, "-e", f"trace={TRACED}")
        self.machine.server.under = ("strace", "-D", "-f", "--seccomp-bpf", "-qq", *words)
        self.machine.begin()
        self.user.start()
        self.watcher.start()
        self.finish()


class Rebooted:
    """The real keeper's judgement, in this process, of attempts from before a new start of the machine."""

    name = "local"

    def __init__(self, store: Path) -> None:
        self._lock = KeeperLock(str(store))
        assert self._lock.take()
        self._listener = listen(str(store))
        kernel = Kernel(frozenset({"subreaper", "pidfd_info"}))
        kernel.boot = uuid.uuid4().hex
        self._keeper = Keeper(str(store), self._lock, self._listener, kernel, 60.0)
        self.boot = kernel.boot
        self.facts: dict[str, Fact] = {}
        self.submitted: list[str] = []

    def watch(self, tell: Callable[[str | None], None]) -> None:
        """It has no trouble to tell of."""

    def rouse(self) -> None:
        """It is up."""

    async def start(self, epoch: int) -> int:
        return epoch + 1

    async def close(self) -> None:
        self._listener.close()
        self._keeper._selector.close()
        for fd in (self._lock._fd, self._keeper._attempts._fd, self._keeper._wake_in, self._keeper._wake_out):
            os.close(fd)

    def hosts(self) -> Sequence[Host]:
        return [Host(name="local", slots=8, boot_id=self.boot)]

    async def submit(self, specs: Sequence[AttemptSpec]) -> None:
        self.submitted += [spec.id for spec in specs]

    async def inspect(self, boot_ids: Mapping[str, str]) -> Sequence[Fact]:
        for id, boot in boot_ids.items():
            told = self._keeper.inspect(id, boot, None)
            self.facts[id] = Fact(**{key: value for key, value in told.items() if key in Fact.__slots__})
        return list(self.facts.values())

    async def events(self) -> AsyncIterator[Sequence[Fact]]:
        await asyncio.Event().wait()
        yield []

    async def acknowledge(self, ids: Sequence[str]) -> None:
        """It holds nothing that nobody else has."""

    async def signal(self, id: str, how: Literal["stop", "kill"], grace: float) -> None:
        """Nothing runs any longer."""

    async def forget(self, ids: Sequence[str]) -> None:
        """Nothing is deleted here."""


@dataclass
class Cuts:
    """What was looked at, and what was found."""

    images: Counter[str] = field(default_factory=Counter)  # by mode
    syncs: int = 0
    shown: int = 0  # events that must be there, over all images
    recovered: Counter[str] = field(default_factory=Counter)  # verdicts
    violations: list[Fault] = field(default_factory=list)
    seconds: float = 0.0


def play(folder: Path, package: Path, most: int, rng: random.Random, *, hasty: bool = False) -> Cuts:
    """Cut the power after so many calls, spread over the store's life, three ways each."""
    began = time.monotonic()
    history = Recording(folder / "life", package).record()
    result = Cuts(syncs=sum(op.kind == "sync" for op in history.ops))
    wanted = set(range(len(history.ops)))
    if most < len(wanted):
        wanted = set(rng.sample(sorted(wanted), most))
    disk = Disk()
    for number, op in enumerate(history.ops):
        disk.apply(op)
        for mode in MODES if number in wanted else ():
            image = folder / "image"
            image.mkdir(mode=0o700)
            disk.image(image, mode, rng)
            result.images[mode] += 1
            at = f"{mode} after call {number} ({op.kind} {op.path})"
            found = asyncio.run(_look(image, history, op.at, result))
            result.violations += [(invariant, f"{at}: {what}") for invariant, what in found]
            shutil.rmtree(image)
        if hasty and result.violations:
            break
    result.seconds = time.monotonic() - began
    return result


async def _look(image: Path, history: History, at: float, result: Cuts) -> list[Fault]:
    newest = history.newest_shown(at)
    result.shown += newest
    executor = Rebooted(image)
    try:
        engine = await Engine.open(settings.load(None, {}), image, executor=executor, environ={})  # type: ignore[arg-type]
    except (StoreUnavailable, sqlite3.Error, OSError) as error:
        await executor.close()
        what = f"{newest} events had been shown, and the store does not open: {error}"
        return [("committed", what)] if newest else []
    try:
        found = await _compare(engine, executor, history, newest, at)
        result.recovered.update(fact.kind for fact in executor.facts.values())
    finally:
        await engine.close()
    return found


async def _compare(engine: Engine, executor: Rebooted, history: History, newest: int, at: float) -> list[Fault]:
    found: list[Fault] = []
    there = await engine.store.newest_seq()
    if there < newest:
        found.append(("committed", f"event {newest} had been shown, the newest is {there}"))
    for id, fact in executor.facts.items():
        if fact.kind == "never_started" and history.begun.get(id, at + 1) < at:
            found.append(("started once", f"attempt {id} had begun and is called never_started"))
    end = time.monotonic() + 20
    while any(state in ("starting", "running") for state in (await _states(engine, executor.facts)).values()):
        if time.monotonic() > end:
            return [*found, ("alive", "attempts of before the cut do not end")]
        await asyncio.sleep(0.005)
    found += [("consistent", text) for (text,) in await engine.store.all("PRAGMA integrity_check") if text != "ok"]
    found += [("consistent", text) for (text,) in await engine.store.all(CONTRADICTIONS)]
    again = set(executor.submitted) & {id for id, when in history.begun.items() if when < at}
    found += [("started once", f"attempt {id} is started again") for id in again]
    return found


async def _states(engine: Engine, ids: Mapping[str, Any]) -> dict[str, str]:
    rows = await engine.store.all("SELECT id, state FROM attempt")
    return {id: state for id, state in rows if id in ids}
