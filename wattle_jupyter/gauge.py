"""How far a task is, as the end of its log tells: our own marker, or the bar or the counter of what it runs. Pure.

What counts, in this order:

1. Our marker ``::wattle progress=40::`` (per cent, or ``3/8``), the last one. A task that has once said it this way is
   believed this way only.
2. The newest line, or piece of a line that ``\\r`` rewrote, which shows a bar, a percentage or a counter that is known
   as one. A number that only might be meant so (a date, a path, a version, ``1/2`` in a text) is none.
3. ``Epoch 3/10`` is a counter round bars: the bar after it is how far the third epoch is. A bar below another one, as
   nested loops with tqdm have it, is not looked at.

What a task said last stays until it says something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

TAIL = 4096
"""Bytes at the end of a log that are looked at."""

_PIECES = 100  # of them at most, the newest first
_LONG = 512  # characters of a line within which a bar begins


@dataclass(frozen=True, slots=True)
class Progress:
    """``fraction`` is 0 to 1; ``done`` and ``total`` are None where only that is known. ``text`` says it in short."""

    fraction: float
    done: float | None = None
    total: float | None = None
    text: str = ""
    marked: bool = False  # by our marker
    epoch: tuple[int, int] | None = None  # the third of ten


def read(tail: bytes, before: Progress | None = None) -> Progress | None:
    """How far it is, by the last ``TAIL`` bytes of its log; ``before`` is what was known, None if nothing."""
    text = _plain(tail)
    marked = _last_marker(text)
    if marked is not None or (before is not None and before.marked):
        return marked or before
    epoch, rest = _last_epoch(text)
    epoch = epoch or (before.epoch if before else None)
    bar = next((found for piece in _pieces(rest) if (found := _first(piece)) is not None), None)
    if epoch is not None:
        within = bar.fraction if bar is not None else 0.0
        known = before is not None and before.epoch == epoch and bar is None
        return before if known else _in_epoch(epoch, within)
    return bar or before


def percent(fraction: float) -> str:
    """``42 %``: all but the last is not 100."""
    return f"{int(fraction * 100 + 1e-9)} %"


# -------------------------------------------------------------------------------------------------------------- pieces

_REWRITING = re.compile(r"\x1b\[(?:\d*[FG]|[12]K)|\x08+")  # back to what is written already, as \r does
_UP = re.compile(r"\x1b\[\d*A")
_BELOW = "\v"  # ends a piece from which the writer went back up
_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    rewritten: bool


def _plain(tail: bytes) -> str:
    """Without codes; without the first line if that may be cut. ``\\r`` stands where something was rewritten."""
    text = tail[-TAIL:].decode("utf-8", "replace").replace("\r\n", "\n").replace(_BELOW, " ")
    if len(tail) >= TAIL:
        text = text[min((at for end in "\r\n" if (at := text.find(end)) >= 0), default=len(text)) :]
    return _CODES.sub("", _UP.sub(_BELOW + "\r", _REWRITING.sub("\r", text)))


def _pieces(text: str) -> Iterator[_Piece]:
    """The newest first."""
    lines = (line for line in reversed(text.split("\n")))
    pieces = (_Piece(piece[:_LONG], "\r" in line) for line in lines for piece in reversed(line.split("\r")))
    return islice((p for p in pieces if _MAY_COUNT.search(p.text) and not p.text.endswith(_BELOW)), _PIECES)


_MAY_COUNT = re.compile(r"\d\s?%|\d[kMGTP]?B?\s?/\s?\d|\d of \d|\d:\d\d |--:--")

# ------------------------------------------------------------------------------------------------- markers and epochs

_MARKER = re.compile(r"::wattle progress=(\d{1,12}(?:\.\d{1,9})?)(?:%|/(\d{1,12}(?:\.\d{1,9})?))?::")
_EPOCH = re.compile(r"\bepoch\s*[:#]?\s*\[?\s*(\d{1,6})\s?(?:/|of)\s?(\d{1,6})(?![\w/]|[.,-]\w)", re.IGNORECASE)


def _last_marker(text: str) -> Progress | None:
    found = None
    for match in _MARKER.finditer(text):
        done, total = float(match[1]), match[2]
        one = _share(done, 100) if total is None else _counted(match[1], total)
        found = one or found
    return found and Progress(found.fraction, found.done, found.total, found.text, marked=True)


def _last_epoch(text: str) -> tuple[tuple[int, int] | None, str]:
    """The newest epoch, and the text from its line on."""
    found, start = None, 0
    for match in _EPOCH.finditer(text):
        n, of = int(match[1]), int(match[2])
        if 0 <= n <= of and of > 0:
            found, start = (n, of), match.start()
    line = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start), 0)  # the bar may stand before the word
    return (found, text[line:]) if found else (None, text)


def _in_epoch(epoch: tuple[int, int], within: float) -> Progress:
    n, of = epoch
    return Progress((max(0, n - 1) + within) / of, text=f"epoch {n}/{of}", epoch=epoch)


# ---------------------------------------------------------------------------------------------------- bars and counters

_N = r"(\d{1,12}(?:\.\d{1,6})?)"
_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_END = r"(?![\w/%]|[.,:-]\w)"  # what goes on is a path, a date or a version
_COUNT = rf"(\d{{1,9}})\s?/\s?(\d{{1,9}}){_END}"
_START = r"(?<![\w./:,+-])"
_OF = r"(\d{1,9}) of (\d{1,9})(?![\w/]|[.,]\d)"
_THINGS = (
    "batch|block|chunk|file|fold|frame|generation|image|item|iter|iteration|job|page|part|record|round|row|sample|"
    "shard|stage|step|task|trial"
)

_TQDM = re.compile(rf"(\d{{1,3}})%\|[^|]{{0,300}}\|\s*{_N}([kKMGTP]?)B?/{_N}([kKMGTP]?)B? \[")
_SNAKEMAKE = re.compile(r"\b(\d{1,9}) of (\d{1,9}) steps \(\d{1,3}(?:\.\d+)?%\) done")
_PIP = re.compile(rf"[━╸╺╾╼]{{3,}} {{1,3}}{_N}/{_N} ([kMGT]?i?B)\b")
_BAR = re.compile(r"[━╸╺╾╼█▉▊▋▌▍▎▏░▒▓■□⣿]{3,}|\[[#=>.\-\s]{5,}\]|\|[#=>.\-\s█]{5,}\|")
_CURL_SIZE = r"\s+\d{1,6}(?:\.\d)?[kMGTP]?"
_CURL = re.compile(
    rf"^\s*(\d{{1,3}}){_CURL_SIZE}\s+(\d{{1,3}}){_CURL_SIZE}\s+(\d{{1,3}}){_CURL_SIZE * 3}(?:\s+[\d:dh-]{{6,9}}){{3}}"
)
_WGET_DOTS = re.compile(r"^\s*\d+[KMG](?: [.,]{1,16}){1,8}\s+(\d{1,3})%")
_IN_BRACKETS = re.compile(r"^\s*\[\s{0,2}(\d{1,3})%\]|\[\s{0,2}(\d{1,3})%\]\s*$")
_SAID = re.compile(
    rf"\bprogress\b[\s:=(]{{1,3}}{_N}\s?%|(?<![\d.]){_N}\s?%\s(?:done|complete|completed|finished)\b", re.IGNORECASE
)
_PERCENT = re.compile(rf"(?<![\w.,+-]){_N}\s?%(?!\w)")
_BRACKETED = re.compile(r"(?:^|\s)\[(?:[a-z][\w.-]{0,30} )?(\d{1,9})/(\d{1,9})\](?=[\s:]|$)")
_ANY_COUNT = re.compile(rf"(?<![\w./]){_COUNT}|\b{_OF}")
_THING = re.compile(rf"\b(?:{_THINGS})s?\s?[:#=]?\s?[\[(]?$", re.IGNORECASE)
_BEFORE_BAR = re.compile(r"^\s*(\d{1,9})/(\d{1,9})\s+(?:\[|[━█])")
_BARE = re.compile(_START + _COUNT)
_BARE_OF = re.compile(r"\b" + _OF)


def _first(piece: _Piece) -> Progress | None:
    return next((found for rule in _RULES if (found := rule(piece)) is not None), None)


def _tqdm(piece: _Piece) -> Progress | None:
    match = _TQDM.search(piece.text)
    if match is None:
        return None
    _, done, kind, total, of = match.groups()
    counted = _counted(done + kind, total + of, float(done) * _UNITS[kind], float(total) * _UNITS[of])
    return counted or _share(float(match[1]), 100)


def _snakemake(piece: _Piece) -> Progress | None:
    match = _SNAKEMAKE.search(piece.text)
    return match and _counted(match[1], match[2])


def _pip(piece: _Piece) -> Progress | None:
    match = _PIP.search(piece.text)
    return match and _counted(match[1], f"{match[2]} {match[3]}", float(match[1]), float(match[2]))


def _curl(piece: _Piece) -> Progress | None:
    """Its first number is per cent of all, or nonsense where the size is not known."""
    match = _CURL.search(piece.text)
    if match is None:
        return None
    share, received, sent = map(int, match.groups())
    return _share(share, 100) if abs(share - max(received, sent)) <= 1 and share else None


def _barred(piece: _Piece) -> Progress | None:
    """A percentage beside a bar, or alone in a line that is rewritten again and again."""
    shares = _PERCENT.findall(piece.text)
    sure = _BAR.search(piece.text) is not None
    if not shares or not (sure or (piece.rewritten and len(shares) == 1)):
        return None
    share = _share(float(shares[0]), 100)
    counts = _BARE.findall(piece.text)
    counted = _counted(*counts[0]) if len(counts) == 1 else None
    agrees = share is not None and counted is not None and abs(share.fraction - counted.fraction) <= 0.011
    return counted if agrees else share


def _told(piece: _Piece) -> Progress | None:
    """A percentage that says what it is."""
    for rule in (_WGET_DOTS, _IN_BRACKETS, _SAID):
        if (match := rule.search(piece.text)) is not None:
            return _share(float(next(filter(None, match.groups()))), 100)
    return None


def _counter(piece: _Piece) -> Progress | None:
    match = _BEFORE_BAR.search(piece.text) or _BRACKETED.search(piece.text) or _named(piece.text)
    if match is None:
        return None
    done, total = (group for group in match.groups() if group is not None)
    return _counted(done, total)


def _named(text: str) -> re.Match[str] | None:
    """``file 3 of 10``: a count after the word for what is counted."""
    counts = _ANY_COUNT.finditer(text)
    return next((m for m in counts if _THING.search(text, max(0, m.start() - 16), m.start())), None)


def _rewritten(piece: _Piece) -> Progress | None:
    """A counter of which only the line that it rewrites says that it is one."""
    found = (_BARE.findall(piece.text) or _BARE_OF.findall(piece.text)) if piece.rewritten else []
    return _counted(*found[0]) if len(found) == 1 else None


_RULES: tuple[Callable[[_Piece], Progress | None], ...] = (
    _tqdm, _snakemake, _pip, _curl, _told, _barred, _counter, _rewritten,
)  # fmt: skip


def _share(done: float, total: float) -> Progress | None:
    return Progress(done / total) if 0 <= done <= total else None


def _counted(done: str, total: str, n: float | None = None, of: float | None = None) -> Progress | None:
    """``42`` of ``100``; the numbers beside, where the texts are not numbers."""
    n, of = float(done) if n is None else n, float(total) if of is None else of
    return Progress(n / of, n, of, f"{done}/{total}") if 0 <= n <= of and of > 0 else None
