"""What is counted and timed while the engine works. Plain numbers in memory; :mod:`metrics` tells them to others.

Why not prometheus_client's own histograms: these cost a fifth of theirs, live and die with their engine, and know
quantiles, which ``wattle stats`` and the health checks need without a Prometheus server.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from wattle_jupyter.change import Change
from wattle_jupyter.model import Attempt, AttemptState, State

BOUNDS = (
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1800.0, 7200.0,
)  # fmt: skip
"""Upper bounds of the buckets, in seconds: a request takes the low ones, a queue the high ones."""


class Histogram:
    """How often something took how long. One more bucket than ``bounds``: what is above all of them.

    >>> waits = Histogram((1.0, 2.0))
    >>> for seconds in (0.5, 1.5, 1.5, 9.0): waits.observe(seconds)
    >>> waits.counts, waits.sum, waits.quantile(0.5)
    ([1, 2, 1], 12.5, 1.5)
    """

    __slots__ = ("bounds", "counts", "max", "sum")

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.max = 0.0

    def observe(self, seconds: float) -> None:
        seconds = max(0.0, seconds)  # clocks of two processes may differ by a little
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds
        self.max = max(self.max, seconds)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The value below which the share ``q`` of all lies, as exactly as the buckets tell; None without any.

        Between the bounds of its bucket it is interpolated, as ``histogram_quantile`` of Prometheus does.
        """
        if not self.count:
            return None
        rank = q * self.count
        place = next(i for i, reached in enumerate(accumulate(self.counts)) if reached >= rank and reached)
        low = self.bounds[place - 1] if place else 0.0
        high = min(self.max, self.bounds[place]) if place < len(self.bounds) else self.max
        inside = (rank - sum(self.counts[:place])) / self.counts[place] if self.counts[place] else 1.0
        return low + max(0.0, high - low) * inside


class Meter:
    """All counters and histograms of one engine since it was opened."""

    def __init__(self) -> None:
        self.requests = {kind: Histogram() for kind in ("create", "query", "change")}
        self.queue_wait = Histogram()  # from ready to the decision to start
        self.start_latency = Histogram()  # from that decision to the running process
        self.commit = Histogram()
        self.loop_lag = Histogram()
        self.loop_work = Histogram()
        self.runs_ended: Counter[str] = Counter()
        self.attempts_ended: Counter[str] = Counter()
        self.events = 0
        self.log_bytes = 0  # of attempts that ended
        self.sockets = 0
        self.subscriptions = 0

    def turned(self, seconds: float, work: float) -> None:
        """The event loop was busy for so long, and worked so much."""
        self.loop_lag.observe(seconds)
        self.loop_work.observe(work)

    def committed(self, change: Change, seconds: float) -> None:
        """``change`` is on the disk; the commit took so long."""
        self.commit.observe(seconds)
        self.events += len(change.events)
        self._waited(change)
        for attempt in change.new_attempts.values():
            self._moved(attempt, None)
        for attempt, before in change.attempts.values():
            self._moved(attempt, before)
        self._ended([live.run.state for live in change.new_runs.values()])
        self._ended([run.state for run, before in change.runs.values() if not before.final])

    def _waited(self, change: Change) -> None:
        touched = {**change.new_task_runs, **{t.id: t for t, _ in change.task_runs.values()}}
        for attempt in change.new_attempts.values():
            task_run = touched.get(attempt.task_run)
            if task_run is not None and task_run.queued_at is not None:
                self.queue_wait.observe(attempt.created_at - task_run.queued_at)

    def _moved(self, attempt: Attempt, before: AttemptState | None) -> None:
        fresh = before in (None, AttemptState.STARTING) and attempt.state is not AttemptState.STARTING
        if fresh and attempt.started_at is not None:
            self.start_latency.observe(attempt.started_at - attempt.created_at)
        if attempt.state.final and (before is None or not before.final):
            self.attempts_ended[attempt.state.value] += 1
            self.log_bytes += attempt.log_size or 0

    def _ended(self, states: Iterable[State]) -> None:
        self.runs_ended.update(state.value for state in states if state.final)
