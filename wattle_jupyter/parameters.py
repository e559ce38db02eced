"""What a notebook that is a task is given, and the cell that says it. Pure."""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Any

from wattle_jupyter.surroundings import MASK, is_secret

TAG = "parameters"
"""The tag of the cell that holds defaults: what the task is given is set right after it, as papermill does."""

_OBJECT = "wattle_jupyter.input("
_SHELL = re.compile(r"^(\w+ *=) *[!%].*")  # x = !ls, x = %pwd


def assigned(source: str) -> frozenset[str]:
    """The names that a cell of Python sets by themselves, at its outermost level."""
    if source.lstrip().startswith("%%"):
        return frozenset()
    lines = (line for line in source.splitlines() if not _is_magic(line))
    try:
        body = ast.parse("\n".join(_SHELL.sub(r"\1 None", line) for line in lines)).body
    except (SyntaxError, ValueError):  # the kernel will say so
        return frozenset()
    return frozenset(name for statement in body for name in _targets(statement))


def _is_magic(line: str) -> bool:
    return line.startswith(("%", "!", "?")) or ("#" not in line and line.rstrip().endswith("?"))


def _targets(statement: ast.stmt) -> Iterable[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    parts = (part for one in targets for part in (one.elts if isinstance(one, ast.Tuple | ast.List) else (one,)))
    return (part.id for part in parts if isinstance(part, ast.Name))


def is_variable(name: str) -> bool:
    """May a variable of Python be called so?"""
    return name.isidentifier() and not keyword.iskeyword(name)


def given(
    params: Mapping[str, Any], inputs: Mapping[str, tuple[str, str]], told: Mapping[str, Any], takes: frozenset[str]
) -> dict[str, str]:
    """Name → the Python that stands for its value.

    ``params`` are those of the workflow, of which the notebook gets those that it ``takes``; ``inputs`` are the task's,
    each with its kind and its text, but for names that no variable can have; ``told`` was written after the name of
    the notebook, and comes first.
    """
    own = {name: _literal(value) for name, value in params.items() if name in takes}
    taken = {name: _input(name, kind, text) for name, (kind, text) in inputs.items() if is_variable(name)}
    return {**own, **taken, **{name: _literal(value) for name, value in told.items()}}


def _literal(value: Any) -> str:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:  # NaN and Infinity are no words of Python
        return f"__import__('json').loads({json.dumps(value)!r})"
    return repr(value)


def _input(name: str, kind: str, text: str) -> str:
    """As ``wattle_jupyter.input`` would give it."""
    if kind == "object":
        return f"{_OBJECT}{name!r})"
    if kind == "file":
        return f"Path({text!r})"
    return _literal(json.loads(text)) if kind == "json" else repr(text)


def cell(values: Mapping[str, str]) -> str:
    """The code that sets them, but for the secrets: of those it says only that they are set."""
    told = {name: text for name, text in values.items() if not _is_hidden(name, text)}
    masked = [f"# {name} = {MASK}" for name in values if name not in told]
    return "\n".join(["# set by wattle", *_imports(told.values()), *_lines(told), *masked])


def hidden(values: Mapping[str, str]) -> str:
    """The code that sets the secrets: what it says must not be kept, nor be seen in a traceback."""
    told = {name: text for name, text in values.items() if _is_hidden(name, text)}
    return "\n".join([*_imports(told.values()), *_lines(told)])


def _lines(values: Mapping[str, str]) -> Iterable[str]:
    return (f"{name} = {text}" for name, text in values.items())


def _is_hidden(name: str, text: str) -> bool:
    return is_secret(name) and not text.startswith(_OBJECT)


def _imports(texts: Iterable[str]) -> list[str]:
    begin = {"Path(": "from pathlib import Path", _OBJECT: "import wattle_jupyter"}
    return [line for first, line in begin.items() if any(text.startswith(first) for text in texts)]
