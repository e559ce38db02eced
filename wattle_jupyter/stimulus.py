"""What the scheduler's loop is told: facts and requests, and whoever waits for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wattle_jupyter.errors import Conflict, WattleError


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


class EndedMeanwhile(WattleError):
    """A run ended between the look at it and the request about it."""
