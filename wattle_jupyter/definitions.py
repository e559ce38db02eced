"""Rows of definitions: one for each name and content. Every function here is part of somebody's transaction."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable
from typing import NamedTuple

from wattle_jupyter.liverun import LiveRun


class Row(NamedTuple):
    """Of the table ``workflow``; content and name of a row never change. Without a version it is no named workflow."""

    id: str
    version: int | None
    deleted_at: float | None


class Content(NamedTuple):
    """A spec as JSON, and how many tasks it has."""

    name: str
    digest: str
    text: str
    total: int


def find(db: sqlite3.Connection, name: str, digest: str) -> Row | None:
    sql = "SELECT id, version, deleted_at FROM workflow WHERE name = ? AND hash = ?"
    found = db.execute(sql, (name, digest)).fetchone()
    return None if found is None else Row(*found)


_INSERT = (
    "INSERT INTO workflow (id, name, hash, version, spec, total, created_at, updated_at) "
    "SELECT ?, ?, ?, ?, ?, ?, coalesce((SELECT min(created_at) FROM workflow WHERE name = ?), ?), ? WHERE ?"
)


def insert(db: sqlite3.Connection, content: Content, version: int | None, now: float) -> str:
    """Keep what is not there yet. Returns its row id."""
    row, (name, digest, text, total) = uuid.uuid4().hex, content
    values = (row, name, digest, version, text, total, name, now, now)
    # SQLite keeps what a statement was given last, which may be long, until it is given something else
    db.executemany(_INSERT, [(*values, True), (*[None] * len(values), False)])
    return row


def keep(db: sqlite3.Connection, runs: Iterable[LiveRun], now: float) -> None:
    """See that there is a row for what each of these new runs runs, and have the run name it.

    In the transaction that writes the runs, because a definition without a name and without a run may be deleted
    whenever somebody looks.
    """
    known: dict[tuple[str, str], str] = {}
    for live in runs:
        run, total = live.run, len(live.task_runs)
        what = (run.workflow, run.workflow_hash)
        if what not in known:
            found = find(db, *what)
            known[what] = found.id if found else insert(db, Content(*what, run.snapshot, total), None, now)
        run.snapshot_id = known[what]
