"""The wall clock is set while work goes on: what waits for its time, and what has taken its time."""

from __future__ import annotations

from wattle_jupyter.clock import ClockWatch, boot_time
from wattle_jupyter.queues import Queues


class Hands:
    """Two clocks."""

    wall, steady = 1000.0, 5.0

    def on(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_time_that_passes_is_no_jump_and_small_steps_of_the_clock_are_none() -> None:
    hands = Hands()
    watch = ClockWatch(lambda: hands.wall, lambda: hands.steady)
    hands.on(3 * 86_400)
    assert watch.set_by() == 0.0
    hands.wall += 0.5
    assert watch.set_by() == 0.0


def test_a_jump_is_told_once_and_by_its_length() -> None:
    hands = Hands()
    watch = ClockWatch(lambda: hands.wall, lambda: hands.steady)
    hands.on(7)
    hands.wall -= 172_800
    assert watch.set_by() == -172_800
    assert watch.set_by() == 0.0


def test_a_suspended_machine_is_no_jump_where_the_clock_of_the_boot_counts_it() -> None:
    assert boot_time() > 0
    hands = Hands()
    watch = ClockWatch(lambda: hands.wall, lambda: hands.steady)
    hands.on(9 * 3600)
    assert watch.set_by() == 0.0


def test_what_waits_keeps_its_order_and_its_time_from_now() -> None:
    queues = Queues()
    queues.add_timer("r", "late", 1060.0)
    queues.add_timer("r", "soon", 1001.0)
    queues.add_ready("r", "low", 1000.0, "low")
    queues.add_ready("r", "high", 1000.0, "high")
    queues.shift(-172_800.0)
    queues.add_ready("r", "new", 1000.0 - 172_800.0 + 1.0, "high")
    assert queues.next_timer == 1001.0 - 172_800.0
    assert [entry.task for entry in queues.take_due(1001.5 - 172_800.0)] == ["soon"]
    assert [entry.task for entry in iter(queues.take_ready, None)] == ["high", "new", "low"]
