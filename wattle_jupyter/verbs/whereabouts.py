"""On which line of a workflow file each key stands, so that an error can say where."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wattle_jupyter.errors import SpecError

_HEADER = re.compile(r"\s*\[\[?\s*([^\]#]+?)\s*\]")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([\w-]+)""")


def lines(text: str, suffix: str) -> dict[str, int]:
    """Path (``tasks.train.retries``) → 1-based line, as far as that can be told of this notation."""
    if suffix.lower() == ".toml":
        return dict(_toml(text))
    from wattle_jupyter.notation import path_text, yaml_data  # noqa: PLC0415  only for a file that has an error

    try:
        # JSON is YAML, but for tabs between its parts
        places = yaml_data(text.replace("\t", " ") if suffix.lower() == ".json" else text)[1]
    except SpecError:
        return {}
    return {path_text(where): line for where, line in places.items()}


def _toml(text: str) -> Iterator[tuple[str, int]]:
    """Headers and keys at the beginnings of lines; each table of an array by its number."""
    table, many = "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _path(header[1])
            if line.lstrip().startswith("[["):
                many[table] = many.get(table, -1) + 1
                table = f"{table}[{many[table]}]"
            yield table, number
        elif key := _KEY.match(line):
            yield ".".join(filter(None, (table, _path(key[1])))), number


def _path(dotted: str) -> str:
    return ".".join(next(filter(None, found.groups()), "") for found in _PART.finditer(dotted))
