"""What a server and its keeper did to the files of a store, and what a power cut at any moment may leave of it.

The calls are written down by strace. A file's bytes are safe once it was synced, names once anything was synced after
them (journalling file systems write names in their order); all else may be there, not be there, or be torn.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TRACED = (
    "openat,pwrite64,write,fdatasync,fsync,ftruncate,fallocate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "mkdir,mkdirat"
)
SECTOR = 512

_LINE = re.compile(r"(\d+) +([\d.]+) (.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = re.compile(r"(.*)<unfinished \.\.\.>$")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_ARGUMENT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"|([^\s,"][^,"]*)')


@dataclass(frozen=True)
class Op:
    """One call that succeeded. ``path`` is below the store."""

    at: float
    kind: str  # create, write, sync, truncate, rename, link, unlink, mkdir
    path: str
    target: str = ""
    offset: int = -1  # -1: at the end
    data: bytes = b""


def read(log: Path, store: Path) -> list[Op]:
    """The calls on files of the store, in the order in which they were done."""
    begun: dict[str, str] = {}
    found: list[Op] = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        pid, at, text = match.groups()
        if half := _UNFINISHED.match(text):
            begun[pid] = half[1]
            continue
        if rest := _RESUMED.match(text):
            text = begun.pop(pid, "") + rest[1]
        if (call := _CALL.match(text)) and int(call[3]) >= 0:
            found += _ops(float(at), call[1], _arguments(call[2]), f"{store}/")
    return found


def _arguments(text: str) -> list[bytes]:
    words = _ARGUMENT.findall(text)
    return [plain.strip().encode() if plain else _unhex(quoted) for quoted, plain in words]


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _ops(at: float, call: str, words: list[bytes], root: str) -> Iterator[Op]:
    def named(index: int, folder: int | None = None) -> str:
        path = words[index].decode(errors="replace")
        if folder is not None and not path.startswith("/"):
            path = os.path.join(_of(words[folder]), path)
        return path.removeprefix(root) if path.startswith(root) else ""

    def held(index: int = 0) -> str:
        path = _of(words[index])
        return path.removeprefix(root) if path.startswith(root) else ""

    if call == "openat":
        path = named(1, 0)
        if path and b"O_CREAT" in words[2]:
            yield Op(at, "create", path)
        if path and b"O_TRUNC" in words[2]:
            yield Op(at, "truncate", path, offset=0)
    elif call in ("pwrite64", "write") and (path := held()):
        yield Op(at, "write", path, offset=int(words[3]) if call == "pwrite64" else -1, data=words[1])
    elif call in ("fdatasync", "fsync") and (path := held()):
        yield Op(at, "sync", path)
    elif call in ("ftruncate", "fallocate") and (path := held()):
        yield Op(at, call.removeprefix("f"), path, offset=int(words[-1]))
    elif call in ("rename", "link"):
        yield Op(at, call, named(0), named(1))
    elif call in ("renameat", "renameat2", "linkat"):
        yield Op(at, call[: 6 if call.startswith("rename") else 4], named(1, 0), named(3, 2))
    elif call in ("unlink", "mkdir"):
        yield Op(at, call, named(0))
    elif call in ("unlinkat", "mkdirat"):
        yield Op(at, call[:-2], named(1, 0))


def _of(word: bytes) -> str:
    """The path that strace shows with a descriptor."""
    text = word.decode(errors="replace")
    inner = text[text.index("<") + 1 : text.rindex(">")] if "<" in text else text
    return _unhex(inner).decode(errors="replace") if inner.startswith("\\x") else inner


@dataclass
class _File:
    safe: bytearray = field(default_factory=bytearray)
    loose: list[tuple[int, bytes]] = field(default_factory=list)  # writes since the last sync
    size: int = 0  # with those


class Disk:
    """Files and names, as they are and as they are sure to be. ``apply`` the calls in their order."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}  # names that are sure
        self._names: list[Op] = []  # changes of names that are not sure yet, with their files
        self._now: dict[str, _File] = {}
        self._folders: set[str] = set()
        self._nameless: dict[str, _File] = {}  # open files by the name that they had last

    def apply(self, op: Op) -> None:
        if op.kind == "create":
            if op.path not in self._now:
                self._now[op.path] = _File()
                self._names.append(op)
        elif op.kind in ("rename", "link", "unlink", "mkdir"):
            if op.kind == "unlink" and op.path in self._now:
                self._nameless[op.path] = self._now[op.path]
            self._rename(self._now, op)
            self._names.append(op)
        elif file := self._now.get(op.path) or self._nameless.get(op.path):
            self._change(file, op)

    def _change(self, file: _File, op: Op) -> None:
        if op.kind == "write":
            offset = file.size if op.offset < 0 else op.offset
            file.loose.append((offset, op.data))
            file.size = max(file.size, offset + len(op.data))
        elif op.kind == "truncate":
            file.safe = bytearray(_whole(file))[: op.offset].ljust(op.offset, b"\0")
            file.loose, file.size = [], op.offset
        elif op.kind == "allocate":
            file.size = max(file.size, op.offset)
        elif op.kind == "sync":
            file.safe, file.loose = _whole(file), []
            for change in self._names:
                self._make_sure(change)
            self._names = []

    def _make_sure(self, op: Op) -> None:
        if op.kind == "create":
            if op.path in self._now and op.path not in self._files:
                self._files[op.path] = self._now[op.path]
        else:
            self._rename(self._files, op)

    def _rename(self, files: dict[str, _File], op: Op) -> None:
        if op.kind == "mkdir":
            self._folders.add(op.path)
        elif op.kind == "unlink":
            files.pop(op.path, None)
        elif op.path in files and op.target:
            files[op.target] = files[op.path]
            if op.kind == "rename":
                del files[op.path]

    def image(self, folder: Path, how: str, rng: random.Random) -> None:
        """What is left: ``all`` (as after a kill), ``safe`` alone, or ``torn`` in sectors."""
        files = self._now if how == "all" else dict(self._files)
        if how == "torn":
            kept = Disk()
            kept._files, kept._now, kept._folders = files, self._now, set()
            for op in self._names[: rng.randint(0, len(self._names))]:
                kept._make_sure(op)
        for name in sorted(self._folders):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_whole(file) if how == "all" else _left(file, how, rng))


def _whole(file: _File) -> bytearray:
    data = bytearray(file.safe)
    for offset, piece in file.loose:
        _put(data, offset, piece)
    return data.ljust(file.size, b"\0")


def _left(file: _File, how: str, rng: random.Random) -> bytes:
    data = bytearray(file.safe)
    if how == "torn":
        for offset, piece in file.loose:
            for start in range(0, len(piece), SECTOR):
                if rng.random() < 0.5:
                    _put(data, offset + start, piece[start : start + SECTOR])
    return bytes(data)


def _put(data: bytearray, offset: int, piece: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece
