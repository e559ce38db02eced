"""Many cancels at once, of tasks that do what they can to stay."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import until

from faults.disk import end_keeper
from faults.patient import Patient, left_over
from faults.work import Work, database_problems

GRACE = 1.0
MARGIN = 2.0
"""Seconds after the grace by which nothing may be left."""

_FORK = """
import os, sys, time
if os.fork():
    time.sleep({stay}); sys.exit(0)
os.setsid()
if os.fork():
    os._exit(0)
time.sleep(300)
"""

KINDS: Mapping[str, list[str]] = {
    "plain": ["sleep", "300"],
    "setsid": ["setsid", "--fork", "--wait", "sleep", "300"],
    "double fork": [sys.executable, "-S", "-c", _FORK.format(stay=300)],
    "ignores TERM": ["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"],
    "forks and ignores": ["sh", "-c", "trap '' TERM; setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" & wait"],
    "stopped": ["sh", "-c", "kill -STOP $$; sleep 300"],
    "chatty": ["sh", "-c", "while :; do echo something to say; done"],
}
"""Beside these, half of all tasks have not started when they are cancelled."""


@dataclass
class Figures:
    cancelled: int = 0
    running: int = 0  # had started when the cancel came
    processes: int = 0  # seen then
    survivors: int = 0  # after the grace and the margin
    slowest: float = 0.0  # seconds from the last cancel until nothing was left
    wrong: list[str] = field(default_factory=list)


def play(folder: Path, cancels: int = 200) -> Figures:
    """Each run has four tasks; half of them cannot start, for want of slots."""
    store, figures = folder / "store", Figures()
    server, work = Patient(folder / "home", store), Work(folder)
    slots = max(2, cancels * 4 // 2 // 4)
    server.launch_here(WATTLE_SCHEDULER__SLOTS=str(slots), WATTLE_SCHEDULER__MAX_ACTIVE_RUNS=str(cancels))
    try:
        runs = [server.run(_tasks(number), f"s{number}", working_dir=str(work.folder)) for number in range(cancels)]
        until(lambda: _running(server) >= slots, 60)
        figures.running, figures.processes = _running(server), len(left_over(store, work.folder))
        for run in runs:
            server.post(f"runs/{run}/cancel")
        last = time.monotonic()
        figures.cancelled = len(runs)
        _wait(server, store, work, last, figures)
        figures.wrong += _states(server, runs)
        server.end()
        figures.wrong += database_problems(store, folder / "copy")
    finally:
        server.end_all()
        end_keeper(store)
    return figures


def _tasks(number: int) -> dict[str, Any]:
    """One task of each run starts at once if there is a slot; the second waits for it."""
    command = list(KINDS.values())[number % len(KINDS)]
    return {"a": {"run": command, "grace": GRACE}, "b": {"run": ["sleep", "300"], "needs": ["a"]}}


def _running(server: Patient) -> int:
    found = server.get("runs?status=running&page_size=200")["data"]
    return sum(run["counts"].get("running", 0) for run in found)


def _wait(server: Patient, store: Path, work: Work, last: float, figures: Figures) -> None:
    deadline = last + GRACE + MARGIN
    while (left := left_over(store, work.folder)) and time.monotonic() < deadline + 30:
        if time.monotonic() < deadline:
            figures.survivors = 0
        elif not figures.survivors:
            figures.survivors = len(left)
            figures.wrong.append(f"{len(left)} survived grace + {MARGIN:g} s: {sorted(set(left))[:5]}")
        time.sleep(0.05)
    figures.slowest = time.monotonic() - last
    if left:
        figures.wrong.append(f"{len(left)} were still there half a minute later")


def _states(server: Patient, runs: list[str]) -> list[str]:
    until(lambda: not server.get("runs?status=created,queued,running")["data"], 30)
    ended = {run: server.get(f"runs/{run}") for run in runs}
    return [f"run {id} is {run['state']}" for id, run in ended.items() if run["state"] != "cancelled"]
