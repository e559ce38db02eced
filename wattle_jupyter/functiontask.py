"""A function as a task: what can be one, where its parameters come from, and what of it a spec says."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NoReturn

from wattle_jupyter import pickling
from wattle_jupyter.checks import is_task_name
from wattle_jupyter.command import COPY, runs_notebook
from wattle_jupyter.errors import Problem, SpecError
from wattle_jupyter.model import RESULT, Json, sole_output
from wattle_jupyter.notebook import BadUse, Built, Draft, Place
from wattle_jupyter.pickling import Stays
from wattle_jupyter.wording import describe, nearest


class FunctionTask:
    """What becomes of a function when all tasks are known."""

    def __init__(self, function: FunctionType, name: str, fields: Mapping[str, Any], most: int) -> None:
        self.function, self.name, self.fields, self.most = function, name, fields, most

    def build(self, draft: Draft, pickled: bool) -> Built:
        body = with_inputs(draft, {key: v for key, v in self.fields.items() if key != "outputs"})
        inputs = dict(body.get("inputs", {}))
        params: dict[str, Json] = {}
        taken: list[str] = []
        problems: list[Problem] = []
        for parameter in inspect.signature(self.function).parameters.values():
            try:
                self._connect(parameter, draft, inputs, params, taken)
            except SpecError as error:
                problems += error.problems
        payload = self._payload(problems) if pickled else pickling.Payload(b"", "0" * 64, "")
        if problems:
            raise SpecError(problems)
        call = {"object": payload.object, "source": payload.source, "params": taken}
        made = {**body, "call": call, "outputs": _with_result(self.fields.get("outputs"))}
        made |= {"inputs": inputs} if inputs else {}
        return Built(body=made, params=params, payloads={payload.object: payload.data} if pickled else {})

    def _connect(
        self,
        parameter: inspect.Parameter,
        draft: Draft,
        inputs: dict[str, Json],
        params: dict[str, Json],
        taken: list[str],
    ) -> None:
        name, default = parameter.name, parameter.default
        if name in inputs:
            return
        if name in draft.entries:
            inputs[name] = output_of(draft, name, name)
        elif name in draft.head().get("params", {}):
            taken.append(name)
        elif default is not parameter.empty:
            if is_json(default):  # else it stays the function's own, and travels with it
                params[name] = default
                taken.append(name)
        else:
            reason = f"takes `{name}`, which is neither a task nor a param"
            known = [other for other in (*draft.entries, *draft.head().get("params", {})) if other != self.name]
            hint, cure = nearest(name, known), "give it a default, or name an output in `inputs=`"
            cure = f"{hint} Otherwise {cure}" if hint.endswith("?") else f"{hint}; {cure}" if hint else cure
            raise SpecError([Problem("", reason, cure)])

    def _payload(self, problems: list[Problem]) -> pickling.Payload:
        try:
            return pickling.payload(self.function, self.name, self.most)
        except pickling.Stuck as error:
            problems += [Problem("", reason, cure) for reason, cure in error.reasons]
            return pickling.Payload(b"", "0" * 64, "")


def as_it_is(body: Mapping[str, Any]) -> Callable[[Draft, bool], Built]:
    """How a task is built whose fields say all of it."""
    return lambda draft, _: Built(body=with_inputs(draft, body))


def with_inputs(draft: Draft, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with inputs that name a task alone completed by its output."""
    inputs = body.get("inputs")
    if not isinstance(inputs, Mapping):
        return dict(body)
    alone = {key: one for key, one in inputs.items() if isinstance(one, str) and one in draft.entries}
    return {**body, "inputs": {**inputs, **{key: output_of(draft, one, key) for key, one in alone.items()}}}


def output_of(draft: Draft, task: str, wanted: str) -> str:
    """``task/output`` for a task's only output, or its result. SpecError if it has none or several others."""
    outputs = draft.entries[task].outputs
    if sole := sole_output(outputs):
        return f"{task}/{sole}"
    if outputs:
        listed = ", ".join(f"`{output}`" for output in outputs)
        cure = f'say which: `inputs={{"{wanted}": "{task}/{outputs[0]}"}}`'
        raise SpecError([Problem("", f"takes `{wanted}`, and `{task}` has several outputs: {listed}", cure)])
    reason = f"takes `{wanted}`, and `{task}` declares no output"
    cure = f"declare it there: `outputs=…`; only to wait for it: `needs=[{task!r}]`"
    raise SpecError([Problem("", reason, cure)])


