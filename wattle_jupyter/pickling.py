"""Python code and data of a kernel as bytes for a task: the same for the same code, or words for what cannot travel.

cloudpickle does the work. What it leaves to chance is settled here (names of files, numbers of lines, the order of
sets, the ids of classes), so that a function that is defined again, in this kernel or the next, is the same object.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import io
import operator
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from cloudpickle import cloudpickle

from wattle_jupyter.errors import InvalidRequest

MOST = 50 * 1024 * 1024
"""Bytes that a task may carry with it unless more are allowed."""

_DEEP = 4  # levels of containers in which the culprit is looked for
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(|[kKMGT]i?)B?")
_SHOWN = 3  # of the variables that are too large


class Stays:
    """Base of what belongs to the kernel and cannot leave it."""

    stays = ("an object of the kernel", "")  # what it is, and the cure

    function: Callable[..., object] | None = None
    """What goes in its place, if there is something."""


class TooBig(Exception):
    """More bytes than allowed."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What the store keeps for a task, under its hash."""

    data: bytes
    object: str
    source: str


def payload(function: Callable[..., object], name: str, most: int = MOST) -> Payload:
    """The function with all that it uses. Raises Stuck with everything that cannot travel, or is too much."""
    raw = inner(function)
    sources: dict[str, str] = {}
    code = raw.__code__
    file, source = origin(raw), source_of(raw)
    line = code.co_firstlineno if file == code.co_filename else 1
    # `sources` comes after the function: pickling that fills it
    whole = {"v": 1, "file": file, "line": line, "source": source, "function": raw, "sources": sources}
    try:
        data = dump(whole, most, sources)
    except TooBig:
        raise Stuck([_too_much(raw, name, most)]) from None
    except Exception as error:  # noqa: BLE001  whatever pickling raises: objects may run code of their own
        found = [(o.said, o.cure) for o in obstacles({name: raw})]
        raise Stuck(found or [(f"cannot be pickled: {_brief(error)}", "")]) from None
    return Payload(data, hashlib.sha256(data).hexdigest(), source)


class Stuck(InvalidRequest):
    """Something that a task needs cannot leave the kernel; ``reasons`` are pairs of reason and cure."""

    def __init__(self, reasons: list[tuple[str, str]]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(f"{reason}; {cure}" if cure else reason for reason, cure in reasons))


def inner(function: object) -> FunctionType:
    found: object = function.function if isinstance(function, Stays) else function
    if not isinstance(found, FunctionType):
        raise InvalidRequest(f"{found!r} is not a function")
    return found


def source_of(function: Callable[..., object]) -> str:
    """The text that defined it, to the left margin; empty if nobody knows it any more."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError, IndentationError, SyntaxError):
        return ""


def origin(function: FunctionType) -> str:
    """The file that it is from. Cells have none that lasts: theirs is named after the function."""
    name = function.__code__.co_filename
    lasts = os.path.isfile(name) and "ipykernel_" not in name  # noqa: PTH113  as text
    return name if lasts else f"<{function.__qualname__}>"


# ------------------------------------------------------------------------------------------------------------ pickling


class _Sink(io.BytesIO):
    """Keeps what is written until it is too much."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > self._most:
            raise TooBig
        return super().write(data)


class _Counter:
    total = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.total += size
        return size


def dump(value: object, most: int = MOST, sources: dict[str, str] | None = None) -> bytes:
    """The value pickled. Raises TooBig, or whatever its parts raise; texts of functions in it go to ``sources``."""
    sink = _Sink(most)
    _Pickler(sink, sources if sources is not None else {}).dump(value)
    return sink.getvalue()


