"""What goes into the code of a task and what leaves it: :func:`emit`, :func:`input`, :func:`progress`, and how values
travel.

Small plain values travel as JSON, all else pickled, through the store's folder of objects. Tasks import this, in
whatever interpreter they run: stdlib only, cloudpickle where it is there.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import io
import json
import math
import numbers
import os
import pickle
import re
import reprlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from wattle_jupyter.errors import Conflict, InvalidRequest, NotFound, StoreUnavailable, TooLarge, WattleError
from wattle_jupyter.objects import MAX_OBJECT, Objects, is_full, size_text

MAX_JSON = 64 << 10
"""Bytes up to which a value travels as JSON."""
MAX_DEPTH = 50
"""Levels of lists and dicts in it."""
ROOM = 1.0
"""Seconds between looks whether a full disk has room again."""

T = TypeVar("T")

_UNCLEAN = re.compile(r"[\0\ud800-\udfff]")  # what no variable of an environment can hold


def emit(**values: object) -> None:
    """Leave values as outputs of this task: ``emit(loss=0.3, model=model)``. The last one of a name counts.

    Outside of a task, where a script or notebook is tried out, it only says that it leaves nothing. Raises Conflict
    for what cannot be pickled, TooLarge, StoreUnavailable.
    """
    if "WATTLE_OUTPUT" not in os.environ:
        told = ", ".join(f"{name}=…" for name in values)  # a value may be a secret, and this be saved in a notebook
        sys.stderr.write(f"wattle: not a task, so emit({told}) leaves nothing\n")
        return
    for name, value in values.items():
        leave(name, value)


def input(name: str) -> Any:
    """The value of this task's input ``name``: as it was left, or the Path of a file.

    Raises Conflict outside of a task, NotFound if the task has no such input.
    """
    if "WATTLE_OUTPUT" not in os.environ:
        reason = "input() is for code that runs as a task of a workflow, and this does not"
        raise Conflict(f'{reason}; here: run["task"].output("x")')
    kinds: dict[str, str] = json.loads(os.environ.get("WATTLE_INPUTS") or "{}")
    if name not in kinds:
        listed = f"it has: {', '.join(kinds)}" if kinds else "it has none"
        raise NotFound(f"task {os.environ['WATTLE_TASK']} has no input `{name}`; {listed}")
    return taken(name, kinds[name], os.environ[f"WATTLE_INPUT_{name.upper()}"])


def progress(value: float, total: float | None = None) -> None:
    """Say how far this task is: ``progress(3, 8)``, or ``progress(40)`` for per cent. Elsewhere it says nothing.

    It prints ``::wattle progress=3/8::``, where that is another whole per cent than it said last. What lies outside of
    0 to ``total`` counts as its end; a ``total`` of 0 says nothing. Raises InvalidRequest for what is not a number.
    """
    limit = 100 if total is None else total
    for number in (value, limit):
        if not _is_number(number):
            raise InvalidRequest(f"progress() takes numbers, not {short(number)}: progress(3, 8), or progress(40)")
    if "WATTLE_ATTEMPT" not in os.environ or limit <= 0:
        return
    done = min(max(value, 0), limit)
    share = int(100 * done / limit)
    if _said.get("share") != (share, limit):
        _said["share"] = (share, limit)
        text = _decimal(done) if total is None else f"{_decimal(done)}/{_decimal(total)}"
        print(f"::wattle progress={text}::", flush=True)  # noqa: T201  that is what it does


_said: dict[str, tuple[int, float]] = {}  # by the last marker of this process


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)


def _decimal(number: float) -> str:
    """``3``, ``0.5``: never with an exponent."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def taken(name: str, kind: str, text: str) -> Any:
    """The value behind ``WATTLE_INPUT_X``."""
    if kind == "json":
        return json.loads(text)
    if kind == "file":
        return Path(text)
    if kind == "object":
        path = Path(text)
        with Objects(path.parent.parent).verified(path.name) as file:
            return load(file, f"the input {name}")
    return text


