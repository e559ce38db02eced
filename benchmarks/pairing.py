"""Runs that take turns (ours, theirs, ours, …), so that what else the machine does falls on all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from benchmarks import machine

Measure = Callable[[], float]
"""Does the work once. Returns the seconds that count."""


@dataclass(frozen=True)
class Row:
    """One line of a table. ``ratio`` is to ``beside``: the median of the ratios of runs that came in the same turn."""

    work: str
    who: str
    median: float
    least: float
    unit: str = "ms/task"
    runs: int = 1
    ratio: float | None = None
    beside: str = ""
    target: str = ""
    met: bool | None = None
    load: float = 0.0
    more: Mapping[str, float | str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """``most`` or ``least`` is the bound of the ratio of ``who`` to ``beside``."""

    who: str
    beside: str
    most: float | None = None
    least: float | None = None

    def __str__(self) -> str:
        return f"≤ {self.most:g} ×" if self.most is not None else f"≥ {self.least:g} ×"

    def met(self, ratio: float) -> bool:
        return ratio <= self.most if self.most is not None else ratio >= (self.least or 0.0)


def alternate(candidates: Mapping[str, Measure], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Samples of each, in seconds: ``rounds`` turns, fewer if they take longer than ``seconds``, but two at least."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    until = time.monotonic() + seconds
    for number in range(rounds):
        if number >= 2 and time.monotonic() > until:
            break
        for name, measure in candidates.items():
            samples[name].append(measure())
    return samples


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def rows(
    work: str,
    samples: Mapping[str, list[float]],
    *,
    scale: float,
    unit: str = "ms/task",
    beside: str,
    targets: list[Target],
    more: Mapping[str, Mapping[str, float | str]] | None = None,
) -> list[Row]:
    """A row for each of them; ``scale`` makes the unit of seconds. Ratios are to ``beside``, or to the target's."""
    found = []
    busy = machine.load()
    for who, taken in samples.items():
        target = next((t for t in targets if t.who == who), None)
        other = target.beside if target else beside
        times = ratio(taken, samples[other]) if other in samples and other != who else None
        found.append(
            Row(
                work=work,
                who=who,
                median=statistics.median(taken) * scale,
                least=min(taken) * scale,
                unit=unit,
                runs=len(taken),
                ratio=times,
                beside=other if times is not None else "",
                target=str(target) if target else "",
                met=None if target is None or times is None else target.met(times),
                load=busy,
                more=(more or {}).get(who, {}),
            )
        )
    return found


def say(row: Row) -> None:
    times = f"  {row.ratio:5.2f} × {row.beside}" if row.ratio is not None else ""
    verdict = "" if row.met is None else f"  (target {row.target}: {'met' if row.met else 'MISSED'})"
    extra = "".join(
        f"  {key} {value:.4g}" if isinstance(value, float) else f"  {key} {value}" for key, value in row.more.items()
    )
    print(
        f"{row.work:28} {row.who:32} {row.median:9.3f} {row.unit:8} min {row.least:9.3f}{times}{verdict}{extra}",
        flush=True,
    )
