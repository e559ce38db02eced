"""What must hold, whatever was killed. Each function yields (invariant, what was seen) for what does not."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survival.machine import CONTRADICTIONS, LOSS_BUDGET, Picture
from survival.workload import Job, Witness, read_ledger
from wattle_jupyter.host.record import parse

if TYPE_CHECKING:
    from survival.scene import Scene

Fault = tuple[str, str]

INVARIANTS: dict[str, str] = {
    "started once": "no attempt starts twice; what never started did not run",
    "one live": "never two live attempts of one task",
    "as its policy": "each task succeeded once, or ended as its policy or its user said",
    "again": "a task ran again only after a recorded failure, loss or request",
    "lost": "an attempt is lost only if neither keeper nor server watched it",
    "outcome once": "each outcome is told once, in events without gap or repeat",
    "committed": "nothing was shown that was not on disk",
    "log": "each log is byte-equal to what the task wrote: nothing lost, twice or out of order",
    "record": "the attempt's record on disk says what the database says",
    "recorded": "nothing ran without a record",
    "order": "a task started after its parents' success, with the values of that very attempt",
    "locked": "the record of a living task is locked, also when its keeper is dead",
    "orphans": "no process is left",
    "consistent": "no row contradicts another, at any moment; the database is whole",
    "request": "each request was carried out once",
    "alive": "servers start, answer and end; all runs end; nothing was refused; no traceback",
}


def at_any_time(picture: Picture, shown: int) -> Iterator[Fault]:
    """``shown`` is the newest event that a client has seen."""
    if picture.rows or picture.folders:
        for id in sorted((picture.folders | picture.started) - set(picture.rows)):
            yield "recorded", f"attempt {id} is under way and the database does not know it"
    for id in sorted(picture.twice):
        yield "started once", f"attempt {id} started twice"
    if shown > picture.seq:
        yield "committed", f"event {shown} was seen, the newest on disk is {picture.seq}"
    for text in picture.broken:
        yield "consistent", text


@dataclass
class Row:
    """A row by its columns' names."""

    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.values[name]


def _rows(db: sqlite3.Connection, sql: str) -> list[Row]:
    cursor = db.execute(sql)
    names = [column[0] for column in cursor.description]
    return [Row(dict(zip(names, row, strict=True))) for row in cursor]


@dataclass
class Evidence:
    """Everything that is left when a round is over."""

    scene: Scene
    runs: dict[str, Row] = field(default_factory=dict)
    tasks: dict[str, Row] = field(default_factory=dict)
    attempts: dict[str, Row] = field(default_factory=dict)
    by_task: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    ledger: list[Witness] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)  # attempt → place of its start in the ledger
    last: dict[str, int] = field(default_factory=dict)  # attempt → place of its end
    codes: dict[str, int] = field(default_factory=dict)

    def job(self, task: Row) -> Job:
        return self.scene.workload.jobs[self.runs[task.run].workflow][task.task]

    def folder(self, attempt: str) -> Path:
        return self.scene.machine.store / "attempts" / attempt

    def log(self, attempt: str) -> bytes:
        path = self.folder(attempt) / "log"
        return path.read_bytes() if path.exists() else b""

    def asked_to_end(self, task: Row) -> bool:
        user = self.scene.user
        return task.run in user.cancelled or (task.run, task.task) in user.stopped


def _gather(scene: Scene, db: sqlite3.Connection) -> Evidence:
    seen = Evidence(scene)
    seen.runs = {r.id: r for r in _rows(db, "SELECT * FROM run")}
    seen.tasks = {r.id: r for r in _rows(db, "SELECT * FROM task_run")}
    for row in _rows(db, "SELECT * FROM attempt ORDER BY task_run, n"):
        seen.attempts[row.id] = row
        seen.by_task[row.task_run].append(row)
    seen.ledger = read_ledger(scene.workload.ledger)
    for place, line in enumerate(seen.ledger):
        (seen.first if line.code is None else seen.last).setdefault(line.attempt, place)
        if line.code is not None:
            seen.codes[line.attempt] = line.code
    return seen


