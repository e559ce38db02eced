"""Runs the Python of one task: a function or a cell, in a process of its own.

Started by file path, ``python …/task.py``, by the interpreter of the kernel that defined the task: it may be one that
does not have this package, so the package is taken from the folder of this file. ``WATTLE_CALL`` says what to run.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import importlib
import importlib.util
import inspect
import json
import linecache
import os
import sys
import traceback
import types
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))  # compared with file names of frames
_LAST = "__wattle_last__"


def be_the_package() -> None:
    """Make ``wattle_jupyter`` importable, and nothing else of the folder that it lives in."""
    found = importlib.util.spec_from_file_location(
        "wattle_jupyter",
        os.path.join(_HERE, "__init__.py"),
        submodule_search_locations=[_HERE],
    )
    assert found is not None
    assert found.loader is not None
    package = importlib.util.module_from_spec(found)
    sys.modules["wattle_jupyter"] = package
    found.loader.exec_module(package)


def main() -> None:
    """Run what ``WATTLE_CALL`` names. Errors of the user's code leave as they are: the interpreter ends as ever."""
    from wattle_jupyter.errors import WattleError  # noqa: PLC0415  only importable by now

    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(_HERE):
        sys.path[0] = os.getcwd()  # as for a script in the folder that the task runs in
    sys.excepthook = show
    name = os.environ["WATTLE_TASK"]
    try:
        call = json.loads(os.environ.pop("WATTLE_CALL"))
        payload = _payload(call["object"], name)
        given = _given(call["params"], _wanted(payload))
    except WattleError as error:
        sys.exit(f"wattle: {error}")
    left = _run_cell(payload, given, call["results"], name) if "cell" in payload else _run_function(payload, given)
    try:
        _leave(left, call["results"], name)
    except WattleError as error:
        sys.exit(f"wattle: {error}")


def _payload(path: str, name: str) -> dict[str, Any]:
    from wattle_jupyter.objects import Objects  # noqa: PLC0415
    from wattle_jupyter.passing import load  # noqa: PLC0415

    with Objects(Path(path).parent.parent).verified(Path(path).name) as file:
        payload: dict[str, Any] = load(file, f"task {name}")
    if payload.get("v") != 1:
        sys.exit(f"wattle: task {name} was defined by another version of wattle-jupyter; define it again")
    return payload


def _wanted(payload: Mapping[str, Any]) -> Callable[[str], bool]:
    """Does the code take this name?"""
    if "cell" in payload:
        return lambda name: True
    takes = inspect.signature(payload["function"]).parameters
    if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return lambda name: True
    return takes.__contains__


def _given(params: Mapping[str, Any], wanted: Callable[[str], bool]) -> dict[str, Any]:
    """Params and inputs by name. An input that the code does not take by name waits for ``wt.input``."""
    from wattle_jupyter import passing  # noqa: PLC0415

    inputs = json.loads(os.environ.get("WATTLE_INPUTS") or "{}")
    return {name: value for name, value in params.items() if wanted(name)} | {
        name: passing.input(name) for name in inputs if wanted(name)
    }


def _leave(left: Mapping[str, Any], results: Collection[str], task: str) -> None:
    from wattle_jupyter import passing  # noqa: PLC0415

    for name in results:
        if name in left:
            what = f"result of {task}" if name == "result" else f"the output {name} of {task}"
            passing.leave(name, left[name], what)


# ----------------------------------------------------------------------------------------------------------- functions


