"""The processes of one store: start them, hold them still to look at them, kill them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keeper_stores import keeper_pid
from processes import EngineProcess, Owned, ServerProcess

from survival.workload import read_ledger
from wattle_jupyter.host import process

SETTINGS = {"WATTLE_SCHEDULER__SLOTS": "10", "WATTLE_SCHEDULER__LOSS_BUDGET": "12"}
LOSS_BUDGET = 12


@dataclass
class Picture:
    """The store at one moment, with both processes held still."""

    seq: int = 0
    rows: dict[str, str] = field(default_factory=dict)  # attempt → state in the database
    broken: list[str] = field(default_factory=list)  # what contradicts itself in the database
    folders: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)  # attempts whose process wrote that it started
    twice: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    by_keeper: set[str] = field(default_factory=set)  # attempts that the keeper has files of open

    @property
    def active(self) -> set[str]:
        """Attempts that have not ended, as the database knows it."""
        return {id for id, state in self.rows.items() if state in ("starting", "running")}

    @property
    def running(self) -> set[str]:
        return self.started - self.ended

    @property
    def told(self) -> set[str]:
        """Attempts that the server knows to run: it said so in a commit."""
        return {id for id, state in self.rows.items() if state == "running"}

    @property
    def intents(self) -> set[str]:
        """Committed, but no process of them has come to its first line."""
        return {id for id, state in self.rows.items() if state == "starting"} - self.started


class Machine:
    """A store with the server and the keeper that serve it. ``package`` is the folder that holds the code to run."""

    def __init__(self, folder: Path, package: Path, *, jupyter: bool) -> None:
        self.folder = folder
        self.store = folder / "s"
        self.ledger = folder / "work" / "ledger"
        self.jupyter = jupyter
        self.path = str(package)
        self._environ = {**SETTINGS, "PYTHONPATH": self.path}
        self.server: Owned = (ServerProcess if jupyter else EngineProcess)(folder / "h", self.store)
        self.server.patience = 120.0  # several stores at a time keep a machine busy
        self.ready = False

    # ------------------------------------------------------------------------------------------------ life

    def launch(self) -> None:
        """Start the server and wait until it owns the store."""
        assert isinstance(self.server, EngineProcess | ServerProcess)
        self.server.launch(**self._environ)
        self.ready = True

    def begin(self) -> None:
        """Start the server and do not wait."""
        if isinstance(self.server, ServerProcess):
            self.server.launch(wait=False, **self._environ)
        else:
            self.server.start(["-m", "wattle_jupyter", "serve", "--store", str(self.store)], **self._environ)

    def kill_server(self) -> None:
        self.ready = False
        self.server.process.kill()
        self.server.process.wait()

    def kill_keeper(self) -> None:
        pid = self.keeper()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            while _is_keeper(pid, self.store):
                time.sleep(0.002)

    def keeper(self) -> int | None:
        """Pid of the living keeper."""
        try:
            pid = keeper_pid(self.store)
        except (OSError, ValueError, KeyError):
            return None
        return pid if _is_keeper(pid, self.store) else None

    @property
    def serving(self) -> bool:
        return self.server.process.poll() is None

    def _server_pid(self) -> int | None:
        return self.server.pid if self.serving else None

    def _watched(self, pid: int | None) -> set[str]:
        """Attempts that a process has a file of open: it will see how they end."""
        head = f"{self.store}/attempts/"
        return {path[len(head) :].split("/")[0] for path in open_files(pid) if path.startswith(head)}

    def stall(self) -> None:
        """Hold the keeper still until the next picture is over, as on a machine that is too busy for it."""
        pid = self.keeper()
        if pid is not None:
            hold(pid)

    # ------------------------------------------------------------------------------------------------ looking

    @contextlib.contextmanager
    def frozen(self, delay: float = 0.0) -> Iterator[Picture]:
        """Hold server and keeper still, and look. Who was not killed meanwhile goes on afterwards.

        With a ``delay`` (seconds) the keeper is held first, and the server hears what the keeper had said before.
        """
        pids = []
        for find in (self.keeper, self._server_pid) if delay else (self._server_pid, self.keeper):
            if (pid := find()) is not None:
                hold(pid)
                pids.append(pid)
            time.sleep(delay)
        try:
            yield self.look()
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def look(self) -> Picture:
        """What the disk says."""
        seen = Picture(by_keeper=self._watched(self.keeper()))
        with contextlib.suppress(FileNotFoundError):
            seen.folders = set(os.listdir(self.store / "attempts"))
        for line in read_ledger(self.ledger):
            if line.code is None and line.attempt in seen.started:
                seen.twice.add(line.attempt)
            (seen.started if line.code is None else seen.ended).add(line.attempt)
        with self.database() as db:
            if db is not None:
                seen.seq = db.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
                seen.rows = dict(db.execute("SELECT id, state FROM attempt"))
                seen.broken = [text for (text,) in db.execute(CONTRADICTIONS)]
        return seen

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection | None]:
        """The database as it is now, a copy: opening the file itself would break its owner's lock. None before any."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in ("wattle.db", "wattle.db-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(self.store / name, copy / name)
        db = sqlite3.connect(copy / "wattle.db")
        try:
            db.row_factory = None
            version = db.execute("PRAGMA user_version").fetchone()[0]
            yield db if version else None
        finally:
            db.close()

    def processes(self) -> list[process.Proc]:
        """Everything that tasks left running: by cookie or by working directory."""
        ids = set(os.listdir(self.store / "attempts"))
        place = str(self.folder / "work")
        return [p for p in process.scan() if process.cookie(p.pid) in ids or _cwd(p.pid).startswith(place)]

    def unlocked(self, attempts: set[str]) -> set[str]:
        """Those of these attempts that live and whose record is not locked. Ask only while there is no keeper."""
        free = {id for id in attempts if _is_free(self.store / "attempts" / id / "record")}
        return free & {process.cookie(proc.pid) for proc in process.scan()} if free else free

    def clear(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(AttributeError):  # never started
            self.kill_server()
        self.kill_keeper()
        with contextlib.suppress(FileNotFoundError):
            for proc in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(proc.pid, signal.SIGKILL)


CONTRADICTIONS = """
SELECT 'task run ' || t.id || ' is ' || t.state || ' with ' || count(a.id) || ' live attempts'
  FROM task_run AS t LEFT JOIN attempt AS a ON a.task_run = t.id AND a.state IN ('starting', 'running')
  GROUP BY t.id HAVING CASE count(a.id)
    WHEN 0 THEN t.state = 'running'
    WHEN 1 THEN t.state <> 'running' AND (t.state <> 'queued' OR max(a.state) <> 'starting')  -- may wait ahead
    ELSE 1 END
UNION ALL
SELECT 'run ' || r.id || ' is ' || r.state || ' with ' || count(*) || ' tasks that are not final'
  FROM run AS r JOIN task_run AS t ON t.run = r.id
  WHERE r.state IN ('completed', 'failed', 'cancelled') AND t.state IN ('created', 'queued', 'waiting', 'running')
  GROUP BY r.id
UNION ALL
SELECT 'task run ' || t.id || ' says ' || t.attempts || ' attempts' FROM task_run AS t
  WHERE t.attempts <> (SELECT count(*) FROM attempt AS a WHERE a.task_run = t.id)
"""


def hold(pid: int) -> None:
    """SIGSTOP, and wait until every thread stands still (one in vfork waits for its child: that is still enough)."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + 0.5
    while time.monotonic() < end and not _still(pid):
        time.sleep(0.0005)


def _still(pid: int) -> bool:
    try:
        return all(_state(f"/proc/{pid}/task/{tid}/stat") in "TtZX" for tid in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return True


def _state(path: str) -> str:
    with open(path, "rb") as file:
        return process.parse_stat(file.read()).state


def _is_free(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def open_files(pid: int | None) -> Iterator[str]:
    """The paths that a process has open."""
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{name}")


def _is_keeper(pid: int, store: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    proc = process.look(pid)
    return os.fsencode(store) in words and proc is not None and proc.state not in "ZX"


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
