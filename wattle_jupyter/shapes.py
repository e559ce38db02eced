"""The shapes that a spec may have as data, and what is wrong with data that has none of them, in our own words.

pydantic checks types and names; what needs the whole workflow (cycles, unknown tasks) is in :mod:`wattle_jupyter.spec`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from wattle_jupyter.model import Json, Mode, OnFailure, Priority
from wattle_jupyter.notation import Where, is_path
from wattle_jupyter.wording import SAME, describe, unknown_field

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_HASH = re.compile(r"[0-9a-f]{64}")
_LONGEST = 10 * 365 * 86400.0


def _fault(reason: str, cure: str = "") -> PydanticCustomError:
    # the context is not formatted into the message: texts of users may hold braces
    return PydanticCustomError("wattle", "wattle", {"reason": reason, "cure": cure})


def seconds(value: object) -> object:
    """A duration in seconds from a number, ``90s``, ``5m`` or ``1h30m``."""
    if value is None or isinstance(value, bool):
        raise _fault(f"must be a duration, not {describe(value)}", "write `90s`, `5m`, `1h30m` or a number of seconds")
    number: float | None = None
    if isinstance(value, int | float):
        number = float(value) if abs(value) <= _LONGEST else math.inf
    elif isinstance(value, str) and value and (match := _DURATION.fullmatch(value)):
        units = (86400, 3600, 60, 1)
        number = sum(float(part) * unit for part, unit in zip(match.groups(), units, strict=True) if part)
    if number is None or not 0 <= number <= _LONGEST:
        reason = f"must be a duration of 0 seconds to 10 years, not {describe(value)}"
        raise _fault(reason, "write `90s`, `5m`, `1h30m` or a number of seconds")
    return number


def _some_seconds(value: object) -> object:
    number = seconds(value)
    if number == 0:
        raise _fault("must be longer than 0 seconds", "leave it out for no limit")
    return number


def _command(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"  # YAML's booleans are programs, too
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        for word in value:
            if isinstance(word, bool) or not isinstance(word, str | int | float):
                raise _fault(f"an argument must be text, not {describe(word)}", "put it in quotes")
        return [str(word) for word in value]
    raise _fault(f"must be a command, not {describe(value)}", "write a command line, or a list of arguments")


def _names(value: object) -> object:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return value


def _env_value(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise _fault(f"must be text or a number, not {describe(value)}", 'write "" for an empty text')
    return value


def _input(value: object) -> object:
    if isinstance(value, dict) and value.get("mode") == "stream":
        raise _fault("a stream input comes in a later release", "write `task/output`")
    if not isinstance(value, str):
        raise _fault(f"must name a task's output, not {describe(value)}", "write `task/output`")
    return value


def _object(value: object) -> object:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise _fault(f"must be the hash of an object (64 of 0-9 and a-f), not {describe(value)}", "define it in Python")
    return value


def _outputs(value: object) -> object:
    return dict.fromkeys(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def _output(value: object) -> object:
    if value is None:
        return {}
    if not isinstance(value, str | dict):
        raise _fault(f"must be a path, or nothing for a value, not {describe(value)}", "put a path in quotes")
    return ({"path": value} if is_path(value) else {"description": value}) if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(seconds)]
SomeSeconds = Annotated[float, BeforeValidator(_some_seconds)]
Command = Annotated[str | list[str], BeforeValidator(_command)]
Env = dict[str, Annotated[str, BeforeValidator(_env_value)]]
Inputs = dict[str, Annotated[str, BeforeValidator(_input)]]


class Shape(BaseModel):
    """Base of all shapes: nothing is coerced, nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def tried(cls, value: Mapping[str, object], at: Where) -> tuple[Self | None, list[tuple[Where, str, str]]]:
        """``value`` in this shape, or None with ``(where, reason, cure)`` of each fault, each place once."""
        try:
            return cls.model_validate(value), []
        except ValidationError as error:
            return None, list(_faults(error, cls, at))


class OutputShape(Shape):
    path: str | None = None
    required: bool = True
    description: str = ""


