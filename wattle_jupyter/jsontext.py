"""JSON of big things, made and read in pieces.

`json.dumps` and `json.loads` are one call of C for the whole: until it returns, no other thread gets the interpreter.
These here come back to Python for each part, so that a server goes on answering while a thread is at them.
"""

from __future__ import annotations

import json
from typing import Any

from wattle_jupyter.model import Json

_whole = json.JSONEncoder(separators=(",", ":")).encode


def encode(thing: Any, depth: int = 0) -> str:
    """The JSON of ``thing`` without blanks. Mappings and lists of its outer ``depth`` levels are done part by part,
    and what is in such a list in one go. Keys must be texts."""
    if depth and isinstance(thing, dict):
        return "{" + ",".join([f"{_whole(key)}:{encode(part, depth - 1)}" for key, part in thing.items()]) + "}"
    if depth and isinstance(thing, list):
        return "[" + ",".join([_whole(part) for part in thing]) + "]"
    return _whole(thing)


def decode(text: str | bytes) -> Json:
    """What a text says that :func:`encode` or `json.dumps` made."""
    return json.loads(text, object_hook=_as_it_is)


def _as_it_is(found: dict[str, Json]) -> dict[str, Json]:
    return found
