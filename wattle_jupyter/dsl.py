"""Workflows in Python: functions and commands as tasks, arrows between them, a run of it all.

::

    wf = wt.Workflow("etl")

    @wf.task(retries=2)
    def fetch(n=5): ...          # a param of the workflow, with its default

    @wf.task
    def clean(fetch): ...        # takes what the task `fetch` returns

    wf.sh("plot", "Rscript plot.R {{ clean }}")
    wf.run(n=4)
"""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn, overload

from wattle_jupyter import client as clients
from wattle_jupyter import model, pickling, spec
from wattle_jupyter.checks import Findings, check_head
from wattle_jupyter.client import Client
from wattle_jupyter.command import NOTEBOOK
from wattle_jupyter.errors import InvalidRequest, NotFound, Problem, SpecError
from wattle_jupyter.functiontask import (
    FunctionTask,
    as_it_is,
    check_function,
    check_task_name,
    function_name,
    output_names,
    outputs_of,
    refuse,
)
from wattle_jupyter.model import RESULT, Json
from wattle_jupyter.notation import path_text, yaml_data
from wattle_jupyter.notebook import BadUse, Entry, Place, WorkflowError, as_json, here, notebook
from wattle_jupyter.pickling import Stays
from wattle_jupyter.run import Drawing, Run, did_you_mean
from wattle_jupyter.shapes import HeadShape, TaskShape
from wattle_jupyter.wording import describe, nearest, unknown_field

Nodes = Sequence["Node"]
_OWN = frozenset({"run", "call"})  # what a task does, which the DSL says in its own way


