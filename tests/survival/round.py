"""One store, from its first start to its end: load, kills, then everything must end and everything must hold."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from survival.client import User
from survival.machine import Machine, Picture
from survival.scene import Scene, Tally
from survival.workload import Workload

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


class Round(Scene):
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
        workload = Workload(folder / "work", random.Random(f"{seed} workload"), brisk=hasty)
        machine = Machine(folder, package, jupyter=jupyter)
        user = User(machine, workload, random.Random(f"{seed} user"))
        super().__init__(machine, workload, user, random.Random(seed))
        self.hasty = hasty
        self._sequences = sequences

    def play(self, kills: int) -> Tally:
        return self.played(lambda: self._play(kills))

    def _play(self, kills: int) -> None:
        self.machine.launch()
        self.user.start()
        self.watcher.start()
        while self.tally.kills.total() < kills and not self._give_up:
            self._strike()
        if self._give_up:
            self._look_around(20)  # what follows from the fault
        else:
            self.finish()

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
                self.saw(picture)
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
                self.saw(picture)
                if left == 0 or self._give_up or wanted(picture):
                    yield picture
                    return
            time.sleep(self._rng.uniform(0.0, 0.012))


def _choose(rng: random.Random, weights: Mapping[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


_MOMENTS: dict[str, tuple[Callable[[Picture], bool], float]] = {
    "any moment": (lambda seen: True, 0.0),
    "stalled keeper": (lambda seen: bool(seen.intents), 0.0),
    "not started": (lambda seen: bool(seen.intents), 0.0),
    "started, not told": (lambda seen: bool((seen.active & seen.by_keeper) - seen.told), 0.01),
}
"""Which picture is the wanted one, and for how many seconds the server is left to hear what the keeper said."""
