"""JSON of big things, made and read in pieces.

`json.dumps` and `json.loads` are one call of C for the whole: until it returns, no other thread gets the interpreter.
These here come back to Python for each part, so that a server goes on answering while a thread is at them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from wattle_jupyter.model import Json

TOGETHER = 256  # parts of a list in one piece

_whole = json.JSONEncoder(separators=(",", ":")).encode


def encode(thing: Any, depth: int = 0) -> str:
    """The JSON of ``thing`` without blanks. Mappings and lists of its outer ``depth`` levels are done part by part,
    and what is in such a list in one go. Keys must be texts."""
    return "".join(_pieces(thing, depth)) if depth else _whole(thing)


def pieces(thing: Any, depth: int = 0) -> list[str]:
    """The same, not yet put together: one text where ``depth`` is 0. All of it is ASCII."""
    return list(_pieces(thing, depth))


def _pieces(thing: Any, depth: int) -> Iterator[str]:
    if depth and isinstance(thing, dict):
        mark = "{"
        for key, part in thing.items():
            yield f"{mark}{_whole(key)}:"
            yield from _pieces(part, depth - 1)
            mark = ","
        yield "}" if thing else "{}"
    elif depth and isinstance(thing, list):
        for first in range(0, len(thing), TOGETHER):
            yield ("," if first else "[") + ",".join([_whole(part) for part in thing[first : first + TOGETHER]])
        yield "]" if thing else "[]"
    else:
        yield _whole(thing)


def decode(text: str | bytes) -> Json:
    """What a text says that :func:`encode` or `json.dumps` made."""
    return json.loads(text, object_hook=_as_it_is)


def _as_it_is(found: dict[str, Json]) -> dict[str, Json]:
    return found
