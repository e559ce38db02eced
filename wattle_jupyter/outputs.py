"""What a task left behind: declared files, and values in the file that ``$WATTLE_OUTPUT`` names."""

from __future__ import annotations

import errno
import json
import os
import posixpath
import stat
from pathlib import Path

from wattle_jupyter.errors import InvalidRequest, StoreUnavailable
from wattle_jupyter.model import Json, Left, Task, json_problem
from wattle_jupyter.objects import Objects

MAX_VALUES = 1 << 20
"""Bytes of values that one attempt may write. Bigger things are files."""

Found = dict[str, Left]

NOTHING: tuple[Found, list[str]] = ({}, [])


def collect(task: Task, folder: str, output_file: Path, objects: Objects) -> tuple[Found, list[str]]:
    """Declared outputs that are there, and what is missing as text for people. Reads the disk; files are kept."""
    values, problem = read_values(output_file) if any(o.path is None for o in task.outputs.values()) else ({}, "")
    found: Found = {}
    missing = [problem] if problem else []
    for name, output in task.outputs.items():
        if output.path is None:
            value = _value(task, name, values, objects)
            if isinstance(value, Left):
                found[name] = value
            else:
                missing.append(value)
            continue
        path = posixpath.normpath(posixpath.join(folder, output.path))
        try:
            found[name] = _file(path, objects)
        except OSError as error:
            missing.append(f"output {name} is missing: {output.path} ({error.strerror})")
        except ValueError as error:  # a NUL, or what no file name can hold
            missing.append(f"output {name} is missing: {output.path!r} is no path ({error})")
    return found, missing


def _value(task: Task, name: str, values: dict[str, Json], objects: Objects) -> Left | str:
    """What was left under this name, or why that is nothing."""
    if name not in values:
        how = f"`wattle_jupyter.emit({name}=…)` was not called" if task.call else f"nothing wrote `{name}=…`"
        return f"output {name} is missing: {how}" + ("" if task.call else " to $WATTLE_OUTPUT")
    value = values[name]
    if isinstance(value, dict) and isinstance(value.get("$file"), str) and posixpath.isabs(value["$file"]):
        return _left_file(name, value["$file"], objects)
    if not isinstance(value, dict) or "$object" not in value:
        return Left("json", value)
    try:
        size = objects.size(str(value["$object"]))
    except InvalidRequest as error:
        return f"output {name} is missing: {error}"
    if size is None:
        return f"output {name} is missing: the store has no object {str(value['$object'])[:12]}…"
    return Left("object", value["$object"], size)


def _left_file(name: str, path: str, objects: Objects) -> Left | str:
    """A file of which only the task knew where it would be."""
    try:
        return _file(path, objects)
    except (OSError, ValueError) as error:
        return f"output {name} is missing: {path} ({getattr(error, 'strerror', error)})"


def _file(path: str, objects: Objects) -> Left:
    """With a copy that later runs do not overwrite, up to the limit. Raises OSError, ValueError if it is not there."""
    size = os.stat(path).st_size  # noqa: PTH116
    try:
        kept = objects.keep(path)
    except (OSError, StoreUnavailable):  # it cannot be read, or the disk is full: the task did what it had to do
        kept = None
    return Left("file", path, size) if kept is None else Left("file", path, kept[1], kept[0])


def read_values(path: Path) -> tuple[dict[str, Json], str]:
    """``key=value`` lines and JSON objects, one a line; the last one of a name counts. With what cannot be read."""
    try:
        content = _read(path)
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"$WATTLE_OUTPUT cannot be read: {error.strerror}"
    if content is None:
        return {}, "$WATTLE_OUTPUT is no regular file; append lines to it, and leave it where it is"
    if len(content) > MAX_VALUES:
        return {}, "$WATTLE_OUTPUT holds more than 1 MiB; write big things to files and declare their paths"
    values: dict[str, Json] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        if line.strip() and not _take(line.removesuffix("\r"), values):
            return values, f"line {number} of $WATTLE_OUTPUT is neither `key=value` nor a JSON object: {line[:60]!r}"
    return values, ""


def _read(path: Path) -> bytes | None:
    """At most one byte more than is allowed; None for what could block or lead elsewhere: the task made this file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(MAX_VALUES + 1)


def _take(line: str, values: dict[str, Json]) -> bool:
    if line.lstrip().startswith("{"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if json_problem(found):
            return False
        values.update(found)
        return True
    name, equals, text = line.partition("=")
    if not equals or not name.strip().isidentifier():
        return False
    values[name.strip()] = text
    return True


def declared(task: Task, folder: str) -> Found:
    """What can be said about a task's outputs without its having run here: the paths of its files."""
    return {
        f"{task.name}/{name}": Left("file", posixpath.normpath(posixpath.join(folder, output.path)))
        for name, output in task.outputs.items()
        if output.path is not None
    }
