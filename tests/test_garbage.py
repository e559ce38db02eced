"""Python's collector beside a server: what stays is not looked through each time, and nothing is kept for good."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from wattle_jupyter import garbage
from wattle_jupyter.garbage import Garbage


class Ring:
    """Held by nothing but itself."""

    def __init__(self) -> None:
        self.ring = self


class Clock:
    """A second goes by between two looks, in which the process works all the time or not at all."""

    def __init__(self, busy: bool) -> None:
        self._busy, self._now = busy, 0.0

    def monotonic(self) -> float:
        self._now += 1.0
        return self._now

    def process_time(self) -> float:
        return self._now if self._busy else 0.0

    thread_time = monotonic


@pytest.fixture
def collector() -> Iterator[Garbage]:
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    made = Garbage()
    made.start()
    yield made
    made.stop()
    assert gc.get_threshold() == thresholds
    assert gc.callbacks == callbacks
    assert gc.get_freeze_count() == 0


@pytest.fixture
def always_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LONG", -1.0)


@pytest.fixture
def never_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LONG", 60.0)


def lost() -> weakref.ref[Ring]:
    return weakref.ref(Ring())


def test_what_there_is_at_the_start_is_not_looked_through(never_long: None, collector: Garbage) -> None:
    mine = ["something that stays"]
    collector.start()
    assert not any(one is mine for one in gc.get_objects())
    assert gc.get_freeze_count() > 1000


def test_a_quick_collection_frees_what_came_since_and_sets_nothing_aside(never_long: None, collector: Garbage) -> None:
    gone, before = lost(), gc.get_freeze_count()
    gc.collect()
    assert gone() is None
    assert gc.get_freeze_count() <= before


def test_what_made_a_collection_long_is_not_seen_by_the_next_one(always_long: None, collector: Garbage) -> None:
    mine = ["something that stays"]
    assert any(one is mine for one in gc.get_objects())
    gc.collect()
    assert not any(one is mine for one in gc.get_objects())


def test_collections_of_young_objects_set_nothing_aside(always_long: None, collector: Garbage) -> None:
    mine = ["something young"]
    gc.collect(0)
    gc.collect(1)
    assert any(one is mine for one in gc.get_objects())


def lost_after_it_was_set_aside() -> weakref.ref[Ring]:
    kept = Ring()
    gone = weakref.ref(kept)
    gc.collect()
    del kept
    gc.collect()
    assert gone() is not None, "it was set aside while somebody held it"
    return gone


def test_what_was_set_aside_and_lost_is_freed_when_nothing_goes_on(
    always_long: None, monkeypatch: pytest.MonkeyPatch, collector: Garbage
) -> None:
    monkeypatch.setattr("wattle_jupyter.garbage.time", Clock(busy=False))
    gone = lost_after_it_was_set_aside()
    for _ in range(garbage._QUIET + 1):  # the first one has nothing to compare with
        collector.rest()
    assert gone() is None


@pytest.mark.parametrize("much", [False, True])
def test_in_a_process_that_never_rests_it_is_freed_now_and_then_once_it_may_be_much(
    much: bool, always_long: None, monkeypatch: pytest.MonkeyPatch, collector: Garbage
) -> None:
    monkeypatch.setattr("wattle_jupyter.garbage.time", Clock(busy=True))
    collector.start()
    added = [[i] for i in range(gc.get_freeze_count() // (3 if much else 100))]
    gone = lost_after_it_was_set_aside()
    for _ in range(100):  # seconds
        collector.rest()
    assert gone() is not None, "so soon"
    for _ in range(300):
        collector.rest()
    assert (gone() is None) is much
    assert added


def test_a_process_in_which_nothing_was_set_aside_is_left_alone_when_it_rests(
    never_long: None, monkeypatch: pytest.MonkeyPatch, collector: Garbage
) -> None:
    monkeypatch.setattr("wattle_jupyter.garbage.time", Clock(busy=False))
    monkeypatch.setattr(garbage, "_QUIET", 1)
    frozen = gc.get_freeze_count()
    collections = gc.get_stats()[2]["collections"]
    collector.rest()
    collector.rest()
    assert gc.get_stats()[2]["collections"] == collections
    assert gc.get_freeze_count() <= frozen


@pytest.mark.parametrize("thresholds", [(0, 10, 10), (2000, 10, 0)])
def test_a_collector_that_is_off_or_works_in_small_steps_is_left_alone(
    thresholds: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "get_threshold", lambda: thresholds)
    callbacks = list(gc.callbacks)
    made = Garbage()
    made.start()
    assert gc.callbacks == callbacks
    assert gc.get_freeze_count() == 0
    made.stop()
