"""The watch over the event loop: each turn counts, and it goes as it came."""

from __future__ import annotations

import asyncio
import selectors
import time

from coroutines import asynchronous

from wattle_jupyter import looplag
from wattle_jupyter.looplag import LoopLag


@asynchronous
async def test_a_turn_that_blocks_is_seen_in_full_and_waiting_is_not() -> None:
    turns: list[float] = []
    lag = LoopLag(lambda took, work: turns.append(took))
    await asyncio.sleep(0.2)
    time.sleep(0.15)
    await asyncio.sleep(0)
    assert sum(took >= 0.15 for took in turns) == 1
    assert lag.worst() >= 0.15
    lag.stop()


@asynchronous
async def test_what_is_long_ago_is_forgotten(monkeypatch: object) -> None:
    lag = LoopLag(lambda took, work: None)
    time.sleep(looplag.LONG * 1.2)
    await asyncio.sleep(0)
    assert lag.worst() > looplag.LONG
    lag._long[0] = (lag._long[0][0] - looplag.REMEMBERED, lag._long[0][1])
    assert lag.worst() == 0.0
    lag.stop()


@asynchronous
async def test_the_loop_is_left_as_it_was() -> None:
    loop = asyncio.get_running_loop()
    selector: selectors.BaseSelector = loop._selector  # type: ignore[attr-defined]  # what is watched
    before = selector.select
    first, second = LoopLag(lambda took, work: None), LoopLag(lambda took, work: None)
    second.stop()
    first.stop()
    assert selector.select == before
    await asyncio.sleep(0)


@asynchronous
async def test_after_its_end_nothing_is_told() -> None:
    turns: list[float] = []
    lag = LoopLag(lambda took, work: turns.append(took))
    await asyncio.sleep(0)
    lag.stop()
    lag.stop()
    await asyncio.sleep(0)
    seen = len(turns)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(turns) == seen


@asynchronous
async def test_of_a_turn_only_what_the_processor_did_is_work() -> None:
    turns: list[tuple[float, float]] = []
    lag = LoopLag(lambda took, work: turns.append((took, work)))
    await asyncio.sleep(0)
    time.sleep(0.15)
    await asyncio.sleep(0)
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    await asyncio.sleep(0)
    lag.stop()
    assert sum(took >= 0.15 and work < 0.04 for took, work in turns) == 1
    assert sum(work >= 0.05 for _, work in turns) == 1
