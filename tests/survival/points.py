"""Every crash point: server or keeper is killed as it enters the K-th call of one kind that changes the world.

``strace`` counts the calls of a run in which nothing is killed, then sends SIGKILL at the entry of each. Between two
such calls nothing changes outside of the process, so these are all the states in which it can be killed, as far as
one thread goes. strace counts for each thread by itself; the thread that comes to K first is hit.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from survival.client import BriefUser
from survival.machine import Machine
from survival.scene import PATIENCE, Scene, Tally
from survival.workload import Sampler

CALLS = (
    "bind", "chmod", "execve", "exit_group", "fallocate", "fchmod", "fchown", "fdatasync", "flock", "fsync",
    "ftruncate", "kill", "link", "linkat", "listen", "mkdir", "mkdirat", "mknodat", "pidfd_open", "pidfd_send_signal",
    "pwrite64", "rename", "renameat", "renameat2", "sendto", "setsid", "splice", "unlink", "unlinkat", "utimensat",
    "vfork", "write",
)  # fmt: skip
"""Calls by which a process changes what others see."""

VICTIMS = ("server", "keeper")
_COUNTED = re.compile(r"(\d+) +(\w+)\(")


@dataclass(frozen=True)
class Point:
    """``number``: the how manieth call of this name in one thread of the victim."""

    victim: str
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.victim} at {self.call} {self.number}"


def missing() -> str:
    """Why points cannot be played here; empty if they can."""
    if shutil.which("strace") is None:
        return "crash points need strace, which is not installed"
    done = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"crash points need strace, which may not trace here: {done.stderr.strip()}" if done.returncode else ""


class PointScene(Scene):
    """One store, one point. ``fired`` tells whether it was reached."""

    def __init__(self, folder: Path, package: Path, *, jupyter: bool = False) -> None:
        folder.mkdir(parents=True)
        workload = Sampler(folder / "work", random.Random(0))
        machine = Machine(folder, package, jupyter=jupyter)
        super().__init__(machine, workload, BriefUser(machine, workload, random.Random(0)), random.Random(0))
        self._package = package
        self.fired = False

    def play(self, point: Point) -> Tally:
        self.struck = point.victim == "keeper"
        inject = ("-e", f"inject={point.call}:signal=KILL:when={point.number}")
        return self.played(lambda: self._play(point.victim, ("-o", os.devnull, *inject)))

    def count(self, victim: str) -> Counter[str]:
        """How often the victim's busiest thread makes each of the calls when nothing is killed."""
        log = self.machine.folder / "calls"
        known = ",".join(f"?{name}" for name in CALLS)
        tally = self.played(lambda: self._play(victim, ("-o", str(log), "-e", f"trace={known}")))
        assert not tally.violations, f"without any kill: {tally.violations}"
        threads: dict[str, Counter[str]] = {}
        for line in log.read_text(errors="replace").splitlines():
            if found := _COUNTED.match(line):
                threads.setdefault(found[1], Counter())[found[2]] += 1
        most: Counter[str] = Counter()
        for counter in threads.values():
            most |= counter
        return most

    # ------------------------------------------------------------------------------------------------ the course

    def _play(self, victim: str, words: tuple[str, ...]) -> None:
        # -D: the traced process keeps its pid; -b: what it starts is let go
        tracer = ("strace", "-D", "-f", "-b", "execve", "-qq", *words)
        keeper = None
        if victim == "keeper":
            keeper = self._start_keeper(tracer)
        else:
            self.machine.server.under = tracer
        self.machine.begin()
        self.machine.server.under = ()
        self.user.start()
        self.watcher.start()
        self._until_all_ended()
        if victim == "server":
            self._end_victim()
        else:
            self.fired = keeper is None or self.machine.keeper() != keeper
            self.blind |= set(self.machine.look().rows)  # nobody looked at the moment
            self.tally.kills["keeper"] += self.fired
        self.finish()

    def _start_keeper(self, tracer: tuple[str, ...]) -> int | None:
        """Pid, None if it was killed before it was ready."""
        self.machine.store.mkdir(mode=0o700)
        script = self._package / "wattle_jupyter" / "host" / "__main__.py"
        command = [*tracer, sys.executable, "-I", "-S", str(script), str(self.machine.store)]
        null = subprocess.DEVNULL  # a pipe would stay open as long as the tracer lives
        subprocess.run(command, stdin=null, stdout=null, stderr=null, check=False, start_new_session=True)
        return self.machine.keeper()

    def _until_all_ended(self) -> None:
        """Until user and runs are done; a server that was killed is looked at and followed by a sound one."""
        end = time.monotonic() + PATIENCE
        while self.user.is_alive() or not self._at_rest():
            if not self.machine.serving and not self.fired:
                self._revive()
            assert time.monotonic() < end, f"the runs do not end\n{self.machine.server.said()[-3000:]}"
            time.sleep(0.03)

    def _at_rest(self) -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError, AssertionError):
            return not self.machine.server.get("runs?status=created,queued,running")["data"]
        return False

    def _revive(self) -> None:
        self.fired = True
        self.tally.kills["server"] += 1
        with self.machine.frozen() as picture:
            self.tally.running += bool(picture.running)
            self.tally.window += bool(picture.intents)
            self.saw(picture)
        self.machine.launch()

    def _end_victim(self) -> None:
        """The last points are on the way out."""
        if not self.fired:
            with contextlib.suppress(AssertionError):
                self.machine.server.end()
            if self.machine.server.process.returncode != 0:
                self._revive()
            else:
                self.machine.launch()


def points(folder: Path, package: Path, victim: str, *, jupyter: bool = False) -> list[Point]:
    """All crash points of the victim, in the order of their calls' names."""
    found = PointScene(folder, package, jupyter=jupyter).count(victim)
    if victim == "server":
        # made by what it forks to start a keeper: each such child would be killed at its first one, so that there is
        # never a keeper, which is a lasting fault and no crash
        found.pop("setsid", None)
    return [Point(victim, call, number) for call in sorted(found) for number in range(1, found[call] + 1)]


def sample(found: list[Point], most: int, rng: random.Random) -> Iterator[Point]:
    """So many points, spread evenly over the kinds of calls first."""
    by_call: dict[str, list[Point]] = {}
    for point in rng.sample(found, len(found)):
        by_call.setdefault(point.call, []).append(point)
    left = most
    while left and any(by_call.values()):
        for call in rng.sample(sorted(by_call), len(by_call)):
            if by_call[call] and left:
                left -= 1
                yield by_call[call].pop()