def leave(name: str, value: object, what: str = "") -> None:
    """Leave one output. ``what`` is how to speak of it in errors."""
    text = json_text(value)
    if text is None:
        objects = Objects(os.environ["WATTLE_OBJECTS"], int(os.environ.get("WATTLE_MAX_OBJECT") or MAX_OBJECT))
        words = what or f"the output {name} of {os.environ['WATTLE_TASK']}"
        about = when_there_is_room(lambda: keep(objects, value, words))
        text = json.dumps({"$object": about.pop("hash"), **about})
    _write(name, text)


def leave_file(name: str, path: Path) -> None:
    """Leave a file as an output that was not declared with a path."""
    _write(name, json.dumps({"$file": str(path.absolute())}))


def _write(name: str, text: str) -> None:
    line = f"{{{json.dumps(name)}: {text}}}\n".encode()
    when_there_is_room(lambda: _append(os.environ["WATTLE_OUTPUT"], line))


def _append(path: str, line: bytes) -> None:
    """The whole line or nothing: threads and processes of a task may emit at once, on a disk that is full."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        if os.write(fd, line) < len(line):
            os.ftruncate(fd, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    finally:
        os.close(fd)


def when_there_is_room(act: Callable[[], T]) -> T:
    """What took hours to compute does not fail for want of room: the task says that it waits, and waits."""
    told = False
    while True:
        try:
            return act()
        except (StoreUnavailable, OSError) as error:
            if not is_full(error):
                raise
            if not told:
                why = error.strerror if isinstance(error, OSError) else error
                print(f"wattle: {why}; this task waits for room", file=sys.stderr, flush=True)  # noqa: T201
            told = True
            time.sleep(ROOM)


# ------------------------------------------------------------------------------------------------------------- as JSON


def json_text(value: object) -> str | None:
    """A value that is JSON through and through, as text. None if it is anything else, or too big for that, or if it
    would be read as something that stands for an object or a file."""
    marked = isinstance(value, dict) and ("$object" in value or "$file" in value)
    text = json.dumps(value) if not marked and _is_plain(value) else None
    return text if text is not None and len(text) <= MAX_JSON else None


def _is_plain(value: object) -> bool:
    """Exact types only: what comes out is what went in. A list may hold itself, or the same list many times."""
    level, seen = [value], 0
    for _ in range(MAX_DEPTH):
        children: list[object] = []
        for item in level:
            if type(item) is dict:
                if not all(type(key) is str and _is_scalar(key) for key in item):
                    return False
                children.extend(item.values())
            elif type(item) is list:
                children.extend(item)
            elif not _is_scalar(item):
                return False
        seen += len(children)
        if not children:
            return True
        if seen > MAX_JSON:
            return False
        level = children
    return False


def _is_scalar(value: object) -> bool:
    if type(value) is str:
        return len(value) <= MAX_JSON and not _UNCLEAN.search(value)
    if type(value) is int:
        return -(2**63) <= value < 2**63
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) is bool


# ------------------------------------------------------------------------------------------------------------- pickled


def keep(objects: Objects, value: object, what: str) -> dict[str, Any]:
    """Pickle a value into the store: its hash, size, type and a short text of it.

    Raises Conflict with the part that cannot be pickled, TooLarge, StoreUnavailable.
    """
    with objects.writer() as writer:
        try:
            _pickler(writer).dump(value)
        except TooLarge:
            limit, size = size_text(objects.limit), size_of(value)
            raise TooLarge(
                f"{what} is {size_text(size) if size else f'more than {limit}'}; the limit of an object is {limit} "
                "([store] max_object); write it to a file and return the path",
                limit=objects.limit,
            ) from None
        except WattleError:
            raise
        except Exception as error:  # noqa: BLE001  whatever __reduce__ of somebody's class raises
            raise Conflict(f"{what} cannot be pickled: {culprit(value, error)}") from None
        name = writer.publish()
    return {"hash": name, "size": writer.size, "type": type_text(value), "repr": short(value)}


def _pickler(file: Any) -> pickle.Pickler:
    return _kind_of_pickler()(file, protocol=5)


@functools.cache
def _kind_of_pickler() -> type[pickle.Pickler]:
    """cloudpickle's where it is there: what lives in a notebook goes by value."""
    try:
        from cloudpickle import CloudPickler  # noqa: PLC0415  by now somebody has something to pickle
    except ImportError:
        return pickle.Pickler

    class Pickler(CloudPickler):  # type: ignore[misc]  # it has no types
        def reducer_override(self, obj: Any) -> Any:
            streams = (sys.stdin, sys.stdout, sys.stderr)
            if isinstance(obj, io.IOBase) and not isinstance(obj, io.BytesIO | io.StringIO) and obj not in streams:
                raise TypeError("an open file belongs to its process")  # cloudpickle would send what is in it
            return super().reducer_override(obj)

    return Pickler


