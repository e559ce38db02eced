"""A regular expression read: what every line that it matches must hold, and the same said as ripgrep understands it.

Both are only used to find lines worth a look; Python's own ``re`` has the last word. Where ripgrep would say exactly
the same, it is believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from re import _parser  # type: ignore[attr-defined]  # what `re` itself reads patterns with
from typing import Any, NamedTuple

ESCAPES = rb"\x1b\[[0-9;:<=>?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]"
"""What a terminal does not show: colours, cursor moves, titles. It means the same to ``re`` and to ripgrep."""

_FEED = ord("\n")
_BETWEEN = f"(?:{ESCAPES.decode()})*"
_PLAIN = frozenset(byte for byte in range(128) if chr(byte).isalnum())
_SHORTEST = 3  # bytes of a needle that is worth to be looked for
_MOST = 24  # needles
_CATEGORIES = {
    "CATEGORY_DIGIT": rb"\d", "CATEGORY_NOT_DIGIT": rb"\D", "CATEGORY_SPACE": rb"\s", "CATEGORY_NOT_SPACE": rb"\S",
    "CATEGORY_WORD": rb"\w", "CATEGORY_NOT_WORD": rb"\W",
}  # fmt: skip
_EVERY = [bytes([byte]) for byte in range(256)]

Items = Sequence[tuple[Any, Any]]


class _NotUnderstood(Exception):
    pass


class Said(NamedTuple):
    """A pattern for ripgrep. What it finds is all that ``re`` finds, and no more if it is ``exact``."""

    text: str
    exact: bool
    starts: frozenset[int] = frozenset()
    """The bytes of which one begins each match, if it always begins with letters that are known."""


class Pattern(NamedTuple):
    """A pattern that is looked for in one line at a time, without its line feed and what a terminal does not show."""

    compiled: re.Pattern[bytes]
    needles: tuple[bytes, ...] = ()
    """Each line that matches holds one of them, in lower case if ``folded``. None known: empty."""
    folded: bool = False
    single: bool = True
    """Its lines have to be looked at one by one: among others, what matches might be longer, or nothing."""
    plain: Said | None = None
    """For lines without escape codes."""
    coloured: Said | None = None
    """For all lines, but never exact."""

    def is_in(self, line: bytes) -> bool:
        return self.compiled.search(line) is not None


def read(pattern: str | bytes, ignore_case: bool) -> Pattern:
    """Raises re.error, OverflowError or RecursionError if it is none."""
    text = pattern.encode() if isinstance(pattern, str) else pattern
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
    compiled = re.compile(text, flags)
    try:
        tree = _parser.parse(text, flags)
        plain, coloured = _Writer("", compiled.flags), _Writer(_BETWEEN, compiled.flags)
        said, coloured_said = plain.sequence(tree, compiled.flags), coloured.sequence(tree, compiled.flags)
    except (_NotUnderstood, RecursionError):
        return Pattern(compiled)
    needles = _needles(tree, compiled.flags) or ()
    return Pattern(
        compiled,
        tuple(needle.lower() for needle in needles) if plain.folded else needles,
        plain.folded,
        plain.single,
        Said(f"(?-u){said}", plain.exact, _starts(tree, compiled.flags)),
        Said(f"(?-u){coloured_said}", exact=False),
    )


class _Writer:
    """Writes what ``re`` has read for ripgrep. ``between`` stands between all characters."""

    def __init__(self, between: str, flags: int) -> None:
        self._between = between
        self.exact = True
        self.folded = bool(flags & re.IGNORECASE)
        self.single = False
        self._ways: dict[str, Callable[[Any, int], str]] = {
            "BRANCH": self._branch,
            "SUBPATTERN": self._group,
            "ATOMIC_GROUP": self._atomic,
            "MAX_REPEAT": self._repeat,
            "MIN_REPEAT": self._repeat,
            "POSSESSIVE_REPEAT": self._possessive,
            "AT": self._place,
            "ASSERT": self._around,
            "ASSERT_NOT": self._around,
            "GROUPREF": self._again,
            "GROUPREF_EXISTS": self._either,
        }

    def sequence(self, items: Items, flags: int) -> str:
        return "".join(self._one(op, value, flags) for op, value in items)

    def _one(self, op: Any, value: Any, flags: int) -> str:
        members = _members(op, value, flags)
        if members is not None:
            self.single |= _FEED in members
            self.folded |= bool(flags & re.IGNORECASE)
            return _class(members) + self._between
        way = self._ways.get(str(op))
        if way is None:
            raise _NotUnderstood
        return way(value, flags)

    def _branch(self, value: Any, flags: int) -> str:
        return f"(?:{'|'.join(self.sequence(items, flags) for items in value[1])})"

    def _group(self, value: Any, flags: int) -> str:
        _, more, less, items = value
        if more & re.LOCALE:
            raise _NotUnderstood
        return f"(?:{self.sequence(items, (flags | more) & ~less)})"

    def _atomic(self, value: Any, flags: int) -> str:
        self.exact, self.single = False, True
        return f"(?:{self.sequence(value, flags)})"

    def _possessive(self, value: Any, flags: int) -> str:
        self.exact, self.single = False, True
        return self._repeat(value, flags)

    def _repeat(self, value: Any, flags: int) -> str:
        least, most, items = value
        if items.getwidth()[0] == 0:
            self.exact = False  # each has rules of its own for what is empty and repeated
        upper = "" if most is _parser.MAXREPEAT else str(int(most))
        return f"(?:{self.sequence(items, flags)}){{{int(least)},{upper}}}"

    def _place(self, value: Any, _flags: int) -> str:
        name = str(value)
        if name in {"AT_BEGINNING", "AT_BEGINNING_STRING"}:
            self.single |= name == "AT_BEGINNING_STRING"
            return "^" + self._between
        if name in {"AT_END", "AT_END_STRING"}:
            self.single |= name == "AT_END_STRING"
            return self._between + "$"
        if name == "AT_BOUNDARY" and not self._between:
            return r"\b"
        self.exact = False
        self.single |= name != "AT_BOUNDARY"  # of an empty text, versions of Python say different things
        return ""

    def _around(self, _value: Any, _flags: int) -> str:
        self.exact, self.single = False, True
        return ""

    def _again(self, _value: Any, _flags: int) -> str:
        self.exact = False
        return ".*"

    def _either(self, value: Any, flags: int) -> str:
        _, first, second = value
        self.exact = False
        return f"(?:{self.sequence(first, flags)}|{self.sequence(second or [], flags)})"


def _class(members: frozenset[int]) -> str:
    """These bytes, but for the line feed: no line holds one."""
    left = sorted(members - {_FEED})
    if not left:
        raise _NotUnderstood
    if len(left) == 1:
        return _byte(left[0])
    text, at = "", 0
    while at < len(left):
        end = at
        while end + 1 < len(left) and left[end + 1] == left[end] + 1:
            end += 1
        text += _byte(left[at]) if end == at else f"{_byte(left[at])}-{_byte(left[end])}"
        at = end + 1
    return f"[{text}]"


def _byte(value: int) -> str:
    return chr(value) if value in _PLAIN else f"\\x{value:02x}"


def _members(op: Any, value: Any, flags: int) -> frozenset[int] | None:
    """The bytes of which one is matched; None if it is something else."""
    name = str(op)
    if name == "ANY":
        return frozenset(range(256)) - (frozenset() if flags & re.DOTALL else {_FEED})
    if name == "LITERAL":
        return _cases({value}, flags)
    if name == "NOT_LITERAL":
        return frozenset(range(256)) - _cases({value}, flags)
    if name != "IN":
        return None
    if flags & re.LOCALE:
        raise _NotUnderstood
    negated = bool(value) and str(value[0][0]) == "NEGATE"
    found: set[int] = set()
    for kind, what in value[negated:]:
        if str(kind) == "LITERAL":
            found.add(what)
        elif str(kind) == "RANGE":
            found.update(range(what[0], what[1] + 1))
        elif str(kind) == "CATEGORY" and str(what) in _CATEGORIES:
            found.update(byte[0] for byte in _EVERY if re.match(_CATEGORIES[str(what)], byte))
        else:
            raise _NotUnderstood
    members = _cases(found, flags)
    return frozenset(range(256)) - members if negated else members


def _cases(members: set[int], flags: int) -> frozenset[int]:
    if flags & re.LOCALE:
        raise _NotUnderstood
    if not flags & re.IGNORECASE:
        return frozenset(members)
    folded = {bytes([byte]).lower() for byte in members}
    return frozenset(byte[0] for byte in _EVERY if byte.lower() in folded)


# --------------------------------------------------------------------------------------------------------- needles


def _needles(items: Items, flags: int) -> tuple[bytes, ...] | None:
    """Of the texts of which each match holds one, those that are the longest; None if they are too short or many."""
    options: list[tuple[bytes, ...]] = []
    run = bytearray()
    for op, value in items:
        letter = _letter(op, value, flags)
        if letter is not None:
            run.append(letter)
            continue
        options.append((bytes(run),))
        run.clear()
        inner = _inner_needles(str(op), value, flags)
        if inner:
            options.append(inner)
    best = max([*options, (bytes(run),)], key=lambda option: (min(map(len, option)), -len(option)))
    return best if min(map(len, best)) >= _SHORTEST and len(best) <= _MOST else None


def _letter(op: Any, value: Any, flags: int) -> int | None:
    """The one byte that is matched, whatever its case."""
    members = _members(op, value, flags)
    folded = {bytes([byte]).lower() for byte in members or ()} if flags & re.IGNORECASE else members or ()
    return min(members) if members and len(folded) == 1 else None


def _inner_needles(name: str, value: Any, flags: int) -> tuple[bytes, ...] | None:
    if name == "SUBPATTERN":
        return _needles(value[3], (flags | value[1]) & ~value[2])
    if name == "ATOMIC_GROUP":
        return _needles(value, flags)
    if name.endswith("_REPEAT") and value[0] > 0:
        return _needles(value[2], flags)
    if name != "BRANCH":
        return None
    every = [_needles(items, flags) for items in value[1]]
    return tuple({needle: None for each in every for needle in each or ()}) if all(every) else None


def _starts(items: Items, flags: int) -> frozenset[int]:
    if not items or flags & re.IGNORECASE:
        return frozenset()
    op, value = items[0]
    if str(op) == "LITERAL":
        return frozenset([value])
    if str(op) == "SUBPATTERN":
        return _starts(value[3], (flags | value[1]) & ~value[2])
    every = [_starts(items, flags) for items in value[1]] if str(op) == "BRANCH" else []
    return frozenset().union(*every) if all(every) else frozenset()
