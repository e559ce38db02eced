"""Runs in the store: what goes on at start, what has ended, their events."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from wattle_jupyter import backups, jsontext, liverun, rows, spec
from wattle_jupyter.aside import aside
from wattle_jupyter.errors import Conflict, NotFound, WattleError
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import Attempt, Event, Json, Left, Value, Workflow
from wattle_jupyter.plan import Plan
from wattle_jupyter.store import Store
from wattle_jupyter.view import count, run_summary, task_run_view
from wattle_jupyter.wire import RunSummary, TaskRunView

LONG = 1 << 16  # characters of events that take some 2 ms to read
PIECE = 1 << 18
"""Characters of events that are read at a time: as objects they take about eight times as many bytes."""

_SHOWN = "WHERE deleted_at IS NULL"  # not those that were deleted and may come back

_ID = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{4,32}")


async def resolve(store: Store, text: str) -> str:
    """An id, a unique prefix of one (≥ 4 digits), or ``last`` → the run's id. Raises NotFound, Conflict."""
    if _ID.fullmatch(text):
        found = await store.all("SELECT id FROM run WHERE id = ? AND deleted_at IS NULL", (text,))
    elif text == "last":
        found = await store.all(f"SELECT id FROM run {_SHOWN} ORDER BY created_at DESC, rowid DESC LIMIT 1")  # noqa: S608
    elif _PREFIX.fullmatch(text):
        found = await store.all(f"SELECT id FROM run {_SHOWN} AND id >= ? AND id < ? LIMIT 3", (text, text + "g"))  # noqa: S608
    else:
        raise NotFound(f"no run {text[:64]!r}: give its id, the first 4 or more digits of it, or `last`")
    if not found:
        raise NotFound("there is no run yet" if text == "last" else f"no run {text}")
    if len(found) > 1:
        raise Conflict(f"more than one run begins with {text}: give more digits")
    return str(found[0][0])


async def going_on(store: Store) -> tuple[list[LiveRun], dict[str, str]]:
    """All runs that have not ended, oldest first; and those that cannot be read (id → why), which must not keep the
    others from going on."""
    sql = "SELECT id FROM run WHERE state IN ('created', 'queued', 'waiting', 'running') ORDER BY created_at, rowid"
    found: list[LiveRun] = []
    unreadable: dict[str, str] = {}
    for (run,) in await store.all(sql):
        try:
            found.append(await load(store, run))
        except (WattleError, ValueError, TypeError, KeyError) as error:
            unreadable[run] = repr(error)
    return found, unreadable


async def load(store: Store, run_id: str) -> LiveRun:
    """A run with its tasks, their newest attempts and the values that were left. Raises NotFound, StoreUnavailable if
    what was written is not what is there."""

    def query(db: sqlite3.Connection) -> tuple[Any, list[Any], list[Any], list[Any]]:
        run = db.execute(
            f"SELECT {rows.RUN_COLUMNS}, workflow.spec FROM run JOIN workflow ON workflow.id = run.workflow_id "  # noqa: S608
            "WHERE run.id = ?",
            (run_id,),
        ).fetchone()
        tasks = db.execute(
            f"SELECT {rows.TASK_RUN_COLUMNS} FROM task_run WHERE run = ? ORDER BY position",  # noqa: S608 - constants
            (run_id,),
        ).fetchall()
        attempts = db.execute(
            f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempt WHERE id IN "  # noqa: S608 - constants
            "(SELECT attempt FROM task_run WHERE run = ? AND attempt IS NOT NULL)",
            (run_id,),
        ).fetchall()
        values = db.execute(
            "SELECT t.task, v.name, v.kind, v.ref, v.size, v.hash "
            "FROM task_run AS t JOIN value AS v ON v.attempt = t.attempt "
            "WHERE t.run = ? AND t.state = 'completed'",
            (run_id,),
        ).fetchall()
        return run, tasks, attempts, values

    run_row, tasks, attempts, values = await store.read(query)
    if run_row is None:
        raise NotFound(f"no run {run_id}")
    # a thousand tasks take 90 ms of reading and checking: not in the loop's thread
    try:
        return await aside(_assemble, run_row, tasks, attempts, values)
    except (ValueError, KeyError, TypeError) as error:  # no other run shall suffer for it
        why = f"the rows of run {run_id} make no sense ({error!r})"
        raise backups.damaged(store.folder, why) from error


