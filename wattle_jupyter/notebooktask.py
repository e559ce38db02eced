"""Runs a notebook as a task: a copy of it, cell by cell, in a kernel of its own.

Started by the scheduler with the server's interpreter, ``python -m wattle_jupyter.notebooktask``, with the snapshot of
the notebook and ``name=value`` arguments. What the cells print is printed, the copy with their outputs is saved after
each of them, and left as the output ``notebook``. The notebook itself is only read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from wattle_jupyter.kernelprocess import NATIVE, KernelProcess, KernelTrouble
from wattle_jupyter.parameters import is_variable


def main(argv: Sequence[str] | None = None) -> None:
    """Run the notebook that the arguments name. Exits with 1 if a cell fails, or there is no kernel for it."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]  # they are files
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by the way on which kernels are ended
    asked = _arguments(argv)
    copy = Path(asked.to) if asked.to else Path(os.environ["WATTLE_OUTPUT"]).with_name(asked.notebook.name)
    try:
        name = _kernel_of(json.loads(asked.notebook.read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _exit(f"{asked.notebook.name} is not a notebook: {error}")
    try:
        with _started(asked, name) as kernel:
            code = _run(asked, kernel, copy)
    except KernelTrouble as trouble:
        _exit(str(trouble))
    if code:
        sys.stderr.write(f"wattle: its executed copy is {copy.absolute()}\n")
    sys.exit(code)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="wattle", usage="notebook.ipynb [--kernel NAME] [name=value …]")
    for option in ("--python", "--beside", "--to"):
        parser.add_argument(option, default="", help=argparse.SUPPRESS)
    parser.add_argument("notebook", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kernel", default="", help="the name of an installed kernel, in place of the notebook's own")
    parser.add_argument("given", nargs="*", type=parameter, metavar="name=value", help="set after its defaults")
    return parser.parse_intermixed_args(argv)


def parameter(text: str) -> tuple[str, Any]:
    """``name=value``: what reads as JSON is that, all else is text. Raises ArgumentTypeError."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not `name=value`")
    if not is_variable(name):
        raise argparse.ArgumentTypeError(f"no variable of Python can be called {name!r}: give it another name")
    try:
        return name, json.loads(value, parse_constant=_no_number)
    except ValueError:
        return name, value


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _kernel_of(raw: Any) -> str:
    """The name of the kernel that the notebook was written with."""
    if not isinstance(raw, dict):
        raise TypeError("it is no mapping")
    if "nbformat" not in raw:
        raise ValueError("it does not say `nbformat`")
    return str(((raw.get("metadata") or {}).get("kernelspec") or {}).get("name") or NATIVE)


def _started(asked: argparse.Namespace, name: str) -> KernelProcess:
    environ = dict(os.environ)
    if asked.beside:  # as if it ran from its own folder
        environ["PYTHONPATH"] = ":".join(filter(None, (asked.beside, environ.get("PYTHONPATH", ""))))
    wanted = asked.kernel or name
    if wanted == NATIVE:
        return KernelProcess.python(asked.python or sys.executable, environ)
    return KernelProcess.named(wanted, environ)


def _run(asked: argparse.Namespace, kernel: KernelProcess, copy: Path) -> int:
    # the kernel is starting: now is the time to import. jsonschema would take more than a second to prepare the check
    # of a format that no notebook has, if this package were there for it
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # so a module is kept out
    import nbformat  # noqa: PLC0415
    from nbformat.warnings import DuplicateCellId, MissingIDFieldWarning  # noqa: PLC0415

    for cured in (DuplicateCellId, MissingIDFieldWarning):  # the copy has ids; who wrote the notebook is not here
        warnings.simplefilter("ignore", cured)
    from wattle_jupyter import passing  # noqa: PLC0415
    from wattle_jupyter.command import COPY  # noqa: PLC0415
    from wattle_jupyter.notebookrun import Given, NotebookRun  # noqa: PLC0415

    try:
        notebook = nbformat.reads(  # type: ignore[no-untyped-call]  # it has no types
            asked.notebook.read_text("utf-8-sig"), as_version=4
        )
    except Exception as error:  # noqa: BLE001  whatever nbformat makes of it
        _exit(f"{asked.notebook.name} is not a notebook: {error}")
    kinds: dict[str, str] = json.loads(os.environ.get("WATTLE_INPUTS") or "{}")
    given = Given(
        params=json.loads(os.environ.get("WATTLE_PARAMS") or "{}"),
        inputs={name: (kind, os.environ[f"WATTLE_INPUT_{name.upper()}"]) for name, kind in kinds.items()},
        told=dict(asked.given),
    )
    code = asyncio.run(NotebookRun(notebook, copy, asked.notebook.name).run(kernel, given))
    if not code and not asked.to:
        passing.leave_file(COPY, copy)
    return code


def _exit(text: str) -> NoReturn:
    sys.exit(f"wattle: {text}")


if __name__ == "__main__":
    main()
