"""Workflow files and parameters as they are given on a command line."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from wattle_jupyter.errors import InvalidRequest, Problem, SpecError, WattleError
from wattle_jupyter.model import Json
from wattle_jupyter.verbs.scene import SUFFIXES, BadUsage
from wattle_jupyter.verbs.whereabouts import lines


def is_file(name: str) -> bool:
    return name.endswith(SUFFIXES) or "/" in name


def files_like(start: str) -> list[str]:
    """Folders, and files that may hold a workflow, whose names begin so; each as it was begun, with its ``~``."""
    folder, slash, name = start.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(folder + slash) or ".") as entries:  # noqa: PTH111  it goes back as it came
            there = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries)
    except OSError:
        return []
    shown = (one for one in there if one.startswith(name) and (name or not one.startswith(".")))
    return [f"{folder}{slash}{one}" for one in shown if one.endswith(("/", *SUFFIXES))]


def load_file(name: str, params: dict[str, Json] | None = None) -> dict[str, Json]:
    """The checked spec of a workflow file. Relative paths in it start at its folder."""
    from wattle_jupyter import spec  # noqa: PLC0415  pydantic only where a spec is read

    path = Path(name).expanduser().absolute()
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark first
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"{name} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    try:
        data = _completed(spec.from_text(text, path.suffix), path, params)
        return spec.dump(spec.load(data))
    except SpecError as error:
        raise _of_file(_placed(error, text, path.suffix), name) from None


_NO_CELL = re.compile("define .* in the notebook before this cell")
_PARAMS = "give it a value under `params:`"


def _placed(error: SpecError, text: str, suffix: str) -> SpecError:
    """The same, each problem with the line that it is about: its own, or that of what holds it."""
    known = lines(text, suffix)

    def line_of(path: str) -> int | None:
        while path and path not in known:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return known.get(path)

    placed = [replace(p, line=p.line or line_of(p.path), cure=_NO_CELL.sub(_PARAMS, p.cure)) for p in error.problems]
    return SpecError(sorted(placed, key=lambda problem: problem.line or 0))


def _completed(data: object, path: Path, params: dict[str, Json] | None) -> object:
    """The content of a workflow file with what its place and the command line know."""
    from wattle_jupyter import spec  # noqa: PLC0415

    if isinstance(data, dict):
        if data and not {"tasks", "workers"} & set(data):
            cure = "write `tasks:` and the tasks indented under it; only a %%wattle cell goes without"
            raise SpecError([Problem("", "the file has no `tasks`", cure)])
        data.setdefault("name", path.name.split(".")[0])
        data.setdefault("working_dir", str(path.parent))
        data.setdefault("python", sys.executable)
        free = spec.free_names(data) if params else set()
        given = {key: value for key, value in (params or {}).items() if key in free}
        if given:
            data["params"] = {**(data.get("params") or {}), **given}
    return data


def _of_file(error: SpecError, name: str) -> WattleError:
    """The same error as one block that names the file."""
    told = [str(_about_name(problem) if problem.path == "name" else problem) for problem in error.problems]
    if len(told) == 1:
        return InvalidRequest(f"{name}: {told[0]}", **error.details)
    return InvalidRequest("\n  ".join([f"{name} cannot work: {len(told)} problems", *told]), **error.details)


def _about_name(problem: Problem) -> Problem:
    return replace(problem, cure=f"write `name: …` in the file, else it is taken from the file's name; {problem.cure}")


def parameter(text: str) -> tuple[str, Json]:
    name, found, value = text.partition("=")
    if not found or not name.isidentifier():
        raise BadUsage(f"-p {text}: a parameter is given as name=value")
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return name, value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are words, not JSON
