"""What a task left behind: declared files, and values in the file that ``$WATTLE_OUTPUT`` names."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Mapping
from pathlib import Path

from wattle_jupyter.model import Json, Task

MAX_VALUES = 1 << 20
"""Bytes of values that one attempt may write. Bigger things are files."""

Found = dict[str, tuple[str, Json, int | None]]  # name → (kind, ref, size)


def collect(task: Task, folder: str, output_file: Path) -> tuple[Found, list[str]]:
    """Declared outputs that are there, and what is missing as text for people. Reads the disk."""
    values, problem = read_values(output_file) if any(o.path is None for o in task.outputs.values()) else ({}, "")
    found: Found = {}
    missing = [problem] if problem else []
    for name, output in task.outputs.items():
        if output.path is None:
            if name in values:
                found[name] = ("json", values[name], None)
            else:
                missing.append(f"output {name} is missing: nothing wrote `{name}=…` to $WATTLE_OUTPUT")
            continue
        path = posixpath.normpath(posixpath.join(folder, output.path))
        try:
            found[name] = ("file", path, os.stat(path).st_size)  # noqa: PTH116
        except OSError as error:
            missing.append(f"output {name} is missing: {output.path} ({error.strerror})")
    return found, missing


def read_values(path: Path) -> tuple[dict[str, Json], str]:
    """``key=value`` lines and JSON objects, one a line; the last one of a name counts. With what cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_VALUES + 1)
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"$WATTLE_OUTPUT cannot be read: {error.strerror}"
    if len(content) > MAX_VALUES:
        return {}, "$WATTLE_OUTPUT holds more than 1 MiB; write big things to files and declare their paths"
    values: dict[str, Json] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if line.strip() and not _take(line, values):
            return values, f"line {number} of $WATTLE_OUTPUT is neither `key=value` nor a JSON object: {line[:60]!r}"
    return values, ""


def _take(line: str, values: dict[str, Json]) -> bool:
    if line.lstrip().startswith("{"):
        try:
            found = json.loads(line, parse_constant=_refuse)
        except ValueError:
            return False
        values.update(found)
        return True
    name, equals, text = line.partition("=")
    if not equals or not name.strip().isidentifier():
        return False
    values[name.strip()] = text
    return True


def _refuse(constant: str) -> Mapping[str, Json]:
    raise ValueError(f"{constant} is not JSON")


def declared(task: Task, folder: str) -> dict[str, Json]:
    """What can be said about a task's outputs without its having run here: the paths of its files."""
    return {
        f"{task.name}/{name}": posixpath.normpath(posixpath.join(folder, output.path))
        for name, output in task.outputs.items()
        if output.path is not None
    }
