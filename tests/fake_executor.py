"""An executor whose processes are entries in memory: the test decides when they run, end or vanish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from wattle_jupyter.errors import Unavailable
from wattle_jupyter.executors import AttemptSpec, Fact, Host

FINAL = ("exited", "lost", "never_started")
BOOT = "this boot"


@dataclass
class World:
    """What outlives a server: the processes, and what was ever asked for."""

    epoch: int = 0
    specs: dict[str, AttemptSpec] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)  # attempts whose process really started, in order
    stops: list[str] = field(default_factory=list)  # attempts that were told to stop, each time
    held: set[str] = field(default_factory=set)  # ends that are not acknowledged yet
    acknowledged: list[str] = field(default_factory=list)

    def active(self) -> list[str]:
        return [id for id, fact in self.facts.items() if fact.kind not in FINAL]

    def run(self, id: str) -> Fact:
        assert self.facts[id].kind == "queued"
        self.starts.append(id)
        return self._know(Fact(id=id, kind="running", boot_id=BOOT, pid=len(self.starts), started_at=1.0))

    def end(self, id: str, code: int = 0, **how: Any) -> Fact:
        if self.facts[id].kind == "queued":
            self.run(id)
        values = {"log_size": 0, "code": code, **how}
        return self._know(replace(self.facts[id], kind="exited", ended_at=2.0, **values))

    def vanish(self, id: str, kind: Literal["lost", "never_started"], why: str = "") -> Fact:
        return self._know(Fact(id=id, kind=kind, boot_id=BOOT, why=why))

    def _know(self, fact: Fact) -> Fact:
        assert fact.id not in self.facts or self.facts[fact.id].kind not in FINAL, "ended twice"
        self.facts[fact.id] = fact
        if fact.kind in FINAL:
            self.held.add(fact.id)
        return fact


class FakeExecutor:
    """``before`` is awaited before each verb is carried out: ``(verb, argument)``; what it raises, the verb raises."""

    name = "fake"

    def __init__(self, world: World, before: Callable[[str, Any], Awaitable[None]] | None = None) -> None:
        self.world = world
        self.before = before
        self._told: asyncio.Queue[list[Fact] | None] = asyncio.Queue()

    def rouse(self) -> None:
        pass

    async def start(self, epoch: int) -> int:
        self.world.epoch = max(epoch, self.world.epoch) + 1
        self.tell(*(self.world.facts[id] for id in sorted(self.world.held)))
        return self.world.epoch

    async def close(self) -> None:
        self._told.put_nowait(None)

    def hosts(self) -> Sequence[Host]:
        return [Host(name="here", slots=8, boot_id=BOOT)]

    def watch(self, tell: Callable[[str | None], None]) -> None:
        self.hinder = tell

    def tell(self, *facts: Fact) -> None:
        if facts:
            self._told.put_nowait(list(facts))

    async def submit(self, specs: Sequence[AttemptSpec]) -> None:
        await self._before("submit", specs)
        for spec in specs:
            if spec.id not in self.world.facts:
                self.world.specs[spec.id] = spec
                self.world.facts[spec.id] = Fact(id=spec.id, kind="queued", boot_id=BOOT)

    async def inspect(self, boot_ids: Mapping[str, str]) -> Sequence[Fact]:
        await self._before("inspect", boot_ids)
        for id, boot in boot_ids.items():
            if id not in self.world.facts:
                self.world.vanish(id, "never_started" if boot == BOOT else "lost")
        return [self.world.facts[id] for id in boot_ids]

    async def events(self) -> AsyncIterator[Sequence[Fact]]:
        while (facts := await self._told.get()) is not None:
            yield facts

    async def acknowledge(self, ids: Sequence[str]) -> None:
        await self._before("acknowledge", ids)
        self.world.held -= set(ids)
        self.world.acknowledged += ids

    async def signal(self, id: str, how: Literal["stop", "kill"], grace: float) -> None:
        await self._before("signal", id)
        self.world.stops.append(id)

    async def forget(self, ids: Sequence[str]) -> None:
        await self._before("forget", ids)
        for id in ids:
            self.world.facts.pop(id, None)

    async def _before(self, verb: str, argument: Any) -> None:
        if self.before is not None:
            await self.before(verb, argument)


def away(times: int, verb: str) -> Callable[[str, Any], Awaitable[None]]:
    """A host that cannot be reached for the first ``times`` calls of ``verb``."""
    left = [times]

    async def before(called: str, argument: Any) -> None:
        if called == verb and left[0] > 0:
            left[0] -= 1
            raise Unavailable("the keeper is being started again")

    return before
