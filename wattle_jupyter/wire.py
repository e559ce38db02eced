"""What travels between server and clients, as types only.

The HTTP API, the events and the TypeScript types come from these (``openapi``). Times are UTC ISO 8601 strings with
``Z`` and milliseconds, durations are seconds, sizes bytes. A key that may be unknown is present and ``None``.
"""

from __future__ import annotations

import sys
from typing import Any, Literal, NotRequired

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:  # pydantic, which makes the schemas, cannot read the older one of `typing`
    from typing_extensions import TypedDict

API_VERSION = 1
"""Raised when an old client could misread an answer. A server says the range that it speaks in ``info``."""

RUN_MIME = "application/vnd.wattle.run.v1+json"

StateName = Literal["created", "queued", "waiting", "running", "completed", "failed", "cancelled", "skipped"]
AttemptStateName = Literal["starting", "running", "completed", "failed", "cancelled", "lost", "never_started"]


class Counts(TypedDict):
    """How many task runs are in each state."""

    created: int
    queued: int
    waiting: int
    running: int
    completed: int
    failed: int
    cancelled: int
    skipped: int


class RunSummary(TypedDict):
    id: str
    workflow: str
    workflow_hash: str
    state: StateName
    reason: str
    mode: str
    priority: str
    params: dict[str, Any]
    user: str
    cause: str
    created_at: str
    started_at: str | None
    ended_at: str | None
    cancel_at: str | None
    total: int
    counts: Counts


class Edge(TypedDict):
    src: str
    dst: str
    kind: Literal["data", "order"]


class TaskRunView(TypedDict):
    """A task's fate in one run. ``attempt`` is the newest attempt's id, the key of its log."""

    task: str
    state: StateName
    reason: str
    attempts: int
    attempt: str | None
    queued_at: str | None
    started_at: str | None
    ended_at: str | None
    not_before: str | None
    exit_code: int | None
    signal: int | None


class ProgressView(TypedDict):
    """How far an attempt is, as its log says: ``fraction`` is 0 to 1. ``text`` says it in short, as in ``42/100``; it
    is empty where only the fraction is known."""

    attempt: str
    fraction: float
    done: float | None
    total: float | None
    text: str


class RunDetail(RunSummary):
    """A run with its tasks. ``seq`` is the newest event that it contains: follow with ``since`` that number."""

    tasks: list[TaskRunView]
    edges: list[Edge]
    seq: int


class RunNow(RunDetail):
    """The same with what is of the moment and in no event: how far those running tasks are that say it, by name."""

    progress: dict[str, ProgressView]


class AttemptView(TypedDict):
    id: str
    n: int
    round: int
    state: AttemptStateName
    reason: str
    host: str
    pid: int | None
    exit_code: int | None
    signal: int | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    peak_rss: int | None
    log_size: int | None


class ValueView(TypedDict):
    name: str
    kind: Literal["file", "json", "object"]
    value: Any  # of an object, its hash
    size: int | None
    kept: str | None  # path of the copy of a file


class TaskRunDetail(TaskRunView):
    progress: ProgressView | None
    command: str
    working_dir: str
    needs: list[str]
    history: list[AttemptView]
    outputs: list[ValueView]


class VariableView(TypedDict):
    """A variable of a task's environment that is not as the server's. ``secret``: ``value`` is masked."""

    name: str
    value: str
    source: Literal["wattle", "spec"]
    secret: bool


class TaskEnvironment(TypedDict):
    """How a task is started. What is not known before it starts stands as it is written, and in ``missing``."""

    argv: list[str]
    cwd: str
    python: str | None
    variables: list[VariableView]
    removed: list[str]  # names of variables that the server has and the task does not get
    missing: list[str]


class WorkflowSummary(TypedDict):
    """``status`` is the state of the latest run, ``created`` before any."""

    name: str
    hash: str
    version: int
    status: StateName
    description: str
    mode: str
    total: int
    created_at: str
    updated_at: str
    latest_run: str | None


class WorkflowDetail(WorkflowSummary):
    spec: dict[str, Any]
    warnings: list[str]