def _assemble(run_row: Any, tasks: list[Any], attempts: list[Any], values: list[Any]) -> LiveRun:
    snapshot = jsontext.decode(run_row[-1])
    run, _ = rows.to_run(run_row[:-1])
    return liverun.load(
        run,
        spec.restore({**snapshot, "mode": run.mode}),
        [rows.to_task_run(row) for row in tasks],
        {a.id: a for a in map(rows.to_attempt, attempts)},
        {f"{task}/{name}": Left(kind, json.loads(ref), size, hash) for task, name, kind, ref, size, hash in values},
    )


async def latest_of(store: Store, workflow: str) -> str | None:
    """Id of the newest run of a workflow."""
    sql = f"SELECT id FROM run {_SHOWN} AND workflow = ? ORDER BY created_at DESC, rowid DESC LIMIT 1"  # noqa: S608
    found = await store.all(sql, (workflow,))
    return str(found[0][0]) if found else None


async def definition_of(store: Store, run_id: str, task: str) -> tuple[Workflow, list[str]]:
    """The workflow of a run as it was when it started, with this task alone, and what the task waits for.

    Raises NotFound."""
    sql = "SELECT workflow.spec, run.mode FROM run JOIN workflow ON workflow.id = run.workflow_id WHERE run.id = ?"
    found = await store.all(sql, (run_id,))
    if not found:
        raise NotFound(f"no run {run_id}")
    spec_text, mode = found[0]
    return await aside(_definition, spec_text, mode, run_id, task)


def _definition(text: str, mode: str, run_id: str, task: str) -> tuple[Workflow, list[str]]:
    form = {**jsontext.decode(text), "mode": mode}
    if task not in form["tasks"]:
        raise NotFound(f"run {run_id} has no task {task!r}")
    alone = spec.restore({**form, "tasks": {task: form["tasks"][task]}})
    if mode == "sequential":
        return alone, list(Plan(spec.restore(form)).upstream[task])
    return alone, [] if mode == "parallel" else list(alone.tasks[task].upstream)


async def snapshot_of(store: Store, run_id: str) -> str:
    """The spec that a run runs, as JSON. Raises NotFound."""
    sql = "SELECT workflow.spec FROM run JOIN workflow ON workflow.id = run.workflow_id WHERE run.id = ?"
    found = await store.all(sql, (run_id,))
    if not found:
        raise NotFound(f"no run {run_id}")
    return str(found[0][0])


async def summary(store: Store, run_id: str) -> RunSummary:
    """A run without its tasks. Raises NotFound."""
    found = await store.read(lambda db: summaries(db, [run_id]))
    if not found:
        raise NotFound(f"no run {run_id}")
    return found[0]


def summaries(db: sqlite3.Connection, runs: Sequence[str]) -> list[RunSummary]:
    """These runs without their tasks, in no order; those that there are not are left out."""
    if not runs:
        return []
    marks = ",".join("?" * len(runs))
    states: dict[str, list[str]] = {}
    sql = f"SELECT run, state, count(*) FROM task_run WHERE run IN ({marks}) GROUP BY run, state"  # noqa: S608 - marks
    for run, state, number in db.execute(sql, runs):
        states.setdefault(run, []).extend([state] * number)
    sql = f"SELECT {rows.RUN_COLUMNS} FROM run WHERE id IN ({marks})"  # noqa: S608 - constants and marks
    found = [rows.to_run(row) for row in db.execute(sql, runs)]
    return [run_summary(run, count(states.get(run.id, [])), total) for run, total in found]


