"""Pages of the list of runs, as JSON."""

from __future__ import annotations

import re
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence

from wattle_jupyter import history, jsontext
from wattle_jupyter.model import FINAL, Json
from wattle_jupyter.paging import PageQuery, pagination
from wattle_jupyter.store import Store
from wattle_jupyter.wire import Pagination

SORTS = {
    "created_at": "run.created_at",
    "started_at": "run.started_at",
    "ended_at": "run.ended_at",
    "workflow": "run.workflow",
    "state": "run.state",
}

KEPT = 2048  # runs
LONGEST = 2048  # characters of one that is kept

_ENDED = frozenset(state.value for state in FINAL)


class RunList:
    """The runs of one store.

    What the list says of a run that ended is kept as text, of ``kept`` runs at most. Only a retry changes such a run:
    then it has no end, and when it has ended again, another one. So a text is true as long as state and end are those
    in the database, which is asked for them each time. All but :meth:`page` happens in the database's thread.
    """

    def __init__(self, store: Store, kept: int = KEPT) -> None:
        self._store = store
        self._most = kept
        self._kept: OrderedDict[str, tuple[str, float, str]] = OrderedDict()  # run → state, end, text; newest use last

    async def page(self, query: PageQuery) -> tuple[str, Pagination]:
        """The JSON of a list of RunSummary. Runs that go on are in it as they were last committed."""
        total, texts = await self._store.read(lambda db: self._page(db, query))
        return f"[{','.join(texts)}]", pagination(query, total)

    def _page(self, db: sqlite3.Connection, query: PageQuery) -> tuple[int, list[str]]:
        condition, args = _condition(query)
        # `+` keeps SQLite from reading all runs that are shown by an index that is not in this order, to sort them
        plus = "+" if query.sort_by == "created_at" else ""
        order = f"{SORTS[query.sort_by]} {query.order}, run.rowid {query.order}"
        total = db.execute(f"SELECT count(*) FROM run WHERE run.deleted_at IS NULL{condition}", args).fetchone()[0]  # noqa: S608 - constants
        if total <= query.offset:  # all runs would be looked through once more
            return total, []
        found = db.execute(
            f"SELECT run.id, run.state, run.ended_at FROM run WHERE {plus}run.deleted_at IS NULL{condition} "  # noqa: S608
            f"ORDER BY {order} LIMIT ? OFFSET ?",
            (*args, query.page_size, query.offset),
        ).fetchall()
        return total, self._texts(db, found)

    def _texts(self, db: sqlite3.Connection, found: Sequence[tuple[str, str, float | None]]) -> list[str]:
        texts = {run: text for run, state, ended_at in found if (text := self._recall(run, state, ended_at))}
        for summary in history.summaries(db, [run for run, *_ in found if run not in texts]):
            texts[summary["id"]] = jsontext.encode(summary)
        for run, state, ended_at in found:
            if run in texts:
                self._keep(run, state, ended_at, texts[run])
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return [texts[run] for run, *_ in found if run in texts]

    def _recall(self, run: str, state: str, ended_at: float | None) -> str | None:
        then = self._kept.get(run)
        return then[2] if then is not None and then[:2] == (state, ended_at) else None

    def _keep(self, run: str, state: str, ended_at: float | None, text: str) -> None:
        if state in _ENDED and ended_at is not None and len(text) <= LONGEST:
            self._kept[run] = (state, ended_at, text)
            self._kept.move_to_end(run)


def _condition(query: PageQuery) -> tuple[str, list[Json]]:
    where, args = "", list[Json]()
    if query.status:
        where += f" AND run.state IN ({','.join('?' * len(query.status))})"
        args += query.status
    if query.workflow:
        where += " AND run.workflow = ?"
        args.append(query.workflow)
    if query.search:
        where += r" AND (run.workflow LIKE ? ESCAPE '\' OR run.id LIKE ? ESCAPE '\')"
        args += [f"%{_literal(query.search)}%", f"{_literal(query.search)}%"]
    return where, args


def _literal(text: str) -> str:
    """For LIKE, which ignores the case of ASCII letters: without jokers."""
    return re.sub(r"([%_\\])", r"\\\1", text)
