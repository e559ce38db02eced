"""A store with all that belongs to it: its processes, its user, who watches; and how it comes to its end."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from survival import invariants
from survival.client import User, Watcher
from survival.machine import Machine, Picture, open_files
from survival.workload import Workload

PATIENCE = 150.0  # seconds in which all runs must end once nothing is killed any more


@dataclass
class Tally:
    """What a round did and what it found. ``violations``: (invariant, what was seen)."""

    kills: Counter[str] = field(default_factory=Counter)
    running: int = 0  # kills while processes of attempts ran
    window: int = 0  # kills while an attempt was committed and had not started
    looks: int = 0
    runs: int = 0
    tasks: int = 0
    attempts: Counter[str] = field(default_factory=Counter)  # by state
    log_bytes: int = 0
    violations: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        for name in ("running", "window", "looks", "runs", "tasks", "log_bytes", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kills += other.kills
        self.attempts += other.attempts
        self.violations += other.violations


class Scene:
    """``played`` runs something on it and judges what is left."""

    def __init__(self, machine: Machine, workload: Workload, user: User, rng: random.Random) -> None:
        self.tally = Tally()
        self.machine = machine
        self.workload = workload
        self.user = user
        self.watcher = Watcher(machine)
        self.blind: set[str] = set()  # attempts that were active while nobody watched them
        self.struck = False  # was a process of a task killed before its first line?
        self._rng = rng

    def played(self, action: Callable[[], None]) -> Tally:
        """``action`` with user and watcher at work; nothing is left behind."""
        began = time.monotonic()
        try:
            action()
        except AssertionError as error:
            self.tally.violations.append(("alive", str(error)[:6000]))
        finally:
            self.user.enough.set()
            self.user.quit.set()
            self.watcher.quit.set()
            self.machine.clear()
        self.tally.seconds = time.monotonic() - began
        return self.tally

    def saw(self, picture: Picture) -> None:
        """What must hold at every moment."""
        self.tally.looks += 1
        for fault in invariants.at_any_time(picture, self.watcher.seen):
            if fault not in self.tally.violations:
                self.tally.violations.append(fault)

    # ------------------------------------------------------------------------------------------------ the end

    def finish(self) -> None:
        """Nothing is killed any more: everything must end, and everything must hold."""
        self.user.enough.set()
        self.user.join(60)
        assert not self.user.is_alive(), "a request was never answered"
        self.wait_for_ends()
        self._read_logs()
        self.watcher.quit.set()
        code = self.machine.server.end()
        assert code == 0, f"the server ended with {code}: {self.machine.server.said()[-1500:]}"
        self.tally.violations += invariants.at_the_end(self)

    def wait_for_ends(self) -> None:
        end = time.monotonic() + PATIENCE
        path = "runs?status=created,queued,running&page_size=50"
        while runs := self.machine.server.get(path)["data"]:
            assert time.monotonic() < end, self._why_not(runs)
            time.sleep(0.2)
        while self.machine.processes() and time.monotonic() < end - PATIENCE + 10:
            time.sleep(0.05)  # the keeper counts an attempt as ended after its sweep, a zombie may take a moment more

    def _why_not(self, runs: list[dict[str, str]]) -> str:
        """Everything that is known about what does not end."""
        words = [f"{len(runs)} runs do not end within {PATIENCE:g} s"]
        with self.machine.database() as db:
            assert db is not None
            for run in runs:
                words.append(f"{run['id']} of {run['workflow']} is {run['state']} ({run['reason']})")
                query = "SELECT t.task, t.state, t.reason, t.not_before - ?, a.id, a.state, a.pid FROM task_run AS t "
                query += (
                    "LEFT JOIN attempt AS a ON a.id = t.attempt WHERE t.run = ? AND t.state IN ('queued', 'running')"
                )
                for row in db.execute(query, (time.time(), run["id"])):
                    record = self.machine.store / "attempts" / str(row[4]) / "record"
                    lines = record.read_bytes().rstrip(b"\0").decode() if record.exists() else "no record"
                    words.append(f"  {row}\n    {lines}")
        words.append(f"by keeper: {sorted(self.machine.look().by_keeper)}; keeper {self.machine.keeper()}")
        words += [f"  {proc} {_standing(proc.pid)}" for proc in self.machine.processes()]
        journal = self.machine.store / "keeper.log"
        words.append(f"keeper's journal: {journal.read_text()[-2000:] if journal.exists() else 'none'}")
        words.append(self.machine.server.said()[-2000:])
        return "\n".join(words)

    def _read_logs(self) -> None:
        """The API serves the bytes that lie on the disk."""
        with self.machine.database() as db:
            assert db is not None
            query = "SELECT t.run, t.task, t.attempt FROM task_run AS t WHERE t.attempt IS NOT NULL"
            chosen = self._rng.sample(found := list(db.execute(query)), min(len(found), 10))
        for run, task, attempt in chosen:
            path = self.machine.store / "attempts" / attempt / "log"
            status, data, _ = self.machine.server.raw("GET", f"runs/{run}/tasks/{task}/logs?download=1")
            if status != 200 or data != (path.read_bytes() if path.exists() else b""):
                self.tally.violations.append(("log", f"the API answers {status} and other bytes for {attempt}"))


def _standing(pid: int) -> str:
    """What a process does now: its command line, where in the kernel it waits, what it has open."""
    words = []
    for name in ("cmdline", "wchan", "syscall"):
        try:
            words.append(Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:300])
        except OSError as error:
            words.append(str(error))
    return " | ".join([*words, *open_files(pid)])
