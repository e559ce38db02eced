"""Looks for a pattern in a log. A process of its own, started by file path: a pattern of a user's may run for ever.

Reads one JSON object from stdin (``path``, ``pattern``, ``ignore_case``, ``most``) and writes one to stdout:
``size`` (bytes that were looked at), ``count`` (lines that match), ``lines`` (offsets of the first ``most`` of them).
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

_BLOCK = 8 << 20
_LIFE = 60  # seconds: a server that was killed ends nobody
# what a terminal does not show: colours, cursor moves, titles
_ESCAPE = re.compile(rb"\x1b\[[0-9;:<=>?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]")


def find(path: str, pattern: str, ignore_case: bool, most: int) -> dict[str, Any]:
    """Case is ignored for ASCII letters. OSError if the file cannot be read, re.error for a bad pattern."""
    literal = ignore_case and re.escape(pattern) == pattern  # six times faster than IGNORECASE
    text = pattern.lower() if literal else pattern
    wanted = re.compile(text.encode(), re.MULTILINE | (re.IGNORECASE if ignore_case and not literal else 0))
    lines: list[int] = []
    count = size = 0
    for base, block in _blocks(path):
        size = base + len(block)
        for start in _matching(wanted, block.lower() if literal else block):
            count += 1
            if len(lines) < most:
                lines.append(base + start)
    return {"size": size, "count": count, "lines": lines}


def _blocks(path: str) -> Iterator[tuple[int, bytes]]:
    """The file in pieces of whole lines, but for the last line and for very long ones."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        offset = 0
        while block := os.pread(fd, _BLOCK, offset):
            end = block.rfind(b"\n") + 1
            if len(block) == _BLOCK and end:
                block = block[:end]
            yield offset, block
            offset += len(block)
    finally:
        os.close(fd)


def _matching(wanted: re.Pattern[bytes], block: bytes) -> Iterator[int]:
    """Where the lines begin that match, each once."""
    shown = _ESCAPE.sub(b"", block) if b"\x1b" in block else block
    start = at = seen = 0  # of the line in the block; the same in what is shown
    while match := wanted.search(shown, at):
        first = shown.rfind(b"\n", seen, match.start()) + 1 or seen
        if shown is block:
            start = first
        else:
            for _ in range(shown.count(b"\n", seen, first)):
                start = block.index(b"\n", start) + 1
        if first == len(shown) and block.endswith(b"\n"):
            return  # the empty end after the last line feed is no line
        yield start
        seen = first
        at = shown.find(b"\n", first) + 1
        if not at:
            return


def main() -> None:
    signal.alarm(_LIFE)
    asked = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(find(asked["path"], asked["pattern"], asked["ignore_case"], asked["most"])))


if __name__ == "__main__":
    main()
