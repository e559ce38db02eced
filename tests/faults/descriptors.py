"""A server and a keeper that may open 64 files, with more to do than these are enough for."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from processes import until

from faults.disk import end_keeper
from faults.patient import PATIENCE, Patient, Prober
from faults.work import Work

LIMIT = 64


@dataclass
class Figures:
    limit: int = LIMIT
    tasks: int = 0
    taken: int = 0  # connections that filled the server up
    answers_then: dict[int, int] = field(default_factory=dict)  # status → how many
    reasons: set[str] = field(default_factory=set)
    resumed: float = 0.0
    wrong: list[str] = field(default_factory=list)


def play(folder: Path, rounds: int = 2, tasks: int = 30) -> Figures:
    store, figures = folder / "store", Figures()
    server = Patient(folder / "home", store, ["prlimit", f"--nofile={LIMIT}:{LIMIT}"])
    work = Work(folder)
    server.launch_here(WATTLE_SCHEDULER__SLOTS="24")
    try:
        for _ in range(rounds):
            work.submit(server, tasks=tasks, lines=5, nap=0.3)
            _crowd(server, figures)
            until(lambda: not work.pending(server), 60)
            figures.tasks += tasks
        figures.wrong += work.check(server, lines=5)
        server.end()
        figures.wrong += work.after(store)
    finally:
        server.end_all()
        end_keeper(store)
    return figures


def _crowd(server: Patient, figures: Figures) -> None:
    """Take every number that the server has left; ask on a connection that was there before."""
    with Prober(server) as seen:
        time.sleep(0.5)
    figures.reasons |= seen.reasons
    figures.wrong += seen.wrong
    asker = server.connection(PATIENCE)
    asker.request("GET", "/wattle/api/health", headers=server.credentials)
    asker.getresponse().read()
    with visitors(server) as taken:
        figures.taken = max(figures.taken, taken)
        for path in ("health", "runs", "runs/last", "audit", "backups"):
            asker.request("GET", f"/wattle/api/{path}", headers=server.credentials)
            response = asker.getresponse()
            answer = json.loads(response.read())
            figures.answers_then[response.status] = figures.answers_then.get(response.status, 0) + 1
            if response.status == 503:
                figures.reasons.add(answer["message"])
            elif response.status != 200:
                figures.wrong.append(f"{path}: {response.status} {answer}")
    asker.close()
    gone = time.monotonic()
    until(server.works, 30)
    figures.resumed = max(figures.resumed, time.monotonic() - gone)
    if figures.resumed > PATIENCE:
        figures.wrong.append(f"it answered {figures.resumed:.1f} s after the visitors had gone")


@contextlib.contextmanager
def visitors(server: Patient) -> Iterator[int]:
    """So many connections that the server has no number left for another file."""
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(LIMIT + 8)]
    pid = server.server_pid
    with contextlib.suppress(AssertionError):  # what tasks hold comes and goes
        until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) >= LIMIT, 3)
    taken = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    try:
        yield taken
    finally:
        for sock in sockets:
            sock.close()