Outputs = Annotated[dict[str, Annotated[OutputShape, BeforeValidator(_output)]], BeforeValidator(_outputs)]


class CallShape(Shape):
    object: Annotated[str, BeforeValidator(_object)]
    source: str = ""
    params: list[str] = []


class TaskShape(Shape):
    run: Command
    call: CallShape | None = None
    needs: Annotated[list[str], BeforeValidator(_names)] = []
    inputs: Inputs = {}
    outputs: Outputs = {}
    env: Env = {}
    working_dir: str | None = None
    retries: int = Field(0, ge=0, le=10_000)
    retry_delay: Seconds = 1.0
    retry_backoff: float = Field(2.0, ge=1, le=100, allow_inf_nan=False)
    retry_max_delay: Seconds = 300.0
    timeout: SomeSeconds | None = None
    grace: Seconds | None = None
    priority: Priority | None = None
    keep_children: bool = False
    exit_file: bool | None = None


class WorkerShape(Shape):
    """A task in the Wattle Scheduler format."""

    name: str
    command: str
    args: Annotated[list[str], BeforeValidator(_command)] = []
    working_dir: str | None = None
    env_vars: Env = {}
    inputs: Inputs = {}
    outputs: Outputs = {}


class HeadShape(Shape):
    """What a workflow says besides its tasks."""

    name: str | None = None
    mode: Mode = "dependency"
    params: dict[str, Any] = {}
    working_dir: str | None = None
    env: Env = {}
    on_failure: OnFailure = "continue"
    max_parallel: int | None = Field(None, ge=1, le=100_000)
    concurrent: bool = False
    priority: Priority = "normal"
    python: str | None = None
    description: str = ""


class WorkflowShape(HeadShape):
    """The canonical form."""

    tasks: dict[str, TaskShape | str | list[str]]


class WorkersShape(HeadShape):
    """The Wattle Scheduler format."""

    workers: list[WorkerShape]


# --------------------------------------------------------------------------------------------------------- faults


def _faults(error: ValidationError, shape: type[BaseModel], at: Where) -> Iterable[tuple[Where, str, str]]:
    details = error.errors(include_url=False)
    meant = {SAME.get(str(detail["loc"][-1])) for detail in details if detail["type"] == "extra_forbidden"}
    seen: set[Where] = set()
    for detail in details:
        where = (*at, *(part for part in detail["loc"] if part != "[key]"))
        said = detail["type"] == "missing" and detail["loc"][-1] in meant
        if where not in seen and not said:
            seen.add(where)
            yield (where, *_words(detail, OutputShape if "outputs" in detail["loc"][:-1] else shape))


def _words(detail: ErrorDetails, shape: type[BaseModel]) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "wattle":
        return context["reason"], context["cure"]
    if kind == "extra_forbidden":
        return unknown_field(str(detail["loc"][-1]), shape.model_fields)
    if kind == "missing":
        return "is missing", _MISSING.get(str(detail["loc"][-1]), "")
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"must be {_either(choices)}, not {describe(detail['input'])}", _close(detail["input"], choices)
    return f"{_must(kind, context)}, not {describe(detail['input'])}", ""


_MISSING = {
    "run": "write the command: `run: python script.py`",
    "command": "write the program to start",
    "object": "functions and cells get theirs from the notebook that defines them",
    "name": 'give it one: `"name": "extract"`',
}
_KINDS = {
    "int": "a whole number",
    "string": "text",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping (`name: value`)",
    "model": "a mapping (`name: value`)",
}


def _must(kind: str, context: Mapping[str, Any]) -> str:
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']:g}"
    if kind == "less_than_equal":
        return f"must be at most {context['le']:g}"
    return f"must be {_KINDS.get(kind.partition('_')[0], 'something else')}"


def _either(choices: list[str]) -> str:
    return ", ".join(f"`{c}`" for c in choices[:-1]) + f" or `{choices[-1]}`"


def _close(word: Json, choices: list[str]) -> str:
    close = difflib.get_close_matches(str(word).lower(), choices, 1, 0.6)
    return f"did you mean `{close[0]}`?" if close else ""
