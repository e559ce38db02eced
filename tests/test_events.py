"""The hub: nothing is missed, nothing comes twice, and who is slow costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Sequence

import pytest
from coroutines import asynchronous

from wattle_jupyter import events
from wattle_jupyter.events import KEPT_FOR, Hub, event_view
from wattle_jupyter.model import Event


class Disk:
    """Committed events, and a hub that reads them in pieces of three."""

    def __init__(self, committed: int = 0) -> None:
        self.rows = [self.make(seq) for seq in range(1, committed + 1)]
        self.reads = 0
        self.hub = Hub(self.read, committed)

    @staticmethod
    def make(seq: int, tasks: int = 0, at: float = 1.5) -> Event:
        return Event(seq, f"r{seq % 3}", "run.changed", at, {"tasks": [{}] * tasks})

    async def read(self, seq: int, run: str | None) -> list[Event]:
        self.reads += 1
        await asyncio.sleep(0)
        return [e for e in self.rows if e.seq > seq and run in (None, e.run)][:3]

    def commit(self, count: int = 1, tasks: int = 0, at: float = 1.5) -> list[Event]:
        new = [self.make(len(self.rows) + 1 + i, tasks, at) for i in range(count)]
        self.rows += new
        return new


async def collect(hub: Hub, since: int, run: str | None = None, into: list[int] | None = None) -> list[int]:
    seen: list[int] = [] if into is None else into
    async for piece in hub.follow(since, run):
        seen += [event.seq for event in piece]
    return seen


async def until_seen(seen: list[int], last: int) -> None:
    async with asyncio.timeout(10):
        while not seen or seen[-1] < last:
            await asyncio.sleep(0)


@asynchronous
async def test_the_past_comes_from_the_store_and_then_what_is_published() -> None:
    disk = Disk(10)
    seen: list[int] = []
    watcher = asyncio.create_task(collect(disk.hub, 2, into=seen))
    await until_seen(seen, 10)
    for _ in range(5):
        disk.hub.publish(disk.commit(2))
        await asyncio.sleep(0)
    await until_seen(seen, 20)
    assert seen == list(range(3, 21))
    disk.hub.close()
    assert await watcher == seen


@asynchronous
async def test_a_watcher_of_one_run_gets_its_events_only_from_store_and_memory() -> None:
    disk = Disk(10)
    seen: list[int] = []
    watcher = asyncio.create_task(collect(disk.hub, 0, "r1", seen))
    await until_seen(seen, 10)
    disk.hub.publish(disk.commit(9))
    await until_seen(seen, 19)
    assert seen == [1, 4, 7, 10, 13, 16, 19]
    disk.hub.close()
    await watcher


@asynchronous
async def test_with_many_publishers_and_watchers_nothing_is_missed_or_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 16)  # far less than is published: memory and store take turns
    dice, disk, order = random.Random(5), Disk(7), asyncio.Lock()

    async def publish() -> None:
        for _ in range(40):
            async with order:
                new = disk.commit(dice.randint(1, 4))
                await asyncio.sleep(0)  # the commit is on disk, and is not published yet
                disk.hub.publish(new)
            for _ in range(dice.randint(0, 3)):
                await asyncio.sleep(0)

    async def watch(since: int, seen: list[int]) -> None:
        async for piece in disk.hub.follow(since):
            seen += [e.seq for e in piece]
            for _ in range(dice.choice([0, 0, 1, 30])):
                await asyncio.sleep(0)

    found: list[tuple[int, list[int]]] = [(dice.randint(0, 7), []) for _ in range(20)]
    watchers = [asyncio.create_task(watch(since, seen)) for since, seen in found]
    await asyncio.gather(*(publish() for _ in range(4)))
    found.append((0, []))
    watchers.append(asyncio.create_task(watch(*found[-1])))
    for _, seen in found:
        await until_seen(seen, len(disk.rows))
    disk.hub.close()
    await asyncio.gather(*watchers)
    for since, seen in found:
        assert seen == list(range(since + 1, len(disk.rows) + 1))


@asynchronous
async def test_a_gap_in_what_is_published_is_read_from_the_store() -> None:
    disk = Disk()
    disk.hub.publish(disk.commit(3))
    disk.commit(1)  # committed by somebody who was cancelled before it was published
    disk.hub.publish(disk.commit(2))
    seen: list[int] = []
    watcher = asyncio.create_task(collect(disk.hub, 1, into=seen))
    await until_seen(seen, 6)
    assert seen == [2, 3, 4, 5, 6]
    disk.hub.close()
    await watcher


@asynchronous
async def test_who_is_slow_or_far_behind_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 100)
    disk = Disk()
    slow = disk.hub.follow(0)
    disk.hub.publish(disk.commit(1))
    assert [e.seq for e in await anext(slow)] == [1]
    for _ in range(50):
        disk.hub.publish(disk.commit(1, tasks=49))
    assert len(disk.hub._kept) == 2
    disk.hub.publish(disk.commit(1, tasks=5000))
    assert len(disk.hub._kept) == 0
    got: list[int] = []
    while len(got) < 51:
        got += [e.seq for e in await anext(slow)]
    assert got == list(range(2, 53))[: len(got)]


@asynchronous
async def test_what_is_old_is_read_from_the_store_and_costs_no_memory() -> None:
    disk = Disk()
    disk.hub.publish(disk.commit(100, at=1000))
    disk.hub.publish(disk.commit(1, at=1000 + KEPT_FOR))
    assert len(disk.hub._kept) == 101
    disk.hub.publish(disk.commit(1, at=1001 + KEPT_FOR))
    assert [event.seq for event in disk.hub._kept] == [101, 102]
    seen: list[int] = []
    watcher = asyncio.create_task(collect(disk.hub, 98, into=seen))
    await until_seen(seen, 102)
    assert seen == [99, 100, 101, 102]
    disk.hub.close()
    await watcher


@asynchronous
@pytest.mark.parametrize("run", [None, "r1"])
async def test_who_is_behind_gets_what_is_in_memory_in_pieces(run: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PIECE", 7)
    disk = Disk(10)
    committed = disk.commit(40)
    disk.hub.publish(committed)
    mine = [e.seq for e in committed if run in (None, e.run)]
    pieces = disk.hub.follow(10, run)
    got: list[list[int]] = []
    while sum(map(len, got)) < len(mine):
        got.append([e.seq for e in await anext(pieces)])
    assert [seq for piece in got for seq in piece] == mine
    assert {len(piece) for piece in got[:-1]} == {7}
    assert disk.reads == 0


@asynchronous
async def test_who_keeps_up_never_makes_the_store_read() -> None:
    disk = Disk(5)
    seen: list[int] = []
    watcher = asyncio.create_task(collect(disk.hub, 5, into=seen))
    for last in range(6, 50):
        await asyncio.sleep(0)
        disk.hub.publish(disk.commit())
        await until_seen(seen, last)
    assert disk.reads == 0
    disk.hub.close()
    await watcher


@asynchronous
async def test_closing_ends_every_watcher_and_later_ones_at_once() -> None:
    disk = Disk(3)
    watchers = [asyncio.create_task(collect(disk.hub, since)) for since in (0, 3, 99)]
    await asyncio.sleep(0.01)
    disk.hub.close()
    assert await asyncio.gather(*watchers) == [[1, 2, 3], [], []]
    assert await collect(disk.hub, 0) == []


@asynchronous
async def test_a_watcher_that_goes_away_leaves_nothing_behind() -> None:
    disk = Disk()
    watcher = asyncio.create_task(collect(disk.hub, 0))
    await asyncio.sleep(0)
    watcher.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watcher
    disk.hub.publish(disk.commit())
    nothing: Sequence[Event] = []
    disk.hub.publish(nothing)
    assert disk.hub.newest == 1


def test_an_event_travels_with_its_time_as_text() -> None:
    assert event_view(Disk.make(7)) == {
        "seq": 7, "run": "r1", "kind": "run.changed", "at": "1970-01-01T00:00:01.500Z", "body": {"tasks": []},
    }  # fmt: skip


@asynchronous
async def test_many_watchers_are_woken_in_turns_that_others_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "AT_ONCE", 10)
    disk = Disk()
    seen: list[list[int]] = [[] for _ in range(35)]
    watchers = [asyncio.create_task(collect(disk.hub, 0, into=mine)) for mine in seen]
    await asyncio.sleep(0)
    disk.hub.publish(disk.commit(3))
    told: list[int] = []
    async with asyncio.timeout(10):
        while not all(seen):
            await asyncio.sleep(0)
            told.append(sum(map(bool, seen)))
    assert max(after - before for before, after in zip([0, *told], told, strict=False)) <= 10
    watchers[3].cancel()
    disk.hub.publish(disk.commit())
    await asyncio.gather(*(until_seen(mine, 4) for place, mine in enumerate(seen) if place != 3))
    disk.hub.close()
    await asyncio.gather(*watchers, return_exceptions=True)
    assert {tuple(mine) for place, mine in enumerate(seen) if place != 3} == {(1, 2, 3, 4)}


@asynchronous
async def test_the_text_of_an_event_is_made_once_and_long_ones_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "TEXTS", 2)
    monkeypatch.setattr(events, "LONG_KEPT", 0.05)
    disk = Disk()
    short, long, wide = disk.make(1), disk.make(2, tasks=5000), disk.make(3, tasks=3)
    wide.body["tasks"][1]["reason"] = "x" * events.LONG
    first = await disk.hub.text(short)
    for event in (short, long, wide):
        assert json.loads(await disk.hub.text(event)) == event_view(event)
    assert await disk.hub.text(short) is first
    assert await disk.hub.text(wide) is not await disk.hub.text(wide)
    several = await asyncio.gather(*(disk.hub.text(long) for _ in range(5)))
    assert len({id(text) for text in several}) == 1
    async with asyncio.timeout(10):
        while disk.hub._long is not None:
            await asyncio.sleep(0.01)
    for seq in (3, 4):
        await disk.hub.text(disk.make(seq))
    assert await disk.hub.text(short) is not first


@asynchronous
async def test_who_goes_while_nothing_happens_leaves_nothing_behind() -> None:
    disk = Disk()
    watchers = [asyncio.create_task(collect(disk.hub, 0)) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(disk.hub._waiting) == 3
    for watcher in watchers[:2]:
        watcher.cancel()
    await asyncio.wait(watchers[:2])
    assert len(disk.hub._waiting) == 1
    disk.hub.close()
    assert await watchers[2] == []
