"""A task takes more memory than its control group has: the task goes, keeper and server stay, and it is said why."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from processes import until

from faults.disk import end_keeper
from faults.patient import Patient
from faults.work import Work

LIMIT = 400 << 20
"""Bytes for a server, its keeper and its tasks."""

OLD, NEW = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@dataclass
class Figures:
    killed: int = 0
    reasons: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


@contextlib.contextmanager
def group(name: str) -> Iterator[Path]:
    """A memory control group with a limit. PermissionError where none can be made."""
    root = OLD if (OLD / "tasks").exists() else NEW
    path = root / name
    try:
        path.mkdir()
        (path / ("memory.limit_in_bytes" if root == OLD else "memory.max")).write_text(str(LIMIT))
    except OSError as error:
        with contextlib.suppress(OSError):
            path.rmdir()
        raise PermissionError(f"no memory control group can be made in {root}: {error.strerror}") from error
    with contextlib.suppress(OSError):  # without it the task would move to the swap instead
        (path / ("memory.memsw.limit_in_bytes" if root == OLD else "memory.swap.max")).write_text(
            str(LIMIT if root == OLD else 0)
        )
    try:
        yield path
    finally:
        until(lambda: _gone(path))


def _gone(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()


def play(folder: Path, times: int = 2) -> Figures:
    store, figures = folder / "store", Figures()
    with group(f"wattle-{os.getpid()}") as path:
        enter = f'echo $$ > {path}/cgroup.procs; exec "$@"'
        server = Patient(folder / "home", store, ["sh", "-c", enter, "sh"])
        work = Work(folder)
        server.launch_here()
        try:
            keeper = (store / "keeper.lock").read_text()
            for number in range(times):
                _eat(server, work, number, figures)
            if (store / "keeper.lock").read_text() != keeper or server.process.poll() is not None:
                figures.wrong.append("keeper or server did not outlive the task")
            server.end()
        finally:
            server.end_all()
            end_keeper(store)
    return figures


def _eat(server: Patient, work: Work, number: int, figures: Figures) -> None:
    eater = [sys.executable, "-c", f"print('begin', flush=True); x = b'x' * {2 * LIMIT}; print('end')"]
    killer = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    run = server.run({"eater": {"run": eater}, "killer": {"run": killer}}, f"m{number}", working_dir=str(work.folder))
    server.ended(run, 60)
    eaten, killed = (server.task(run, name) for name in ("eater", "killer"))
    figures.killed += 1
    figures.reasons.add(eaten["reason"])
    if (eaten["state"], eaten["reason"]) != ("failed", "killed by the OOM killer"):
        figures.wrong.append(f"the task that took too much is {eaten['state']}: {eaten['reason']}")
    if "OOM" in killed["reason"]:
        figures.wrong.append(f"a task that killed itself: {killed['reason']}")
    log = server.raw("GET", f"runs/{run}/tasks/eater/logs?download=1")[1]
    if log != b"begin\n":
        figures.wrong.append(f"its log is {log[:80]!r}")
