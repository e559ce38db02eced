"""From nouns to what travels: the only place that builds wire objects of runs and task runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

from wattle_jupyter.model import Attempt, Json, Run, State, TaskRun, Value
from wattle_jupyter.wire import AttemptView, Counts, RunSummary, TaskRunView, ValueView


def iso(at: float | None) -> str | None:
    """Seconds since the epoch → ``2026-01-02T03:04:05.678Z``."""
    return None if at is None else stamp(at)


@lru_cache(maxsize=4096)
def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


_NONE = dict.fromkeys((s.value for s in State), 0)


def count(states: Iterable[str]) -> dict[str, int]:
    """How many of these are in each state."""
    counts = _NONE.copy()
    for state in states:
        if state in counts:  # a disk may change a letter
            counts[state] += 1
    return counts


def run_summary(run: Run, counts: Mapping[str, int], total: int) -> RunSummary:
    return RunSummary(
        id=run.id,
        workflow=run.workflow,
        workflow_hash=run.workflow_hash,
        state=run.state.value,
        reason=run.reason,
        mode=run.mode,
        priority=run.priority,
        params=run.params,
        user=run.user,
        cause=run.cause,
        created_at=stamp(run.created_at),
        started_at=iso(run.started_at),
        ended_at=iso(run.ended_at),
        cancel_at=iso(run.cancel_at),
        total=total,
        counts=cast("Counts", dict(counts)),
    )


def task_run_view(task_run: TaskRun, attempt: Attempt | None) -> TaskRunView:
    return cast("TaskRunView", vars(_TaskRunFields(task_run, attempt)))


class _TaskRunFields:
    """Python keeps the names of attributes once for all instances: their mapping has a third of the size of others."""

    def __init__(self, task_run: TaskRun, attempt: Attempt | None) -> None:
        self.task = task_run.task
        self.state = task_run.state.value
        self.reason = task_run.reason
        self.attempts = task_run.attempts
        self.attempt = task_run.attempt
        self.queued_at = iso(task_run.queued_at)
        self.started_at = iso(task_run.started_at)
        self.ended_at = iso(task_run.ended_at)
        self.not_before = iso(task_run.not_before)
        self.exit_code = attempt.code if attempt else None
        self.signal = attempt.signal if attempt else None


def attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        id=attempt.id,
        n=attempt.n,
        round=attempt.round,
        state=attempt.state.value,
        reason=attempt.reason,
        host=attempt.host,
        pid=attempt.pid,
        exit_code=attempt.code,
        signal=attempt.signal,
        created_at=stamp(attempt.created_at),
        started_at=iso(attempt.started_at),
        ended_at=iso(attempt.ended_at),
        peak_rss=attempt.peak_rss,
        log_size=attempt.log_size,
    )


def value_view(value: Value, kept: str | None) -> ValueView:
    ref: Json = value.ref
    return ValueView(name=value.name, kind=value.kind, value=ref, size=value.size, kept=kept)
