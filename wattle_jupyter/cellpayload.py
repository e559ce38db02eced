"""What a cell takes with it into its task, as bytes: its text, code of the kernel, and snapshots of variables."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterator, Mapping
from types import FunctionType
from typing import Any

from wattle_jupyter import pickling, variables
from wattle_jupyter.celltask import CellTask
from wattle_jupyter.errors import Problem, SpecError
from wattle_jupyter.objects import MAX_OBJECT, size_text

MOST_CODE = pickling.MOST
"""Bytes that functions and classes may bring along, with the data that they read."""


def pack(found: CellTask, user: Mapping[str, Any], most: int = MAX_OBJECT) -> tuple[str, bytes]:
    """Hash and bytes of the payload. SpecError names every variable that cannot travel, or is too large."""
    problems = [*_stuck(found), *_too_large(found, most)]
    if problems:
        raise SpecError(problems)
    sink = io.BytesIO()
    sources: dict[str, str] = {}
    names = dict(sorted({**found.captured, **found.snapshots}.items()))
    payload: dict[str, Any] = {"v": 1, "cell": found.source, "file": "", "names": names, "results": found.results}
    if any(map(_is_of_the_notebook, found.captured.values())):
        payload["home"] = FunctionType(_home.__code__, _globals_of(user), "home")
    payload["sources"] = sources  # last: pickling what stands before it fills it
    _Pickler(sink, sources, found.replaced).dump(payload)
    data = sink.getvalue()
    return hashlib.sha256(data).hexdigest(), data


def _home() -> None:
    """Stands for the notebook: functions of the kernel and the cell share their globals, as they do there."""


def _globals_of(user: Mapping[str, Any]) -> dict[str, Any]:
    return user if isinstance(user, dict) else dict(user)


def _is_of_the_notebook(value: object) -> bool:
    return isinstance(value, pickling.Stays) or getattr(value, "__module__", None) == "__main__"


class _Pickler(pickling._Pickler):
    """Leaves out what functions would read from the kernel, but get from the cell."""

    def __init__(self, file: Any, sources: dict[str, str], replaced: Collection[str]) -> None:
        super().__init__(file, sources)
        self._replaced = frozenset(replaced)

    def _dynamic_function_reduce(self, func: FunctionType) -> tuple[Any, ...]:
        reduced = super()._dynamic_function_reduce(func)
        slots = reduced[2][1]
        slots["__globals__"] = {n: value for n, value in slots["__globals__"].items() if n not in self._replaced}
        return reduced


# ------------------------------------------------------------------------------------------------------ what is refused


def _stuck(found: CellTask) -> Iterator[Problem]:
    for obstacle in pickling.obstacles(found.snapshots):
        cure = obstacle.cure.replace("the function", "the cell")
        yield Problem("", f"-i {obstacle.name}: {obstacle.what} cannot leave this kernel{obstacle.reason}", cure)
    kept = {name: value for name, value in found.captured.items() if name not in found.replaced}
    for obstacle in pickling.obstacles(kept):
        if obstacle.name.partition("[")[0].partition(".")[0] in found.replaced:
            continue
        if obstacle.via:
            yield Problem("", f"`{obstacle.via[0]}` {obstacle.said}", obstacle.cure)
        else:
            cure = obstacle.cure.replace("the function", "the cell")
            yield Problem("", f"{obstacle.what} cannot leave this kernel{obstacle.reason}", cure)


def _too_large(found: CellTask, most: int) -> Iterator[Problem]:
    for name, value in found.snapshots.items():
        size = _size(value)
        if size > most:
            told = f"{variables.type_name(value)} of {size_text(size)}"
            reason = f"-i {name}: a {told}; an object may have {size_text(most)} at most"
            yield Problem(
                "", reason, "have a task make it and name that with `-n`, or write it to a file and read that"
            )
    sizes = {name: _size(value) for name, value in found.along.items()}
    if sum(sizes.values()) > MOST_CODE:
        large = sorted(sizes.items(), key=lambda pair: -pair[1])[:3]
        listed = ", ".join(f"`{name}` ({size_text(size)})" for name, size in large if size > MOST_CODE // 20)
        reason = f"functions that the cell uses read {size_text(sum(sizes.values()))} of this kernel: {listed}"
        cure = " ".join(f"-i {name}" for name, _ in large[:1])
        yield Problem("", reason, f"give it to them as an argument, or add `{cure}` if it is to be sent")


def _size(value: object) -> int:
    """Bytes of its pickle; what cannot be pickled has been told already."""
    try:
        return pickling.size(value)
    except Exception:  # noqa: BLE001  whatever __reduce__ of somebody's class raises
        return 0
