"""Workflow definitions in the store: by name and version, by content."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wattle_jupyter import jsontext
from wattle_jupyter.aside import turns
from wattle_jupyter.errors import NotFound
from wattle_jupyter.model import Event, Json, Workflow
from wattle_jupyter.paging import PageQuery, pagination
from wattle_jupyter.spec import restore
from wattle_jupyter.store import Store
from wattle_jupyter.view import stamp
from wattle_jupyter.wire import Pagination, WorkflowSummary

SORTS = {"name": "w.name", "created_at": "w.created_at", "updated_at": "w.updated_at"}

# The current definition of each name, with its latest run.
_CURRENT = """
FROM workflow AS w
LEFT JOIN run AS r ON r.id = (
  SELECT id FROM run WHERE run.workflow = w.name AND run.deleted_at IS NULL
  ORDER BY run.created_at DESC, run.rowid DESC LIMIT 1
)
WHERE w.version IS NOT NULL AND w.deleted_at IS NULL
  AND w.version = (SELECT max(version) FROM workflow AS x WHERE x.name = w.name)
"""

_COLUMNS = (
    "w.name, w.hash, w.version, coalesce(r.state, 'created'), w.total, w.created_at, w.updated_at, r.id, w.id, "
    "json_extract(w.spec, '$.description'), json_extract(w.spec, '$.mode')"
)


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a workflow, as stored. ``text`` is its spec as JSON."""

    id: str
    summary: WorkflowSummary
    text: str

    def workflow(self) -> Workflow:
        """What it defines. A thousand tasks take 20 ms."""
        return restore(jsontext.decode(self.text))


async def save(
    store: Store, spec: dict[str, Json], digest: str, now: float, *, named: bool
) -> tuple[str, Event | None]:
    """Keep a definition; ``named`` makes it the current version of its name. Returns its row id, and an event if
    something changed that others want to know."""
    name = str(spec["name"])

    def transaction(db: sqlite3.Connection) -> tuple[str, int | None]:
        found = db.execute(
            "SELECT id, version, deleted_at FROM workflow WHERE name = ? AND hash = ?", (name, digest)
        ).fetchone()
        newest = db.execute("SELECT coalesce(max(version), 0) FROM workflow WHERE name = ?", (name,)).fetchone()[0]
        if found and (not named or (found[1] == newest and newest and found[2] is None)):
            return str(found[0]), None
        version = newest + 1 if named else None
        row_id = str(found[0]) if found else uuid.uuid4().hex
        if found:
            db.execute(
                "UPDATE workflow SET version = ?, updated_at = ?, deleted_at = NULL WHERE id = ?",
                (version, now, row_id),
            )
        else:
            with turns:
                body = jsontext.encode(spec, 2)
            db.execute(
                "INSERT INTO workflow (id, name, hash, version, spec, total, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, coalesce((SELECT min(created_at) FROM workflow WHERE name = ?), ?), ?)",
                (row_id, name, digest, version, body, len(spec["tasks"]), name, now, now),
            )
        return row_id, _event(db, "workflow.changed", name, now) if named else None

    row_id, seq = await store.write(transaction)
    return row_id, None if seq is None else Event(seq, None, "workflow.changed", now, {"name": name})


async def delete(store: Store, name: str, now: float) -> Event:
    """Hide a workflow; its runs stay. Raises NotFound."""

    def transaction(db: sqlite3.Connection) -> int:
        changed = db.execute(
            "UPDATE workflow SET deleted_at = ? WHERE name = ? AND version IS NOT NULL AND deleted_at IS NULL",
            (now, name),
        )
        if not changed.rowcount:
            raise NotFound(f"no workflow {name!r}")
        return _event(db, "workflow.deleted", name, now)

    return Event(await store.write(transaction), None, "workflow.deleted", now, {"name": name})


def _event(db: sqlite3.Connection, kind: str, name: str, now: float) -> int:
    body = json.dumps({"name": name})
    return int(db.execute("INSERT INTO event (kind, at, body) VALUES (?, ?, ?)", (kind, now, body)).lastrowid or 0)


async def current(store: Store, name: str) -> Definition:
    """The current definition of ``name``. Raises NotFound."""
    found = await store.all(f"SELECT {_COLUMNS}, w.spec {_CURRENT} AND w.name = ?", (name,))
    if not found:
        raise NotFound(f"no workflow {name!r}")
    *row, text = found[0]
    return Definition(row[8], _summary(row), text)


async def page(store: Store, query: PageQuery) -> tuple[list[WorkflowSummary], Pagination]:
    """One page of the current definitions, filtered by the state of their latest run and by text."""
    where, args = "", list[Json]()
    if query.status:
        where += f" AND coalesce(r.state, 'created') IN ({','.join('?' * len(query.status))})"
        args += query.status
    if query.search:
        where += " AND instr(lower(w.name), lower(?)) > 0"
        args.append(query.search)
    order = f"{SORTS[query.sort_by]} {query.order}, w.name {query.order}"

    def both(db: sqlite3.Connection) -> tuple[int, list[Any]]:
        total = db.execute(f"SELECT count(*) {_CURRENT} {where}", args).fetchone()[0]
        sql = f"SELECT {_COLUMNS} {_CURRENT} {where} ORDER BY {order} LIMIT ? OFFSET ?"
        return total, db.execute(sql, (*args, query.page_size, query.offset)).fetchall()

    total, found = await store.read(both)
    return [_summary(row) for row in found], pagination(query, total)


async def names(store: Store) -> list[str]:
    """All current names, for suggestions."""
    sql = "SELECT DISTINCT name FROM workflow WHERE version IS NOT NULL AND deleted_at IS NULL ORDER BY name"
    return [row[0] for row in await store.all(sql)]


def _summary(row: Sequence[Any]) -> WorkflowSummary:
    name, digest, version, status, total, created, updated, latest, _, description, mode = row
    return WorkflowSummary(
        name=name,
        hash=digest,
        version=version,
        status=status,
        description=description or "",
        mode=mode or "dependency",
        total=total,
        created_at=stamp(created),
        updated_at=stamp(updated),
        latest_run=latest,
    )
