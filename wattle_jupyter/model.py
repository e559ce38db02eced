"""The nouns: workflow, task, run, task run, attempt, and the states they go through.

Floor 0: no I/O and no clock. Times are seconds since the epoch as floats, in UTC; durations are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

Mode = Literal["dependency", "sequential", "parallel"]
OnFailure = Literal["continue", "stop", "cancel"]
Priority = Literal["high", "normal", "low"]
Json = Any  # a value that `json.dumps` takes


class State(StrEnum):
    """State of a run or of a task run."""

    CREATED = "created"  # run: accepted, not yet admitted; task run: waits for its inputs
    QUEUED = "queued"  # run: waits for a place; task run: ready, waits for a slot or for its back-off
    WAITING = "waiting"  # waits for a time, a pool or an approval
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        return self in FINAL


MAX_DEPTH = 100
"""Levels of lists and mappings in a JSON value. Deeper ones cannot be counted on to survive every parser."""


def json_problem(value: object) -> str:
    """Why this cannot be stored and sent as JSON, or nothing."""
    level = [value]
    for _ in range(MAX_DEPTH):
        children: list[object] = []
        for item in level:
            if isinstance(item, dict):
                if not all(isinstance(key, str) for key in item):
                    return "a key is not text"
                children.extend(item.values())
            elif isinstance(item, list | tuple):
                children.extend(item)
            elif isinstance(item, float) and not math.isfinite(item):
                return f"{item} is not JSON"
            elif item is not None and not isinstance(item, str | int | float):
                return f"a {type(item).__name__} is not JSON"
        if not children:
            return ""
        level = children
    return f"it is nested deeper than {MAX_DEPTH} levels"


FINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.SKIPPED})

MOVES: Mapping[State, frozenset[State]] = {
    State.CREATED: frozenset({State.QUEUED, State.WAITING, State.RUNNING, *FINAL}),
    State.QUEUED: frozenset({State.CREATED, State.WAITING, State.RUNNING, *FINAL}),
    State.WAITING: frozenset({State.QUEUED, State.RUNNING, *FINAL}),
    State.RUNNING: frozenset({State.QUEUED, *FINAL}),
    # a retry asked for by a user reopens what is final
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset({State.CREATED, State.QUEUED, State.RUNNING}),
    State.CANCELLED: frozenset({State.CREATED, State.QUEUED, State.RUNNING}),
    State.SKIPPED: frozenset({State.CREATED, State.QUEUED, State.RUNNING}),
}
"""Legal moves of runs and task runs. A run that completed has nothing to retry, hence stays."""


class AttemptState(StrEnum):
    """State of an attempt: one process started for a task run."""

    STARTING = "starting"  # committed, the executor is being told
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # vanished: nobody can know how it ended
    NEVER_STARTED = "never_started"

    @property
    def final(self) -> bool:
        return self not in (AttemptState.STARTING, AttemptState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A named output of a task: a file if ``path`` is set, else a value written to ``$WATTLE_OUTPUT``."""

    path: str | None = None
    required: bool = True  # False in the Wattle Scheduler format: what is missing is a warning there
    description: str = ""  # of a value, in words


RESULT = "result"
"""The output under which a function leaves what it returns, and a cell its last expression."""


