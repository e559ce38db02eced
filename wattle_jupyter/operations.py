"""Every route as data: what it takes, what it answers, which permission it asks for.

The OpenAPI document is made from this list, and the tests hold the handlers, the documented table and the permissions
that are really asked for against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from wattle_jupyter import wire

Action = Literal["read", "write", "execute"]
PAGE = ("page", "page_size", "status", "sort_by", "order", "search")
LOG = ("offset", "since", "limit", "attempt", "download")
STREAM = ("offset", "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One verb on one path. ``answer`` is the type of ``data``; ``paged`` wraps it into a page,
    ``listed`` into a plain list."""

    verb: Literal["GET", "HEAD", "POST", "PUT", "DELETE"]
    path: str
    action: Action
    summary: str
    answer: Any = None
    paged: bool = False
    listed: bool = False
    bytes_body: bool = False  # the body is taken as it is
    body: tuple[str, ...] = ()  # fields of the body, all optional
    spec_body: bool = False  # the body is a workflow spec
    query: tuple[str, ...] = ()
    status: int = 200
    media: str = "application/json"


_START = ("params", "mode", "priority", "cause")

OPERATIONS: tuple[Operation, ...] = (
    Operation(verb="GET", path="info", action="read", summary="Versions and identity of the server.", answer=wire.Info),
    Operation(verb="GET", path="health", action="read", summary="Is it ready, and if not, why.", answer=wire.Health),
    Operation(
        verb="GET", path="health/ready", action="read", summary="The same; 503 while nothing can be started.",
        answer=wire.Health,
    ),
    Operation(verb="GET", path="stats", action="read", summary="Counts and times since the start.", answer=wire.Stats),
    Operation(verb="GET", path="openapi.json", action="read", summary="This document.", media="application/json"),
    Operation(
        verb="GET", path="workflows", action="read", summary="Current definitions.",
        answer=wire.WorkflowSummary, paged=True, query=PAGE,
    ),
    Operation(
        verb="POST", path="workflows", action="write", summary="Keep a definition, as a new version of its name.",
        answer=wire.WorkflowDetail, spec_body=True, status=201,
    ),
    Operation(
        verb="GET", path="workflows/{name}", action="read", summary="One definition.", answer=wire.WorkflowDetail
    ),
    Operation(
        verb="DELETE", path="workflows/{name}", action="write", summary="Hide a definition; its runs stay.",
        answer=dict[str, str],
    ),
    Operation(
        verb="POST", path="workflows/{name}/start", action="execute", summary="Start a run.",
        answer=wire.RunDetail, body=_START, status=201,
    ),
    Operation(
        verb="GET", path="workflows/{name}/tasks/{task}/environment", action="read",
        summary="How a task would be started: command, folder, environment; secrets are masked.",
        answer=wire.TaskEnvironment,
    ),
    Operation(
        verb="GET", path="workflows/{name}/workers", action="read", summary="Its tasks, as of the latest run.",
        answer=wire.WorkerView, paged=True, query=PAGE,
    ),
    Operation(
        verb="GET", path="workers/{workflow}/{worker}", action="read", summary="One task, as of the latest run.",
        answer=wire.WorkerView,
    ),
    Operation(
        verb="DELETE", path="workers/{workflow}/{worker}", action="write", summary="A new version without this task.",
        answer=wire.WorkflowDetail,
    ),
    Operation(
        verb="POST", path="workers/{workflow}/{worker}/start", action="execute", summary="A run of this task alone.",
        answer=wire.RunDetail, body=("params",), status=201,
    ),
    Operation(
        verb="POST", path="workers/{workflow}/{worker}/stop", action="execute", summary="Stop it in the latest run.",
        answer=wire.WorkerView,
    ),
    Operation(
        verb="GET", path="workers/{workflow}/{worker}/logs", action="read", summary="Its log in the latest run.",
        answer=wire.LogPage, query=LOG,
    ),
    Operation(
        verb="GET", path="workers/{workflow}/{worker}/logs/stream", action="read", summary="Its log as it is written.",
        query=STREAM, media="text/event-stream",
    ),
    Operation(
        verb="GET", path="runs", action="read", summary="Runs.",
        answer=wire.RunSummary, paged=True, query=(*PAGE, "workflow"),
    ),
    Operation(
        verb="POST", path="runs", action="execute", summary="Start a run of a definition, or of a spec in the body.",
        answer=wire.RunDetail, body=("workflow", "spec", *_START), status=201,
    ),
    Operation(verb="GET", path="runs/{run}", action="read", summary="One run.", answer=wire.RunNow),
    Operation(
        verb="GET", path="runs/{run}/snapshot", action="read", summary="The spec that it runs.", answer=dict[str, Any]
    ),
    Operation(
        verb="DELETE", path="runs/{run}", action="write", summary="Delete a run that ended; it can be brought back.",
        answer=dict[str, str],
    ),
    Operation(
        verb="POST", path="runs/{run}/undelete", action="write", summary="Bring a deleted run back.",
        answer=wire.RunSummary,
    ),
    Operation(
        verb="POST", path="runs/{run}/cancel", action="execute", summary="Stop a run.", answer=wire.RunSummary
    ),
    Operation(
        verb="POST", path="runs/{run}/retry", action="execute", summary="New attempts for what failed.",
        answer=wire.RunSummary, body=("tasks",),
    ),
    Operation(
        verb="GET", path="runs/{run}/tasks/{task}", action="read", summary="One task of it, with all attempts.",
        answer=wire.TaskRunDetail,
    ),
    Operation(
        verb="GET", path="runs/{run}/tasks/{task}/environment", action="read",
        summary="How a task is started: command, folder, environment; secrets are masked.",
        answer=wire.TaskEnvironment,
    ),
    Operation(
        verb="POST", path="runs/{run}/tasks/{task}/stop", action="execute", summary="Stop one task.",
        answer=wire.TaskRunView,
    ),
    Operation(
        verb="POST", path="runs/{run}/tasks/{task}/retry", action="execute", summary="New attempts for one task.",
        answer=wire.RunSummary,
    ),
    Operation(
        verb="GET", path="runs/{run}/tasks/{task}/logs", action="read", summary="A page of its log.",
        answer=wire.LogPage, query=LOG,
    ),
    Operation(
        verb="GET", path="runs/{run}/tasks/{task}/logs/stream", action="read", summary="Its log as it is written.",
        query=STREAM, media="text/event-stream",
    ),
    Operation(
        verb="GET", path="runs/{run}/tasks/{task}/outputs/{name}", action="read", summary="What it left by that name.",
        media="application/octet-stream",
    ),
    Operation(verb="HEAD", path="objects/{hash}", action="read", summary="Is this object in the store."),
    Operation(
        verb="GET", path="objects/{hash}", action="read", summary="A pickled object, by its SHA-256.",
        media="application/octet-stream",
    ),
    Operation(
        verb="PUT", path="objects/{hash}", action="write", summary="Put an object into the store.",
        answer=dict[str, Any], bytes_body=True, status=201,
    ),
    Operation(
        verb="GET", path="audit", action="read", summary="Who changed what, the newest first.",
        answer=wire.AuditEntry, listed=True, query=("limit",),
    ),
    Operation(
        verb="GET", path="backups", action="read", summary="Backups of the database, the newest first.",
        answer=wire.BackupView, listed=True,
    ),
    Operation(
        verb="POST", path="backups", action="write", summary="Copy the database into the store's folder of backups.",
        answer=wire.BackupView, status=201,
    ),
    Operation(
        verb="GET", path="runs/{run}/tasks/{task}/logs/search", action="read", summary="Lines of its log that match.",
        answer=wire.LogSearch,
        query=("pattern", "regex", "case", "errors", "from", "to", "last", "near", "finished", "limit", "attempt"),
    ),
    Operation(
        verb="GET", path="runs/{run}/tasks/{task}/logs/lines", action="read", summary="Its log, as lines.",
        answer=wire.LogLinesPage, query=("offset", "next", "before", "line", "limit", "attempt"),
    ),
    Operation(
        verb="GET", path="runs/{run}/tasks/{task}/logs/times", action="read", summary="When its log was written.",
        answer=wire.LogTimes, query=("offset", "end", "attempt"),
    ),
    Operation(
        verb="GET", path="cleanup", action="read", summary="What a cleanup would hide.",
        answer=wire.CleanupView, query=("keep_runs", "keep_days"),
    ),
    Operation(
        verb="POST", path="cleanup", action="write", summary="Delete runs that ended; a week to undo it.",
        answer=wire.CleanupView, body=("keep_runs", "keep_days"),
    ),
    Operation(
        verb="GET", path="events", action="read", summary="Committed changes as they happen.",
        query=("since", "run", "progress"), media="text/event-stream",
    ),
    Operation(
        verb="GET", path="events/ws", action="read", summary="WebSocket: events, progress and logs.", status=101
    ),
)  # fmt: skip
