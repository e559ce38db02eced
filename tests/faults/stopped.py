"""Server, keeper and tasks that stand still for a while, as on a machine that is too busy: nobody is taken for dead."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from keeper_stores import keeper_pid
from processes import until

from faults.disk import end_keeper
from faults.patient import PATIENCE, Patient, Prober
from faults.work import Work
from wattle_jupyter.host import process

WHO = ("server", "keeper", "tasks")


@dataclass
class Figures:
    seconds: float = 0.0
    stops: int = 0
    runs: int = 0
    slowest_resume: float = 0.0
    reasons: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def play(folder: Path, seconds: float = 60.0) -> Figures:
    store, figures = folder / "store", Figures(seconds)
    server, work = Patient(folder / "home", store), Work(folder)
    server.launch_here()
    try:
        for who in WHO:
            work.submit(server, tasks=4, lines=2000, nap=0.5)
            until(lambda: _tasks(store))
            _hold(server, work, who, figures)
        figures.wrong += work.check(server, lines=2000)
        figures.runs = len(work.account.runs)
        server.end()
        figures.wrong += work.after(store)
    finally:
        server.end_all()
        end_keeper(store)
    return figures


def _hold(server: Patient, work: Work, who: str, figures: Figures) -> None:
    pids = {"server": [server.server_pid], "keeper": [keeper_pid(server.store)]}.get(who) or _tasks(server.store)
    _signal(pids, signal.SIGSTOP)
    if who == "server":
        time.sleep(figures.seconds)
    else:
        with Prober(server) as seen:
            work.submit(server, tasks=3, lines=2000)
            time.sleep(figures.seconds)
        figures.wrong += [f"{who} stopped: {what}" for what in seen.wrong]
        figures.reasons |= seen.reasons
    _signal(pids, signal.SIGCONT)
    over = time.monotonic()
    until(server.works, 30)
    resumed = time.monotonic() - over
    figures.slowest_resume = max(figures.slowest_resume, resumed)
    if resumed > PATIENCE:
        figures.wrong.append(f"{who}: works {resumed:.1f} s after it went on")
    until(lambda: not work.pending(server), 60)
    figures.stops += 1


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _tasks(store: Path) -> list[int]:
    ids = set(os.listdir(store / "attempts"))
    return [proc.pid for proc in process.scan() if process.cookie(proc.pid) in ids]
