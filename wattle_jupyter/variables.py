"""What a variable of the kernel is: how it can travel to a task, what it takes along, and how to speak of it.

Nothing here is slow or has effects: no pickling, no `repr` of somebody's class, no import.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal

from wattle_jupyter.objects import size_text
from wattle_jupyter.pickling import Stays

Kind = Literal["module", "function", "class", "data"]

_ROUTINES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.MethodWrapperType,
    type(functools.lru_cache(len)),
)


def kind(value: object) -> Kind:
    """``data`` is what has to be sent by value; all else is code, which a task captures by itself."""
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, Stays):
        return "data" if value.function is None else "function"
    if isinstance(value, type) or (type(value).__module__ in ("typing", "types") and not _is_data(value)):
        return "class"
    if isinstance(value, _ROUTINES) or _is_importable_callable(value):
        return "function"
    if isinstance(value, functools.partial) or (
        isinstance(value, types.MethodType) and isinstance(value.__self__, type)
    ):
        return "function"
    return "data"


def _is_data(value: object) -> bool:
    return isinstance(value, types.SimpleNamespace | types.MappingProxyType | types.GeneratorType | types.MethodType)


def _is_importable_callable(value: object) -> bool:
    """A callable that a module holds under its own name, such as a ufunc of numpy."""
    name = getattr(value, "__name__", None)
    if not callable(value) or not isinstance(name, str):
        return False
    home = getattr(value, "__module__", None) or type(value).__module__
    return home != "__main__" and getattr(sys.modules.get(str(home)), name, None) is value


# ----------------------------------------------------------------------------------------------- what code takes along


def taken_along(value: object) -> dict[str, Mapping[str, Any]]:
    """Global names that code of this kernel reads when it runs → the globals that it reads them from.

    Only what travels by value is looked into: functions and classes of ``__main__``.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for function in _functions(value, set()):
        for name in _global_names(function.__code__):
            found.setdefault(name, function.__globals__)
    return found


def _global_names(code: types.CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            yield str(step.argval)
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _global_names(part)


def _functions(value: object, seen: set[int]) -> Iterator[types.FunctionType]:
    if id(value) in seen:
        return
    seen.add(id(value))
    inner: Iterable[object] = ()
    if isinstance(value, Stays):
        inner = [value.function]
    elif isinstance(value, types.FunctionType):
        if value.__module__ != "__main__":
            return
        yield value
        inner = [*_cells(value), *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        inner = [*inner, getattr(value, "__wrapped__", None)]
    elif isinstance(value, type):
        inner = [*vars(value).values(), *value.__bases__] if value.__module__ == "__main__" else ()
    elif isinstance(value, functools.partial):
        inner = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, property):
        inner = [value.fget, value.fset, value.fdel]
    elif isinstance(value, staticmethod | classmethod | functools.cached_property | types.MethodType):
        inner = [getattr(value, "__func__", None) or getattr(value, "func", None)]
    elif hasattr(value, "__wrapped__") and callable(value):
        inner = [value.__wrapped__]
    for part in inner:
        yield from _functions(part, seen)


def _cells(function: types.FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # empty: a name that is not bound yet
            yield cell.cell_contents


# ------------------------------------------------------------------------------------------------------ how to speak of


def about(value: object) -> str:
    """``a pandas.DataFrame (1000 × 5, 1.2 GiB)``: the type as people know it, then shape or length, then size."""
    name = type_name(value)
    details = ", ".join(part for part in (extent(value), size_words(value)) if part)
    return f"{article(name)} {name}" + (f" ({details})" if details else "")


def article(name: str) -> str:
    return "an" if name[:1] in "aeiouAEIO" else "a"


def type_name(value: object) -> str:
    """``pandas.DataFrame`` wherever in pandas it is defined."""
    cls = type(value)
    home = cls.__module__.split(".")[0]
    return cls.__qualname__ if home in ("builtins", "__main__") else f"{home}.{cls.__qualname__}"


def extent(value: object) -> str:
    """Shape, length, or the value itself if it is short."""
    if value is None or isinstance(value, bool | int | float | complex):
        return _clipped(value)
    if isinstance(value, str | bytes) and len(value) <= 40:
        return _clipped(value)
    with suppress(Exception):  # whatever shape and length of somebody's class do
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and shape and all(isinstance(n, int) for n in shape):
            return " × ".join(f"{n:,}" for n in shape)
        count = len(value)  # type: ignore[arg-type]  # what has no length says so
        what = "character" if isinstance(value, str) else "byte" if isinstance(value, bytes | bytearray) else "item"
        return f"{count:,} {what}{'' if count == 1 else 's'}"
    return ""


def _clipped(value: object) -> str:
    with suppress(ValueError):  # an int of more digits than Python turns into text
        text = repr(value)
        return text if len(text) <= 44 else ""
    return ""


def size_words(value: object) -> str:
    """Its size in memory, where it is worth a word and can be told quickly."""
    size = size_hint(value)
    return size_text(size) if size >= 4096 else ""


def size_hint(value: object) -> int:
    """Bytes in memory, roughly; 0 if that cannot be told without walking through it."""
    with suppress(Exception):  # whatever attributes of somebody's class do
        usage = getattr(value, "memory_usage", None)
        if callable(usage) and type(value).__module__.startswith("pandas"):
            total = usage()
            return int(total if isinstance(total, int) else total.sum())
        size = getattr(value, "nbytes", None)
        if isinstance(size, int):
            return size
        if callable(estimated := getattr(value, "estimated_size", None)):  # polars
            return int(estimated())
        if isinstance(value, str | bytes | bytearray):
            return len(value)
    return 0