def _run_function(payload: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What it returned: as ``result``, and the entries of a dict by their names."""
    function, plain = payload["function"], inspect.unwrap(payload["function"])
    code = getattr(plain, "__code__", None)
    remember(code.co_filename if code else payload["file"], payload["source"], payload["line"])
    for file, source in payload.get("sources", {}).items():  # of what else of the notebook it uses
        remember(file, source, 1)
    if plain.__module__ == "__main__":
        _become_main({**getattr(plain, "__globals__", {}), plain.__name__: plain})
    value = function(**given)
    if inspect.iscoroutine(value):
        value = asyncio.run(value)
    named = {name: part for name, part in value.items() if isinstance(name, str)} if isinstance(value, dict) else {}
    return {**named, "result": value}


def _become_main(names: Mapping[str, Any], home: Any = None) -> dict[str, Any]:
    """A fresh ``__main__`` with these names: what pickles by reference looks there, say for a pool of processes.

    With ``home``, a function of the notebook, its names are the globals of that function, as they were in the kernel.
    """
    module = types.ModuleType("__main__")
    space: dict[str, Any] = module.__dict__ if home is None else home.__globals__
    space.update({name: value for name, value in names.items() if not name.startswith("__")})
    if home is not None:
        module.__dict__["__getattr__"] = functools.partial(_look_up, space)
    sys.modules["__main__"] = module
    return space


def _look_up(space: Mapping[str, Any], name: str) -> Any:
    if name in space:
        return space[name]
    raise AttributeError(f"module '__main__' has no attribute {name!r}")


# --------------------------------------------------------------------------------------------------------------- cells


def _run_cell(
    payload: Mapping[str, Any], given: Mapping[str, Any], results: Collection[str], task: str
) -> Mapping[str, Any]:
    """The names that the cell made. ``result`` is the value of its last expression, if it makes no such name."""
    text, file = payload["cell"], payload["file"] or f"<{task}>"
    for other, source in {**payload.get("sources", {}), file: text}.items():
        remember(other, source, 1)
    space = _become_main({**payload["names"], **given}, payload.get("home"))
    tree = ast.parse(text, file)
    shown = _keep_last(tree, text)
    code = compile(tree, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    running = eval(code, space)  # noqa: S307  the user's own code
    if inspect.iscoroutine(running):
        asyncio.run(running)
    last = space.pop(_LAST, None)
    if shown and last is not None:
        print(repr(last))  # noqa: T201  as a notebook does
    missing = [name for name in results if name not in space and name != "result"]
    if missing:
        sys.exit(f"wattle: the cell of {task} ended without a value for {', '.join(missing)}")
    return {"result": last, **space}


def _keep_last(tree: ast.Module, text: str) -> bool:
    """Have the value of a last expression kept. Is it to be shown? Not if a semicolon follows it."""
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        return False
    last = tree.body[-1]
    kept = ast.Assign([ast.Name(_LAST, ast.Store())], last.value)
    tree.body[-1] = ast.fix_missing_locations(ast.copy_location(kept, last))
    return not text.rstrip().endswith(";")


# -------------------------------------------------------------------------------------------------------------- errors


def remember(file: str, source: str, line: int) -> None:
    """Have tracebacks show this source for ``file`` from ``line`` on, though the kernel's file may be gone."""
    old = linecache.getlines(file)
    lines = [text + "\n" for text in source.splitlines()]
    before = (old + ["\n"] * line)[: line - 1]
    whole = before + lines + old[line - 1 + len(lines) :]
    linecache.cache[file] = (sum(map(len, whole)), None, whole, file)


def show(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """A traceback as in the notebook: from the user's code on."""
    trace = _from_the_users_code(trace)
    error.__traceback__ = trace
    text = _notebook_text(kind, error, trace) if trace is not None and not isinstance(error, KeyboardInterrupt) else ""
    sys.stdout.flush()
    sys.stderr.write(text or "".join(traceback.format_exception(kind, error, trace)))
    sys.stderr.flush()


def _from_the_users_code(trace: types.TracebackType | None) -> types.TracebackType | None:
    ours = (_HERE, os.path.dirname(asyncio.__file__), ast.__file__)
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    return trace


def _notebook_text(kind: type[BaseException], error: BaseException, trace: types.TracebackType) -> str:
    """What IPython makes of it; nothing if it is not there or fails: the plain one is better than none."""
    try:
        from IPython.core.ultratb import FormattedTB  # noqa: PLC0415  only now: it takes its time

        theme = "NoColor" if os.environ.get("NO_COLOR") else "Neutral"  # legible on dark and on light
        named = "theme_name" if "theme_name" in inspect.signature(FormattedTB.__init__).parameters else "color_scheme"
        made: Any = FormattedTB(  # type: ignore[no-untyped-call]  # it has no types
            mode="Context", **{named: theme.lower() if named == "theme_name" else theme}
        )
        return str(made.stb2text(made.structured_traceback(kind, error, trace))) + "\n"
    except Exception:  # noqa: BLE001
        return ""


if __name__ == "__main__":
    be_the_package()
    importlib.import_module("wattle_jupyter.task").main()
