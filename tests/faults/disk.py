"""A disk that is full to some degree while runs go on, and when a server starts on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keeper_stores import end_tasks, kill_keeper
from processes import until

from faults.patient import PATIENCE, Patient, Prober
from faults.work import Work

LEVELS = 20


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own at ``folder``. PermissionError where none can be mounted."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        until(
            lambda: subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False).returncode == 0
        )


class Ballast:
    """A file that takes all the room of a disk but ``left`` bytes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    def take(self, left: int) -> None:
        size = 0
        with self._path.open("wb") as file:
            for piece in (1 << 20, 1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), size, piece)
                        size += piece
            file.truncate(max(4096, size - left))

    def give_back(self) -> None:
        self._path.unlink(missing_ok=True)


@dataclass
class Figures:
    """Of all levels."""

    levels: int = 0
    troubled: int = 0  # levels at which something could not be written
    runs: int = 0
    refused: int = 0
    asked: int = 0
    slowest_answer: float = 0.0
    slowest_resume: float = 0.0
    reasons: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def levels(number: int, most: int = 240 << 10) -> list[int]:
    """Bytes that are left, from none on, more of them near none."""
    return [int(most * (n / max(1, number - 1)) ** 2) // 4096 * 4096 for n in range(number)]


def play(folder: Path, number: int = LEVELS) -> Figures:
    """At each level: fill the disk in the middle of a run, submit another one, look, free the disk, wait."""
    store, figures = folder / "store", Figures()
    with small_disk(store, 8 + 2 * number):  # what is accepted at each level takes room for good
        server, work, ballast = Patient(folder / "home", store), Work(folder), Ballast(store)
        server.launch_here()
        try:
            for left in levels(number):
                _level(server, work, ballast, left, figures)
            figures.wrong += work.check(server)
            figures.runs, figures.refused = len(work.account.runs), len(work.account.refused)
            figures.reasons.update(work.account.refused)
            server.end()
            figures.wrong += work.after(store)
            _start_on_full(server, ballast, figures)
        finally:
            server.end_all()
            end_keeper(store)
    return figures


def _level(server: Patient, work: Work, ballast: Ballast, left: int, figures: Figures) -> None:
    work.submit(server, nap=0.3)
    with Prober(server) as seen:
        ballast.take(left)
        end = time.monotonic() + 1.5
        began = time.monotonic()
        while time.monotonic() < end:
            work.submit(server)
            time.sleep(0.1)
        if time.monotonic() - began > PATIENCE + 1.5:
            figures.wrong.append(f"{left} bytes left: a submission took {time.monotonic() - began:.1f} s")
        ballast.give_back()
        freed = time.monotonic()
        until(server.works, 60)
        resumed = time.monotonic() - freed
        until(lambda: not work.pending(server), 60)
    figures.levels += 1
    figures.troubled += bool(seen.reasons)
    figures.asked += seen.asked
    figures.slowest_answer = max(figures.slowest_answer, seen.slowest)
    figures.slowest_resume = max(figures.slowest_resume, resumed)
    figures.reasons |= seen.reasons
    figures.wrong += seen.wrong
    if resumed > PATIENCE:
        figures.wrong.append(f"{left} bytes left: ready {resumed:.1f} s after there was room")


def _start_on_full(server: Patient, ballast: Ballast, figures: Figures) -> None:
    """A server that finds no room at all comes up, says why, and begins once there is some."""
    ballast.take(0)
    server.launch(wait=False)
    until(server.listening)
    until(lambda: any("No space" in reason or "full" in reason for reason in server.reasons()))
    figures.reasons.update(server.reasons())
    ballast.give_back()
    freed = time.monotonic()
    until(server.works, 60)
    if time.monotonic() - freed > PATIENCE:
        figures.wrong.append(f"a server that started on a full disk was ready {time.monotonic() - freed:.1f} s late")
    server.end()


def end_keeper(store: Path) -> None:
    """And whatever runs below it."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        kill_keeper(store)
    with contextlib.suppress(OSError):
        end_tasks(store)