async def task_view(store: Store, run_id: str, task: str) -> TaskRunView:
    """One task run with its newest attempt. Raises NotFound."""

    def query(db: sqlite3.Connection) -> tuple[Any, Any]:
        sql = f"SELECT {rows.TASK_RUN_COLUMNS} FROM task_run WHERE run = ? AND task = ?"  # noqa: S608 - constants
        found = db.execute(sql, (run_id, task)).fetchone()
        newest = rows.to_task_run(found).attempt if found else None
        sql = f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempt WHERE id = ?"  # noqa: S608 - constants
        return found, db.execute(sql, (newest,)).fetchone() if newest else None

    found, newest = await store.read(query)
    if found is None:
        raise NotFound(f"run {run_id} has no task {task!r}")
    return task_run_view(rows.to_task_run(found), rows.to_attempt(newest) if newest else None)


async def attempts_of(store: Store, run_id: str, task: str) -> tuple[list[Attempt], list[Value]]:
    """All attempts of a task run, oldest first, and the values of its newest."""

    def query(db: sqlite3.Connection) -> tuple[list[Any], list[Any]]:
        attempts = db.execute(
            f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempt WHERE task_run = "  # noqa: S608 - constants
            "(SELECT id FROM task_run WHERE run = ? AND task = ?) ORDER BY n",
            (run_id, task),
        ).fetchall()
        values = db.execute(
            "SELECT v.attempt, v.name, v.kind, v.ref, v.size, v.hash "
            "FROM value AS v JOIN task_run AS t ON t.attempt = v.attempt "
            "WHERE t.run = ? AND t.task = ? ORDER BY v.name",
            (run_id, task),
        ).fetchall()
        return attempts, values

    attempts, values = await store.read(query)
    kept = [Value(attempt=a, name=n, kind=k, ref=json.loads(r), size=s, hash=h) for a, n, k, r, s, h in values]
    return [rows.to_attempt(row) for row in attempts], kept


async def attempt(store: Store, attempt_id: str) -> Attempt:
    """One attempt by id. Raises NotFound."""
    sql = f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempt WHERE id = ?"  # noqa: S608 - constants
    found = await store.all(sql, (attempt_id,)) if _ID.fullmatch(attempt_id) else []
    if not found:
        raise NotFound(f"no attempt {attempt_id[:64]}")
    return rows.to_attempt(found[0])


async def requests(store: Store, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Those of these Idempotency-Keys that were used: key → verb and run of the request."""
    sql = "SELECT key, verb, run FROM request WHERE key IN (SELECT value FROM json_each(?))"
    return {key: (verb, run) for key, verb, run in await store.all(sql, (json.dumps(list(keys)),))}


async def events_since(store: Store, seq: int, run: str | None, limit: int = 500) -> list[Event]:
    """Committed events after ``seq``, oldest first, at most ``limit``, and no more after :data:`PIECE` characters."""
    condition, args = ("AND run = ?", [run]) if run else ("", [])
    sql = f"SELECT seq, run, kind, at, body FROM event WHERE seq > ? {condition} ORDER BY seq LIMIT ?"  # noqa: S608

    def query(db: sqlite3.Connection) -> list[Any]:
        found, size = [], 0
        with closing(db.execute(sql, (seq, *args, limit))) as rows_found:
            for row in rows_found:
                found.append(row)
                size += len(row[-1])
                if size >= PIECE:
                    break
        return found

    found = await store.read(query)
    return _events(found) if sum(len(row[-1]) for row in found) < LONG else await aside(_events, found)


def _events(found: list[Any]) -> list[Event]:
    return [Event(s, r, k, at, _numbered(k, jsontext.decode(body), s)) for s, r, k, at, body in found]


def _numbered(kind: str, body: dict[str, Json], seq: int) -> dict[str, Json]:
    if kind == "run.created":
        body["run"]["seq"] = seq
    return body
