"""``{{ x }}`` and ``{{ task.key }}`` in commands and environment values.

``{{ x }}`` is a parameter, ``{{ task.key }}`` an output of another task, ``{{ x | raw }}`` puts the text in without
quoting, and ``\\{{`` stands for two braces. There is nothing else: no expressions, no loops.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wattle_jupyter.errors import Problem, SpecError
from wattle_jupyter.model import Json
from wattle_jupyter.shell import Quoting

_OPEN = re.compile(r"\\?\{\{")
_INSIDE = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(\|[ \t]*raw[ \t]*)?\}\}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CURE = "write `{{ name }}`, `{{ task.output }}` or `{{ name | raw }}`, and `\\{{` for two braces as text"


@dataclass(frozen=True, slots=True)
class Reference:
    """One ``{{ … }}``. ``key`` is None for a parameter; ``position`` counts characters from 0."""

    name: str
    key: str | None
    raw: bool
    position: int

    def __str__(self) -> str:
        return self.name if self.key is None else f"{self.name}.{self.key}"


def references(text: str) -> list[Reference]:
    """All references in ``text``, in order. SpecError names the position of what is not understood."""
    return [piece for piece in _pieces(text) if isinstance(piece, Reference)]


def complete(text: str, keys: Mapping[str, str]) -> str:
    """``text`` with ``{{ task }}`` written out as ``{{ task.key }}`` for the names in ``keys``."""
    out, end = [], 0
    for ref in references(text):
        if ref.key is None and ref.name in keys:
            at = text.index(ref.name, ref.position) + len(ref.name)
            out.append(f"{text[end:at]}.{keys[ref.name]}")
            end = at
    return "".join([*out, text[end:]])


def escape(text: str) -> str:
    """The template that renders to exactly ``text``."""
    return text.replace("{{", "\\{{")


def render(text: str, lookup: Callable[[Reference], Json], *, quote: bool) -> str:
    """``text`` with the values in place.

    With ``quote`` the result is for ``sh``: every value stays data, in whatever quotes its place stands; a list becomes
    several words. SpecError where that cannot be promised (in a here-document, say) and ``raw`` is not asked for.
    """
    if "{{" not in text:
        return text
    out: list[str] = []
    shell = Quoting() if quote else None
    for piece in _pieces(text):
        if isinstance(piece, str):
            out.append(piece)
        else:
            value = lookup(piece)
            out.append(plain(value) if shell is None or piece.raw else _quoted(shell, piece, value))
        if shell is not None and (isinstance(piece, str) or piece.raw):
            shell.feed(out[-1])
    return "".join(out)


def plain(value: Json) -> str:
    """A value as text: a string as it is, a list as words, a mapping as JSON, None as nothing."""
    if isinstance(value, list | tuple):
        return " ".join(_word(item) for item in value)
    return _word(value)


def _word(value: Json) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _quoted(shell: Quoting, reference: Reference, value: Json) -> str:
    trouble = shell.trouble()
    if trouble:
        reason = (
            f"`{{{{ {reference} }}}}` at character {reference.position + 1} stands {trouble}, where it cannot be quoted"
        )
        cure = "set an environment variable to it (`env:`) and use that, or write `| raw` if its text is to be trusted"
        raise SpecError([Problem("", reason, cure)])
    return shell.put(plain(value), _words(value))


def _words(value: Json) -> str:
    if value is None:
        return ""
    items = value if isinstance(value, list | tuple) else [value]
    return " ".join(shlex.quote(_word(item)) for item in items)


def _pieces(text: str) -> list[str | Reference]:
    pieces: list[str | Reference] = []
    at = 0
    while opening := _OPEN.search(text, at):
        pieces.append(text[at : opening.start()])
        if opening[0].startswith("\\"):
            pieces.append("{{")
            at = opening.end()
        else:
            reference, at = _reference(text, opening.start())
            pieces.append(reference)
    pieces.append(text[at:])
    return [piece for piece in pieces if piece != ""]


def _reference(text: str, start: int) -> tuple[Reference, int]:
    match = _INSIDE.match(text, start + 2)
    if match is None:
        raise _syntax_error(text, start)
    name, dot, key = match[1].rpartition(".")
    if not dot:
        return Reference(match[1], None, match[2] is not None, start), match.end()
    if not name or not _KEY.fullmatch(key):
        raise _syntax_error(text, start)
    return Reference(name, key, match[2] is not None, start), match.end()


def _syntax_error(text: str, start: int) -> SpecError:
    end = text.find("}}", start)
    shown = text[start : end + 2] if 0 <= end < start + 60 else text[start : start + 20].rstrip() + "…"
    what = "is not understood" if end >= 0 else "has no closing `}}`"
    return SpecError([Problem("", f"`{shown}` at character {start + 1} {what}", _CURE)])
