"""A log as lines, from any byte on, and how many lines come before a byte: for windows that move through long logs.

Nothing here reads more than some megabytes at once: a log may be larger than the memory, and so may one of its lines.
"""

from __future__ import annotations

import asyncio
import codecs
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wattle_jupyter.logs import PIECE, LogFile

LONGEST = 8 << 10
"""Most bytes of one line that are shown."""

FAR = 16 << 20
"""Most bytes that are looked at for one piece. A longer line is broken in pieces of this size."""

_STEP = 256 << 10  # bytes between two entries of an index
_STRIDE = 16 << 20  # bytes that are counted before another log may have its turn
_KEPT = 128  # indexes


@dataclass(slots=True)
class Piece:
    """Lines in a row. ``offsets`` says where each begins, ``next_offset`` where the last one ends.

    Of the lines ``cut``, only the beginning is there. The lines ``broken`` have no line feed: they are not finished, or
    go on in the next piece.
    """

    next_offset: int
    offsets: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)


def line_start(file: LogFile, offset: int) -> int:
    """Where the line begins that holds this byte; ``offset`` itself if that is too far away."""
    least = max(0, offset - FAR)
    at = offset
    while at > least:
        begin = max(least, at - PIECE)
        found = file.read(begin, at - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return 0 if least == 0 else offset


def lines_before(file: LogFile, end: int, limit: int) -> Piece:
    """The lines that end at ``end``, about ``limit`` bytes of them."""
    start = line_start(file, max(0, end - limit))
    return lines_from(file, start, end, end)


def lines_from(file: LogFile, start: int, limit: int, end: int) -> Piece:
    """The lines from ``start`` on (where a line begins), about ``limit`` bytes of them, none of it after ``end``."""
    piece = Piece(start)
    bound = min(end, start + FAR)
    data, base, shown = b"", start, 0
    at = start
    while at < bound and shown < limit:
        feed = data.find(b"\n", at - base)
        if feed < 0:
            data, base = file.read(at, min(PIECE, bound - at)), at
            feed = data.find(b"\n")
        if not data:
            break  # shorter than it was said to be
        stop = base + feed + 1 if feed >= 0 else _line_end(file, at + len(data), bound)
        at = _take(piece, file, data[at - base : stop - base], at, stop)
        shown += len(piece.text[-1]) + 1
        if at < stop:
            break  # of its last character there is only a part yet
    piece.next_offset = at
    return piece


def _line_end(file: LogFile, at: int, bound: int) -> int:
    """After the next line feed; ``bound`` if there is none before."""
    while at < bound:
        data = file.read(at, min(PIECE, bound - at))
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
        if not data:
            return at
        at += len(data)
    return at


def _take(piece: Piece, file: LogFile, data: bytes, start: int, stop: int) -> int:
    """Add the line from ``start`` to ``stop``, which begins with ``data``. Returns where it ends for the reader."""
    index = len(piece.offsets)
    whole = file.read(stop - 1, 1) == b"\n"
    if not whole:
        piece.broken.append(index)
    content = stop - start - whole
    cut = content > LONGEST
    if cut:
        rest = file.read(stop - whole - LONGEST, LONGEST)
        back = rest.rfind(b"\r", 0, -1)
        # of a progress bar that was rewritten for hours, the newest is seen
        cut, data = (False, rest[back + 1 :]) if back >= 0 else (True, data[:LONGEST])
    else:
        data = data[:content]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=whole and not cut)
    if cut:
        piece.cut.append(index)
    piece.offsets.append(start)
    piece.text.append(text)
    return stop if whole or cut else stop - len(decoder.getstate()[0])


class LineIndex:
    """How many lines end before each of some bytes of a log: 8 bytes for every 256 KiB."""

    def __init__(self) -> None:
        self._feeds = array("Q", [0])  # line feeds before byte i * _STEP
        self.counting: asyncio.Task[None] | None = None

    @property
    def known(self) -> int:
        """Up to this byte, lines are counted."""
        return (len(self._feeds) - 1) * _STEP

    def grow(self, file: LogFile, end: int, most: int = _STRIDE) -> bool:
        """Count on, at most ``most`` bytes. False once all whole steps before ``end`` are counted."""
        stop = min(end, self.known + most)
        while (at := self.known) + _STEP <= stop:
            data = file.read(at, _STEP)
            if len(data) < _STEP:
                return False
            self._feeds.append(self._feeds[-1] + data.count(b"\n"))
        return self.known + _STEP <= end

    def before(self, file: LogFile, offset: int) -> int | None:
        """How many lines end before this byte; None if it is not counted as far yet."""
        step = offset // _STEP
        if step >= len(self._feeds):
            return None
        return self._feeds[step] + file.read(step * _STEP, offset - step * _STEP).count(b"\n")

    def find(self, file: LogFile, line: int) -> int | None:
        """Where line number ``line`` (from 0) begins; None if there is none as far as is counted."""
        if line <= 0:
            return 0
        step = bisect_right(self._feeds, line - 1) - 1
        missing = line - self._feeds[step]
        data = file.read(step * _STEP, _STEP)
        at = -1
        for _ in range(missing):
            at = data.find(b"\n", at + 1)
            if at < 0:
                return None
        return step * _STEP + at + 1


class LineIndexes:
    """The indexes of the logs that were looked at last."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._known: OrderedDict[tuple[Path, str], LineIndex] = OrderedDict()
        self._turn = asyncio.Semaphore(2)  # logs that are counted side by side

    def of(self, store: Path, attempt: str) -> LineIndex:
        index = self._known.setdefault((store, attempt), LineIndex())
        self._known.move_to_end((store, attempt))
        while len(self._known) > self._kept:
            _, oldest = self._known.popitem(last=False)
            if oldest.counting is not None:
                oldest.counting.cancel()
        return index

    async def count(
        self, store: Path, attempt: str, patience: float, enough: Callable[[LineIndex], bool] | None = None
    ) -> LineIndex:
        """Count to the end of the log, or as far as that gets in ``patience`` seconds: it goes on by itself then.

        ``enough`` ends the waiting, not the counting.
        """
        index = self.of(store, attempt)
        if index.counting is None or index.counting.done():
            index.counting = asyncio.create_task(self._count(index, store, attempt))
        give_up = asyncio.get_running_loop().time() + patience
        while not index.counting.done() and not (enough is not None and enough(index)):
            left = give_up - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.wait({index.counting}, timeout=min(left, 0.05))
        return index

    async def _count(self, index: LineIndex, store: Path, attempt: str) -> None:
        with LogFile(store, attempt) as file:
            more = True
            while more:
                async with self._turn:
                    more = await asyncio.to_thread(index.grow, file, file.size())