class Workflow(Stays):
    """A workflow that is being defined in this kernel; the same name is the same workflow in all cells of a notebook.

    ``head`` are the fields of a workflow as in a spec: ``mode``, ``params``, ``max_parallel``, ``on_failure`` …
    ``max_capture`` is how many bytes of the notebook a function may carry with it (``"200MiB"``).
    Raises InvalidRequest for a bad name or an unknown field.
    """

    stays = ("the workflow", "a task is a part of it: start runs outside of tasks")

    def __init__(self, name: str, /, *, max_capture: int | str = pickling.MOST, **head: Any) -> None:
        place = notebook().here()
        self._most = _sized(max_capture)
        _check_name(name, place)
        _check_fields(f"Workflow({name!r})", place, head, {k for k in HeadShape.model_fields if k != "name"})
        book = notebook()
        self._draft = book.draft(name) if book.interactive() else book.fresh(name)
        self._draft.say("code", dict(head), place)

    @classmethod
    def from_yaml(cls, text: str) -> Workflow:
        """The workflow of a YAML text, in place of one of its name. Raises SpecError with all problems."""
        data, lines = yaml_data(text)
        loaded = spec.load(data, lines={path_text(where): line for where, line in lines.items()})
        form = spec.dump(loaded)
        made = cls(form.pop("name"))
        tasks = form.pop("tasks")
        place = notebook().here()
        made._draft.clear()
        made._draft.heads.clear()
        made._draft.say("code", form, place)
        made._draft.complete = False
        for name, body in tasks.items():
            outputs = tuple(body.get("outputs", ()))
            made._put(Entry(name=name, kind="text", place=place, outputs=outputs, build=as_it_is(body)))
        return made

    # ---------------------------------------------------------------------------------------------------------- tasks

    @overload
    def task(self, function: Callable[..., Any], /) -> Node: ...
    @overload
    def task(self, /, *, name: str | None = None, **fields: Any) -> Callable[[Callable[..., Any]], Node]: ...
    def task(self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, **fields: Any) -> Any:
        """Make a function a task: ``@wf.task`` or ``@wf.task(retries=2, needs=…, inputs=…, outputs=…, name=…)``.

        A parameter named like a task takes what that task returned; another one is a param of the workflow, with its
        default. Calling the function stays a plain call.
        """
        if function is not None:
            return self._function(function, name, fields)
        return lambda found: self._function(found, name, fields)

    def _function(self, given: Callable[..., Any], name: str | None, fields: dict[str, Any]) -> Node:
        place = notebook().here()
        called = function_name(given, name, place)
        function = check_function(given, called, place)
        _check_fields(called, place, fields, _TASK_FIELDS, {"run": "a function is what the task runs: remove it"})
        taken = self._taken(fields, called, place)
        outputs = tuple(dict.fromkeys([RESULT, *output_names(fields.get("outputs"))]))
        maker = FunctionTask(function, called, taken, self._most)
        entry = Entry(name=called, kind="function", place=place, outputs=outputs, build=maker.build, fields=taken)
        return self._put(entry, function)

    def sh(self, name: str, command: str | Sequence[str], /, **fields: Any) -> Node:
        """A command as a task: a line for the shell, with ``{{ templates }}``, or a list of arguments."""
        place = notebook().here()
        check_task_name(name, place)
        _check_fields(name, place, fields, _TASK_FIELDS, {"run": "the command is the second argument: remove it"})
        taken = self._taken(fields, name, place)
        body = {**taken, "run": list(command) if isinstance(command, tuple) else command}
        return self._command(name, body, place)

    def notebook(
        self,
        name: str,
        path: str | os.PathLike[str],
        /,
        *,
        params: Mapping[str, Json] | None = None,
        kernel: str | None = None,
        **fields: Any,
    ) -> Node:
        """A notebook as a task: a copy of it is executed, with ``params`` after its cell tagged ``parameters``.

        Params of the workflow that this cell sets are given by themselves, and so are ``inputs``. The executed copy is
        the output ``notebook``. ``kernel`` is the name of an installed one, if not the notebook's own is wanted.
        """
        place = notebook().here()
        check_task_name(name, place)
        _check_fields(name, place, fields, _TASK_FIELDS, {"run": "the notebook is the second argument: remove it"})
        words = _notebook_words(name, place, path, params or {}, kernel)
        return self._command(name, {**self._taken(fields, name, place), "run": words}, place)

    def _command(self, name: str, body: dict[str, Any], place: Place) -> Node:
        return self._put(Entry(name=name, kind="command", place=place, outputs=outputs_of(body), build=as_it_is(body)))

    def _put(self, entry: Entry, function: FunctionType | None = None) -> Node:
        entry.handle = node = Node(self, entry.name, function)
        self._draft.put(entry)
        return node

    def _taken(self, fields: Mapping[str, Any], name: str, place: Place) -> dict[str, Any]:
        """The fields with names in place of nodes."""
        taken = dict(fields)
        if "needs" in taken:
            given = taken["needs"]
            several = isinstance(given, list | tuple | set)
            taken["needs"] = (
                [self._named(one, name, place) for one in given] if several else self._named(given, name, place)
            )
        if isinstance(taken.get("inputs"), Mapping):
            taken["inputs"] = {key: self._named(one, name, place) for key, one in taken["inputs"].items()}
        if isinstance(taken.get("outputs"), tuple | set):
            taken["outputs"] = sorted(taken["outputs"]) if isinstance(taken["outputs"], set) else [*taken["outputs"]]
        return taken

    def _named(self, given: object, name: str, place: Place) -> object:
        """The name of a node; anything else is for the spec to judge."""
        if not isinstance(given, Node):
            return given
        if given.workflow._draft is not self._draft:
            refuse(name, place, f"`{given.name}` is a task of {given.workflow.name}, not of {self.name}",
                    "one workflow takes nothing from another")  # fmt: skip
        return given.name

    # --------------------------------------------------------------------------------------------------- as a mapping

    @property
    def name(self) -> str:
        return self._draft.name

    def __getitem__(self, task: str) -> Node:
        if task not in self._draft.entries:
            raise NotFound(f"{self.name} has no task `{task}`{did_you_mean(str(task), [*self._draft.entries])}")
        handle = self._draft.entries[task].handle
        return handle if isinstance(handle, Node) else Node(self, task)

    def __delitem__(self, task: str) -> None:
        self._draft.discard(self[task].name)

    def __iter__(self) -> Iterator[Node]:
        return iter([self[entry.name] for entry in self._draft])

    def __len__(self) -> int:
        return len(self._draft.entries)

    def __contains__(self, task: object) -> bool:
        return (task.name if isinstance(task, Node) else task) in self._draft.entries

    def clear(self) -> None:
        """Forget all tasks, whichever cells made them."""
        self._draft.clear()

    # ------------------------------------------------------------------------------------------------- what it is for

    def definition(self) -> model.Workflow:
        """The workflow as it stands, checked. Raises SpecError with all problems at once."""
        return self._draft.load(self._draft.whole())

    def define(self, *, client: Client | None = None) -> Workflow:
        """Check it and store it under its name, as a new version if it is another one than before."""
        _, _, warnings = self._define(client or clients.find, {})
        _warn(warnings)
        return self

    def run(
        self,
        *,
        wait: bool = False,
        mode: str | None = None,
        priority: str | None = None,
        params: Mapping[str, Json] | None = None,
        client: Client | None = None,
        **given: Any,
    ) -> Run:
        """Store it and start a run of it, at once; with ``wait`` come back when it ended.

        ``given`` (or ``params``, for names that are taken) are values for params. Raises SpecError with all problems.
        """
        engine, values, warnings = self._define(client or clients.find, {**(params or {}), **given})
        try:
            known = engine.submit(self.name, params=values or None, mode=mode, priority=priority, cause="cell")
        except SpecError as error:  # it says again what the warnings said
            raise self._draft.refused(error) from None
        _warn(warnings)
        run = Run(engine, known)
        return run.wait() if wait else run

    def _define(
        self, client: Client | Callable[[], Client], given: dict[str, Any]
    ) -> tuple[Client, dict[str, Json], list[str]]:
        """Store it. Returns the engine, the values of params, and warnings."""
        whole = self._draft.whole()
        whole.data = {**here(), **whole.data}  # a workflow that came as text may lack them
        values = self._values(given, whole.data.get("params", {}), whole.problems)
        form = spec.dump(self._draft.load(whole))
        engine = client if isinstance(client, Client) else client()  # no engine is started for a slip
        _upload(engine, whole.payloads)
        try:
            return engine, values, engine.define(form)["warnings"]
        except SpecError as error:
            raise self._draft.refused(error) from None

    def _values(
        self, given: Mapping[str, Any], params: Mapping[str, Json], problems: list[tuple[str, Problem]]
    ) -> dict[str, Json]:
        values = {}
        for name, value in given.items():
            try:
                if name not in params:
                    raise InvalidRequest(f"run({name}=…): {self._no_param(name, params)}")
                values[name] = as_json(name, value, f"run({name}=…)")
            except InvalidRequest as error:
                problems.append(("", Problem("", str(error))))
        return values

    def _no_param(self, name: str, params: Mapping[str, Json]) -> str:
        for node in self:
            found = inspect.signature(node.function).parameters.get(name) if node.function else None
            if found is not None and found.default is not found.empty:
                kind = pickling.kind_of(found.default).removeprefix("builtins.")
                return f"its default in `{node.name}`, a {kind}, is not JSON, so it is no param; write one that is"
        if not params:
            return f"{self.name} has no params; a function's parameter with a default is one"
        return f"{self.name} has no param `{name}`; {nearest(name, params)}"

    def to_yaml(self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> str:
        """The workflow as YAML, which :meth:`from_yaml` reads back to an equal one.

        With ``path`` it is written to that file, and the code of its functions is stored, so that `wattle run FILE`
        finds it. Raises InvalidRequest if the file is there, unless ``overwrite``.
        """
        whole = self._draft.whole()
        text = spec.to_yaml(self._draft.load(whole))
        if path is not None:
            _write(Path(path), text, overwrite)
            if whole.payloads:
                _upload(clients.find(), whole.payloads)
        return text

    # ----------------------------------------------------------------------------------------------------- how it looks

    def __repr__(self) -> str:
        return f"<Workflow {self.name}: {len(self)} task{'' if len(self) == 1 else 's'}>"

    def graph(self) -> Drawing:
        """A drawing of it as it stands."""
        return Drawing(self._draft.load(self._draft.whole(pickled=False)))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Json]:
        if not len(self):
            return {"text/plain": f"{self!r}; write a function under `@wf.task`, or wf.sh(…)"}
        try:
            return self.graph().bundle()
        except WorkflowError as error:  # a look at it is no time for exceptions
            return {"text/plain": str(error)}