def at_the_end(scene: Scene) -> list[Fault]:
    """Every fault that the ended store shows. Adds what was there to the round's tally."""
    with scene.machine.database() as db:
        assert db is not None
        seen = _gather(scene, db)
        faults = [*_database(db), *_events(db, seen), *_requests(db, seen)]
    for check in (_starts, _overlaps, _logs, _records, _known, _order):
        faults += check(seen)
    for task in seen.tasks.values():
        faults += [*_policy(seen, task), *_again(seen, task)]
    faults += [*_left(scene), *_words(scene)]
    tally = scene.tally
    tally.runs, tally.tasks = len(seen.runs), len(seen.tasks)
    tally.attempts = Counter(row.state for row in seen.attempts.values())
    tally.log_bytes = sum(len(seen.log(id)) for id in seen.attempts)
    return faults


# ---------------------------------------------------------------------------------------------------- the database


def _database(db: sqlite3.Connection) -> Iterator[Fault]:
    for (text,) in db.execute("PRAGMA integrity_check"):
        if text != "ok":
            yield "consistent", text
    for row in db.execute("PRAGMA foreign_key_check"):
        yield "consistent", f"foreign key: {row}"
    for (text,) in db.execute(CONTRADICTIONS):
        yield "consistent", text
    for table in ("run", "task_run", "attempt"):
        sql = f"SELECT id, state FROM {table} WHERE state IN ('created', 'queued', 'waiting', 'starting', 'running')"
        for id, state in db.execute(sql):
            yield "consistent", f"{table} {id} is still {state}"


_FINAL = ("completed", "failed", "cancelled", "skipped")


def _events(db: sqlite3.Connection, seen: Evidence) -> Iterator[Fault]:
    """Replays the events: numbers without gaps, each end told once, and the last word is what the rows say."""
    state: dict[tuple[str, str], str] = {}
    rows = db.execute("SELECT seq, run, kind, body FROM event ORDER BY seq")
    for number, (seq, run, kind, body) in enumerate(rows, 1):
        if seq != number:
            yield "outcome once", f"event {seq} is number {number}"
        content = json.loads(body)
        for view in content.get("tasks", content.get("run", {}).get("tasks", ())):
            before = state.get((run, view["task"]), "")
            if before in _FINAL and view["state"] in _FINAL:
                yield "outcome once", f"{run}/{view['task']} ended twice: {before}, then {view['state']} ({kind})"
            state[run, view["task"]] = view["state"]
    for task in seen.tasks.values():
        if state.get((task.run, task.task)) != task.state:
            yield "outcome once", f"{task.run}/{task.task} is {task.state}, told was {state.get((task.run, task.task))}"
    for text in seen.scene.watcher.wrong:
        yield "outcome once", text


def _requests(db: sqlite3.Connection, seen: Evidence) -> Iterator[Fault]:
    user = seen.scene.user
    made = Counter(run.workflow for run in seen.runs.values())
    for name in seen.scene.workload.jobs:
        if made[name] != 1:
            yield "request", f"{made[name]} runs of {name}, which was asked for once"
    known = dict(db.execute("SELECT key, run FROM request WHERE verb = 'submit'"))
    for key, run in user.runs.items():
        if known.get(key) != run:
            yield "request", f"{key} was answered with {run}, the store says {known.get(key)}"
    for text in user.refused:
        yield "alive", f"refused: {text}"


# ------------------------------------------------------------------------------------------------------ processes


def _starts(seen: Evidence) -> Iterator[Fault]:
    starts = Counter(line.attempt for line in seen.ledger if line.code is None)
    ends = Counter(line.attempt for line in seen.ledger if line.code is not None)
    for id, times in (starts | ends).items():
        if times > 1:
            yield "started once", f"attempt {id} started {starts[id]} and ended {ends[id]} times"
    for row in seen.attempts.values():
        if row.state == "never_started" and starts[row.id]:
            yield "started once", f"attempt {row.id} ran and is called never_started"
        if row.state == "completed" and not starts[row.id]:
            yield "started once", f"attempt {row.id} is called completed and never ran"


