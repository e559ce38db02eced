"""The language of ``%%wattle`` cells: YAML whose keys may carry arrows, and commands on one line taken as they are.

Lines are rewritten one for one before YAML reads them, so every error is at the line that the author sees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from wattle_jupyter.checks import NAME_RULE, is_task_name
from wattle_jupyter.errors import Problem, SpecError
from wattle_jupyter.notation import Lines, Where, json_data, path_text, split_arrow, yaml_data
from wattle_jupyter.shapes import HeadShape

HEAD = frozenset(HeadShape.model_fields)
"""Top-level keys that speak of the workflow; a task can not be called so."""

_TEXT_FIELDS = frozenset({"name", "mode", "working_dir", "on_failure", "priority", "python", "description"})
_ENTRY = re.compile(r"(?P<key>[^\s#].*?)[ \t]*:(?=\s|$)(?P<rest>.*)")
_CHILD = re.compile(r"(?P<indent> +)run:[ \t]+(?P<rest>.*)")
_BLOCK = re.compile(r"[|>][-+0-9]*[ \t]*(#.*)?")
_NODE = re.compile(r"[&*!][\w.-]+")
_PIECE = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|[ \t]\#|.""", re.DOTALL)


def parse(text: str) -> tuple[dict[str, object], dict[str, int]]:
    """Data for :func:`wattle_jupyter.spec.load` and the 1-based line of every path in it. SpecError names the line."""
    text = text.replace("\r\n", "\n")
    if text.lstrip().startswith("{") and not text.lstrip().startswith("{{"):
        return _pasted(text)
    data, lines = yaml_data("\n".join(_rewritten(text.split("\n"))))
    if data is None:
        raise _error("the cell defines no task", "write `hello: echo hello`", 1)
    if not isinstance(data, dict):
        raise _error("this is not `task: command`", "write a name, a colon, a blank and the command", 1)
    return _full(data, lines) if "tasks" in data or "workers" in data else _lifted(data, lines)


# ------------------------------------------------------------------------------------------------- whole specs


def _pasted(text: str) -> tuple[dict[str, object], dict[str, int]]:
    data = json_data(text)
    try:
        _, lines = yaml_data(text.replace("\t", " "))
    except SpecError:
        lines = {}  # JSON that YAML cannot read; the problems then come without lines
    return data, {path_text(where): line for where, line in lines.items()}


def _full(data: dict[str, Any], lines: Lines) -> tuple[dict[str, object], dict[str, int]]:
    """A spec with ``tasks`` or ``workers``, whose task keys may carry arrows."""
    strays = [key for key in data if key not in HEAD | {"tasks", "workers"} and "<-" in key]
    if strays:
        raise _error(f"`{strays[0]}` stands beside `tasks:`", "indent it under `tasks:`", lines[(strays[0],)])
    if not isinstance(data.get("tasks"), dict):
        return data, {path_text(where): line for where, line in lines.items()}
    tasks, moved = _arrowed(data["tasks"], ("tasks",), lines)
    rest = {path_text(where): line for where, line in lines.items() if where[0] != "tasks" or len(where) == 1}
    return {**data, "tasks": tasks}, rest | moved


def _lifted(data: dict[str, Any], lines: Lines) -> tuple[dict[str, object], dict[str, int]]:
    """Tasks at the top level, between the fields of the workflow."""
    head = {key: value for key, value in data.items() if key in HEAD}
    for key, value in head.items():
        _check_reserved(key, value, lines[(key,)])
    tasks, moved = _arrowed({key: value for key, value in data.items() if key not in HEAD}, (), lines)
    rest = {path_text(where): line for where, line in lines.items() if where[0] in HEAD}
    return {**head, "tasks": tasks}, rest | moved


def _check_reserved(key: str, value: object, line: int) -> None:
    wants_text = key in _TEXT_FIELDS - {"mode", "on_failure", "priority"}
    odd = isinstance(value, str) and (not wants_text and " " in value.strip())
    if odd or (isinstance(value, dict) and "run" in value and key not in ("env", "params")):
        raise _error(
            f"a task can not be called `{key}`: it is a field of the workflow", "give the task another name", line
        )


def _arrowed(given: dict[str, Any], at: Where, lines: Lines) -> tuple[dict[str, object], dict[str, int]]:
    """Tasks with the arrows of their keys as ``needs``, and the lines under their new paths."""
    tasks: dict[str, object] = {}
    renamed: dict[str, str] = {}
    for key, value in given.items():
        line = lines[(*at, key)]
        name, needs = _task_key(key, line)
        if name in tasks:
            raise _error(f"a second task `{name}`", "give it another name", line)
        tasks[name] = _with_needs(value, needs, name, line)
        renamed[key] = name
    depth = len(at)
    moved: dict[str, int] = {}
    for where, line in lines.items():
        if where[:depth] == at and len(where) > depth and where[depth] in renamed:
            moved[path_text(("tasks", renamed[str(where[depth])], *where[depth + 1 :]))] = line
    return tasks, moved