class WorkerView(TypedDict):
    """A task in the words of the Wattle Scheduler: ``status`` is that of its latest run."""

    name: str
    workflow: str
    command: str
    args: list[str]
    working_dir: str
    env_vars: dict[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    status: StateName
    reason: str
    run: str | None
    attempt: str | None
    exit_code: int | None
    started_at: str | None
    ended_at: str | None


class LogPage(TypedDict):
    """A piece of a log as text. ``next_offset`` is where to go on; ``end`` is true once nothing more can come."""

    attempt: str
    offset: int
    next_offset: int
    size: int
    end: bool
    text: str


class LogLinesPage(TypedDict):
    """Lines of a log. ``offsets`` says where each begins; ``next_offset`` where the last one ends.

    Of the lines ``cut`` (by their place in ``text``) only the beginning is there; those ``broken`` have no line feed:
    they are not finished, or go on in the next piece. ``line`` is the number of the first one, from 0, and ``lines``
    how many the log has; both are null while they are being counted.
    """

    attempt: str
    offset: int
    next_offset: int
    size: int
    end: bool  # the log is final
    line: int | None
    lines: int | None
    offsets: list[int]
    text: list[str]
    cut: list[int]
    broken: list[int]


class LogTimes(TypedDict):
    """When bytes of a log were written: ``points`` are seconds since 1970 and the size of the log then."""

    attempt: str
    started_at: str | None
    points: list[list[float]]


class LogSearch(TypedDict):
    """Lines of a log that match: how many in its first ``size`` bytes, and where the first (or last) of them begin.

    ``spans`` says, for each of ``lines``, which characters match (from, to; as UTF-16, without escape codes).
    """

    attempt: str
    size: int
    count: int
    lines: list[int]
    spans: list[list[list[int]]]


class Pagination(TypedDict):
    page: int
    page_size: int
    total: int
    total_pages: int
    has_next: bool
    has_prev: bool


class RunCreatedBody(TypedDict):
    run: RunDetail


class RunChangedBody(TypedDict):
    """Whole objects, and only those tasks that changed."""

    run: RunSummary
    tasks: list[TaskRunView]


class NothingMore(TypedDict):
    pass


class WorkflowBody(TypedDict):
    name: str


class RunCreatedEvent(TypedDict):
    seq: int
    run: str
    kind: Literal["run.created"]
    at: str
    body: RunCreatedBody


class RunChangedEvent(TypedDict):
    seq: int
    run: str
    kind: Literal["run.changed"]
    at: str
    body: RunChangedBody


class RunDeletedEvent(TypedDict):
    seq: int
    run: str
    kind: Literal["run.deleted"]
    at: str
    body: NothingMore


class WorkflowEvent(TypedDict):
    seq: int
    run: None
    kind: Literal["workflow.changed", "workflow.deleted"]
    at: str
    body: WorkflowBody


EventView = RunCreatedEvent | RunChangedEvent | RunDeletedEvent | WorkflowEvent
"""One committed change."""


class Info(TypedDict):
    name: str
    version: str
    api: dict[str, int]  # {"min": 1, "max": 1}
    store: str  # id of the store, the same over restarts
    generation: str  # id of this owner of the store, new with each start
    epoch: int  # how many owners the store has had
    role: Literal["owner", "follower"]  # of the server that was asked; a follower passes everything on to the owner
    trouble: str | None  # why nothing new is started just now
    user: str


class HealthCheck(TypedDict):
    name: str  # store, executor, disk, backup, queue, loop
    state: Literal["ok", "degraded", "failed"]
    reason: str  # and what to do; empty if all is well


class Health(TypedDict):
    live: bool
    ready: bool  # work that is sent now is started
    state: Literal["ok", "degraded", "failed"]  # the worst of the checks
    reasons: list[str]  # of what is not ok
    checks: list[HealthCheck]


class Latency(TypedDict):
    """How long something took since the engine was opened, in seconds."""

    count: int
    p50: float | None
    p95: float | None
    max: float


class Stats(TypedDict):
    runs: dict[str, int]  # queued, running
    runs_ended: dict[str, int]  # by state, since the engine was opened; so are the others
    attempts_ended: dict[str, int]
    events: int
    log_bytes: int
    now: dict[str, float]  # slots, slots_busy, tasks_queued, sockets …; sizes in bytes
    latency: dict[str, Latency]  # create, query, change, queue_wait, start_latency, commit, loop_lag, loop_work


class ErrorBody(TypedDict):
    success: Literal[False]
    error: str  # name of the class in `errors`
    message: str
    details: dict[str, Any]


class AuditEntry(TypedDict):
    """A request that was to change something. ``target`` is the id or name of what it changed or named, ``outcome``
    ``done`` or the class of the error."""

    at: str
    user: str
    verb: str  # of the request, with the pattern of its path
    target: str
    status: int
    outcome: str


class CleanupLine(TypedDict):
    """Runs of one workflow, and the bytes that their attempts left."""

    workflow: str
    runs: int
    bytes: int


class CleanupView(TypedDict):
    """What a cleanup hides, and what it deletes: objects that nothing has named for a day."""

    runs: int
    bytes: int
    workflows: list[CleanupLine]
    objects: int
    object_bytes: int


class BackupView(TypedDict):
    """A copy of the database. ``name`` is what `wattle restore` takes."""

    name: str
    path: str
    why: str
    created_at: str
    size: int


class SavedTask(TypedDict):
    task: str
    state: StateName | None
    reason: str


class SavedEdge(TypedDict):
    src: str
    dst: str
    kind: NotRequired[Literal["data", "order"]]


class SavedRun(TypedDict):
    """What a saved output holds: no ids, so that runs that went the same way are saved byte-equal. States are null in
    a plan: nothing has run yet."""

    version: Literal[1]
    workflow: str
    state: StateName | None
    tasks: list[SavedTask]
    edges: list[SavedEdge]


# ------------------------------------------------------------------------------------------------ WebSocket, JSON text


class HelloMessage(TypedDict):
    type: Literal["hello"]
    server: str
    api: int
    seq: int
    store: str
    generation: str
    trouble: str | None


class EventsMessage(TypedDict):
    type: Literal["events"]
    events: list[EventView]


class LogEndMessage(TypedDict):
    """All bytes of this log were sent; ``size`` is their number."""

    type: Literal["log_end"]
    log: str
    size: int


class ProgressMessage(TypedDict):
    """How far running tasks of a run are, by their names: all at first, then what changed. It has no number and comes
    once: an answer about the run says the same."""

    type: Literal["progress"]
    run: str
    tasks: dict[str, ProgressView]


class TroubleMessage(TypedDict):
    type: Literal["trouble"]
    trouble: str | None


class ProblemMessage(TypedDict):
    """Something that the client sent cannot be done; the socket stays open."""

    type: Literal["problem"]
    error: str
    message: str
    log: NotRequired[str]


class SinceMessage(TypedDict):
    """Send all events after ``seq``, then live; only those of ``run`` if it is given."""

    type: Literal["since"]
    seq: int
    run: NotRequired[str]


class WatchMessage(TypedDict):
    """Say how far the running tasks of these runs are, by their whole ids, and of no others any more."""

    type: Literal["watch"]
    runs: list[str]


class SubscribeMessage(TypedDict):
    type: Literal["subscribe"]
    log: str  # id of the attempt
    offset: int


class UnsubscribeMessage(TypedDict):
    type: Literal["unsubscribe"]
    log: str


ServerMessage = HelloMessage | EventsMessage | LogEndMessage | ProgressMessage | TroubleMessage | ProblemMessage
ClientMessage = SinceMessage | WatchMessage | SubscribeMessage | UnsubscribeMessage

ALIASES: dict[str, Any] = {
    "StateName": StateName,
    "AttemptStateName": AttemptStateName,
    "EventView": EventView,
    "ServerMessage": ServerMessage,
    "ClientMessage": ClientMessage,
}
"""Types that are no classes and still have a name for everybody."""
