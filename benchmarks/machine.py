"""What the figures were measured on, and how busy it was."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY = 100e-6  # seconds: twice what a new one takes on a disk at rest


def describe(folder: Path) -> dict[str, object]:
    """The machine and the file system that ``folder`` is on."""
    return {
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file_system": _file_system(folder),
        "load": load(),
    }


def load() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def calm(most: float, patience: float) -> None:
    """Wait until the machine has little else to do, at most ``patience`` seconds."""
    until = time.monotonic() + patience
    while _busy(1.0) > most and time.monotonic() < until:
        pass


def _busy(seconds: float) -> float:
    """Share of all processors that is used during the next seconds."""

    def times() -> tuple[int, int]:
        words = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return sum(words[:8]), words[3] + words[4]

    all_before, idle_before = times()
    time.sleep(seconds)
    all_after, idle_after = times()
    return 1.0 - (idle_after - idle_before) / max(1, all_after - all_before)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    if not shutil.which("stat"):
        return ""
    found = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def peak_memory(pid: int) -> float:
    """MiB that a process had at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def disk_at_rest(folder: Path, seconds: float) -> None:
    """Wait, for so long at most, until new files cost what they usually cost.

    For some minutes after many were deleted, ext4 looks at each free inode whether that was one of them.
    """
    place, until = folder / f"rest-{time.monotonic_ns()}", time.monotonic() + seconds
    place.mkdir()
    for number in itertools.count():
        began = time.perf_counter()
        for name in range(50):
            (place / f"{number}-{name}").mkdir()
        if (time.perf_counter() - began) / 50 < _DIRECTORY or time.monotonic() > until:
            return
        time.sleep(5)


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """Of a process, in MiB: all that is in memory, and what it shares with no other process."""

    rss: float
    own: float


def memory(pid: int) -> Memory:
    kib: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, number = line.split(":")
        kib[name] = int(number.split()[0])
    return Memory(rss=kib["Rss"] / 1024, own=(kib["Private_Clean"] + kib["Private_Dirty"]) / 1024)


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def threads(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def zombies(parents: Collection[int]) -> int:
    """Children of these that ended and that nobody has taken note of."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone meanwhile
            words = (process / "stat").read_text().rsplit(")", 1)[1].split()
            found += words[0] == "Z" and int(words[1]) in parents
    return found
