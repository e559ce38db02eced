"""Looks for a pattern in a log. A process of its own, started by file path: a pattern of a user's may run for ever.

Reads one JSON object from stdin, the arguments of :func:`find`, and writes what that returns to stdout.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

ERRORS = (
    rb"(?i)(?:(?<!\bno )(?<!\b0 )(?<!without )"
    rb"\b(?:\w*(?:error|exception)s?|fatal|panic(?:ked)?|critical|traceback|fail(?:ed|s|ures?)?)\b"
    rb"(?![-_/.]\w|\s*=\s*[-\d.]|\s*:\s*(?:0\b|\d*\.\d)|\(\))"
    rb"|\bexit(?:ed)?(?: with)?(?: code| status| value)?[ :=]+-?[1-9]"
    rb"|segmentation fault|core dumped|\bkilled\b|out of memory|command not found|permission denied|no such file)"
)
"""What people look for when something went wrong. Counts of nothing (``0 errors``, ``failed=0``) are not it."""

# every line that ERRORS matches holds one of these; to look for them is ten times faster
_SIGNS = (
    b"error", b"exception", b"fatal", b"panic", b"critical", b"traceback", b"fail", b"exit", b"segmentation fault",
    b"core dumped", b"killed", b"out of memory", b"command not found", b"permission denied", b"no such file",
)  # fmt: skip

_BLOCK = 8 << 20
_FIRST = 256 << 10  # the block that is looked at first: what is near is found at once
_LIFE = 60  # seconds: a server that was killed ends nobody
_LINE = 8 << 10  # bytes of a line in which characters are marked: more of it is not shown
_SPANS = 20
_SPANNED = 1_000  # lines
# what a terminal does not show: colours, cursor moves, titles
_ESCAPE = re.compile(rb"\x1b\[[0-9;:<=>?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]")

Finder = Callable[[bytes], Iterator[int]]


def find(
    path: str,
    pattern: str | None,
    ignore_case: bool,
    most: int,
    *,
    start: int = 0,
    stop: int | None = None,
    last: bool = False,
    count_all: bool = True,
    finished: bool = False,
) -> dict[str, Any]:
    """Lines that match ``pattern`` (None: ERRORS) and begin from ``start`` to before ``stop``.

    ``lines``: offsets of the first ``most`` of them, or the ``last``; ``spans``: which characters of each match;
    ``count``: how many match, or were found before ``most`` was enough if not ``count_all``; ``size``: bytes that were
    there to be looked at, without the last line if that must be ``finished``.
    Case is ignored for ASCII letters. OSError if the file cannot be read, re.error for a bad pattern.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        if finished:
            size = _last_feed(fd, size)
        end = size if stop is None else min(size, _line_from(fd, stop))
        begin = min(end, _line_from(fd, start))
        literal = pattern is not None and ignore_case and re.escape(pattern) == pattern  # six times faster
        wanted, matching = _finder(pattern, ignore_case, literal)
        back = last and not count_all
        lines: deque[int] = deque(maxlen=most if last and count_all else None)
        count = 0
        for base, block in (_blocks_back if back else _blocks)(fd, begin, end):
            hits = _as_seen(matching, block)
            for hit in reversed(list(hits)) if back else hits:
                count += 1
                if len(lines) < most or (last and count_all):
                    lines.append(base + hit)
                if not count_all and count == most:
                    break
            if not count_all and count >= most:
                break
        found = sorted(lines)
        spans = [_spans(fd, line, wanted, literal) for line in found[:_SPANNED]]
        return {"size": size, "count": count, "lines": found, "spans": spans + [[]] * (len(found) - len(spans))}
    finally:
        os.close(fd)


def _finder(pattern: str | None, ignore_case: bool, literal: bool) -> tuple[re.Pattern[bytes], Finder]:
    if pattern is None:
        wanted = re.compile(ERRORS)
        return wanted, lambda shown: _erring(wanted, shown)
    text = pattern.lower() if literal else pattern
    wanted = re.compile(text.encode(), re.MULTILINE | (re.IGNORECASE if ignore_case and not literal else 0))
    return wanted, lambda shown: _matching(wanted, shown.lower() if literal else shown)