def sole_output(outputs: Iterable[str]) -> str | None:
    """The output that a task's name alone means: ``result``, or its only one."""
    names = list(outputs)
    return RESULT if RESULT in names else names[0] if len(names) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Python that a task runs in a process of its own: a function, or the code of a cell."""

    object: str  # hash under which the store keeps it, pickled
    source: str = ""  # as the user wrote it, for people
    params: tuple[str, ...] = ()  # params of the workflow that it takes by name


_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A node of a workflow: ``run`` or ``call``.

    ``run`` is a command line for ``sh`` (str) or an argument list (tuple); both may hold ``{{ templates }}``.
    ``script`` names the file that ``run`` starts with when its suffix says so (.py .R .sh .ipynb): it is
    snapshotted at submit.
    """

    name: str
    run: str | tuple[str, ...] = ()
    call: Call | None = None
    script: str | None = None
    needs: tuple[str, ...] = ()  # order only
    inputs: Mapping[str, str] = field(default_factory=dict)  # x -> "task/key"
    outputs: Mapping[str, Output] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None  # relative to the workflow's
    retries: int = 0  # attempts after the first
    retry_delay: float = 1.0  # seconds before the first retry
    retry_backoff: float = 2.0  # each further delay is this many times the one before
    retry_max_delay: float = 300.0
    timeout: float | None = None  # seconds until SIGTERM
    grace: float | None = None  # seconds from SIGTERM to SIGKILL
    priority: Priority | None = None  # the workflow's if None
    keep_children: bool = False  # processes that outlive the task's leader are left alone
    exit_file: bool | None = None  # None: where the executor needs it
    references: tuple[str, ...] = ()  # "task/key" named by templates in `run` or `env`

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "env"):
            if not getattr(self, name):  # most have none: 100,000 of them share one
                object.__setattr__(self, name, _NOTHING)

    @property
    def data_needs(self) -> tuple[str, ...]:
        """Names of the tasks whose outputs this one takes, in order of first mention."""
        if not self.inputs and not self.references:
            return ()
        refs = (*self.inputs.values(), *self.references)
        return tuple(dict.fromkeys(ref.split("/", 1)[0] for ref in refs))

    @property
    def upstream(self) -> tuple[str, ...]:
        """Names of all tasks that must end before this one starts (mode `dependency`)."""
        found = tuple(dict.fromkeys((*self.needs, *self.data_needs)))
        return self.needs if found == self.needs else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A validated definition. Build one with :func:`wattle_jupyter.spec.load`."""

    name: str
    tasks: Mapping[str, Task]
    mode: Mode = "dependency"
    params: Mapping[str, Json] = field(default_factory=dict)
    working_dir: str | None = None  # absolute; the folder of the notebook
    env: Mapping[str, str] = field(default_factory=dict)
    on_failure: OnFailure = "continue"
    max_parallel: int | None = None  # task runs of one run at a time
    concurrent: bool = False  # may two runs of it be active at once?
    priority: Priority = "normal"
    python: str | None = None  # interpreter for .py scripts: the defining kernel's
    description: str = ""


# ---------------------------------------------------------------------------------------------- what happens to them


Kind = Literal["json", "file", "object"]


class Left(NamedTuple):
    """What a task left under the name of one of its outputs."""

    kind: Kind
    ref: Json  # the value itself, the absolute path of a file, or the hash of an object in the store
    size: int | None = None  # bytes
    hash: str | None = None  # of a file's content, where the store kept a copy under it


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """One execution of a workflow. ``snapshot`` is its spec as JSON, until it is committed as row ``snapshot_id``."""

    id: str
    workflow: str
    workflow_hash: str
    snapshot: str = ""
    snapshot_id: str = ""
    params: dict[str, Json]
    mode: Mode
    priority: Priority
    user: str
    cause: str = "api"  # api, cell, cli, schedule …
    parent_task_run: str | None = None
    scripts: dict[str, str] = field(default_factory=dict)  # task → path of its script's snapshot
    only: list[str] | None = None  # run just these tasks; the others are skipped from the start
    given: dict[str, Left] = field(default_factory=dict)  # by "task/key", for tasks that are left out
    state: State = State.CREATED
    reason: str = ""
    cancel_at: float | None = None
    cancelled_by: str | None = None
    paused_at: float | None = None
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class TaskRun:
    """A task's fate in one run."""

    id: str
    run: str
    task: str
    item: str = ""
    state: State = State.CREATED
    reason: str = ""
    round: int = 1  # goes up when a user asks for a retry: budgets start anew
    failures: int = 0  # failed attempts in this round
    losses: int = 0  # lost attempts in this round
    attempts: int = 0  # attempts ever made
    attempt: str | None = None  # id of the newest attempt
    not_before: float | None = None  # back-off
    stop_at: float | None = None  # a user asked to stop this task
    stopped_by: str | None = None
    queued_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """One process started for a task run; its directory is ``attempts/<id>/``."""

    id: str
    task_run: str
    run: str
    n: int  # 1 for the first of the task run
    round: int
    executor: str
    host: str
    epoch: int
    state: AttemptState = AttemptState.STARTING
    reason: str = ""
    boot_id: str = ""
    pid: int | None = None
    code: int | None = None
    signal: int | None = None
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    peak_rss: int | None = None  # bytes
    log_size: int | None = None  # bytes, once it is final


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The same as a row: which attempt left it."""

    attempt: str
    name: str
    kind: Kind
    ref: Json
    size: int | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. ``body`` is what changed, in wire form (see :mod:`wattle_jupyter.wire`)."""

    seq: int
    run: str | None
    kind: str
    at: float
    body: dict[str, Json]
