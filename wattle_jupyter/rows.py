"""Nouns ↔ rows: the SQL of every table, as text, in one place."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from wattle_jupyter.change import Change
from wattle_jupyter.model import Attempt, AttemptState, Left, Run, State, TaskRun

_RUN_FIXED = (
    "id", "workflow_id", "workflow", "workflow_hash", "params", "mode", "priority", "user", "cause", "parent_task_run",
    "scripts", "only_tasks", "given", "total", "created_at",
)  # fmt: skip
_RUN_MOVING = ("reason", "cancel_at", "cancelled_by", "paused_at", "started_at", "ended_at")
_TASK_RUN_FIXED = ("id", "run", "position", "task", "item")
_TASK_RUN_MOVING = (
    "reason", "round", "failures", "losses", "attempts", "attempt", "not_before", "stop_at", "stopped_by",
    "queued_at", "started_at", "ended_at",
)  # fmt: skip
_ATTEMPT_FIXED = ("id", "task_run", "run", "n", "round", "executor", "host", "epoch", "created_at")
_ATTEMPT_MOVING = (
    "reason", "boot_id", "pid", "code", "signal", "started_at", "ended_at", "peak_rss", "log_size",
)  # fmt: skip


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names are constants of this file


def _update(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join(f"{c} = ?" for c in ("state", *columns))
    return f"UPDATE {table} SET {marks} WHERE id = ? AND state = ?"  # noqa: S608 - names are constants of this file


_INSERT_RUN = _insert("run", (*_RUN_FIXED, "state", *_RUN_MOVING))
_INSERT_TASK_RUN = _insert("task_run", (*_TASK_RUN_FIXED, "state", *_TASK_RUN_MOVING))
_INSERT_ATTEMPT = _insert("attempt", (*_ATTEMPT_FIXED, "state", *_ATTEMPT_MOVING))
_INSERT_VALUE = _insert("value", ("attempt", "name", "kind", "ref", "size", "hash"))
_INSERT_REQUEST = _insert("request", ("key", "verb", "run", "at"))
_UPDATE_RUN = _update("run", _RUN_MOVING)
_UPDATE_TASK_RUN = _update("task_run", _TASK_RUN_MOVING)
_UPDATE_ATTEMPT = _update("attempt", _ATTEMPT_MOVING)


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL text over many rows. ``each`` says that every row must hit exactly one row of the table."""

    sql: str
    args: Sequence[Sequence[Any]]
    each: bool = False

    def run(self, db: sqlite3.Connection) -> None:
        cursor = db.executemany(self.sql, self.args)
        if self.each and cursor.rowcount != len(self.args):
            raise AssertionError(
                f"{len(self.args) - cursor.rowcount} rows were not in the state that the scheduler knows: {self.sql}"
            )


def _moving(thing: Any, columns: Sequence[str]) -> tuple[Any, ...]:
    return (str(thing.state), *(getattr(thing, c) for c in columns))


AT_ONCE = 1000
"""Rows that are made before they are written: those of a big run would be large together."""


def statements(change: Change) -> Iterator[Statement]:
    """The writes of a change, in an order that respects references. Ends of attempts come before new ones start."""
    listed: tuple[tuple[str, Iterator[tuple[Any, ...]], bool], ...] = (
        (_INSERT_RUN, (_run_row(live.run, len(live.task_runs)) for live in change.new_runs.values()), False),
        (_INSERT_TASK_RUN, _task_run_rows(change), False),
        (_UPDATE_RUN, ((*_moving(r, _RUN_MOVING), r.id, str(s)) for r, s in change.runs.values()), True),
        (_UPDATE_TASK_RUN, ((*_moving(t, _TASK_RUN_MOVING), t.id, str(s)) for t, s in change.task_runs.values()), True),
        (_UPDATE_ATTEMPT, ((*_moving(a, _ATTEMPT_MOVING), a.id, str(s)) for a, s in change.attempts.values()), True),
        (_INSERT_ATTEMPT, map(_attempt_row, change.new_attempts.values()), False),
        (_INSERT_VALUE, ((v.attempt, v.name, v.kind, json.dumps(v.ref), v.size, v.hash) for v in change.values), False),
        (_INSERT_REQUEST, ((r.key, r.verb, r.run, change.at) for r in change.requests.values()), False),
    )
    for sql, found, each in listed:
        while args := list(islice(found, AT_ONCE)):
            yield Statement(sql, args, each)


def _attempt_row(attempt: Attempt) -> tuple[Any, ...]:
    return (*(getattr(attempt, c) for c in _ATTEMPT_FIXED), *_moving(attempt, _ATTEMPT_MOVING))


def _run_row(run: Run, total: int) -> tuple[Any, ...]:
    fixed = {
        "workflow_id": run.snapshot_id,
        "params": json.dumps(run.params),
        "scripts": json.dumps(run.scripts),
        "only_tasks": None if run.only is None else json.dumps(run.only),
        "given": json.dumps(run.given),
        "total": total,
    }
    return (*(fixed[c] if c in fixed else getattr(run, c) for c in _RUN_FIXED), *_moving(run, _RUN_MOVING))


def _task_run_rows(change: Change) -> Iterator[tuple[Any, ...]]:
    for live in change.new_runs.values():
        for position, t in enumerate(live.task_runs.values()):
            yield (t.id, t.run, position, t.task, t.item, *_moving(t, _TASK_RUN_MOVING))


# ------------------------------------------------------------------------------------------------------- and back

RUN_COLUMNS = ", ".join(f"run.{c}" for c in (*_RUN_FIXED, "state", *_RUN_MOVING))
TASK_RUN_COLUMNS = ", ".join((*_TASK_RUN_FIXED, "state", *_TASK_RUN_MOVING))
ATTEMPT_COLUMNS = ", ".join((*_ATTEMPT_FIXED, "state", *_ATTEMPT_MOVING))


def to_run(row: Sequence[Any]) -> tuple[Run, int]:
    """A run, without its snapshot, and how many tasks it has, from a row of RUN_COLUMNS."""
    found = dict(zip((*_RUN_FIXED, "state", *_RUN_MOVING), row, strict=True))
    total = int(found.pop("total"))
    only = found.pop("only_tasks")
    return _make_run(found, only), total


def _make_run(found: dict[str, Any], only: str | None) -> Run:
    for column in ("params", "scripts", "given"):
        found[column] = {} if found[column] == "{}" else json.loads(found[column])  # most are: lists have many runs
    found["given"] = {ref: Left(*left) for ref, left in found["given"].items()}
    found["state"] = State(found["state"])
    snapshot_id = found.pop("workflow_id")
    return Run(**found, only=None if only is None else json.loads(only), snapshot_id=snapshot_id)


def to_task_run(row: Sequence[Any]) -> TaskRun:
    """A task run from a row of TASK_RUN_COLUMNS."""
    found = dict(zip((*_TASK_RUN_FIXED, "state", *_TASK_RUN_MOVING), row, strict=True))
    del found["position"]
    found["state"] = State(found["state"])
    return TaskRun(**found)


def to_attempt(row: Sequence[Any]) -> Attempt:
    """An attempt from a row of ATTEMPT_COLUMNS."""
    found = dict(zip((*_ATTEMPT_FIXED, "state", *_ATTEMPT_MOVING), row, strict=True))
    found["state"] = AttemptState(found["state"])
    return Attempt(**found)