def _task_key(key: str, line: int) -> tuple[str, list[str] | None]:
    if "->" in key:
        left, _, right = key.partition("->")
        cure = f"arrows point to the task that waits: `{right.strip() or 'b'} <- {left.strip() or 'a'}:`"
        raise _error(f"`{key}` has its arrow the wrong way round", cure, line)
    name, needs = split_arrow(key)
    if name in HEAD:
        raise _error(f"a task can not be called `{name}`: it is a field of the workflow", "give it another name", line)
    if not is_task_name(name):
        reason = f"`{name}` is not a name of a task" if name else "there is no name before the arrow"
        raise _error(reason, NAME_RULE, line)
    for need in needs or ():
        if not is_task_name(need):
            reason = f"`{need}` is not a name of a task" if need else f"a name is missing after the arrow of `{name}`"
            raise _error(reason, "write `task <- first, second:`", line)
    return name, needs


def _with_needs(value: object, needs: list[str] | None, name: str, line: int) -> object:
    if value is None or value == "":
        raise _error(f"task `{name}` has no command", "write it after the colon, or `run:` on an indented line", line)
    body = {"run": value} if isinstance(value, str | list | bool) else value
    if not needs or not isinstance(body, dict):
        return body
    own = body.get("needs", [])
    own = [need.strip() for need in own.split(",")] if isinstance(own, str) else own
    return {**body, "needs": [*needs, *(need for need in own if need not in needs)]} if isinstance(own, list) else body


# ---------------------------------------------------------------------------------------------------- the lines


def _rewritten(lines: list[str]) -> Iterator[str]:
    """The same lines with commands quoted for YAML."""
    whole = any(re.match(r"(tasks|workers)[ \t]*:", line) for line in lines)
    entry: str | None = None  # the key that indented lines belong to
    one_line = scalar = False  # its value is on its line; is a block of text
    indent = 0  # of the fields under it
    for number, line in enumerate(lines, 1):
        if not line.strip() or (line.lstrip().startswith("#") and not scalar):
            yield line
        elif line[0] in " \t":
            _check_indented(line, number, entry, one_line, scalar)
            indent = indent or len(line) - len(line.lstrip(" "))
            yield line if scalar or whole else _child(line, indent, lines[number : number + 1])
        else:
            match = _entry(line, number)
            entry, rest, indent = match["key"], match["rest"].strip(), 0
            scalar = _BLOCK.fullmatch(rest) is not None
            one_line = rest != "" and not rest.startswith("#") and not scalar and not _is_open(rest)
            yield line if _left_alone(entry, rest, whole) else f"{_key(entry)}: {_quoted(rest)}"


def _entry(line: str, number: int) -> re.Match[str]:
    match = _ENTRY.match(line)
    if match:
        return match
    name, colon, rest = line.partition(":")
    if colon and re.fullmatch(r"[\w.-]+(\s*<-[\w\s,.-]*)?", name.strip()) and rest:
        raise _error("no blank after the colon", f"write `{name.strip()}: {rest.strip()[:30]}`", number)
    if line.startswith("- "):
        raise _error("a list at the top of the cell", "write `task: command`", number)
    reason = f"`{line.strip()[:40]}` is not `task: command`"
    raise _error(reason, "write a name, a colon, a blank and the command; indent lines that go on", number)


def _check_indented(line: str, number: int, entry: str | None, one_line: bool, scalar: bool) -> None:
    if entry is None:
        raise _error("an indented line with no task above it", "start the line at the left edge", number)
    if line.startswith("\t") and not scalar:
        raise _error("a tab in the indentation", "indent with spaces", number)
    if one_line:
        cure = f"write `{entry}: |` and the whole command on indented lines, or put this line under `run:`"
        raise _error(f"the command of `{entry}` is on its line already", cure, number)


def _child(line: str, indent: int, following: list[str]) -> str:
    """A ``run:`` field of a task with its command quoted, unless YAML has more of it on the next line."""
    match = _CHILD.match(line)
    if match is None or len(match["indent"]) != indent:
        return line
    deeper = bool(following) and len(following[0]) - len(following[0].lstrip()) > indent and following[0].strip() != ""
    rest = match["rest"].strip()
    return line if deeper or _is_yaml(rest) else f"{match['indent']}run: {_quoted(rest)}"


def _left_alone(key: str, rest: str, whole: bool) -> bool:
    if whole or key in HEAD:
        return key not in _TEXT_FIELDS or _is_yaml(rest)
    return _is_yaml(rest)


def _is_yaml(rest: str) -> bool:
    """Is this value YAML rather than a command? Quoted whole, a list, a mapping, a block, an anchor, or nothing."""
    if rest == "" or rest.startswith("#") or _BLOCK.fullmatch(rest) or _NODE.fullmatch(rest):
        return True
    if rest[0] not in "\"'[{" or rest.startswith("{{"):
        return False
    try:
        read = yaml_data(rest)[0]
    except SpecError:
        return _is_open(rest)
    return isinstance(read, list | dict | str)


def _is_open(rest: str) -> bool:
    """Does a list or a mapping start here that goes on in the next lines?"""
    return (rest[0] == "[" and "]" not in rest) or (rest[0] == "{" and "}" not in rest and ":" in rest)


def _key(key: str) -> str:
    return key if re.match(r"[\"']", key) else json.dumps(key, ensure_ascii=False)


def _quoted(rest: str) -> str:
    return json.dumps(_without_comment(rest), ensure_ascii=False)


def _without_comment(rest: str) -> str:
    """The command without a ``#`` comment that stands outside quotes after a blank."""
    for piece in _PIECE.finditer(rest):
        if piece[0] in (" #", "\t#"):
            return rest[: piece.start()].rstrip()
    return rest


def _error(reason: str, cure: str, line: int) -> SpecError:
    return SpecError([Problem("", reason, cure, line)])