def _overlaps(seen: Evidence) -> Iterator[Fault]:
    newest: dict[str, str] = {}
    for line in seen.ledger:
        current = newest.setdefault(line.task_run, line.attempt)
        if line.code is None:
            newest[line.task_run] = line.attempt
        elif line.attempt != current:
            yield "one live", f"attempt {line.attempt} ended after {current} of the same task had started"


def _known(seen: Evidence) -> Iterator[Fault]:
    ran = {line.attempt for line in seen.ledger} | set(os.listdir(seen.scene.machine.store / "attempts"))
    for id in sorted(ran - set(seen.attempts)):
        yield "recorded", f"attempt {id} has left traces and no row"


def _order(seen: Evidence) -> Iterator[Fault]:
    """A success starts after the successes that it needs, and got their values."""
    for task in seen.tasks.values():
        job = seen.job(task)
        parents = [t for t in seen.tasks.values() if t.run == task.run and t.task in job.parents]
        for row in seen.by_task[task.id]:
            start = seen.first.get(row.id)
            if start is None:
                continue
            if late := [p.task for p in parents if seen.last.get(p.attempt, len(seen.ledger)) > start]:
                yield "order", f"{task.task} of {task.run} started before {late} had ended"
            made = {p.task: p.attempt for p in parents}
            if job.inputs and seen.ledger[start].inputs != (wanted := tuple(made[name] for name in job.inputs)):
                yield "order", f"{task.task} of {task.run} was given {seen.ledger[start].inputs}, not {wanted}"


def _left(scene: Scene) -> Iterator[Fault]:
    for proc in scene.machine.processes():
        yield "orphans", f"process {proc.pid} (state {proc.state}, session {proc.session}) is left"


def _words(scene: Scene) -> Iterator[Fault]:
    journal = scene.machine.store / "keeper.log"
    for name, text in (
        ("server", scene.machine.server.said()),
        ("keeper", journal.read_text() if journal.exists() else ""),
    ):
        if found := re.search(r"Traceback.*", text, re.S):
            yield "alive", f"the {name} wrote: {found[0][:1500]}"


# ------------------------------------------------------------------------------------------------------ outcomes


def _policy(seen: Evidence, task: Row) -> Iterator[Fault]:
    job, rows = seen.job(task), seen.by_task[task.id]
    what = f"{task.task} ({job.kind}) of {task.run} is {task.state} ({task.reason})"
    ok = [row for row in rows if row.state == "completed"]
    if len(ok) != (task.state == "completed") or (ok and (ok[0] is not rows[-1] or ok[0].round != task.round)):
        yield "as its policy", f"{what} with {len(ok)} successes of {len(rows)} attempts"
    if ok and (job.kind in ("hopeless", "stubborn") or seen.codes.get(ok[0].id) != 0):
        yield "as its policy", f"{what}, which its process did not say"
    for row in rows:
        if row.state == "failed" and not _fails_like_that(job, row, seen.codes.get(row.id)) and not struck(seen, row):
            yield "as its policy", f"{what}: attempt {row.id} failed ({row.reason}) with {row.code}, {row.signal}"
    if task.state == "cancelled" and not seen.asked_to_end(task):
        yield "as its policy", f"{what}, which nobody asked for"
    spent = [row for row in rows if row.round == task.round]
    if task.state == "failed" and not seen.asked_to_end(task):
        failed = sum(row.state == "failed" for row in spent)
        if failed <= job.retries and len(spent) - failed <= LOSS_BUDGET:
            yield "as its policy", f"{what} after {failed} failures and {len(spent) - failed} losses"
    if task.state == "skipped":
        parents = {t.state for t in seen.tasks.values() if t.run == task.run and t.task in job.parents}
        if spent or (parents <= {"completed"} and task.run not in seen.scene.user.cancelled):
            yield "as its policy", f"{what} with {len(spent)} attempts and parents {parents}"


