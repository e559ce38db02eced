"""Rules of the protocol, each broken on purpose in this process: the state machine must come to see it."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from survival.protocol import Protocol, Row, Server
from wattle_jupyter.host import record
from wattle_jupyter.host.desk import Desk
from wattle_jupyter.host.judge import Judge, _plain
from wattle_jupyter.host.keeper import Keeper
from wattle_jupyter.host.pipes import Pipe
from wattle_jupyter.host.tree import Trees

Break = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutant:
    """``how`` breaks the keeper's code while it is entered; ``server`` is one that breaks the rule."""

    name: str
    how: Break = contextlib.nullcontext
    server: type[Server] = Server
    examples: int = 400
    short: bool = True


def explore(machine: type[Protocol], examples: int, *, shrink: bool = True) -> Counter[str]:
    """Play so many examples. Returns what they did; raises what was found, made small if ``shrink``."""
    machine.told = told = Counter[str]()
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    options = settings(
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        print_blob=False,
        stateful_step_count=50,
        max_examples=examples,
        phases=phases,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(machine, settings=options)
    return told


def hunt(mutant: Mutant, examples: int) -> str:
    """After how many examples it was found, and by what; empty if it was not."""

    class Broken(Protocol):
        server_class = mutant.server

    try:
        with mutant.how():
            explore(Broken, examples, shrink=False)
    except Exception as error:
        what = next((e for e in _leaves(error) if isinstance(e, AssertionError)), error)
        return f"after {Broken.told['examples'] + 1} examples: {str(what)[:110]}"
    return ""


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


class CommitsLate(Server):
    """Tells first and commits at its next answer."""

    def commit(self, row: Row) -> None:
        assert self.wire is not None
        self.wire.to_server.append({"op": "late", "row": row})

    def _late(self, message: dict[str, Any]) -> None:
        super().commit(message["row"])


class SendsAgain(Server):
    """After its start it sends what the database calls ``starting``, without asking whether it runs."""

    def _owned(self, message: dict[str, Any]) -> None:
        if not self.ready:
            for row in self.database.rows.values():
                if row.state == "starting":
                    row.state = "never_started"
        super()._owned(message)


class ForgetsTheEnd(Server):
    """Calls an attempt over when the connection to the keeper is lost."""

    def lost_keeper(self) -> None:
        for id in list(self.running):
            self._final(self.database.rows[id], "lost")
        super().lost_keeper()


def _patched(owner: Any, name: str, new: Any) -> Break:
    return lambda: mock.patch.object(owner, name, new)


def _no_tombstone(self: Judge, id: str, row_boot: str, why: str = "") -> Any:
    return _plain(id, "never_started" if row_boot in ("", self._kernel.boot) or why else "lost", row_boot, why)


def _always_never_started(self: Judge, id: str, row_boot: str, why: str = "") -> Any:
    return _ENTOMB(self, id, self._kernel.boot, why)


_ENTOMB = Judge.entomb
_UNSETTLED = Judge._unsettled
_SETTLE = Keeper._note
_OWN = Desk._own
_PUBLISH = record.Record.publish


def _claims_anew(dir_fd: int, line: Any) -> Any:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(record.NAME, dir_fd=dir_fd)
    return _PUBLISH(dir_fd, line)


def _dead_without_start(self: Judge, attempt: Any, seen: Any) -> Any:
    if attempt.record.find("start") is None:
        return _plain(attempt.id, "never_started", attempt.boot, "")
    return _UNSETTLED(self, attempt, seen)


def _unless(kind: str) -> Callable[..., None]:
    def note(self: Keeper, attempt: Any, line: Any) -> None:
        if line["k"] != kind:
            _SETTLE(self, attempt, line)

    return note


def _obeys_anybody(self: Desk, link: Any, message: Any) -> None:
    old, self._owner = self._owner, None
    _OWN(self, link, message)
    self._owner = old or self._owner


MUTANTS = (
    Mutant("no tombstone", _patched(Judge, "entomb", _no_tombstone), short=False),
    Mutant("claim does not exclude", _patched(record.Record, "publish", _claims_anew)),
    Mutant("a claim without a start never started", _patched(Judge, "_unsettled", _dead_without_start), short=False),
    Mutant("no sweep", _patched(Trees, "nothing_left", lambda self, attempt: True), short=False),
    Mutant("exit not recorded", _patched(Keeper, "_note", _unless("exit")), short=False),
    Mutant("the older owner is obeyed", _patched(Desk, "_own", _obeys_anybody), short=False),
    Mutant("log not reopened", _patched(Pipe, "_open_log", lambda self, dir_fd, create: None)),
    Mutant("after a reboot it never started", _patched(Judge, "entomb", _always_never_started), short=False),
    Mutant("told before committed", server=CommitsLate),
    Mutant("starting is taken for never started", server=SendsAgain, short=False),
    Mutant("lost with the keeper", server=ForgetsTheEnd),
)
