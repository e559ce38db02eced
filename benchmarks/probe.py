"""Tells what a process holds in Python objects, and where in the code these were made.

Runs inside that process (:func:`watch` is called in its configuration, from where on it counts), and is asked from
outside by a file: :func:`ask`.
"""

from __future__ import annotations

import gc
import json
import sysconfig
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePath

FRAMES = 6
"""Of the stack at each allocation that are remembered: what is made in a library is made for somebody."""
MODULES = "code of modules"
_OURS = "wattle_jupyter"
_LIBRARY = PurePath(sysconfig.get_path("stdlib"))
_LOOK = 0.05  # seconds


def watch(question: Path) -> None:
    """Count from now on, in a thread; when the file ``question`` is there, answer beside it."""

    def wait() -> None:
        while True:
            time.sleep(_LOOK)
            if question.exists():
                question.unlink()
                part = question.with_suffix(".part")
                part.write_text(json.dumps(held()))
                part.replace(question.with_suffix(".answer"))

    tracemalloc.start(FRAMES)
    threading.Thread(target=wait, daemon=True, name="probe").start()


def ask(question: Path, seconds: float = 300) -> dict[str, int]:
    """Bytes by place, as the process answers. Raises TimeoutError."""
    answer = question.with_suffix(".answer")
    answer.unlink(missing_ok=True)
    question.touch()
    until = time.monotonic() + seconds
    while not answer.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"nobody said within {seconds:g} s what is held: {question}")
        time.sleep(_LOOK)
    found: dict[str, int] = json.loads(answer.read_text())
    return found


def held() -> dict[str, int]:
    """Bytes by place, after what nobody can reach any more is gone."""
    gc.collect()
    sizes: Counter[str] = Counter()
    for found in tracemalloc.take_snapshot().statistics("traceback"):
        sizes[place([frame.filename for frame in found.traceback])] += found.size
    return dict(sizes)


def place(files: Sequence[str]) -> str:
    """A name for where something was made: its innermost module of ours, else the package of the innermost file.

    ``files`` are those of the stack, the innermost last.

    >>> place(["/x/wattle_jupyter/handlers/runs.py", "/usr/lib/python3/json/decoder.py"])
    'wattle_jupyter.handlers.runs'
    >>> place(["/x/site-packages/tornado/ioloop.py", "/x/site-packages/tornado/iostream.py"])
    'tornado'
    """
    if "importlib" in files[-1]:
        return MODULES
    return next((name for name, ours in map(_module, reversed(files)) if ours), _module(files[-1])[0])


@cache
def _module(file: str) -> tuple[str, bool]:
    """Its name, or that of its package if it is not ours; and whether it is."""
    path = PurePath(file)
    parts = path.with_suffix("").parts
    if _OURS in parts:
        return ".".join(parts[parts.index(_OURS) :]), True
    if "site-packages" in parts:
        return PurePath(parts[parts.index("site-packages") + 1]).stem, False
    return (
        path.relative_to(_LIBRARY).parts[0].removesuffix(".py") if path.is_relative_to(_LIBRARY) else path.stem
    ), False