def size(value: object) -> int:
    """Bytes of the value pickled; nothing is kept, however large it is."""
    counter = _Counter()
    _Pickler(counter, {}).dump(value)
    return counter.total


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is not typed
    def __init__(self, file: Any, sources: dict[str, str]) -> None:
        super().__init__(file, protocol=5)
        self._sources = sources
        self._sets: dict[int, _Ordered] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Stays):
            return self._instead(obj)
        if isinstance(obj, io.IOBase) and _is_open_file(obj):
            raise TypeError("an open file belongs to its process")
        if isinstance(obj, type) and obj.__module__ != "builtins" and not cloudpickle._should_pickle_by_reference(obj):
            _settle_class(obj)
            return _settled(super().reducer_override(obj))
        return super().reducer_override(obj)

    def _instead(self, obj: Stays) -> Any:
        if obj.function is None:
            raise TypeError(f"{obj.stays[0]} belongs to the kernel")
        reduced = self.reducer_override(obj.function)
        return (operator.getitem, ((obj.function,), 0)) if reduced is NotImplemented else reduced

    def _function_getnewargs(self, func: FunctionType) -> tuple[Any, ...]:
        code, *rest = super()._function_getnewargs(func)
        file = origin(func)
        if file != code.co_filename:
            self._sources.setdefault(file, source_of(func))
        return (_moved(code, file, code.co_firstlineno - 1 if file != code.co_filename else 0), *rest)

    def _dynamic_function_reduce(self, func: FunctionType) -> tuple[Any, ...]:
        reduced = super()._dynamic_function_reduce(func)
        slots = reduced[2][1]
        slots["__globals__"] = {name: self._ordered(value) for name, value in slots["__globals__"].items()}
        slots["_cloudpickle_submodules"].sort(key=lambda module: module.__name__)
        return reduced  # type: ignore[no-any-return]

    def _ordered(self, value: object) -> object:
        if type(value) not in (set, frozenset):
            return value
        return self._sets.setdefault(id(value), _Ordered(value))  # one for all who share it


class _Ordered:
    """A set whose items come in the same order in every process."""

    def __init__(self, items: Any) -> None:
        self._kind = type(items)
        self._items = tuple(sorted(items, key=lambda item: (type(item).__name__, repr(item))))

    def __reduce__(self) -> tuple[Any, ...]:
        return self._kind, (self._items,)


def _moved(code: CodeType, file: str, up: int) -> CodeType:
    """The same code as if it stood so many lines further up in ``file``; never to be run here."""
    consts = tuple(
        _moved(const, file, up)
        if isinstance(const, CodeType)
        else _Ordered(const)
        if isinstance(const, frozenset)
        else const
        for const in code.co_consts
    )
    return code.replace(co_filename=file, co_firstlineno=max(1, code.co_firstlineno - up), co_consts=consts)


_UNSETTLED = "0" * 32


def _settle_class(kind: type) -> None:
    """Give a class that travels by value an id that follows from its content, so that equal classes are one."""
    known = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS
    if kind in known:
        return
    known[kind] = _UNSETTLED  # what its content says where it speaks of itself
    try:
        content = io.BytesIO()
        _Pickler(content, {}).dump(kind)
    except BaseException:
        del known[kind]
        raise
    known[kind] = hashlib.sha256(content.getvalue()).hexdigest()[:32]
    cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID[known[kind]] = kind


def _settled(reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without where the class stood, which Python 3.13 remembers."""
    content = reduced[2][0]
    content.pop("__firstlineno__", None)
    if "__static_attributes__" in content:
        content["__static_attributes__"] = tuple(sorted(content["__static_attributes__"]))
    return reduced


def _is_open_file(obj: io.IOBase) -> bool:
    return not isinstance(obj, io.BytesIO | io.StringIO) and obj not in (sys.stdout, sys.stderr, sys.stdin)


# ----------------------------------------------------------------------------------------------- what cannot travel


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A value that cannot leave the kernel. ``name`` is how the code reaches it: ``state["log"]``."""

    name: str
    via: tuple[str, ...]  # the functions that lead to it
    what: str
    reason: str
    cure: str

    @property
    def said(self) -> str:
        through = " → ".join(f"`{name}`" for name in self.via[1:])
        way = f" (through {through})" if through else ""
        return f"uses {self.what}{way}, which cannot leave this kernel{self.reason}"


def obstacles(values: Mapping[str, object]) -> list[Obstacle]:
    """What of these, and of all that they use, cannot be pickled; each once."""
    search = _Search()
    for name, value in values.items():
        search.look(name, value, (), _DEEP)
    return search.found


class _Search:
    def __init__(self) -> None:
        self.found: list[Obstacle] = []
        self._seen: set[int] = set()

    def look(self, name: str, value: object, via: tuple[str, ...], depth: int) -> None:
        error = _fault(value) if id(value) not in self._seen else None
        if error is None:
            return
        self._seen.add(id(value))
        function = value.function if isinstance(value, Stays) else value
        if isinstance(function, FunctionType):
            for key, used in captured(function).items():
                self.look(key, used, (*via, function.__name__), depth)
            return
        before = len(self.found)
        for step, part in _parts(value) if depth and not isinstance(value, Stays) else ():
            self.look(f"{name}{step}", part, via, depth - 1)
        if len(self.found) == before:
            self.found.append(_obstacle(name, value, via, error))


def _fault(value: object) -> Exception | None:
    try:
        size(value)
    except Exception as error:  # noqa: BLE001  whatever the object raises is the answer
        return error
    return None


def captured(function: FunctionType) -> dict[str, object]:
    """The variables outside of it that a function uses, and its defaults, by name."""
    names = [name for name in _global_names(function.__code__) if name in function.__globals__]
    found = {name: function.__globals__[name] for name in names}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not set yet
    parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    return found | {p.name: p.default for p in parameters if p.default is not p.empty}


def _global_names(code: CodeType) -> Iterator[str]:
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _global_names(const)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{i}]", part) for i, part in enumerate(value))
    elif type(value).__module__ not in _OPAQUE and isinstance(getattr(value, "__dict__", None), dict):
        yield from ((f".{key}", part) for key, part in vars(value).items())