def struck(seen: Evidence, row: Row) -> bool:
    """Was its process killed between fork and its first line, by the harness?"""
    return seen.scene.struck and row.signal == signal.SIGKILL and row.id not in seen.first


def _fails_like_that(job: Job, row: Row, code: int | None) -> bool:
    if job.kind == "stubborn":
        return bool(row.reason.startswith("timed out"))
    return job.may_fail_with(row.code, row.signal) and row.code == code


def _again(seen: Evidence, task: Row) -> Iterator[Fault]:
    rows = seen.by_task[task.id]
    if [row.n for row in rows] != list(range(1, len(rows) + 1)):
        yield "again", f"attempts of {task.id} are numbered {[row.n for row in rows]}"
    for one, two in itertools.pairwise(rows):
        why = one.state in ("failed", "lost", "never_started") or (
            one.state == "cancelled" and two.round > one.round and task.run in seen.scene.user.retried
        )
        if not why or one.ended_at > two.created_at + 0.001:
            times = f"ended at {one.ended_at}, the new one was made at {two.created_at}"
            yield "again", f"attempt {two.n} of {task.id} came after one that is {one.state}; {times}"
    for row in rows:
        if row.state == "lost" and row.id not in seen.scene.blind:
            yield "lost", f"attempt {row.id} of {seen.job(task).kind} is lost though it was watched: {row.reason}"


# ------------------------------------------------------------------------------------------------------- on disk


_SHELL_WORDS = re.compile(rb"(Terminated|Killed)\n\Z")


def _logs(seen: Evidence) -> Iterator[Fault]:
    for row in seen.attempts.values():
        have, job = seen.log(row.id), seen.job(seen.tasks[row.task_run])
        code = seen.codes.get(row.id)
        if code is None:
            have = _SHELL_WORDS.sub(b"", have)  # of a shell whose command was ended by a stop
        wanted = job.log(row.id, 0 if code is None else code)
        # what nobody held went with the task; what was stopped had not written all
        whole = code is not None and row.id not in seen.scene.blind
        if have != wanted and (whole or not wanted.startswith(have)):
            pairs = zip(have, wanted, strict=False)
            same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(have), len(wanted)))
            what = f"log of {row.id} ({job.kind}, {row.state})"
            yield "log", f"{what}: {len(have)} bytes of {len(wanted)}, the first {same} are right"
        if row.log_size is not None and row.log_size != (size := len(seen.log(row.id))):
            yield "log", f"log of {row.id} ({job.kind}, {row.state}) has {size} bytes, recorded were {row.log_size}"


def _records(seen: Evidence) -> Iterator[Fault]:
    for row in seen.attempts.values():
        path = seen.folder(row.id) / "record"
        lines = parse(path.read_bytes())[0] if path.exists() else []
        kinds = [line["k"] for line in lines]
        if not _agrees(row, {line["k"]: line for line in lines}):
            yield "record", f"attempt {row.id} is {row.state} ({row.code}, {row.signal}), its record says {kinds}"
        if repeated := [kind for kind, times in Counter(kinds).items() if times > 1 and kind != "stop"]:
            yield "record", f"the record of {row.id} says {repeated} more than once"


def _agrees(row: Row, said: dict[str, Any]) -> bool:
    never = "never_started" in said or said.get("tombstone", {}).get("verdict") == "never_started"
    if row.state == "never_started":
        return never
    if row.state == "lost":
        return "lost" in said or said.get("tombstone", {}).get("verdict") == "lost"
    if row.state == "cancelled" and (never or "lost" in said):
        return True
    end = said.get("exit")
    return end is not None and "swept" in said and (end["code"], end["signal"]) == (row.code, row.signal)
