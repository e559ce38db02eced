"""Clocks that are set by days, a change to summer time, and a machine that was suspended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from keeper_stores import keeper_pid, kill_keeper
from processes import until

from faults.disk import end_keeper
from faults.patient import Patient
from faults.work import Work
from wattle_jupyter.host import process

DAYS = 2 * 86_400
STEPS = (DAYS, -DAYS, -DAYS, DAYS)
BEFORE_SUMMER = 1774745998
"""Seconds since 1970: two seconds before Berlin's clocks went from 2:00 to 3:00 on 29 March 2026."""


@dataclass
class Figures:
    steps: int = 0
    runs: int = 0
    longest: float = 0.0  # seconds that a task of 1 s took, as the server says
    shortest: float = 1e9
    slowest_retry: float = 0.0  # seconds that a retry after 3 s took to come, as we see it
    wrong: list[str] = field(default_factory=list)


def library() -> str:
    """Where libfaketime is; ``""`` if it is not installed."""
    found = shutil.which("faketime")
    places = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")] if found else []
    return str(places[0]) if places else ""


class Clock:
    """The wall clock of a server and of all that it starts. The others go on as they are."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, ahead: int) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{ahead:+d}\n")
        draft.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "TZ": "Europe/Berlin",
        }


def play(folder: Path, steps: Sequence[int] = STEPS, *, summer: bool = True) -> Figures:
    """Set the clock in the middle of runs: by these seconds, one after the other, and over to summer time."""
    store, figures, clock = folder / "store", Figures(), Clock(folder / "clock")
    server, work = Patient(folder / "home", store), Work(folder)
    (work.folder / "flaky.sh").write_text("#!/bin/sh\n[ -e flag ] && exit 0\ntouch flag; exit 1\n")
    (work.folder / "flaky.sh").chmod(0o755)
    server.launch_here(**clock.environment)
    try:
        ahead = 0
        for step in steps:
            ahead += step
            _jump(server, work, clock, ahead, figures)
        if summer:
            _jump(server, work, clock, BEFORE_SUMMER - int(time.time()), figures)
        clock.set(0)
        server.end()
        figures.wrong += work.after(store)
    finally:
        server.end_all()
        end_keeper(store)
    return figures


def _jump(server: Patient, work: Work, clock: Clock, ahead: int, figures: Figures) -> None:
    """One run naps, one waits for a retry in 3 s; the limit of both is a minute."""
    (work.folder / "flag").unlink(missing_ok=True)
    flaky = {"run": ["./flaky.sh"], "retries": 1, "retry_delay": 3, "timeout": 60}
    retried = server.run({"a": flaky}, name=f"flaky{figures.steps}", working_dir=str(work.folder))
    until(lambda: server.task(retried, "a")["not_before"])
    spec = work.spec(tasks=3, lines=3, nap=1.0)
    for task in spec["tasks"].values():
        task["timeout"] = 60
    napping = str(server.post("runs", {"spec": spec})["id"])
    until(lambda: napping in work.ledger.read_text())
    clock.set(ahead)
    set_at = time.monotonic()
    ends = {id: _ended(server, id, figures) for id in (retried, napping)}
    figures.slowest_retry = max(figures.slowest_retry, ends[retried][1] - set_at)
    figures.steps += 1
    figures.runs += 2
    for id, (run, _) in ends.items():
        if run["state"] != "completed":
            figures.wrong.append(f"{ahead:+d} s: run {id} is {run['state']}: {run['reason']}")
        figures.wrong += [f"{ahead:+d} s: {what}" for what in _times(server, run, figures)]


def _ended(server: Patient, id: str, figures: Figures) -> tuple[Any, float]:
    try:
        return server.ended(id, 30), time.monotonic()
    except AssertionError:
        figures.wrong.append(f"run {id} did not end within 30 s after the clock was set")
        return server.get(f"runs/{id}"), time.monotonic()


def _times(server: Patient, run: Any, figures: Figures) -> Iterator[str]:
    """Nothing ends before it begins, or takes days; what is said is UTC."""
    for what, thing in [("the run", run), *((t["task"], t) for t in run["tasks"])]:
        took = _seconds(thing)
        if took is None or not 0 <= took < 20:
            yield f"{what} of run {run['id']} took {took} s"
    for task in run["tasks"]:
        for attempt in server.task(run["id"], task["task"])["history"]:
            took = _seconds(attempt)
            if took is None or not 0 <= took < 20:
                yield f"attempt {attempt['n']} of {task['task']} took {took} s"
            elif "flaky" not in run["workflow"]:
                figures.longest, figures.shortest = max(figures.longest, took), min(figures.shortest, took)
        if not str(task["ended_at"]).endswith("Z"):
            yield f"{task['ended_at']} is not UTC"


def _seconds(thing: Any) -> float | None:
    if not thing["started_at"] or not thing["ended_at"]:
        return None
    begin, end = (datetime.fromisoformat(thing[key]).timestamp() for key in ("started_at", "ended_at"))
    return end - begin


# ------------------------------------------------------------------------------------------------------------- suspend


def cannot_suspend() -> str:
    """Why no clock of a suspended machine can be had here, or ``""``."""
    done = subprocess.run(
        ["unshare", "-T", f"--boottime={DAYS}", "--fork", "true"], capture_output=True, text=True, check=False
    )
    return f"no time namespace: {done.stderr.strip()}" if done.returncode else ""


def suspend(folder: Path) -> Figures:
    """A machine that slept for two days since its boot, and a sleep of everything in the middle of a run.

    Time limits do not count a sleep; what ran is found again by a server and a keeper that come after it.
    """
    store, figures = folder / "store", Figures()
    prefix = ["unshare", "-T", f"--boottime={DAYS}", "--fork", "--kill-child"]
    server, work = Patient(folder / "home", store, prefix), Work(folder)
    server.launch_here()
    try:
        spec = work.spec(tasks=3, lines=3, nap=1.5)
        for task in spec["tasks"].values():
            task["timeout"] = 60
        run = str(server.post("runs", {"spec": spec})["id"])
        first = server.running(run, "first")["history"][-1]
        everyone = [server.server_pid, keeper_pid(store), *_tasks(store)]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in everyone:
                os.kill(pid, number)
            time.sleep(1.0)
        kill_keeper(store)  # the next one takes the task up by its pid and its time of start
        ended = server.ended(run, 40)
        again = server.task(run, "first")["history"]
        if ended["state"] != "completed" or len(again) != 1 or again[0]["id"] != first["id"]:
            figures.wrong.append(
                f"after a suspend the run is {ended['state']}, its first task had {len(again)} attempts"
            )
        figures.wrong += list(_times(server, ended, figures))
        figures.runs, figures.steps = 1, 1
        server.end_all()
    finally:
        server.end_all()
        end_keeper(store)
    return figures


def _tasks(store: Path) -> list[int]:
    ids = set(os.listdir(store / "attempts"))
    return [proc.pid for proc in process.scan() if process.cookie(proc.pid) in ids]