# ---------------------------------------------------------------------------------------------------------- blocks


def _blocks(fd: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The file in pieces of whole lines, but for the last line and for very long ones."""
    length = min(_FIRST, _BLOCK)
    while begin < end and (block := os.pread(fd, min(length, end - begin), begin)):
        feed = block.rfind(b"\n") + 1
        if begin + len(block) < end and feed:
            block = block[:feed]
        yield begin, block
        begin += len(block)
        length = min(2 * length, _BLOCK)


def _blocks_back(fd: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The same from the end on."""
    length = min(_FIRST, _BLOCK)
    while begin < end:
        at = max(begin, end - length)
        block = os.pread(fd, end - at, at)
        feed = block.find(b"\n", 0, -1) + 1
        if at > begin and feed:
            at, block = at + feed, block[feed:]
        yield at, block
        end = at
        length = min(2 * length, _BLOCK)


def _line_from(fd: int, offset: int) -> int:
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


def _last_feed(fd: int, size: int) -> int:
    """After the last line feed."""
    while size > 0:
        at = max(0, size - _FIRST)
        feed = os.pread(fd, size - at, at).rfind(b"\n")
        if feed >= 0:
            return at + feed + 1
        size = at
    return 0


# ----------------------------------------------------------------------------------------------------------- lines


def _matching(wanted: re.Pattern[bytes], shown: bytes) -> Iterator[int]:
    """Where the lines begin that match, each once."""
    at = seen = 0
    while match := wanted.search(shown, at):
        first = shown.rfind(b"\n", seen, match.start()) + 1 or seen
        if first == len(shown) and shown.endswith(b"\n"):
            return  # the empty end after the last line feed is no line
        yield first
        seen = first
        at = shown.find(b"\n", first) + 1
        if not at:
            return


def _erring(wanted: re.Pattern[bytes], shown: bytes) -> Iterator[int]:
    """Where the lines begin that look like an error."""
    low = shown.lower()
    ahead = {sign: at for sign in _SIGNS if (at := low.find(sign)) >= 0}
    while ahead:
        at = min(ahead.values())
        start = low.rfind(b"\n", 0, at) + 1
        end = low.find(b"\n", at)
        end = len(low) if end < 0 else end
        if wanted.search(shown, start, end):
            yield start
        for sign in [sign for sign, place in ahead.items() if place < end]:
            place = low.find(sign, end)
            if place < 0:
                del ahead[sign]
            else:
                ahead[sign] = place


def _as_seen(finder: Finder, block: bytes) -> Iterator[int]:
    """What is found in the block without its escape codes, as places in the block."""
    if b"\x1b" not in block:
        yield from finder(block)
        return
    shown = _ESCAPE.sub(b"", block)
    start = seen = 0  # the same line in the block and in what is shown
    for first in finder(shown):
        for _ in range(shown.count(b"\n", seen, first)):
            start = block.index(b"\n", start) + 1
        yield start
        seen = first


def _spans(fd: int, line: int, wanted: re.Pattern[bytes], literal: bool) -> list[tuple[int, int]]:
    """Which characters match, counted as JavaScript does. None where a return moves what is seen."""
    shown = _ESCAPE.sub(b"", os.pread(fd, _LINE, line).partition(b"\n")[0])
    if b"\r" in shown.rstrip(b"\r"):
        return []
    found: list[tuple[int, int]] = []
    for match in wanted.finditer(shown.lower() if literal else shown):
        start, end = match.span()
        if end > start:
            found.append((_units(shown[:start]), _units(shown[:end])))
        if len(found) == _SPANS:
            break
    return found


def _units(text: bytes) -> int:
    return len(text) if text.isascii() else len(text.decode("utf-8", "replace").encode("utf-16-le")) // 2


def main() -> None:
    signal.alarm(_LIFE)
    asked = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(find(**asked)))


if __name__ == "__main__":
    main()
