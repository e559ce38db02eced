"""A log looked through with the help of ripgrep, if that is installed: it says which lines are worth a look.

ripgrep knows nothing of colours and its patterns are not quite Python's, so it is asked for all lines that may match.
Lines without escape codes that it finds are believed where the pattern means the same to both; of all others Python's
``re`` decides.
"""

from __future__ import annotations

import heapq
import itertools
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from typing import IO, NamedTuple

from wattle_jupyter.host.pattern import Said
from wattle_jupyter.host.scan import Scan, as_seen, blocks, line_from, line_start

NEAR = 256 << 10
"""Bytes that are looked through without ripgrep: it takes some milliseconds to start."""

_WINDOW = 16 << 20  # bytes that are looked at first on the way back
_ENOUGH = 20_000  # lines that are looked at one by one before they are only counted
_SPARSE = 1_500  # bytes for each line that matches: with fewer than these, counting is faster
_WIDEST = 64 << 10  # bytes of a line that ripgrep shows
_OMITTED = b"[Omitted long"  # what it shows of a longer one
_AT_ONCE = 1_000  # lines
_SPOT = 64 << 10
_SPOTS = 64 << 20  # one spot for each of so many bytes
_LEAST_SPOTS = 16
_COLOURFUL = 50  # fewer lines than this for each escape code, and lines with any are too many to be looked at
_RARE = 2_000  # bytes for each that one of a few letters is seen in
_OPTIONS = (
    "--no-config", "--text", "--encoding=none", "--no-filename", "--no-line-number", "--no-heading", "--color=never",
    "--no-messages", "--threads=1", "--case-sensitive", f"--max-columns={_WIDEST}",
)  # fmt: skip
_FINE = frozenset((0, 1))  # exit codes: some lines, none
_BUFFER = 1 << 18


class Failed(Exception):
    """ripgrep cannot be started, did not understand the pattern, or was ended."""


def program() -> str | None:
    """Where ripgrep is: on the path, or beside this Python."""
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), os.path.dirname(sys.executable)]
    places = [os.path.join(folder, "rg") for folder in folders if os.path.isabs(folder)]
    return next((place for place in places if os.access(place, os.X_OK) and os.path.isfile(place)), None)


class _Look(NamedTuple):
    """What a log is like."""

    endless: bool = False
    """There may be lines of many megabytes."""
    colourful: bool = False
    """Many lines have escape codes."""
    rare: bool = False
    """The letters that a match begins with are rare: then ripgrep looks for escape codes as well in the same time."""