class Node(Stays):
    """A task of a workflow that is being defined. Of a function, it is called like the function itself."""

    def __init__(self, workflow: Workflow, name: str, function: FunctionType | None = None) -> None:
        self.workflow = workflow
        self.name = name
        self.function = function
        self.stays = ("the task", "name its output: a parameter of that name, or `inputs=`")
        if function is not None:
            functools.update_wrapper(self, function)
            if inspect.iscoroutinefunction(function) and hasattr(inspect, "markcoroutinefunction"):
                inspect.markcoroutinefunction(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.function is None:
            raise BadUse(f"`{self.name}` is a command: it runs in a run of {self.workflow.name}, `wf.run()`")
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Node:
        return self  # in a class body it stays what it is

    def __repr__(self) -> str:
        return f"<Task {self.name} of {self.workflow.name}>"

    def __rshift__(self, other: Node | Nodes) -> Any:
        """``a >> b``: b waits for a. ``a >> [b, c]``, ``[a, b] >> c``; the value is the right side, for chains."""
        return _point([self], other)

    def __rrshift__(self, other: Nodes) -> Any:
        return _point(other, self)

    def __lshift__(self, other: object) -> NoReturn:
        raise BadUse(f"`{self.name} << …`: arrows point to the task that waits; write `… >> {self.name}`")

    __rlshift__ = __lshift__


class Group(list["Node"]):
    """Several tasks at the end of an arrow, from which the next one may start."""

    def __rshift__(self, other: Node | Nodes) -> Any:
        return _point(self, other)

    def __rrshift__(self, other: Nodes) -> Any:
        return _point(other, self)


def _point(sources: object, targets: object) -> Any:
    place = notebook().here()
    left, right = _nodes(sources, place, "left"), _nodes(targets, place, "right")
    for src in left:
        for dst in right:
            _arrow(src, dst, place)
    return right[0] if isinstance(targets, Node) else Group(right)


def _nodes(given: object, place: Place, side: str) -> list[Node]:
    several = given if isinstance(given, list | tuple | set) else [given]
    for one in several:
        if not isinstance(one, Node):
            shown = f'wf["{one}"]' if isinstance(one, str) else "a task: what `@wf.task` or wf.sh(…) made"
            refuse("", place, f"{describe(one)} at the {side} of `>>` is not a task", f"write {shown}")
    return list(several)


def _arrow(src: Node, dst: Node, place: Place) -> None:
    draft = dst.workflow._draft
    if src.workflow._draft is not draft:
        refuse("", place, f"`{src.name} >> {dst.name}`: `{src.name}` is a task of {src.workflow.name}, "
                f"`{dst.name}` of {dst.workflow.name}", "one workflow waits for nothing in another")  # fmt: skip
    for node in (src, dst):
        if node.name not in draft.entries:
            hint = did_you_mean(node.name, [*draft.entries])
            refuse("", place, f"`{src.name} >> {dst.name}`: {draft.name} has no task `{node.name}` any more",
                    hint.removeprefix("; ") or "run the cell that makes it again")  # fmt: skip
    draft.arrows[(src.name, dst.name)] = place


# ------------------------------------------------------------------------------------------------------ engine, checks

_TASK_FIELDS = frozenset(TaskShape.model_fields) - _OWN


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", flush=True)  # noqa: T201  said to the person at the keyboard


def _upload(engine: Client, payloads: Mapping[str, bytes]) -> None:
    for data in payloads.values():
        engine.put_object(data)


def _write(path: Path, text: str, overwrite: bool) -> None:
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadUse(f"{path} is there already; write to_yaml({str(path)!r}, overwrite=True) to replace it") from None
    except OSError as error:
        raise BadUse(f"{path} cannot be written: {error.strerror}") from None


def _check_name(name: object, place: Place) -> None:
    if not isinstance(name, str):
        refuse("Workflow(…)", place, f"the name must be text, not {describe(name)}", 'write Workflow("etl")')
    findings = Findings({})
    check_head(model.Workflow(name=name, tasks={}), findings)
    for problem in findings.problems:
        refuse(f"Workflow({name!r})", place, problem.reason, problem.cure)


def _check_fields(
    subject: str, place: Place, fields: Mapping[str, Any], known: Iterable[str], own: Mapping[str, str] | None = None
) -> None:
    names = sorted(known)
    said = []
    for field in fields:
        if field in _OWN:
            said.append(f"`{field}` is not a field here; {(own or {}).get('run', 'remove it')}")
        elif field not in names:
            reason, cure = unknown_field(field, names)
            said.append(f"{reason}; {cure}" if cure else reason)
    if said:
        refuse(subject, place, "; ".join(said))


def _notebook_words(name: str, place: Place, path: object, params: Mapping[str, Json], kernel: str | None) -> list[str]:
    """What runs a notebook, with what it is given."""
    if not isinstance(path, str | os.PathLike) or not str(path).endswith(NOTEBOOK):
        refuse(name, place, f"{describe(path)} is not the path of a notebook", f'give one: "report{NOTEBOOK}"')
    try:
        given = {key: as_json(key, value, f"{name}: params") for key, value in params.items()}
    except InvalidRequest as error:
        refuse("", place, str(error))
    told = [
        f"{key}={value if isinstance(value, str) and '{{' in value else json.dumps(value)}"
        for key, value in given.items()
    ]
    return [os.fspath(path), *(["--kernel", kernel] if kernel else []), *told]


def _sized(given: int | str) -> int:
    try:
        return pickling.bytes_of(given)
    except InvalidRequest as error:
        raise BadUse(str(error)) from None
