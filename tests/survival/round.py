"""One store, from its first start to its end: load, kills, then everything must end and everything must hold."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from survival import invariants
from survival.client import User, Watcher
from survival.machine import Machine, Picture, open_files
from survival.workload import Workload

PATIENCE = 150.0  # seconds in which all runs must end once nothing is killed any more

SEQUENCES: dict[str, int] = {
    "server": 26,
    "keeper": 24,
    "both": 18,
    "server, keeper": 12,
    "keeper, server": 12,
    "server, starting server": 8,
}
"""What is killed one after the other, and how often: weights."""

HUNTS: dict[str, int] = {"any moment": 60, "stalled keeper": 14, "not started": 14, "started, not told": 12}
"""The moment that the first kill of a sequence waits for: weights."""

_TRIES = 100  # looks for the moment, then any will do


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


class Round:
    """``play`` kills so many times and judges. With ``hasty`` it ends at the first violation (for mutants)."""

    def __init__(
        self,
        folder: Path,
        package: Path,
        seed: str,
        *,
        jupyter: bool = False,
        hasty: bool = False,
        sequences: Mapping[str, int] = SEQUENCES,
    ) -> None:
        self.tally = Tally()
        self.hasty = hasty
        self._sequences = sequences
        self._rng = random.Random(seed)
        self.workload = Workload(folder / "work", random.Random(f"{seed} workload"), brisk=hasty)
        self.machine = Machine(folder, package, jupyter=jupyter)
        self.user = User(self.machine, self.workload, random.Random(f"{seed} user"))
        self.watcher = Watcher(self.machine)
        self.blind: set[str] = set()  # attempts that were active while nobody watched them

    def play(self, kills: int) -> Tally:
        began = time.monotonic()
        try:
            self.machine.launch()
            self.user.start()
            self.watcher.start()
            while self.tally.kills.total() < kills and not self._give_up:
                self._strike()
            if self._give_up:
                self._look_around(20)  # what follows from the fault
            else:
                self._finish()
        except AssertionError as error:
            self.tally.violations.append(("alive", str(error)[:6000]))
        finally:
            self.user.enough.set()
            self.user.quit.set()
            self.watcher.quit.set()
            self.machine.clear()
        self.tally.seconds = time.monotonic() - began
        return self.tally

    @property
    def _give_up(self) -> bool:
        return self.hasty and bool(self.tally.violations)

    # ------------------------------------------------------------------------------------------------ kills

    def _strike(self) -> None:
        """One sequence of kills, then a server that is up again."""
        time.sleep(self._rng.uniform(0.0, 0.8))
        self._look_around(50 if self.hasty else 5)
        if self._give_up:
            return
        name = _choose(self._rng, self._sequences)
        for i, victim in enumerate(name.split(", ")):
            if i:
                time.sleep(self._rng.choice([0.0, 0.03, 0.1, 0.4]))
            if victim == "starting server":
                self.machine.begin()
                time.sleep(self._rng.uniform(0.2, 1.6))
            with self._moment(_choose(self._rng, HUNTS) if i == 0 else "any moment") as picture:
                if self._give_up:
                    return
                self._kill(victim, picture)
        if not self.machine.serving:
            time.sleep(self._rng.choice([0.0, 0.0, 0.3, 1.2]))
            self.machine.launch()

    def _look_around(self, looks: int) -> None:
        """What must hold at every moment is looked for at many, not only where something is killed."""
        for _ in range(looks):
            with self.machine.frozen() as picture:
                self._saw(picture)
            time.sleep(self._rng.uniform(0.0, 0.02))

    def _kill(self, victim: str, picture: Picture) -> None:
        self.tally.kills[victim] += 1
        self.tally.running += bool(picture.running)
        self.tally.window += bool(picture.intents)
        if victim in ("keeper", "both"):
            # a server that is up watches what it knows to run; what it was not told of, nobody sees now
            watched = picture.told if victim == "keeper" and self.machine.ready else set()
            self.machine.kill_keeper()
            for id in self.machine.unlocked(picture.running & set(picture.rows)):
                self.tally.violations.append(("locked", f"attempt {id} lives and its record is not locked"))
        else:
            watched = picture.by_keeper
        self.blind |= picture.active - watched
        if victim != "keeper":
            self.machine.kill_server()

    @contextlib.contextmanager
    def _moment(self, hunt: str) -> Iterator[Picture]:
        """Hold still at any moment, or at one of a kind: look, and go on until it is found or the tries are used up."""
        wanted, delay = _MOMENTS[hunt]
        for left in reversed(range(_TRIES)):
            if hunt == "stalled keeper":
                self.machine.stall()
                time.sleep(0.02)
            with self.machine.frozen(delay) as picture:
                self._saw(picture)
                if left == 0 or self._give_up or wanted(picture):
                    yield picture
                    return
            time.sleep(self._rng.uniform(0.0, 0.012))

    def _saw(self, picture: Picture) -> None:
        """What must hold at every moment."""
        self.tally.looks += 1
        for fault in invariants.at_any_time(picture, self.watcher.seen):
            if fault not in self.tally.violations:
                self.tally.violations.append(fault)

    # ------------------------------------------------------------------------------------------------ the end

    def _finish(self) -> None:
        self.user.enough.set()
        self.user.join(60)
        assert not self.user.is_alive(), "a request was never answered"
        self._wait_for_ends()
        self._read_logs()
        self.watcher.quit.set()
        code = self.machine.server.end()
        assert code == 0, f"the server ended with {code}: {self.machine.server.said()[-1500:]}"
        self.tally.violations += invariants.at_the_end(self)

    def _wait_for_ends(self) -> None:
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


def _choose(rng: random.Random, weights: Mapping[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


_MOMENTS: dict[str, tuple[Callable[[Picture], bool], float]] = {
    "any moment": (lambda seen: True, 0.0),
    "stalled keeper": (lambda seen: bool(seen.intents), 0.0),
    "not started": (lambda seen: bool(seen.intents), 0.0),
    "started, not told": (lambda seen: bool((seen.active & seen.by_keeper) - seen.told), 0.01),
}
"""Which picture is the wanted one, and for how many seconds the server is left to hear what the keeper said."""
