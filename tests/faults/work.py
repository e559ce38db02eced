"""Workflows that keep an account of their own, on another disk, and whether it agrees with what the server says."""

from __future__ import annotations

import http.client
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import ServerProcess

from faults.patient import left_over

SCRIPT = """#!/bin/sh
echo "S $WATTLE_ATTEMPT $WATTLE_RUN $WATTLE_TASK" >> ../ledger
i=0
while [ $i -lt $1 ]; do echo "$WATTLE_TASK says line $i and a little more"; i=$((i + 1)); done
[ "$2" = 0 ] || sleep $2
echo "E $WATTLE_ATTEMPT $WATTLE_RUN $WATTLE_TASK" >> ../ledger
"""


@dataclass
class Account:
    """What was asked of a server and what came of it. ``wrong`` says what should not be."""

    runs: list[str] = field(default_factory=list)  # accepted
    refused: list[str] = field(default_factory=list)  # the words
    wrong: list[str] = field(default_factory=list)


class Work:
    """Runs for one store. ``folder`` is where tasks run and write their ledger, never where the fault is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.ledger = folder / "ledger"
        self.account = Account()
        self.folder.mkdir(parents=True)
        self.ledger.touch()
        (self.folder / "task.sh").write_text(SCRIPT)
        (self.folder / "task.sh").chmod(0o755)
        self._number = 0

    def spec(self, tasks: int = 4, lines: int = 50, nap: float = 0.0) -> dict[str, Any]:
        """A first task, then all but one beside each other, then the last one."""
        self._number += 1
        command = ["./task.sh", str(lines), f"{nap:g}"]
        middle = [f"t{n}" for n in range(1, tasks - 1)]
        named: dict[str, Any] = {"first": {"run": command}}
        named |= {name: {"run": command, "needs": ["first"]} for name in middle}
        named["last"] = {"run": command, "needs": middle or ["first"]}
        return {"name": f"w{self._number}", "working_dir": str(self.folder), "tasks": named}

    def submit(self, server: ServerProcess, **shape: Any) -> str | None:
        """The run; None if it was refused in words, or not answered."""
        began = time.monotonic()
        spec = self.spec(**shape)
        try:
            status, answer = server.request("POST", "runs", {"spec": spec}, {"Idempotency-Key": spec["name"]})
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.account.wrong.append(f"submit: {error!r} after {time.monotonic() - began:.1f} s")
            return None
        if status == 201:
            self.account.runs.append(str(answer["data"]["id"]))
            return self.account.runs[-1]
        self.account.refused.append(str(answer["message"]))
        if status != 503:
            self.account.wrong.append(f"submit: {status} {answer}")
        return None

    def pending(self, server: ServerProcess) -> list[str]:
        """Runs of the store that have not ended, those too whose submission was not answered."""
        found = server.get("runs?status=created,queued,running&page_size=200")["data"]
        return [str(run["id"]) for run in found]

    # ----------------------------------------------------------------------------------------------------- the account

    def check(self, server: ServerProcess, lines: int = 50) -> list[str]:
        """What is not as promised, once everything has ended."""
        return [*self.account.wrong, *self._ledger_problems(), *self._server_problems(server, lines)]

    def _ledger_problems(self) -> Iterator[str]:
        rows = [line.split() for line in self.ledger.read_text().splitlines()]
        starts = Counter(row[1] for row in rows if row[0] == "S")
        ends = Counter((row[2], row[3]) for row in rows if row[0] == "E")
        yield from (f"attempt {id} started {n} times" for id, n in starts.items() if n > 1)
        yield from (f"task {task} of run {run} was done {n} times" for (run, task), n in ends.items() if n > 1)
        live: dict[tuple[str, str], str] = {}
        for kind, attempt, run, task in rows:
            if kind == "S" and (run, task) in live:
                yield f"task {task} of run {run}: {attempt} started while {live[run, task]} was there"
            live.pop((run, task), None) if kind == "E" else live.update({(run, task): attempt})

    def _server_problems(self, server: ServerProcess, lines: int) -> Iterator[str]:
        known = {run["id"]: run for run in _all_runs(server)}
        yield from (f"run {run} was accepted and is not known" for run in self.account.runs if run not in known)
        for id, run in known.items():
            if run["state"] != "completed":
                yield f"run {id} is {run['state']}: {run['reason']}"
                continue
            for task in server.get(f"runs/{id}")["tasks"]:
                log = server.raw("GET", f"runs/{id}/tasks/{task['task']}/logs?download=1")[1].decode()
                if log != "".join(f"{task['task']} says line {i} and a little more\n" for i in range(lines)):
                    yield f"the log of {task['task']} of run {id} is not what it wrote ({len(log)} bytes)"

    def after(self, store: Path) -> list[str]:
        """What is wrong in a store that nobody owns any more."""
        problems = [f"still runs: {words}" for words in left_over(store, self.folder)]
        return problems + database_problems(store, self.folder.parent / "copy")


def _all_runs(server: ServerProcess) -> Iterator[dict[str, Any]]:
    pages, page = 1, 0
    while page < pages:
        page += 1
        found = server.get(f"runs?page_size=200&page={page}")
        pages = found["pagination"]["total_pages"]
        yield from found["data"]


def database_problems(store: Path, copy: Path) -> list[str]:
    """Of a copy: nobody but its owner opens the file itself."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in store.glob("wattle.db*"):
        shutil.copyfile(path, copy / path.name)
    with closing(sqlite3.connect(copy / "wattle.db")) as db:
        found = [row[0] for row in db.execute("PRAGMA integrity_check")]
        lost = db.execute("SELECT count(*) FROM attempt WHERE state = 'lost'").fetchone()[0]
    return [f"integrity_check: {word}" for word in found if word != "ok"] + ([f"{lost} attempts lost"] if lost else [])