class _Nowhere(io.RawIOBase):
    """Counts, keeps nothing."""

    size = 0

    def write(self, data: Any) -> int:
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes


def size_of(value: object) -> int:
    """Bytes of its pickle; 0 if it has none."""
    sink = _Nowhere()
    try:
        _pickler(sink).dump(value)
    except Exception:  # noqa: BLE001  whatever __reduce__ raises
        return 0
    return sink.size


def culprit(value: object, error: Exception) -> str:
    """The innermost part that cannot be pickled, with the reason and what to do: ``["log"] is a …``."""
    place = ""
    for _ in range(8):
        found = next(((step, part, why) for step, part in _parts(value) if (why := _refusal(part))), None)
        if found is None:
            break
        step, value, error = found
        place += step
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    subject = f"its part `{place.removeprefix('.')}`" if place else "it"
    lazy = isinstance(value, Iterator) and not place
    cure = "return a list of it" if lazy else "leave it out, or write it to a file and return the path"
    return f"{subject} is a {type_text(value)} ({reason}); {cure}"


def _refusal(value: object) -> Exception | None:
    try:
        _pickler(_Nowhere()).dump(value)
    except Exception as error:  # noqa: BLE001  whatever __reduce__ raises
        return error
    return None


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((f"[{reprlib.repr(key)}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{i}]", part) for i, part in enumerate(value))
    yield from ((f".{name}", part) for name, part in getattr(value, "__dict__", {}).items())
    function = getattr(value, "__func__", value)
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        yield f".{name}", cell.cell_contents


def type_text(value: object) -> str:
    """``pandas.DataFrame``: the name under which people know the type."""
    kind = type(value)
    home = kind.__module__.split(".")[0]
    return kind.__qualname__ if home in ("builtins", "__main__") else f"{home}.{kind.__qualname__}"


def short(value: object) -> str:
    """At most 80 characters, one line."""
    try:
        text = " ".join(reprlib.repr(value).split())
    except Exception:  # noqa: BLE001  whatever __repr__ of somebody's class raises
        return f"<{type_text(value)}>"
    return text if len(text) <= 80 else text[:79] + "…"


def load(file: BinaryIO, what: str) -> Any:
    """Unpickle. Raises Conflict, in words, if this interpreter cannot."""
    try:
        return pickle.load(file)  # noqa: S301  out of the user's own store, its hash looked at by the caller
    except ModuleNotFoundError as error:
        raise Conflict(_missing(what, error.name or str(error))) from None
    except Exception as error:
        raise Conflict(
            f"{what} cannot be unpickled by {sys.executable}: {type(error).__name__}: {error}; "
            "it was made with other versions of Python or of its modules: make it again"
        ) from error


def _missing(what: str, module: str) -> str:
    package = module.split(".", maxsplit=1)[0]
    cure = f"install it: `{sys.executable} -m pip install {package}`"
    if package != "cloudpickle":  # a file of the user's first: a stranger's package may bear its name
        place = os.getcwd()  # noqa: PTH109  as text
        cure = f"if it is a file of yours, put it into {place} (a task's `working_dir` says where that is); else {cure}"
    return f"{what} needs the module `{module}`, which {sys.executable} does not have; {cure}"
