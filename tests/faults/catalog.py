"""All faults by name: what can be had of each on this machine, and its short and its long form."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import clock, corruption, descriptors, disk, injection, memory, pids, recovery, stopped, storm

Play = Callable[[Path], Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """``short`` is for the suite; ``long`` prints the figures of the documentation. Both return figures with ``wrong``.

    ``cannot`` says why it cannot be made here, ``""`` if it can.
    """

    says: str
    short: Play
    long: Play
    cannot: Callable[[], str] = lambda: ""


def _no_mount() -> str:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"no file system can be mounted here: {done.stderr.strip()}" if done.returncode else ""


def _no_prlimit() -> str:
    return "" if shutil.which("prlimit") else "there is no prlimit (Debian and Ubuntu: apt-get install util-linux)"


def _no_faketime() -> str:
    return "" if clock.library() else "libfaketime is not installed (Debian and Ubuntu: apt-get install faketime)"


def _no_group() -> str:
    try:
        with memory.group("wattle-probe"):
            return ""
    except PermissionError as error:
        return str(error)


FAULTS: Mapping[str, Fault] = {
    "disk": Fault(
        "the disk of the store is full to 20 degrees, in the middle of runs and when a server starts",
        lambda folder: disk.play(folder, 3),
        lambda folder: disk.play(folder, disk.LEVELS),
        _no_mount,
    ),
    "errors": Fault(
        "the Nth write, fsync, rename, link ... of server and keeper fails with EIO or ENOSPC; all of one kind fail",
        lambda folder: injection.play(folder, 1, 6),
        lambda folder: injection.play(folder, 1),
        injection.cannot,
    ),
    "descriptors": Fault(
        "server and keeper may open 64 files, and visitors take them all",
        lambda folder: descriptors.play(folder, 1, 12),
        lambda folder: descriptors.play(folder, 5),
        _no_prlimit,
    ),
    "stopped": Fault(
        "server, keeper, tasks stand still",
        lambda folder: stopped.play(folder, 0.5),
        lambda folder: stopped.play(folder, 60.0),
    ),
    "clock": Fault(
        "the wall clock is set by two days, back and forth, and goes over to summer time",
        lambda folder: clock.play(folder, (-clock.DAYS,), summer=False),
        clock.play,
        _no_faketime,
    ),
    "suspend": Fault(
        "the machine slept for two days since its boot, and everything sleeps in the middle of a run",
        clock.suspend,
        clock.suspend,
        clock.cannot_suspend,
    ),
    "pids": Fault(
        "the number of a task that was killed belongs to a stranger",
        lambda folder: pids.play(folder, 1),
        lambda folder: pids.play(folder, 10),
        pids.cannot,
    ),
    "memory": Fault(
        "a task takes more memory than its control group has",
        lambda folder: memory.play(folder, 1),
        lambda folder: memory.play(folder, 10),
        _no_group,
    ),
    "corruption": Fault(
        "the database is damaged at a random place, cut short, empty or gone",
        lambda folder: corruption.play(folder, 16),
        lambda folder: corruption.play(folder, 500),
    ),
    "storm": Fault(
        "cancels of tasks that leave their session, fork twice, ignore SIGTERM, or have not started",
        lambda folder: storm.play(folder, 40),
        lambda folder: storm.play(folder, 200),
    ),
    "recovery": Fault(
        "a server is killed with 100 attempts running, and one of them ends; a store with 10,000 runs is opened",
        lambda folder: recovery.play(folder, 20, 200),
        lambda folder: recovery.play(folder, 100, 10_000),
    ),
}
