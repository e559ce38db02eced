"""Attempts that the database does not know, after a backup was put in its place: taken up before anything starts.

What a task did after the backup was made is in its attempt's record. The newest attempt of each task is given back to
the scheduler as one to be judged, the earlier ones as they ended; hence no task runs again for want of a row. A run
that was made after the backup cannot be given back, for nobody knows its spec any more: its attempts stay on the disk.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattle_jupyter.host import record

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class Rejoined:
    """Ids of attempts: those that the scheduler has again, and those of tasks that the database does not know."""

    taken: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """In words; empty if there was nothing to do."""
        parts = []
        if self.taken:
            parts.append(f"{len(self.taken)} attempts that it did not know were taken up again")
        if self.strange:
            parts.append(
                f"{len(self.strange)} attempts belong to runs that it does not know, and were left as they are"
            )
        return "the database was put in place by hand: " + "; ".join(parts) if parts else ""


@dataclass(frozen=True, slots=True)
class _Found:
    id: str
    claim: record.Line
    lines: list[record.Line]

    def find(self, kind: str) -> record.Line | None:
        return next((line for line in self.lines if line["k"] == kind), None)


def rejoin(db: sqlite3.Connection, folder: Path) -> Rejoined:
    """Inside of a transaction. Harmless if there is nothing to do."""
    result = Rejoined()
    known = {row[0] for row in db.execute("SELECT id FROM attempt")}
    by_task_run: dict[str, list[_Found]] = defaultdict(list)
    for path in sorted((folder / "attempts").iterdir()):
        if _ID.fullmatch(path.name) and path.name not in known:
            found = _read(path)
            if found is not None:
                by_task_run[str(found.claim.get("task_run"))].append(found)
    for task_run, attempts in by_task_run.items():
        row = db.execute("SELECT run, round, attempt FROM task_run WHERE id = ?", (task_run,)).fetchone()
        if row is None or _succeeded(db, task_run, attempts):
            result.strange += [found.id for found in attempts]
        else:
            _take(db, task_run, row, sorted(attempts, key=lambda found: _number(found, "n")))
            result.taken += [found.id for found in attempts]
    return result


def _read(path: Path) -> _Found | None:
    """None for an attempt that nobody claimed: it never started and never will."""
    try:
        lines, _ = record.parse((path / record.NAME).read_bytes())
    except OSError:
        return None
    claim = next((line for line in lines if line["k"] == "claim"), None)
    return None if claim is None else _Found(path.name, claim, lines)


def _succeeded(db: sqlite3.Connection, task_run: str, attempts: list[_Found]) -> bool:
    """Has the task a success already in the round of these? Then they are of another history."""
    rounds = {_number(found, "round") for found in attempts}
    sql = "SELECT round FROM attempt WHERE task_run = ? AND state = 'completed'"
    return any(row[0] in rounds for row in db.execute(sql, (task_run,)))


def _number(found: _Found, key: str) -> int:
    value = found.claim.get(key)
    return value if isinstance(value, int) else 1


def _take(db: sqlite3.Connection, task_run: str, row: Any, attempts: list[_Found]) -> None:
    run = row[0]
    _close_known(db, task_run, attempts[0])
    number = db.execute("SELECT coalesce(max(n), 0) FROM attempt WHERE task_run = ?", (task_run,)).fetchone()[0]
    for found in attempts:
        number = max(number + 1, _number(found, "n"))
        columns = {"task_run": task_run, "run": run, "n": number, **_ended(found, is_newest=found is attempts[-1])}
        _insert(db, found, columns)
    newest = attempts[-1]
    counts = {
        state: db.execute(
            "SELECT count(*) FROM attempt WHERE task_run = ? AND round = ? AND state = ?",
            (task_run, _number(newest, "round"), state),
        ).fetchone()[0]
        for state in ("failed", "lost")
    }
    db.execute(
        "UPDATE task_run SET state = 'running', reason = '', round = ?, attempts = ?, attempt = ?, failures = ?, "
        "losses = ?, not_before = NULL, ended_at = NULL, started_at = coalesce(started_at, ?) WHERE id = ?",
        (
            _number(newest, "round"), number, newest.id, counts["failed"], counts["lost"],
            newest.claim.get("at"), task_run,
        ),
    )  # fmt: skip
    db.execute(
        "UPDATE run SET state = 'running', reason = '', ended_at = NULL, started_at = coalesce(started_at, ?) "
        "WHERE id = ?",
        (newest.claim.get("at"), run),
    )


def _close_known(db: sqlite3.Connection, task_run: str, next_one: _Found) -> None:
    """What the database takes for active had ended before the next one was started."""
    db.execute(
        "UPDATE attempt SET state = 'failed', reason = 'it ended after the backup was made', ended_at = ? "
        "WHERE task_run = ? AND state IN ('starting', 'running')",
        (next_one.claim.get("at"), task_run),
    )


def _ended(found: _Found, *, is_newest: bool) -> dict[str, Any]:
    """Columns of how it ended. The newest one is the scheduler's to judge; another one was started after each of the
    others, which hence did not succeed."""
    if is_newest:
        return {"state": "starting", "reason": ""}
    end = found.find("exit")
    if end is not None:
        words = end.get("why") or (f"exit {end['code']}" if end.get("signal") is None else f"signal {end['signal']}")
        state = "cancelled" if end.get("why") == "stopped" else "failed"
        known = {key: end.get(key) for key in ("code", "signal", "ended_at")}
        return {"state": state, "reason": str(words), **known}
    never = found.find("never_started")
    if never is not None:
        return {"state": "never_started", "reason": str(never.get("why", ""))}
    return {"state": "lost", "reason": str((found.find("lost") or {}).get("why", "it vanished"))}


def _insert(db: sqlite3.Connection, found: _Found, told: dict[str, Any]) -> None:
    start, claim = found.find("start") or {}, found.claim
    columns = {
        "id": found.id, "round": _number(found, "round"), "executor": "local", "host": "local",
        "epoch": _number(found, "epoch"), "boot_id": str(claim.get("boot", "")), "pid": start.get("pid"),
        "created_at": claim.get("at", 0.0), "started_at": start.get("started_at"), **told,
    }  # fmt: skip
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    sql = f"INSERT INTO attempt ({names}) VALUES ({marks})"  # noqa: S608 - names are constants of this file
    db.execute(sql, tuple(columns.values()))
