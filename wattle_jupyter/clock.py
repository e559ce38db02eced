"""The wall clock may be set while work goes on; the clock of the boot may not."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]

JUMP = 1.0
"""Seconds from which a difference is a jump: smaller ones are the steps in which clocks are kept right."""


def boot_time() -> float:
    """Seconds since the boot, a suspend included where the system counts that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ClockWatch:
    """Tells by how much the wall clock was set."""

    def __init__(self, wall: Clock, steady: Clock) -> None:
        self._wall, self._steady = wall, steady
        self._ahead = wall() - steady()

    def set_by(self) -> float:
        """Seconds since the last call; 0.0 if it was not set."""
        ahead = self._wall() - self._steady()
        jump, self._ahead = ahead - self._ahead, ahead
        return jump if abs(jump) > JUMP else 0.0
