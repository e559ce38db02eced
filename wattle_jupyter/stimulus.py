"""What the scheduler's loop is told: facts and requests, and whoever waits for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from wattle_jupyter.errors import Conflict, WattleError
from wattle_jupyter.executors import Fact
from wattle_jupyter.model import AttemptState
from wattle_jupyter.statemachine import StateMachine
from wattle_jupyter.verdict import End


@dataclass(slots=True)
class Asked:
    """The Idempotency-Key of a request, its verb, and the run that it names (a new run has no id yet)."""

    key: str
    verb: str
    run: str | None

    def repeated(self, verb: str, run: str) -> str:
        """The run that the first request with this key was about. Raises Conflict if that was another request."""
        if verb != self.verb or self.run not in (None, run):
            raise Conflict("this Idempotency-Key was used for another request; make a new key for each request")
        return run


@dataclass(slots=True)
class Stimulus:
    """Something to tell the state machine, and whoever waits until it is committed."""

    tell: Callable[[float], Any]
    done: asyncio.Future[Any] | None = None
    asked: Asked | None = None
    weight: int = 1  # about how many task runs change
    result: Any = None
    error: Exception | None = None

    def settle(self, error: Exception | None = None) -> None:
        if self.done is None or self.done.done():
            return
        error = error or self.error
        if error is None:
            self.done.set_result(self.result)
        else:
            self.done.set_exception(error)
            self.done.exception()  # whoever asked may be gone


def of_fact(machine: StateMachine, fact: Fact, end: End) -> Stimulus:
    """What an executor says of an attempt; ``end`` is how it ended if it did."""
    return Stimulus(partial(_tell, machine, fact, end), weight=_weight(machine, fact))


def _weight(machine: StateMachine, fact: Fact) -> int:
    """Those that wait for this task run, or, if it went wrong, those behind them too."""
    known = machine.by_attempt.get(fact.id)
    if known is None or fact.kind == "running":
        return 1
    live, task_run, _ = known
    following = len(live.plan.downstream[task_run.task])
    return 1 + (following if fact.code == 0 else len(live.task_runs) if following or live.stops else 0)


def _tell(machine: StateMachine, fact: Fact, end: End, now: float) -> None:
    if fact.kind == "running":
        machine.started(fact.id, fact.pid, fact.boot_id, fact.started_at, now)
    elif fact.kind == "exited":
        machine.ended(
            fact.id,
            end,
            now,
            started_at=fact.started_at,
            ended_at=fact.ended_at,
            peak_rss=fact.peak_rss,
            log_size=fact.log_size,
            pid=fact.pid,
        )
    elif fact.kind == "lost":
        machine.vanished(fact.id, AttemptState.LOST, fact.why, now)
    elif fact.kind == "never_started":
        machine.vanished(fact.id, AttemptState.NEVER_STARTED, fact.why, now)
    elif fact.kind == "unreachable":
        machine.unreachable(fact.id, fact.why or "its host cannot be reached")


class EndedMeanwhile(WattleError):
    """A run ended between the look at it and the request about it."""
