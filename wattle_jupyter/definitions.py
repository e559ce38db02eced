"""Rows of definitions: one for each name and content. Every function here is part of somebody's transaction."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wattle_jupyter import jsontext
from wattle_jupyter.aside import turns
from wattle_jupyter.model import Json, Run


class Row(NamedTuple):
    """Of the table ``workflow``; content and name of a row never change. Without a version it is no named workflow."""

    id: str
    version: int | None
    deleted_at: float | None


def find(db: sqlite3.Connection, name: str, digest: str) -> Row | None:
    sql = "SELECT id, version, deleted_at FROM workflow WHERE name = ? AND hash = ?"
    found = db.execute(sql, (name, digest)).fetchone()
    return None if found is None else Row(*found)


def insert(db: sqlite3.Connection, form: Mapping[str, Json], digest: str, version: int | None, now: float) -> str:
    """Keep what is not there yet. Returns its row id."""
    row, name = uuid.uuid4().hex, str(form["name"])
    with turns:
        body = jsontext.encode(form, 2)
    db.execute(
        "INSERT INTO workflow (id, name, hash, version, spec, total, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?, ?, coalesce((SELECT min(created_at) FROM workflow WHERE name = ?), ?), ?)",
        (row, name, digest, version, body, len(form["tasks"]), name, now, now),
    )
    return row


def keep(db: sqlite3.Connection, runs: Iterable[Run], now: float) -> None:
    """See that there is a row for what each of these new runs runs, and have the run name it.

    In the transaction that writes the runs, because a definition without a name and without a run may be deleted
    whenever somebody looks.
    """
    known: dict[tuple[str, str], str] = {}
    for run in runs:
        what = (run.workflow, run.workflow_hash)
        if what not in known:
            found = find(db, *what)
            known[what] = found.id if found else insert(db, run.snapshot, run.workflow_hash, None, now)
        run.snapshot_id = known[what]
