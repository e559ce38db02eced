"""What a look at the machine tells of a store: room, database, clock, and the processes that keep it.

Looks only. Each function returns words for people and adds to ``problems`` what is wrong, with its cure.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from wattle_jupyter.host import process
from wattle_jupyter.objects import size_text

LITTLE = 1 << 20  # bytes: no attempt can be recorded in less for long
CROWDED = 0.9  # of the files that a process may have open
FUTURE = 3600.0  # seconds by which files may be newer than the clock


def disk(store: Path, problems: list[str]) -> str:
    """Room for bytes and for files, and whether anything may be written at all."""
    try:
        found = os.statvfs(store)
    except OSError:
        return "unknown"
    free = found.f_bavail * found.f_frsize
    if found.f_flag & os.ST_RDONLY:
        problems.append(f"the disk of the store {store} is mounted read-only; see the system's log, and mount it anew")
    elif free < LITTLE:
        problems.append(
            f"the disk of the store {store} is full ({size_text(free)} free): nothing is started, tasks that write "
            "wait; free some space there: work then goes on by itself"
        )
    elif found.f_files and not found.f_favail:
        problems.append(f"the disk of the store {store} takes no more files; delete some there: work then goes on")
    return f"{size_text(free)} free"


def database(store: Path, owned: bool, problems: list[str]) -> str:
    """Of a store that nobody owns: would it be opened? An owner has looked, and says what is wrong by itself."""
    from wattle_jupyter import backups  # noqa: PLC0415  a kernel does without sqlite3
    from wattle_jupyter.guard import DATABASE  # noqa: PLC0415
    from wattle_jupyter.migrations import SCHEMA  # noqa: PLC0415

    if owned:
        return "in use"
    refusal = backups.refusal(store)
    if refusal is not None:
        problems.append(str(refusal))
        return "no good"
    path = store / DATABASE
    if not path.exists():
        return "not made yet"
    size = path.stat().st_size
    if size > backups.THOROUGH:
        return f"{size_text(size)}, too large to be looked through here"
    schema, why = _looked_through(store, path)
    if why:
        problems.append(str(backups.damaged(store, why)))
        return "damaged"
    if schema > SCHEMA:
        problems.append(
            f"{path} was written by a newer wattle-jupyter (schema {schema}, this one knows {SCHEMA}); "
            "upgrade this installation"
        )
    older = "; the next owner brings it up to date, after a backup" if schema < SCHEMA else ""
    return f"sound, {size_text(size)}, schema {schema}{older}"


def backup(store: Path) -> str:
    """How old the newest backup is. Where a due one cannot be made, the owner says why by itself."""
    from wattle_jupyter import backups  # noqa: PLC0415  a kernel does without sqlite3

    try:
        newest, number = backups.newest(store), len(backups.listed(store))
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if newest is None:
        return "none yet; a server makes one by itself after the first changes, `wattle backup` at once"
    return f"{newest.name}, {_age(time.time() - newest.at)}; {number} in all"


def _age(seconds: float) -> str:
    if seconds < 0:
        return "of a time to come: the clock was set"
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} old"
    return "new"


def _looked_through(store: Path, path: Path) -> tuple[int, str]:
    """Schema, and what is wrong. Of a copy: whoever opens the file itself could break the lock of a coming owner."""
    import sqlite3  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="wattle-doctor-") as folder:
        try:
            for part in store.glob(f"{path.name}*"):
                shutil.copyfile(part, Path(folder) / part.name)
            with closing(sqlite3.connect(Path(folder) / path.name)) as db:
                found = str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])
                schema = int(db.execute("PRAGMA user_version").fetchone()[0])
        except (sqlite3.Error, OSError) as error:
            return 0, str(error)
    return schema, "" if found == "ok" else found.splitlines()[-1]


def clock(store: Path, problems: list[str]) -> str:
    """Files of tomorrow tell of a clock that was set back."""
    newest = 0.0
    for name in ("session", "keeper.lock", "audit.log", "wattle.db-wal"):
        with suppress(OSError):
            newest = max(newest, (store / name).stat().st_mtime)
    ahead = newest - time.time()
    if ahead > FUTURE:
        problems.append(
            f"the clock of this machine was set back, or is wrong: files of the store are {ahead / 3600:.0f} h newer "
            "than now; set it right (`date`). Runs go on, their times are wrong"
        )
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def keeper(pid: int, problems: list[str]) -> str:
    """Of a keeper that runs."""
    proc = process.look(pid)
    if proc is not None and proc.state in "Tt":
        problems.append(
            f"the keeper (pid {pid}) is suspended: nothing is started, and no end is seen; kill -CONT {pid}"
        )
        return f"pid {pid}, suspended"
    crowded(pid, "the keeper", problems)
    killed = _killed_for_memory(pid)
    note = f"; the OOM killer ended {killed} processes in its control group: give it more memory" if killed else ""
    return f"pid {pid}{note}"


def crowded(pid: int, who: str, problems: list[str]) -> None:
    """Has this process nearly as many files open as it may?"""
    with suppress(OSError, StopIteration, ValueError):
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        most = int(next(line for line in limits if line.startswith("Max open files")).split()[3])
        taken = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        if taken > CROWDED * most:
            problems.append(
                f"{who} (pid {pid}) has {taken} of at most {most} files and connections open: more is refused; "
                "close some pages, or raise the limit (`ulimit -n`) and restart it"
            )


def _killed_for_memory(pid: int) -> int:
    def lines(path: str) -> list[str]:
        with suppress(OSError):
            return Path(path).read_text().splitlines()
        return []

    return max((process.oom_kills(lines(path)) for path in process.oom_paths(lines(f"/proc/{pid}/cgroup"))), default=0)
