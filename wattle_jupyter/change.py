"""What one step of the scheduler wants written, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from wattle_jupyter.liverun import BIG, LiveRun
from wattle_jupyter.model import Attempt, AttemptState, Json, Run, State, TaskRun, Value


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that gets its number when it is committed."""

    run: str | None
    kind: str
    body: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is done once this is committed: its Idempotency-Key and the run that it is about."""

    key: str
    verb: str
    run: str


@dataclass(slots=True)
class Change:
    """New rows, and changed rows with the state that they had when the last commit was made.

    The store writes a changed row only where it still has that state (compare and set).
    """

    at: float = 0.0
    new_runs: dict[str, LiveRun] = field(default_factory=dict)
    new_task_runs: dict[str, TaskRun] = field(default_factory=dict)
    new_attempts: dict[str, Attempt] = field(default_factory=dict)
    runs: dict[str, tuple[Run, State]] = field(default_factory=dict)
    task_runs: dict[str, tuple[TaskRun, State]] = field(default_factory=dict)
    attempts: dict[str, tuple[Attempt, AttemptState]] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    requests: dict[str, Request] = field(default_factory=dict)  # by key
    events: list[Draft] = field(default_factory=list)

    def touch_run(self, run: Run) -> None:
        """Call before the first change of ``run``."""
        if run.id not in self.runs and run.id not in self.new_runs:
            self.runs[run.id] = (run, run.state)

    def touch_task_run(self, task_run: TaskRun) -> None:
        if task_run.id not in self.task_runs and task_run.id not in self.new_task_runs:
            self.task_runs[task_run.id] = (task_run, task_run.state)

    def touch_attempt(self, attempt: Attempt) -> None:
        if attempt.id not in self.attempts and attempt.id not in self.new_attempts:
            self.attempts[attempt.id] = (attempt, attempt.state)

    @property
    def big(self) -> bool:
        """Does it take longer to write out than others should wait?"""
        return len(self.new_task_runs) + len(self.task_runs) > BIG

    def __bool__(self) -> bool:
        return bool(
            self.new_runs or self.runs or self.task_runs or self.new_attempts or self.attempts
            or self.values or self.requests or self.events
        )  # fmt: skip