def is_json(value: Any) -> bool:
    """JSON through and through, so that the function gets back just what its author wrote."""
    kind = type(value)
    if kind is list:
        return all(map(is_json, value))
    if kind is dict:
        return all(type(key) is str and is_json(part) for key, part in value.items())
    return value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value))


def output_names(outputs: object) -> tuple[str, ...]:
    """The names in the field ``outputs`` as far as it has any."""
    names = outputs if isinstance(outputs, Mapping | list | tuple | set) else ()
    return tuple(key for key in names if isinstance(key, str))


def outputs_of(body: object) -> tuple[str, ...]:
    """The names of the outputs that a task of this body has, as far as it is one: with the copy of a notebook."""
    form = body if isinstance(body, Mapping) else {"run": body}
    names = output_names(form.get("outputs"))
    return (COPY, *(name for name in names if name != COPY)) if runs_notebook(form.get("run")) else names


def _with_result(outputs: object) -> object:
    """The outputs and the result before them; what has a wrong shape is for the spec to refuse."""
    if outputs is None or isinstance(outputs, Mapping):
        return {RESULT: None, **(outputs or {})}
    return [RESULT, *(one for one in outputs if one != RESULT)] if isinstance(outputs, list) else outputs


# ------------------------------------------------------------------------------------------------------------- checks


def refuse(subject: str, place: Place, reason: str, cure: str = "") -> NoReturn:
    where = f" ({place})" if subject and str(place) else str(place)
    head = f"{subject}{where}: " if subject or where else ""
    raise BadUse(f"{head}{reason}{f'; {cure}' if cure else ''}")


def check_task_name(name: object, place: Place, otherwise: str = "") -> None:
    if not isinstance(name, str) or not is_task_name(name):
        cure = "use letters (a-z, A-Z), digits, `_`, `.` and `-`, starting with a letter or `_`"
        refuse("", place, f"{describe(name)} is not a name of a task", cure + otherwise)


def function_name(function: Any, name: str | None, place: Place) -> str:
    found = name if name is not None else getattr(function, "__name__", "wf.task")
    if found == "<lambda>":
        refuse("", place, "a lambda has no name for its task", 'write `wf.task(name="…")(lambda …)`, or a def')
    if isinstance(function, FunctionType) or name is not None:
        check_task_name(found, place, "" if name is not None else ', or name the task: `@wf.task(name="…")`')
    return str(found)


def check_function(given: Any, name: str, place: Place) -> FunctionType:
    """The function of a task. Raises BadUse for what cannot be one: with everything wrong with its parameters."""
    function = given.function if isinstance(given, Stays) and given.function is not None else given
    if not isinstance(function, FunctionType):
        refuse(name, place, *_kind_fault(function))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        refuse(name, place, "is a generator: a task leaves its result when it ends", "return a list")
    owner, _, _ = function.__qualname__.rpartition(".")
    if owner and not owner.endswith("<locals>"):
        refuse(name, place, f"is a method of `{owner.rpartition('.')[2]}`", "move the function out of the class")
    said = [fault for p in inspect.signature(function).parameters.values() if (fault := _parameter_fault(p))]
    if said:
        refuse(name, place, "; ".join(said))
    return function


_CALL_IT = "write a function that calls it, and make that the task"
_OUT = "move it out of the class, as a function"
_KINDS: tuple[tuple[Callable[[Any], bool], str, str], ...] = (
    (lambda given: isinstance(given, type), "is a class, not a function", _CALL_IT),
    (lambda given: inspect.ismethod(given) or isinstance(given, staticmethod | classmethod), "is a method", _OUT),
    (inspect.isbuiltin, "is built in", _CALL_IT),
    (lambda given: isinstance(given, str), "is text, not a function", 'write wf.sh("name", "command") for a command'),
    (
        lambda given: isinstance(given, Stays),
        "is not a function but the task of a command",
        "give it to `>>` or `needs=`",
    ),
)


def _kind_fault(given: Any) -> tuple[str, str]:
    for test, reason, cure in _KINDS:
        if test(given):
            return reason, cure
    kind = pickling.kind_of(given).removeprefix("builtins.")
    if callable(given) and hasattr(given, "__wrapped__"):
        return f"is wrapped in a {kind}", "put `@wf.task` on a plain function that calls it"
    return f"is a {kind}, not a function", _CALL_IT if callable(given) else ""


def _parameter_fault(parameter: inspect.Parameter) -> str:
    name = parameter.name
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"takes `*{name}`: tasks get each input by its name; write the names out"
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"takes `**{name}`: tasks get each input by its name; write the names out"
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return f"takes `{name}` by position only: tasks get each input by its name; take the `/` away"
    return ""
