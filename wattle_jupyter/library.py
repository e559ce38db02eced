"""Workflow definitions in the store: by name and version, by content."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wattle_jupyter import definitions, jsontext, spec
from wattle_jupyter.aside import aside
from wattle_jupyter.definitions import Content
from wattle_jupyter.errors import NotFound
from wattle_jupyter.model import Event, Json, Workflow
from wattle_jupyter.paging import PageQuery, pagination
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
        return spec.restore(jsontext.decode(self.text))


@dataclass(frozen=True, slots=True)
class Recipe:
    """A definition, ready to be run any number of times: as the rules take it, as it is stored (JSON), and its hash.

    All runs of it share these, in any thread: nobody changes them.
    """

    workflow: Workflow
    text: str
    digest: str

    @classmethod
    def of(cls, workflow: Workflow) -> Recipe:
        """A thousand tasks take 20 ms: not in the loop's thread."""
        form = spec.dump(workflow)
        return cls(workflow, jsontext.encode(form, 2), spec.digest_of(form))


class Shelf:
    """Recipes of stored definitions that were asked for lately: of ``most`` tasks in all, some 2 MB.

    They lie there by their rows, whose content never changes, so none is ever out of date. Any thread may ask.
    """

    def __init__(self, most: int = 1_000) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._recipes: dict[str, Recipe] = {}  # by row id; the one that was asked for last is last
        self._tasks = 0

    def get(self, row: str) -> Recipe | None:
        with self._lock:
            found = self._recipes.pop(row, None)
            if found is not None:
                self._recipes[row] = found
            return found

    def put(self, row: str, recipe: Recipe) -> Recipe:
        """The one to be used: that which lies there already, if there is one.

        The oldest go to make room. One that is larger than all of it is not kept.
        """
        size = len(recipe.workflow.tasks)
        with self._lock:
            if row in self._recipes or size > self._most:
                return self._recipes.get(row, recipe)
            while self._tasks + size > self._most:
                self._tasks -= len(self._recipes.pop(next(iter(self._recipes))).workflow.tasks)
            self._recipes[row] = recipe
            self._tasks += size
            return recipe


_CURRENT_ROW = (
    "SELECT id FROM workflow WHERE name = :name AND deleted_at IS NULL "
    "AND version = (SELECT max(version) FROM workflow WHERE name = :name)"
)


async def recipe(store: Store, shelf: Shelf, name: str) -> Recipe:
    """The current definition of ``name``, from the shelf if it lies there. Raises NotFound."""

    def look(db: sqlite3.Connection) -> tuple[str, Recipe | str]:
        found = db.execute(_CURRENT_ROW, {"name": name}).fetchone()
        if found is None:
            raise NotFound(f"no workflow {name!r}")
        known = shelf.get(found[0])
        return found[0], known or db.execute("SELECT spec FROM workflow WHERE id = ?", found).fetchone()[0]

    def made(row: str, text: str) -> Recipe:
        known = shelf.get(row)  # many may have asked at once: the first has made it for all
        return known or shelf.put(row, Recipe.of(spec.restore(jsontext.decode(text))))

    row, found = await store.read(look)
    return await aside(made, row, found) if isinstance(found, str) else found


async def save(store: Store, recipe: Recipe, now: float) -> tuple[str, Event | None]:
    """Make a definition the current version of its name. Returns its row id, and an event if it was not that before."""
    name, total = recipe.workflow.name, len(recipe.workflow.tasks)

    def transaction(db: sqlite3.Connection) -> tuple[str, int | None]:
        found = definitions.find(db, name, recipe.digest)
        newest = db.execute("SELECT coalesce(max(version), 0) FROM workflow WHERE name = ?", (name,)).fetchone()[0]
        if found is None:
            row = definitions.insert(db, Content(name, recipe.digest, recipe.text, total), newest + 1, now)
        elif found.version == newest and newest and found.deleted_at is None:
            return found.id, None
        else:
            row = found.id
            sql = "UPDATE workflow SET version = ?, updated_at = ?, deleted_at = NULL WHERE id = ?"
            db.execute(sql, (newest + 1, now, row))
        return row, _event(db, "workflow.changed", name, now)

    row, seq = await store.write(transaction)
    return row, None if seq is None else Event(seq, None, "workflow.changed", now, {"name": name})


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
