"""Turns of a server's event loop, as the server tells Prometheus of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCKED = 0.01
"""Seconds that nobody should have to wait for others; a bound of the histograms."""


def above(metrics: str, seconds: float, what: str = "lag") -> int:
    """How many turns took longer (``lag``) than ``seconds``, a bound of the histogram; or ``work``: were more of it."""
    counts = dict(re.findall(rf'^wattle_loop_{what}_seconds_bucket{{le="([^"]+)"}} (\S+)$', metrics, re.MULTILINE))
    return int(float(counts["+Inf"]) - float(counts[repr(seconds)]))


@dataclass(frozen=True)
class Blocked:
    """Turns that took longer than ``BLOCKED``, and those of them in which the server itself worked as long: in the
    others it waited, for a processor or for threads of its own."""

    turns: int
    work: int

    @classmethod
    def told(cls, metrics: str) -> Blocked:
        return cls(above(metrics, BLOCKED), above(metrics, BLOCKED, "work"))

    def since(self, before: Blocked) -> Blocked:
        return Blocked(self.turns - before.turns, self.work - before.work)

    def __str__(self) -> str:
        return f"{self.turns} ({self.work})"
