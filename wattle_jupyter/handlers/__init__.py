"""The server's side of ``docs/http.md``: one handler a path, and the table that joins them."""

from __future__ import annotations

import re
from typing import Any

from wattle_jupyter.handlers import care, lines, logs, meta, objects, runs, search, socket, workers, workflows

HANDLERS: dict[str, type[Any]] = {
    "info": meta.InfoHandler,
    "health": meta.HealthHandler,
    "health/ready": meta.ReadyHandler,
    "stats": meta.StatsHandler,
    "openapi.json": meta.OpenApiHandler,
    "workflows": workflows.WorkflowsHandler,
    "workflows/{name}": workflows.WorkflowHandler,
    "workflows/{name}/start": workflows.WorkflowStartHandler,
    "workflows/{name}/tasks/{task}/environment": workflows.WorkflowTaskEnvironmentHandler,
    "workflows/{name}/workers": workers.WorkersHandler,
    "workers/{workflow}/{worker}": workers.WorkerHandler,
    "workers/{workflow}/{worker}/start": workers.WorkerStartHandler,
    "workers/{workflow}/{worker}/stop": workers.WorkerStopHandler,
    "workers/{workflow}/{worker}/logs": workers.WorkerLogsHandler,
    "workers/{workflow}/{worker}/logs/stream": workers.WorkerLogStreamHandler,
    "runs": workflows.RunsHandler,
    "runs/{run}": runs.RunHandler,
    "runs/{run}/snapshot": runs.SnapshotHandler,
    "runs/{run}/undelete": care.RunUndeleteHandler,
    "runs/{run}/cancel": runs.CancelHandler,
    "runs/{run}/retry": runs.RetryHandler,
    "runs/{run}/tasks/{task}": runs.TaskHandler,
    "runs/{run}/tasks/{task}/environment": runs.TaskEnvironmentHandler,
    "runs/{run}/tasks/{task}/stop": runs.TaskStopHandler,
    "runs/{run}/tasks/{task}/retry": runs.TaskRetryHandler,
    "runs/{run}/tasks/{task}/outputs/{name}": objects.OutputHandler,
    "runs/{run}/tasks/{task}/logs": logs.TaskLogsHandler,
    "runs/{run}/tasks/{task}/logs/stream": logs.TaskLogStreamHandler,
    "runs/{run}/tasks/{task}/logs/lines": lines.TaskLogLinesHandler,
    "runs/{run}/tasks/{task}/logs/times": lines.TaskLogTimesHandler,
    "runs/{run}/tasks/{task}/logs/search": search.TaskLogSearchHandler,
    "objects/{hash}": objects.ObjectHandler,
    "audit": care.AuditHandler,
    "backups": care.BackupsHandler,
    "cleanup": care.CleanupHandler,
    "events": meta.EventsHandler,
    "events/ws": socket.SocketHandler,
}


for _path, _handler in HANDLERS.items():
    _handler.pattern = _path

_NAMED = re.compile(r"{[a-z]+}")


def routes(base: str = "/wattle/api/") -> list[tuple[str, type[Any]]]:
    """Patterns for tornado, each of the whole path; the last one takes what no other does."""
    known = [(base + _NAMED.sub("([^/]+)", path), handler) for path, handler in HANDLERS.items()]
    return [*known, (base + "(.*)", meta.NothingHandler)]
