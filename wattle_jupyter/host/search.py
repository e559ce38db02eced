"""Looks for a pattern in a log. A process of its own: a pattern of a user's may run for ever.

Reads one JSON object from stdin, the arguments of :func:`find`, and writes what that returns to stdout. It may be
started before anybody knows what for.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
from typing import Any

from wattle_jupyter.host import ripgrep
from wattle_jupyter.host.pattern import read
from wattle_jupyter.host.scan import Scan, as_seen, line_from, line_start

ERRORS = (
    rb"(?i)(?:(?<!\bno )(?<!\b0 )(?<!without )"
    rb"\b(?:\w*(?:error|exception)s?|fatal|panic(?:ked)?|critical|traceback|fail(?:ed|s|ures?)?)\b"
    rb"(?![-_/.]\w|\s*=\s*[-\d.]|\s*:\s*(?:0\b|\d*\.\d)|\(\))"
    rb"|\bexit(?:ed)?(?: with)?(?: code| status| value)?[ :=]+-?[1-9]"
    rb"|segmentation fault|core dumped|\bkilled\b|out of memory|command not found|permission denied|no such file)"
)
"""What people look for when something went wrong. Counts of nothing (``0 errors``, ``failed=0``) are not it."""

_SMALL = 4 << 20  # bytes that are looked through before ripgrep had started
_LIFE = 60  # seconds: a server that was killed ends nobody
_LINE = 8 << 10  # bytes of a line in which characters are marked: more of it is not shown
_SPANS = 20
_SPANNED = 1_000  # lines


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

    Each line is looked at by itself, as it is seen: without its line feed and without escape codes.
    ``lines``: offsets of the first ``most`` of them, or the ``last``; ``spans``: which characters of each match;
    ``count``: how many match, or were found before ``most`` was enough if not ``count_all``; ``size``: bytes that were
    there to be looked at, without the last line if that must be ``finished``.
    Case is ignored for ASCII letters. OSError if the file cannot be read, re.error for a bad pattern.
    """
    wanted = read(ERRORS, False) if pattern is None else read(pattern, ignore_case)
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        if finished:
            size = line_start(fd, size)
        end = size if stop is None else min(size, line_from(fd, stop))
        begin = min(end, line_from(fd, start))

        def look(scan: Scan) -> tuple[list[int], int]:
            if count_all:
                return scan.survey(begin, end, most, last)
            hits = scan.back(begin, end) if last else scan.forth(begin, end)
            lines = sorted(itertools.islice(hits, most))
            return lines, len(lines)

        scan = Scan(fd, wanted)
        helped = _helped(path, scan) if end - begin > _SMALL else scan
        try:
            lines, count = look(helped)
        except ripgrep.Failed:
            lines, count = look(scan)
        spans = [_spans(fd, line, wanted.compiled) for line in lines[:_SPANNED]]
        return {"size": size, "count": count, "lines": lines, "spans": spans + [[]] * (len(lines) - len(spans))}
    finally:
        os.close(fd)


def _helped(path: str, scan: Scan) -> Scan:
    program, wanted = ripgrep.program(), scan.wanted
    if program is None or wanted.plain is None or wanted.coloured is None:
        return scan
    return ripgrep.Ripgrep(program, path, scan, wanted.plain, wanted.coloured)


def _spans(fd: int, line: int, wanted: re.Pattern[bytes]) -> list[tuple[int, int]]:
    """Which characters match, counted as JavaScript does. None where a return moves what is seen."""
    shown = as_seen(os.pread(fd, _LINE, line).partition(b"\n")[0])
    if b"\r" in shown.rstrip(b"\r"):
        return []
    found: list[tuple[int, int]] = []
    for match in wanted.finditer(shown):
        start, end = match.span()
        if end > start:
            found.append((_units(shown[:start]), _units(shown[:end])))
        if len(found) == _SPANS:
            break
    return found


def _units(text: bytes) -> int:
    return len(text) if text.isascii() else len(text.decode("utf-8", "replace").encode("utf-16-le")) // 2


def main() -> None:
    given = sys.stdin.buffer.read()
    if not given:  # nobody searched any more
        return
    signal.alarm(_LIFE)
    asked = json.loads(given)
    sys.stdout.write(json.dumps(find(**asked)))
