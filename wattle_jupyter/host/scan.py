"""A log looked through by Python itself, a megabyte at a time.

A line longer than LONGEST is looked at in pieces of that size; what goes over the end of a piece is not found.
"""

from __future__ import annotations

import itertools
import os
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence

from wattle_jupyter.host.pattern import ESCAPES, Pattern

LONGEST = 8 << 20
_BLOCK = 1 << 20
_FIRST = 64 << 10  # the block that is looked at first: what is near is found at once
_ESCAPE = re.compile(ESCAPES)


def as_seen(text: bytes) -> bytes:
    """Without what a terminal does not show."""
    return _ESCAPE.sub(b"", text) if b"\x1b" in text else text


class Scan:
    """Lines of a log that match. Offsets ``begin`` and ``end`` are where lines begin, or the end of the log."""

    def __init__(self, fd: int, wanted: Pattern) -> None:
        self.fd = fd
        self.wanted = wanted

    def forth(self, begin: int, end: int) -> Iterator[int]:
        """Where the lines begin, each once."""
        start, said = begin, -1
        for base, block in blocks(self.fd, begin, end):
            for hit in self._in(block):
                at = base + hit if hit else start
                if at != said:
                    yield at
                said = at
            feed = block.rfind(b"\n") + 1
            if feed:
                start = base + feed

    def back(self, begin: int, end: int) -> Iterator[int]:
        """The same from the end on."""
        said = -1
        for base, block in blocks_back(self.fd, begin, end):
            for hit in reversed(list(self._in(block))):
                at = base + hit if hit else line_start(self.fd, base)
                if at != said:
                    yield at
                said = at

    def survey(self, begin: int, end: int, most: int, last: bool) -> tuple[list[int], int]:
        """The first or last ``most`` of them, and how many there are."""
        return kept(self.forth(begin, end), most, last)

    def among(self, lines: Sequence[bytes]) -> Iterator[int]:
        """Which of these lines match."""
        shown = as_seen(b"\n".join([*lines, b""]))
        number = seen = 0
        for hit in self._lines(shown):
            number += shown.count(b"\n", seen, hit)
            seen = hit
            yield number

    def matches(self, begin: int, end: int) -> bool:
        """Whether the line from ``begin`` to ``end`` does."""
        return next(self.forth(begin, end), None) is not None

    def _in(self, block: bytes) -> Iterator[int]:
        """Where in the block."""
        if b"\x1b" not in block:
            yield from self._lines(block)
            return
        places: list[int] = []  # in what is shown, of what is not
        gone: list[int] = [0]
        pieces: list[bytes] = []
        at = 0
        for escape in _ESCAPE.finditer(block):
            pieces.append(block[at : escape.start()])
            places.append(escape.start() - gone[-1])
            at = escape.end()
            gone.append(gone[-1] + at - escape.start())
        shown = b"".join(pieces) + block[at:]
        for hit in self._lines(shown):
            yield hit + gone[bisect_right(places, hit - 1)] if hit else 0

    def _lines(self, shown: bytes) -> Iterator[int]:
        """Where the lines begin that match, in what has no escape codes."""
        wanted = self.wanted
        if wanted.needles:
            return self._with_needles(shown)
        return self._one_by_one(shown) if wanted.single else self._all_at_once(shown)

    def _one_by_one(self, shown: bytes) -> Iterator[int]:
        at, wanted = 0, self.wanted
        for line in shown.split(b"\n"):
            if (line or at < len(shown)) and wanted.is_in(line):
                yield at
            at += len(line) + 1

    def _all_at_once(self, shown: bytes) -> Iterator[int]:
        at, find = 0, self.wanted.compiled.search
        while match := find(shown, at):
            first = shown.rfind(b"\n", at, match.start()) + 1 or at
            if first == len(shown):
                return  # the empty end after the last line feed is no line
            yield first
            at = shown.find(b"\n", match.end()) + 1
            if not at:
                return

    def _with_needles(self, shown: bytes) -> Iterator[int]:
        """The lines that hold one of the needles, if they match."""
        wanted = self.wanted
        low = shown.lower() if wanted.folded else shown
        ahead = {needle: at for needle in wanted.needles if (at := low.find(needle)) >= 0}
        while ahead:
            at = min(ahead.values())
            first = low.rfind(b"\n", 0, at) + 1
            end = low.find(b"\n", at)
            end = len(low) if end < 0 else end
            if wanted.is_in(shown[first:end]):
                yield first
            for needle in [needle for needle, place in ahead.items() if place < end]:
                place = low.find(needle, end)
                if place < 0:
                    del ahead[needle]
                else:
                    ahead[needle] = place


def kept(hits: Iterator[int], most: int, last: bool) -> tuple[list[int], int]:
    """The first or last ``most``, and how many there are."""
    if last:
        counted = itertools.count()
        lines = [hit for hit, _ in deque(zip(hits, counted, strict=False), most)]
        return lines, next(counted)
    lines = list(itertools.islice(hits, most))
    return lines, len(lines) + sum(1 for _ in hits)


# ---------------------------------------------------------------------------------------------------------- blocks


def blocks(fd: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The log in pieces of whole lines, but for the last line and for very long ones."""
    length = min(_FIRST, _BLOCK)
    while begin < end and (block := os.pread(fd, min(length, end - begin), begin)):
        if begin + len(block) < end:
            feed = block.rfind(b"\n") + 1
            if not feed and length < LONGEST:
                length = LONGEST
                continue
            block = block[:feed] if feed else block
        yield begin, block
        begin += len(block)
        length = min(2 * length, _BLOCK)


def blocks_back(fd: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The same from the end on."""
    length = min(_FIRST, _BLOCK)
    while begin < end:
        at = max(begin, end - length)
        block = os.pread(fd, end - at, at)
        if at > begin:
            feed = block.find(b"\n", 0, -1) + 1
            if not feed and length < LONGEST:
                length = LONGEST
                continue
            at, block = at + feed, block[feed:]
        yield at, block
        end = at
        length = min(2 * length, _BLOCK)


def line_start(fd: int, offset: int) -> int:
    """Where the line begins that holds this byte."""
    at = offset
    while at > 0:
        begin = max(0, at - _FIRST)
        feed = os.pread(fd, at - begin, begin).rfind(b"\n")
        if feed >= 0:
            return begin + feed + 1
        at = begin
    return 0


def line_from(fd: int, offset: int) -> int:
    """Where the first line begins that begins at this byte or later."""
    if offset <= 0:
        return 0
    at = offset - 1
    while data := os.pread(fd, _FIRST, at):
        feed = data.find(b"\n")
        if feed >= 0:
            return at + feed + 1
        at += len(data)
    return at