class Ripgrep(Scan):
    """Raises Failed at any time; what it said before is right."""

    def __init__(self, rg: str, path: str, scan: Scan, plain: Said, coloured: Said) -> None:
        super().__init__(scan.fd, scan.wanted)
        self._rg = rg
        self._path = path
        self._scan = scan
        self._plain = plain
        self._coloured = coloured

    def forth(self, begin: int, end: int) -> Generator[int]:
        near, finished = self._edges(begin, end)
        yield from self._scan.forth(begin, near)
        if near < finished:
            yield from self._found(near, finished)
        yield from self._scan.forth(max(near, finished), end)

    def back(self, begin: int, end: int) -> Iterator[int]:
        at = max(begin, line_start(self.fd, max(0, end - NEAR)))
        yield from self._scan.back(at, end)
        length = _WINDOW
        while begin < at:
            start = max(begin, line_start(self.fd, max(0, at - length)))
            yield from reversed(list(self._found(start, at)))
            at, length = start, 4 * length

    def survey(self, begin: int, end: int, most: int, last: bool) -> tuple[list[int], int]:
        if not self._plain.exact:
            return super().survey(begin, end, most, last)
        hits = self.forth(begin, end)
        lines = list(itertools.islice(hits, max(_ENOUGH, most)))
        more = next(hits, None)
        count = len(lines) + (0 if more is None else self._rest(hits, begin, more, end))
        hits.close()
        if not last:
            return lines[:most], count
        return (lines[-most:] if more is None else sorted(itertools.islice(self._scan.back(begin, end), most))), count

    def _rest(self, hits: Iterator[int], before: int, at: int, end: int) -> int:
        """How many there are from ``at`` on, the next of ``hits``: one by one for as long as they are sparse."""
        count = 0
        while at - before > _ENOUGH * _SPARSE:
            before = at
            count += 1 + sum(1 for _ in itertools.islice(hits, _ENOUGH - 1))
            following = next(hits, None)
            if following is None:
                return count
            at = following
        return count + self._count(at, end)

    def _edges(self, begin: int, end: int) -> tuple[int, int]:
        """Up to where it is near, and where the last line begins if that is not finished (``end`` if it is)."""
        return min(end, line_from(self.fd, begin + NEAR)), max(begin, line_start(self.fd, end))

    def _found(self, begin: int, end: int) -> Iterator[int]:
        """Lines between two line feeds."""
        look = self._look(begin, end)
        if look.endless:
            yield from self._scan.forth(begin, end)
            return
        with ExitStack() as running:
            if look.colourful or look.rare:
                text = self._coloured.text if look.colourful else rf"{self._plain.text}|\x1b"
                yield from self._looked_at(self._nominated(running, text, begin, end))
                return
            plain = self._nominated(running, self._plain.text, begin, end)
            escaped = self._nominated(running, r"\x1b", begin, end)  # both are running before one of them is read
            said = -1
            for at in heapq.merge(self._without_escapes(plain), self._looked_at(escaped)):
                if at != said:
                    yield at
                said = at

    def _look(self, begin: int, end: int) -> _Look:
        """At some spots."""
        count = max(_LEAST_SPOTS, (end - begin) // _SPOTS)
        escapes = feeds = starts = seen = 0
        for i in range(count):
            spot = os.pread(self.fd, _SPOT, begin + (end - begin) * i // count)
            here = spot.count(b"\n")
            if not here and len(spot) == _SPOT:
                return _Look(endless=True)
            feeds += here
            seen += len(spot)
            escapes += spot.count(b"\x1b")
            starts += sum(spot.count(byte) for byte in self._plain.starts)
        return _Look(colourful=escapes * _COLOURFUL > feeds, rare=bool(self._plain.starts) and starts * _RARE <= seen)

    def _without_escapes(self, nominated: Iterator[tuple[int, bytes]]) -> Iterator[int]:
        exact, is_in = self._plain.exact, self.wanted.is_in
        for at, line in nominated:
            if line.startswith(_OMITTED):
                if self._holds(at):
                    yield at
            elif b"\x1b" not in line and (exact or is_in(line)):
                yield at

    def _looked_at(self, nominated: Iterator[tuple[int, bytes]]) -> Iterator[int]:
        """Many at a time, which is faster, but not the first ones: who waits for those shall not wait for many."""
        size = 1
        while some := list(itertools.islice(nominated, size)):
            hits = set(self._scan.among([line for _, line in some]))
            for i, (at, line) in enumerate(some):
                if self._holds(at) if line.startswith(_OMITTED) else i in hits:
                    yield at
            size = min(2 * size, _AT_ONCE)

    def _holds(self, at: int) -> bool:
        """Whether the line matches, which may be long."""
        return self._scan.matches(at, line_from(self.fd, at + 1))

    def _nominated(self, running: ExitStack, text: str, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        """The lines that ripgrep finds, which is started now and ended by ``running``."""
        base = 0 if begin <= 2 * NEAR else begin
        log = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(log), os.fstat(self.fd)):
                raise Failed("the log was exchanged")
            os.lseek(log, base, os.SEEK_SET)
            # under its name it is mapped, which takes half the time, but from its beginning only
            process = self._start("--byte-offset", text, "-" if base else "/dev/stdin", log)
        finally:
            os.close(log)
        running.callback(_end, process)
        return _read(process, base, begin, end)

    def _count(self, begin: int, end: int) -> int:
        """How many lines match from ``begin`` on, if the pattern is exact."""
        finished = max(begin, line_start(self.fd, end))
        process = self._start("--count", self._plain.text, "-", subprocess.PIPE)
        try:
            for _, block in blocks(self.fd, begin, finished):
                _into(process).write(as_seen(block))
            out, _ = process.communicate()
        except BrokenPipeError:
            raise Failed(_said(process)) from None
        finally:
            _end(process)
        if process.returncode not in _FINE:
            raise Failed(_said(process))
        return int(out or 0) + sum(1 for _ in self._scan.forth(finished, end))

    def _start(self, what: str, text: str, place: str, stdin: int) -> subprocess.Popen[bytes]:
        command = [self._rg, *_OPTIONS, what, f"--regexp={text}", "--", place]
        try:
            return subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=_BUFFER
            )
        except OSError as error:
            raise Failed(f"{self._rg} cannot be started: {error}") from None


def _read(process: subprocess.Popen[bytes], base: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Offset and text of each line between ``begin`` and ``end``."""
    for said in process.stdout or ():
        offset, _, line = said.partition(b":")
        at = base + int(offset)
        if at >= end:
            return
        if at >= begin:
            yield at, line[:-1]
    if process.wait() not in _FINE:
        raise Failed(_said(process))


def _into(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdin is None:
        raise Failed("nothing can be written to it")
    return process.stdin


def _said(process: subprocess.Popen[bytes]) -> str:
    return f"ripgrep ended with {process.returncode}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    process.wait()
