"""One store, from its first start to its end: load, kills, then everything must end and everything must hold."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from survival import invariants
from survival.client import User, Watcher
from survival.machine import Machine, Picture
from survival.workload import Workload

PATIENCE = 150.0  # seconds in which all runs must end once nothing is killed any more

SEQUENCES: dict[str, tuple[str, ...]] = {
    "server": ("server",),
    "keeper": ("keeper",),
    "both at once": ("both",),
    "server, then keeper": ("server", "keeper"),
    "keeper, then server": ("keeper", "server"),
    "server, then server as it starts": ("server", "starting"),
}
_WEIGHTS = (26, 24, 18, 12, 12, 8)
_WINDOW = 0.35  # share of kills that wait for an attempt between its commit and its start


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

    def __init__(self, folder: Path, package: Path, seed: str, *, jupyter: bool = False, hasty: bool = False) -> None:
        self.tally = Tally()
        self.hasty = hasty
        self._rng = random.Random(seed)
        self.workload = Workload(folder / "work", random.Random(f"{seed} workload"))
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
            self._finish()
        except AssertionError as error:
            self.tally.violations.append(("alive", str(error)[-2000:]))
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
        name = self._rng.choices(list(SEQUENCES), _WEIGHTS)[0]
        for i, victim in enumerate(SEQUENCES[name]):
            if i:
                time.sleep(self._rng.choice([0.0, 0.03, 0.1, 0.4]))
            if victim == "starting":
                self.machine.begin()
                time.sleep(self._rng.uniform(0.2, 1.6))
            with self._moment(i == 0) as picture:
                self._kill(victim, picture)
        if not self.machine.serving:
            time.sleep(self._rng.choice([0.0, 0.0, 0.3, 1.2]))
            self.machine.launch()

    def _kill(self, victim: str, picture: Picture) -> None:
        self.tally.kills[victim] += 1
        self.tally.running += bool(picture.running)
        self.tally.window += bool(picture.intents)
        if victim == "keeper":
            self.blind |= picture.active - picture.by_server
            self.machine.kill_keeper()
            return
        self.blind |= picture.active - (picture.by_keeper if victim != "both" else set())
        if victim == "both":
            self.machine.kill_keeper()
        self.machine.kill_server()

    def _moment(self, choose: bool) -> Frozen:
        """Any moment, or, for some kills, one in which an attempt is committed and not started."""
        if not choose or self._rng.random() >= _WINDOW:
            return Frozen(self)
        if self._rng.random() < 0.5:
            return Frozen(self, until=lambda p: bool(p.intents), tries=120)
        return Frozen(self, until=lambda p: bool(p.intents), tries=120, stall=True)

    def saw(self, picture: Picture) -> None:
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
        if not self._give_up:
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
            assert time.monotonic() < end, f"these runs do not end: {[(r['id'], r['tasks']) for r in runs]}"
            time.sleep(0.2)
        while self.machine.processes() and time.monotonic() < end - PATIENCE + 10:
            time.sleep(0.05)  # the keeper counts an attempt as ended after its sweep, a zombie may take a moment more

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


class Frozen:
    """Hold still, look, and go on until the picture is the wanted one or the tries are used up.

    With ``stall`` the keeper stands still all the while, as on a machine that is too busy for it.
    """

    def __init__(
        self, round: Round, *, until: Callable[[Picture], bool] | None = None, tries: int = 1, stall: bool = False
    ) -> None:
        self._round = round
        self._until = until
        self._tries = tries
        self._stall = stall

    def __enter__(self) -> Picture:
        machine, rng = self._round.machine, random.Random(self._tries)
        for left in reversed(range(self._tries)):
            if self._stall:
                machine.stall()
                time.sleep(0.02)
            self._context = machine.frozen()
            picture = self._context.__enter__()
            self._round.saw(picture)
            if left == 0 or self._until is None or self._until(picture):
                return picture
            self._context.__exit__(None, None, None)
            time.sleep(rng.uniform(0.0, 0.012))
        raise AssertionError("no tries")

    def __exit__(self, *_: object) -> None:
        self._context.__exit__(None, None, None)
