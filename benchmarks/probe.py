"""Tells what a process holds in Python objects, and where in the code these were made.

Runs inside that process (``watch`` is called in its configuration; it was started with ``PYTHONTRACEMALLOC``), and is
asked from outside by a signal: :func:`ask`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sysconfig
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

FRAMES = 6
"""Of the stack at each allocation that are remembered."""
MODULES = "code of modules"
_OURS = "wattle_jupyter"
_LIBRARY = PurePath(sysconfig.get_path("stdlib"))


def watch(answer: Path) -> None:
    """At each SIGUSR1, write the bytes by place as JSON to ``answer``."""

    def tell(*_: object) -> None:
        part = answer.with_suffix(".part")
        part.write_text(json.dumps(held()))
        part.replace(answer)

    signal.signal(signal.SIGUSR1, tell)


def ask(pid: int, answer: Path, seconds: float = 120) -> dict[str, int]:
    """What the process answers. Raises TimeoutError."""
    answer.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    until = time.monotonic() + seconds
    while not answer.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"the process {pid} did not say what it holds within {seconds:g} s")
        time.sleep(0.05)
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
    for file in reversed(files):
        parts = PurePath(file).with_suffix("").parts
        if _OURS in parts:
            return ".".join(parts[parts.index(_OURS) :])
    path = PurePath(files[-1])
    if "site-packages" in path.parts:
        return PurePath(path.parts[path.parts.index("site-packages") + 1]).stem
    return path.relative_to(_LIBRARY).parts[0].removesuffix(".py") if path.is_relative_to(_LIBRARY) else path.stem