_OPAQUE = frozenset({"io", "_io", "threading", "_thread", "socket", "sqlite3", "tempfile", "builtins", "asyncio"})
_INSIDE = "make it inside the function: each task is a process of its own"
_KINDS: tuple[tuple[str, str, str], ...] = (
    (r"tempfile\..*|.*\bTextIOWrapper|.*\bBuffered\w+|.*\bFileIO",
     "the open file", "open it inside the function, or pass its path"),
    (r"builtins\.(async_)?generator",
     "the generator", "make it inside the function, or a list of it: `{0} = list({0})`"),
    (r"builtins\.coroutine", "the coroutine", "await it inside the function"),
    (r"_thread\.\w*lock|threading\.\w+|_thread\.\w+|queue\.\w+", "the {kind}", _INSIDE),
    (r"socket\.socket|ssl\.\w+", "the open socket", "connect inside the function"),
    (r".*\.(Connection|Cursor|Engine|Session|connection|cursor)", "the connection", "connect inside the function"),
    (r"(_?asyncio|concurrent|multiprocessing|subprocess)\..*", "the {kind}", _INSIDE),
    (r"(ipykernel|IPython)\..*", "the notebook's own", "a task has no notebook: leave it out of the function"),
)  # fmt: skip


def _obstacle(name: str, value: object, via: tuple[str, ...], error: Exception) -> Obstacle:
    if isinstance(value, Stays):
        return Obstacle(name, via, f"{value.stays[0]} `{name}`", "", value.stays[1])
    owner = getattr(value, "__self__", None)
    kind = kind_of(owner if owner is not None and callable(value) else value)
    for pattern, what, cure in _KINDS:
        if re.fullmatch(pattern, kind):
            said = what.format(kind=kind.rpartition(".")[2])
            return Obstacle(name, via, f"{said} `{name}`", "", cure.format(name))
    return Obstacle(name, via, f"`{name}`, a {kind}", f" ({_brief(error)})", _INSIDE)


def kind_of(value: object) -> str:
    """The full name of its type."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _brief(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"


# ------------------------------------------------------------------------------------------------------------- sizes


def _too_much(function: FunctionType, name: str, most: int) -> tuple[str, str]:
    sizes = {key: size(value) for key, value in _all_captured(function, set()).items()}
    large = sorted(sizes.items(), key=lambda pair: -pair[1])[:_SHOWN]
    listed = ", ".join(f"`{key}` {human(n)}" for key, n in large if n > most // 20)
    total = size(function)
    cure = "let a task make it and take that task's result, or pass the path of a file"
    more = human(total * 1.2, up=True).replace(" ", "")
    return (
        f"carries {human(total)} of the notebook with it, more than {human(most)}: {listed}",
        f'{cure}; or allow it: Workflow(…, max_capture="{more}")',
    )


def _all_captured(function: FunctionType, seen: set[int]) -> dict[str, object]:
    """What it uses and what the functions of the notebook use that it calls; not those functions themselves."""
    seen.add(id(function))
    found: dict[str, object] = {}
    for key, value in captured(function).items():
        raw = value.function if isinstance(value, Stays) else value
        if not isinstance(raw, FunctionType):
            found[key] = value
        elif id(raw) not in seen:
            found = _all_captured(raw, seen) | found
    return found


def human(size: float, *, up: bool = False) -> str:
    """Bytes as people say them; rounded up to whole units if asked to."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    if up:
        return f"{int(size) + 1} {unit}"
    return f"{size:.1f} {unit}" if size < 10 and unit != "B" and size % 1 else f"{size:.0f} {unit}"


def bytes_of(text: object) -> int:
    """``50MiB`` or a number as bytes. Raises InvalidRequest."""
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise InvalidRequest(f"max_capture must be a size, not {text!r}; write it as '200MiB', or as a number of bytes")
    unit = found[2]
    step = 1024 if unit.endswith("i") else 1000
    return int(float(found[1]) * step ** ("kmgt".index(unit[0].lower()) + 1 if unit else 0))
