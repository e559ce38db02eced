"""What a notebook that is a task is given, and the cell that says it. Pure."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

from wattle_jupyter.surroundings import MASK, is_secret

TAG = "parameters"
"""The tag of the cell that holds defaults: what the task is given is set right after it, as papermill does."""


def assigned(source: str) -> frozenset[str]:
    """The names that a cell of Python sets by themselves, at its outermost level."""
    if source.lstrip().startswith("%%"):
        return frozenset()
    lines = (line for line in source.splitlines() if not line.startswith(("%", "!", "?")))  # what IPython adds to it
    try:
        body = ast.parse("\n".join(lines)).body
    except (SyntaxError, ValueError):  # the kernel will say so
        return frozenset()
    return frozenset(name for statement in body for name in _targets(statement))


def _targets(statement: ast.stmt) -> Iterable[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else ()
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    return (target.id for target in targets if isinstance(target, ast.Name))


def given(
    params: Mapping[str, Any], inputs: Mapping[str, tuple[str, str]], told: Mapping[str, Any], takes: frozenset[str]
) -> dict[str, str]:
    """Name → the Python that stands for its value.

    ``params`` are those of the workflow, of which the notebook gets those that it ``takes``; ``inputs`` are the task's,
    each with its kind and its text; ``told`` was written after the name of the notebook, and comes first.
    """
    own = {name: repr(value) for name, value in params.items() if name in takes}
    taken = {name: _input(name, kind, text) for name, (kind, text) in inputs.items()}
    return {**own, **taken, **{name: repr(value) for name, value in told.items()}}


def _input(name: str, kind: str, text: str) -> str:
    """As ``wattle_jupyter.input`` would give it."""
    if kind == "object":
        return f"wattle_jupyter.input({name!r})"
    if kind == "file":
        return f"Path({text!r})"
    return repr(json.loads(text)) if kind == "json" else repr(text)


def cell(values: Mapping[str, str], *, shown: bool = False) -> str:
    """The code that sets them. As it may be ``shown``, what looks like a secret is masked."""
    texts = values.values()
    imports = ["from pathlib import Path"] if any(text.startswith("Path(") for text in texts) else []
    imports += ["import wattle_jupyter"] if any(text.startswith("wattle_jupyter.") for text in texts) else []
    told = {name: repr(MASK) if shown and is_secret(name) else text for name, text in values.items()}
    return "\n".join(["# set by wattle", *imports, *(f"{name} = {text}" for name, text in told.items())])
