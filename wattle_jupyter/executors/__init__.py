"""The contract between the scheduler and whatever carries attempts out.

Every verb may be repeated without harm. A second engine (``dask``) inherits the same contract tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

FactKind = Literal["queued", "running", "exited", "lost", "never_started", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec:
    """Everything a host needs to start one process. ``env`` is the full environment, ``argv`` is executed directly."""

    id: str
    task_run: str
    run: str
    n: int
    round: int
    epoch: int
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    timeout: float | None = None
    grace: float = 10.0
    keep_children: bool = False
    exit_file: bool | None = None  # None: the executor decides by its probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What is known about one attempt.

    ``queued``: taken, not started yet. ``running``: ``pid``, ``started_at`` are set. ``exited``: ``code`` or ``signal``
    is set. ``lost``: it may have run, nobody knows how it ended. ``never_started``: certain, ``why`` says the reason.
    ``why`` is ``""`` or one of ``timed out``, ``stopped``, ``killed by the OOM killer``, or the text of an OS error.
    """

    id: str
    kind: FactKind
    boot_id: str = ""
    pid: int | None = None
    ticks: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    code: int | None = None
    signal: int | None = None
    why: str = ""
    peak_rss: int | None = None
    log_size: int | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that an executor uses."""

    name: str
    slots: int
    boot_id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    state: Literal["up", "starting", "down"] = "up"
    reason: str = ""
    pid: int | None = None  # of the process that carries attempts out, if it is on this machine


class Executor(Protocol):
    """Few verbs; see design of each implementation for how it keeps them."""

    name: str

    def rouse(self) -> None:
        """The store is ours, and being opened: what takes time may begin. ``start`` or ``close`` comes next. In the
        loop's thread."""

    async def start(self, epoch: int) -> int:
        """Preflight and connect. Returns the epoch to use: higher than ``epoch`` and all that the hosts have seen."""

    async def close(self) -> None:
        """Detach. Never stops an attempt."""

    def hosts(self) -> Sequence[Host]:
        """The machines in use, as known now."""

    def watch(self, tell: Callable[[str | None], None]) -> None:
        """``tell`` hears what keeps attempts from being started or logs from being written, and None when it is over.
        It is called in the loop's thread."""

    async def submit(self, specs: Sequence[AttemptSpec]) -> None:
        """Start these attempts; an id that is known already is ignored."""

    async def inspect(self, boot_ids: Mapping[str, str]) -> Sequence[Fact]:
        """The truth about these attempts (id → boot id of its row), each judged for good: an id that nobody started
        becomes ``never_started`` (``lost`` if its row is from another boot) and can not start later."""

    def events(self) -> AsyncIterator[Sequence[Fact]]:
        """Facts as they become known, in batches. The end of an attempt that ended at once may be all that is told of
        it: it says when it started. An exit is told again after a reconnect until it is acknowledged."""

    async def acknowledge(self, ids: Sequence[str]) -> None:
        """These ends are committed; the hosts need not hold them any longer."""

    async def signal(self, id: str, how: Literal["stop", "kill"], grace: float) -> None:
        """End the whole process tree: SIGTERM, and SIGKILL after ``grace`` seconds (``kill``: at once)."""

    async def forget(self, ids: Sequence[str]) -> None:
        """Delete what is kept about these ended attempts, log included."""
