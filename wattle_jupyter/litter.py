"""Litter: objects in the store's folder that nothing names any more, found and thrown away.

What names an object: any text of the database (definitions, params, scripts, values), and what tasks that go on have
left so far. What is younger than a day stays as well: whoever asks whether an object is there makes it young.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

AGE = 86_400.0
"""Seconds since the last use of an object in which nobody need name it: a kernel may be about to."""

_NAME = re.compile(rb"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-f])")
_TEXTS = (
    "SELECT spec FROM workflow",
    "SELECT params || ' ' || scripts || ' ' || given FROM run",
    "SELECT ref || ' ' || coalesce(hash, '') FROM value",
    "SELECT spec FROM schedule",
)
_ACTIVE = "SELECT id FROM attempt WHERE state IN ('starting', 'running')"


@dataclass(frozen=True, slots=True)
class Piece:
    """An object, with its copies under other names, or the folder of a script. ``at`` is when it was last used."""

    name: str
    paths: tuple[Path, ...]
    at: float
    size: int


def named(db: sqlite3.Connection) -> set[str]:
    """What the database names; more than that, never less: ids look like the names of scripts."""
    found: set[str] = set()
    for sql in _TEXTS:
        for (text,) in db.execute(sql):
            found.update(names_in(text.encode()))
    return found


def active(db: sqlite3.Connection) -> list[str]:
    """Attempts that may still leave something."""
    return [row[0] for row in db.execute(_ACTIVE)]


def names_in(text: bytes) -> Iterator[str]:
    return (match.group().decode() for match in _NAME.finditer(text))


def left_so_far(store: Path, attempts: list[str]) -> set[str]:
    """What tasks that go on name in the files of their outputs. Reads the disk."""
    found: set[str] = set()
    for attempt in attempts:
        with suppress(OSError):
            found.update(names_in((store / "attempts" / attempt / "output").read_bytes()))
    return found


def find(objects: Path, kept: set[str], before: float) -> list[Piece]:
    """Objects that are not ``kept`` and were last used before this time. Reads the disk."""
    pieces = []
    for folder in sorted(objects.glob("[0-9a-f][0-9a-f]")):
        groups: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()):
            groups.setdefault(path.name.partition(".")[0], []).append(path)
        for name, paths in groups.items():
            if name not in kept and names_a_piece(name):
                with suppress(OSError):  # it went meanwhile
                    piece = _piece(name, paths)
                    pieces += [piece] if piece.at < before else []
    return pieces


def names_a_piece(name: str) -> bool:
    return _NAME.fullmatch(name.encode()) is not None


def _piece(name: str, paths: list[Path]) -> Piece:
    first = paths[0].stat()
    if not paths[0].is_dir():  # its copies under other names share its bytes
        return Piece(name, tuple(paths), first.st_mtime, first.st_size)
    return Piece(name, tuple(paths), first.st_mtime, sum(file.stat().st_size for file in paths[0].iterdir()))


def throw_away(objects: Path, piece: Piece, before: float) -> bool:
    """False if somebody used it meanwhile: it stays then.

    It loses its name first and is looked at again: who asked for it before that is seen, who asks later is told that it
    is not there.
    """
    aside = objects / "incoming" / f"litter-{uuid.uuid4().hex}"
    aside.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        piece.paths[0].rename(aside)
    except FileNotFoundError:
        return False
    if aside.stat().st_mtime >= before and not piece.paths[0].exists():
        aside.rename(piece.paths[0])
        return False
    for path in (aside, *piece.paths[1:]):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return True


def touch(path: Path) -> bool:
    """It is of use: it stays for a day. False if it is not there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
