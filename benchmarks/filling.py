"""A store with many runs in it: copies of a few real ones, written while nobody owns the store."""

from __future__ import annotations

import random
import sqlite3
import uuid
from pathlib import Path

from benchmarks.jupyter import Server
from benchmarks.workshop import Options

_STATES = ("completed",) * 8 + ("failed", "cancelled")
APART = 60.0  # seconds between one copy and the one before


def filled(options: Options, runs: int, slots: int = 4) -> Server:
    """A Jupyter server whose store holds so many finished runs of 10 tasks each, of seven workflows."""
    folder = options.fresh("jupyter")
    first = Server(folder, slots)
    try:
        first.wait()
        for number in range(7):
            spec = {"name": f"w{number}", "tasks": {name: {"run": "true"} for name in "abcdefghij"}, "concurrent": True}
            first.finish(first.call("wattle/api/runs", {"spec": spec})["data"]["id"])
    finally:
        first.stop()
    copy(folder / "store" / "wattle.db", runs)
    server = Server(folder, slots)
    server.wait()
    return server


def copy(database: Path, number: int) -> None:
    chance = random.Random(1)
    db = sqlite3.connect(database)
    try:
        runs, run_columns = _rows(db, "SELECT * FROM run")
        tasks, task_columns = _rows(db, "SELECT * FROM task_run")
        with db:
            for place in range(number):
                old = chance.choice(runs)
                new = {**old, "id": uuid.UUID(int=chance.getrandbits(128)).hex, "state": chance.choice(_STATES)}
                new |= {at: old[at] - (place + 1) * APART for at in ("created_at", "started_at", "ended_at")}
                db.execute(_insert("run", run_columns), new)
                db.executemany(
                    _insert("task_run", task_columns),
                    (
                        {**task, "id": uuid.UUID(int=chance.getrandbits(128)).hex, "run": new["id"], "attempt": None}
                        for task in tasks
                        if task["run"] == old["id"]
                    ),
                )
    finally:
        db.close()


def _rows(db: sqlite3.Connection, sql: str) -> tuple[list[dict[str, object]], list[str]]:
    found = db.execute(sql)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found], names


def _insert(table: str, columns: list[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(':' + name for name in columns)})"
