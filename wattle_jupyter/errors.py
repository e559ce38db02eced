"""Everything that can go wrong, as one tree::

    * WattleError                     a message for people: the thing, the reason, the cure
      + InvalidRequest                what was asked for makes no sense                    400
        - SpecError                   a workflow that cannot work, with all its problems   400
      + NotFound                      no such workflow, run, task or attempt               404
      + Conflict                      not possible in the present state                    409
      + TooLarge                      more bytes or tasks than the limit                   413
      + TooManyRuns                   the queue of runs is full                            429
      + Unavailable                   the engine cannot work just now                      503
        - StoreUnavailable            the store cannot be written (disk full, I/O error)   503
        - StoreLocked                 another server owns this store                       503
        - ProtocolMismatch            two versions that cannot talk to each other          503
        - ServerNotFound              no server with the extension could be found or made  503
      + RunFailed                     a waited-for run did not complete (raised in notebooks)

Only ``handlers`` knows the HTTP status of a class; the numbers above are its table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

_MACHINERY = sys.stdlib_module_names | {"IPython", "ipykernel", __name__.partition(".")[0]}
"""Packages whose lines say nothing to the author of a cell."""


class WattleError(Exception):
    """Base of every error that is meant for people.

    ``details`` holds JSON values that a program may want; the text says all that a person needs.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details

    def __str__(self) -> str:
        return self.message

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the message, and the lines of the user's own code behind it."""
        return [*str(self).splitlines(), *_way(self.__traceback__)]


class InvalidRequest(WattleError):
    """What was asked for makes no sense, whatever the state of the server."""


class NotFound(WattleError):
    """There is no such workflow, run, task or attempt."""


class Conflict(WattleError):
    """The request is fine but not possible in the present state."""


class TooLarge(WattleError):
    """More bytes or more tasks than the limit."""


class TooManyRuns(WattleError):
    """The queue of runs is full."""


class Unavailable(WattleError):
    """The engine cannot work just now; a later try may succeed."""


class StoreUnavailable(Unavailable):
    """The store cannot be written: the disk is full, or an I/O error."""


class StoreLocked(Unavailable):
    """Another server owns this store."""


class ProtocolMismatch(Unavailable):
    """Two versions met that cannot talk to each other."""


class ServerNotFound(Unavailable):
    """No server with the extension could be found or started."""


class RunFailed(WattleError):
    """A run that somebody waited for did not complete."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a spec.

    ``path`` is where in the spec (``tasks.train.retries``), ``line`` the 1-based line of the cell or file if known,
    ``reason`` what is wrong, ``cure`` what to do about it (may be empty).
    """

    path: str
    reason: str
    cure: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        path = f"{self.path}: " if self.path else ""
        cure = f"; {self.cure}" if self.cure else ""
        return f"{place}{path}{self.reason}{cure}"


class SpecError(InvalidRequest):
    """A workflow that cannot work. All problems are found at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        listed = [{"path": p.path, "reason": p.reason, "cure": p.cure, "line": p.line} for p in self.problems]
        super().__init__("\n".join(str(p) for p in self.problems), problems=listed)


def _way(traceback: TracebackType | None) -> Iterator[str]:
    """The lines of cells and of the user's files on the way to an error; nothing if it is the first line of a cell."""
    rows: list[tuple[str, int]] = []
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _MACHINERY:
            rows.append((_place(traceback.tb_frame.f_code.co_filename), traceback.tb_lineno))
        traceback = traceback.tb_next
    if [line for _, line in rows] != [1]:
        yield from (f"  {place}, line {line}" for place, line in rows)


def _place(file: str) -> str:
    """A cell as its prompt has it, or the name of a file."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    known = shell.compile.format_code_name(file) if shell else None
    return f"cell {known[1].removeprefix('In')}" if known else file.rpartition("/")[2]
