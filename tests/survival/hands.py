"""One store, many hands: two Jupyter servers and ``wattle serve`` take it from each other while users go on asking.

Owners are killed, ended, suspended and woken, at random moments; the next one must have the store soon, and nothing
may start twice. The keeper lives on, so nothing may be lost either.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from pathlib import Path

from processes import EngineProcess, Owned, ServerProcess, until

from survival.client import User
from survival.machine import SETTINGS, Machine
from survival.scene import Scene, Tally
from survival.workload import Workload

SOON = 60.0  # seconds, on a busy machine

WAYS = {"killed": 40, "ended": 25, "suspended": 15, "suspended, killed": 10, "left to wattle serve": 10}
"""How an owner loses the store, and how often: weights."""


class Crew(Machine):
    """Two full servers; ``server`` is one that runs, whoever owns the store."""

    def __init__(self, folder: Path, package: Path, rng: random.Random) -> None:
        self._rng = rng
        self._chosen: Owned | None = None
        self.full = [ServerProcess(folder / f"h{i}", folder / "s") for i in range(2)]
        self.serve = EngineProcess(folder / "h2", folder / "s")  # gone when two full servers are there
        super().__init__(folder, package, jupyter=True)

    @property
    def server(self) -> Owned:
        """Each request goes another way."""
        return self._chosen or self._rng.choice(self.running() or [self.full[0]])

    @server.setter
    def server(self, chosen: Owned) -> None:
        """The one of the base class is not used."""

    def running(self) -> list[Owned]:
        return [one for one in (*self.full, self.serve) if _runs(one)]

    def begin_all(self) -> None:
        for one in self.full:
            if not _runs(one):
                one.launch(wait=False, **SETTINGS, PYTHONPATH=self.path)

    def owner(self) -> Owned | None:
        """Who owns the store and answers."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = json.loads((self.store / "owner.json").read_text())["pid"]
            found = next((one for one in self.running() if one.pid == pid), None)
            if found is not None and found.request("GET", "health")[1]["data"]["ready"]:
                return found
        return None

    def end_all_but(self, kept: Owned) -> list[int]:
        self._chosen = kept
        others = [one for one in self.running() if one is not kept]
        for one in others:
            assert isinstance(one, ServerProcess)
            until(one.listening, SOON)  # before that it takes no SIGTERM
        return [one.end(timeout=SOON) for one in others]

    def clear(self) -> None:
        for one in self.running():
            one.process.kill()
            one.process.wait()
        super().clear()

    def kill_server(self) -> None:
        """They are killed already."""


def _runs(one: Owned) -> bool:
    return hasattr(one, "process") and one.process.poll() is None


class Hands(Scene):
    """``play`` hands the store over so many times. ``tally.kills`` counts the ways."""

    def __init__(self, folder: Path, package: Path, seed: str) -> None:
        rng = random.Random(seed)
        workload = Workload(folder / "work", random.Random(f"{seed} workload"), brisk=True)
        self.crew = Crew(folder, package, random.Random(f"{seed} way"))
        super().__init__(self.crew, workload, User(self.crew, workload, random.Random(f"{seed} user")), rng)

    def play(self, times: int) -> Tally:
        return self.played(lambda: self._play(times))

    def _play(self, times: int) -> None:
        self.crew.begin_all()
        self._await_owner(None)
        self.user.start()
        self.watcher.start()
        while self.tally.kills.total() < times:
            time.sleep(self._rng.uniform(0.0, 1.0))
            way = self._rng.choices(list(WAYS), list(WAYS.values()))[0]
            self._hand_over(way)
            self.tally.kills[way] += 1
        self.crew.begin_all()
        until(lambda: not _runs(self.crew.serve), SOON)
        last = self._await_owner(None)
        codes = self.crew.end_all_but(last)
        assert set(codes) <= {0}, f"servers ended with {codes}"
        self.finish()

    def _hand_over(self, way: str) -> None:
        owner = self._await_owner(None)
        if way == "left to wattle serve":
            self._leave_to_serve()
            return
        if way.startswith("suspended"):
            owner.process.send_signal(signal.SIGSTOP)
            time.sleep(self._rng.uniform(0.1, 1.5))
        if way == "suspended":
            owner.process.send_signal(signal.SIGCONT)  # it wakes up, and is the owner as before
            self._await_owner(None)
            return
        if way == "ended":
            assert owner.end(timeout=SOON) == 0, owner.said()[-1500:]
        else:
            owner.process.kill()
            owner.process.wait()
        if self._rng.random() < 0.5:
            self.crew.begin_all()
        self._await_owner(owner)
        self.crew.begin_all()

    def _leave_to_serve(self) -> None:
        """Nobody but ``wattle serve`` is there; then a full server comes and gets the store from it."""
        for one in list(self.crew.running()):
            one.end(timeout=SOON)
        self.crew.serve.start(["-m", "wattle_jupyter", "serve", "--store", str(self.crew.store)], **self.environ())
        self._await_owner(None)
        self.crew.begin_all()
        until(lambda: not _runs(self.crew.serve), SOON)
        self._await_owner(self.crew.serve)

    def environ(self) -> dict[str, str]:
        return {**SETTINGS, "PYTHONPATH": self.crew.path}

    def _await_owner(self, not_this: Owned | None) -> Owned:
        end = time.monotonic() + SOON
        while True:
            if not self.crew.running():
                self.crew.begin_all()
            found = self.crew.owner()
            if found is not None and (found is not not_this or _runs(found)):
                return found
            said = "\n".join(one.said()[-800:] for one in self.crew.running())
            assert time.monotonic() < end, f"nobody owns the store after {SOON:g} s:\n{said}"
            time.sleep(0.05)
