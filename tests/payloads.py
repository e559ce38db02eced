"""Python of a notebook as the store keeps it, for tests: functions as if a cell had defined them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import cloudpickle


def notebook(source: str, file: str = "<cell>", **names: object) -> dict[str, Any]:
    """The names that a cell makes, in a module that is called ``__main__``, as in a kernel."""
    space: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(textwrap.dedent(source), file, "exec"), space)
    return space


def function(source: str, name: str = "f", file: str = "/tmp/ipykernel_1/2.py", line: int = 1) -> bytes:
    """The payload of a function; it stands in ``file`` from ``line`` on."""
    source = textwrap.dedent(source).lstrip("\n")
    space = notebook("\n" * (line - 1) + source, file)
    return of(space[name], source, file, line)


def of(call: Any, source: str = "", file: str = "", line: int = 1) -> bytes:
    payload = {"v": 1, "function": call, "file": file, "line": line, "source": source}
    return cloudpickle.dumps(payload, protocol=5)  # type: ignore[no-any-return]  # it has no types


def cell(source: str, results: list[str] | None = None, names: Mapping[str, object] | None = None) -> bytes:
    payload = {"v": 1, "cell": textwrap.dedent(source).lstrip("\n"), "file": "<cell of w.t>"}
    return cloudpickle.dumps({**payload, "names": dict(names or {}), "results": results or []}, protocol=5)  # type: ignore[no-any-return]  # it has no types
