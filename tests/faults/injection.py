"""System calls that fail: the Nth one of each kind in the server or in the keeper, or all of them for a while."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keeper_stores import keeper_pid
from processes import until

from faults.disk import end_keeper
from faults.patient import PATIENCE, Patient, Prober
from faults.work import Work

ERRORS: Mapping[str, Sequence[str]] = {
    "pwrite64": ("EIO", "ENOSPC"),
    "write": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO",),
    "fsync": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "linkat": ("EIO", "ENOSPC"),
    "unlinkat": ("EIO",),
    "mkdirat": ("EIO", "ENOSPC"),
    "mknodat": ("EIO", "ENOSPC"),
    "fallocate": ("EIO", "ENOSPC"),
    "splice": ("EIO", "ENOSPC"),
    "ftruncate": ("EIO",),
}
"""What a disk can answer. Opening is left out: to lack a number for a file is another fault."""

WHO = ("server", "keeper")


@dataclass(frozen=True, slots=True)
class Point:
    """One place to fail. ``at`` is strace's ``when``: ``3`` the third call, ``1+`` all."""

    who: str
    call: str
    error: str
    at: str

    def __str__(self) -> str:
        return f"{self.who} {self.call} {self.error} at {self.at}"


@dataclass
class Figures:
    points: int = 0
    hit: int = 0  # points at which a call really failed
    lasting: int = 0
    runs: int = 0
    refused: int = 0
    slowest_answer: float = 0.0
    slowest_resume: float = 0.0
    reasons: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def cannot() -> str:
    """Why no system call can be made to fail here, or ``""``."""
    if shutil.which("strace") is None:
        return "strace is not installed (on Debian and Ubuntu: apt-get install strace)"
    done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode else ""


@contextlib.contextmanager
def traced(pid: int, threads: bool, trace: Path, *words: str) -> Iterator[None]:
    """With strace at a process that runs; it is let go at the end."""
    command = ["strace", *(["-f"] if threads else []), "-qq", "-o", str(trace), *words, "-p", str(pid)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: f"TracerPid:\t{process.pid}" in Path(f"/proc/{pid}/status").read_text())
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        assert process.stderr is not None
        process.stderr.close()


def pid_of(server: Patient, who: str) -> int:
    return server.server_pid if who == "server" else keeper_pid(server.store)


def count(server: Patient, work: Work) -> dict[tuple[str, str], int]:
    """How often the busiest thread of each makes each of these calls in a run without faults."""
    found: dict[tuple[str, str], int] = {}
    for who in WHO:
        trace = work.folder.parent / f"{who}.trace"
        with traced(pid_of(server, who), who == "server", trace, "-e", f"trace={','.join(ERRORS)}"):
            work.submit(server, tasks=3, lines=5)
            until(lambda: not work.pending(server))
        calls = Counter(re.findall(r"^(\d* *)(\w+)\(", trace.read_text(), re.MULTILINE))
        for (_, call), number in calls.items():
            found[who, call] = max(found.get((who, call), 0), number)
    return found


def points(counted: Mapping[tuple[str, str], int], every: int) -> Iterator[Point]:
    """All of them, or each ``every``-th; and for each call all from the first one on."""
    place = 0
    for (who, call), number in sorted(counted.items()):
        for error in ERRORS[call]:
            for n in range(1, number + 1):
                if place % every == 0:
                    yield Point(who, call, error, str(n))
                place += 1
        yield Point(who, call, ERRORS[call][-1], "1+")


def play(folder: Path, every: int = 1, most: int = 10_000) -> Figures:
    """One server for all points: each leaves it as well as it was."""
    store, figures = folder / "store", Figures()
    server, work = Patient(folder / "home", store), Work(folder)
    server.launch_here()
    try:
        chosen = list(points(count(server, work), every))
        for point in chosen[:: max(1, -(-len(chosen) // most))]:
            _fail(server, work, point, figures)
        figures.wrong += work.check(server, lines=5)
        figures.runs, figures.refused = len(work.account.runs), len(work.account.refused)
        figures.reasons.update(work.account.refused)
        server.end()
        figures.wrong += work.after(store)
    finally:
        server.end_all()
        end_keeper(store)
    return figures


def _fail(server: Patient, work: Work, point: Point, figures: Figures) -> None:
    lasting = point.at == "1+"
    trace = work.folder.parent / "inject.trace"
    words = ("-e", f"trace={point.call}", "-e", f"inject={point.call}:error={point.error}:when={point.at}")
    with Prober(server, 0.25) as seen:
        with traced(pid_of(server, point.who), point.who == "server", trace, *words):
            work.submit(server, tasks=3, lines=5)
            if lasting:
                time.sleep(1.5)
            else:
                with contextlib.suppress(AssertionError):
                    until(lambda: not work.pending(server), 2.0)
        over = time.monotonic()
        try:
            until(lambda: server.works() and not work.pending(server), 30)
        except AssertionError:
            figures.wrong.append(f"{point}: work did not go on within 30 s: {server.request('GET', 'health')}")
    resumed = time.monotonic() - over
    figures.points += 1
    figures.hit += "(INJECTED)" in trace.read_text()
    figures.lasting += lasting
    figures.slowest_answer = max(figures.slowest_answer, seen.slowest)
    figures.slowest_resume = max(figures.slowest_resume, resumed)
    figures.reasons |= seen.reasons
    figures.wrong += [f"{point}: {what}" for what in seen.wrong]
    if resumed > PATIENCE:
        figures.wrong.append(f"{point}: work went on {resumed:.1f} s after the fault was over")
    if work.account.wrong:
        figures.wrong += [f"{point}: {what}" for what in work.account.wrong]
        work.account.wrong.clear()
