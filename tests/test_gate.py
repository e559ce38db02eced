"""Requests that come all at once: in turns of the event loop, in order, nobody forgotten."""

from __future__ import annotations

import asyncio

import pytest
from coroutines import asynchronous

from wattle_jupyter.handlers import gate
from wattle_jupyter.handlers.gate import AT_ONCE, SENDING, Gate, gate_of, sending_of


async def turns_of(gate: Gate, guests: int) -> list[int]:
    """In which turn of the loop each of those who came at once got through."""
    passed = [-1] * guests
    now = 0

    async def come(guest: int) -> None:
        await gate.passed()
        passed[guest] = now

    coming = [asyncio.create_task(come(guest)) for guest in range(guests)]
    while not all(task.done() for task in coming):
        now += 1
        await asyncio.sleep(0)
    return passed


@asynchronous
async def test_a_crowd_gets_through_in_order_a_few_in_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SLICE", -1.0)  # each turn is long enough after its first guest
    found = await turns_of(Gate(), 4 * AT_ONCE + 1)
    assert found == sorted(found)
    assert max(found.count(turn) for turn in found) <= AT_ONCE


@asynchronous
async def test_who_comes_while_a_turn_has_just_begun_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SLICE", 60.0)
    assert len(set(await turns_of(Gate(), 200))) == 1


@asynchronous
async def test_who_goes_while_waiting_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SLICE", -1.0)
    made = Gate()
    coming = [asyncio.ensure_future(made.passed()) for _ in range(3 * AT_ONCE)]
    await asyncio.sleep(0)
    for guest in coming[1::2]:
        guest.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*coming[::2])


@asynchronous
async def test_one_after_the_other_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SLICE", -1.0)
    made = Gate()
    for _ in range(3):
        coming = asyncio.ensure_future(made.passed())
        await asyncio.sleep(0)
        assert coming.done()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@asynchronous
async def test_pages_that_are_due_at_the_same_time_are_served_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SLICE", -1.0)
    found = await turns_of(sending_of({}), 3 * SENDING)
    assert found == sorted(found)
    assert max(found.count(turn) for turn in found) == SENDING


def test_an_application_has_one_gate() -> None:
    settings: dict[str, object] = {}
    assert gate_of(settings) is gate_of(settings)
    assert gate_of({}) is not gate_of(settings)
    assert sending_of(settings) is sending_of(settings)
    assert sending_of(settings) is not gate_of(settings)
