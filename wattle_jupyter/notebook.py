"""What this kernel has defined so far: workflows by name, and which cell made which of their tasks.

A cell that runs again first takes back what it made before, so a renamed or deleted function leaves nothing behind.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, Literal

from wattle_jupyter.errors import InvalidRequest, Problem, SpecError
from wattle_jupyter.model import Json, Workflow

Kind = Literal["function", "command", "cell", "text"]
_PACKAGE = __name__.partition(".")[0]
_TOLD = 20  # problems that are written out


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written. ``cell`` is the key of the cell that ran, ``label`` what people know it by."""

    cell: str = ""
    label: str = ""
    line: int | None = None
    lasts: bool = False  # the front end knows the cell by an id: it can run again
    run: int = 0  # which execution of this kernel it was
    scope: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)  # names that it saw

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line is not None else ""
        return ", ".join(part for part in (self.label, line) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A task as a spec has it, and what comes with it."""

    body: dict[str, Json]
    params: Mapping[str, Json] = field(default_factory=dict)  # of the workflow, with their defaults
    payloads: Mapping[str, bytes] = field(default_factory=dict)  # objects by hash


@dataclass(eq=False, kw_only=True)
class Entry:
    """A task that a cell made. ``build(draft, pickled)`` makes its spec when all are known; SpecError if it cannot.

    Without ``pickled`` nothing is pickled: a drawing needs none of it. ``outputs`` are the names of its outputs.
    """

    name: str
    kind: Kind
    place: Place
    outputs: tuple[str, ...]
    build: Callable[[Draft, bool], Built]
    fields: Mapping[str, Json] = field(default_factory=dict)  # what is checked even if it cannot be built
    handle: object = None
    rank: tuple[int, int] = (0, 0)


@dataclass(kw_only=True)
class Whole:
    """All of a workflow: data for ``spec.load``, the objects that its tasks name, and what is wrong so far."""

    data: dict[str, Json]
    payloads: dict[str, bytes] = field(default_factory=dict)
    problems: list[tuple[str, Problem]] = field(default_factory=list)  # with the task, or "" for the whole


class WorkflowError(SpecError):
    """A workflow that cannot work: every problem with its task and place. IPython shows it without a traceback."""

    def __init__(self, name: str, told: list[tuple[str, Problem]]) -> None:
        super().__init__([problem for _, problem in told])
        count = len(told)
        rows = [f"{name} cannot work: {count} problem{'' if count == 1 else 's'}"]
        rows += [f"  {place}: {problem}" if place else f"  {problem}" for place, problem in told[:_TOLD]]
        if count > _TOLD:
            rows.append(f"  and {count - _TOLD} more")
        self.message = "\n".join(rows)
        self.args = (self.message,)

    def _render_traceback_(self) -> list[str]:
        return self.message.splitlines()


class Draft:
    """A workflow as its cells leave it."""

    def __init__(self, name: str, book: Notebook) -> None:
        self.name = name
        self.book = book
        self.heads: dict[str, tuple[dict[str, Json], Place]] = {}  # by who said it: "code" or "text"
        self.entries: dict[str, Entry] = {}
        self.arrows: dict[tuple[str, str], Place] = {}
        self.complete = True  # the kernel's folder and interpreter belong to it
        self._told: set[str] = set()

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self.entries.values(), key=lambda entry: entry.rank))

    def put(self, entry: Entry) -> None:
        """Add a task, in place of one of this name that another cell made. Raises InvalidRequest for a second one."""
        known = self.entries.get(entry.name)
        entry.rank = self.book.rank(entry.place)
        if known is not None:
            self._replace(known, entry)
        self.entries[entry.name] = entry

    def _replace(self, known: Entry, entry: Entry) -> None:
        old, new = known.place, entry.place
        twice = entry.kind in ("function", "command") and (old.cell, old.run) == (new.cell, new.run)
        if twice and (new.cell or not hasattr(sys, "ps1")):  # at a bare prompt all lines are one place
            first = f" (the first is at line {old.line})" if old.line is not None else ""
            raise BadUse(
                f"{new}: a second task `{entry.name}`{first}; give one of them another name".removeprefix(": ")
            )
        if not new.lasts:
            entry.rank = known.rank
        elif old.lasts and old.cell != new.cell and entry.name not in self._told:
            self._told.add(entry.name)
            _say(f"{entry.name} of {self.name} was made by {old.label or 'another cell'}; this one replaces it")

    def discard(self, name: str) -> None:
        """Forget a task, and the arrows to and from it."""
        del self.entries[name]
        self.arrows = {arrow: place for arrow, place in self.arrows.items() if name not in arrow}

    def clear(self) -> None:
        self.entries.clear()
        self.arrows.clear()

    def head(self) -> dict[str, Json]:
        """The fields of the workflow; who spoke last is right, params add up."""
        said = [fields for fields, _ in self.heads.values()]
        params: dict[str, Json] = {}
        for fields in said:
            if isinstance(own := fields.get("params"), dict):
                params |= own
        merged = {key: value for fields in said for key, value in fields.items()}
        return {**merged, "params": params} if params else merged

    def say(self, who: Literal["code", "text"], fields: dict[str, Json], place: Place) -> None:
        self.heads.pop(who, None)  # to the end: the last word
        self.heads[who] = (fields, place)

    # ---------------------------------------------------------------------------------------------------- as a whole

    def whole(self, *, pickled: bool = True) -> Whole:
        """Every task built, arrows and params put together, as far as that goes."""
        whole = Whole(data={"name": self.name})
        head = self.head()
        if self.complete:
            head = {**here(), **head}
        tasks: dict[str, Json] = {}
        defaults: dict[str, tuple[Json, str]] = {}
        for entry in self:
            built = self._built(entry, pickled, whole)
            tasks[entry.name] = built.body
            whole.payloads.update(built.payloads)
            self._defaults(entry.name, built.params, defaults, head, whole)
        self._draw(tasks, whole)
        params = {name: value for name, (value, _) in defaults.items()} | head.pop("params", {})
        whole.data |= {**head, **({"params": params} if params else {}), "tasks": tasks}
        self._capture(whole)
        return whole

    def _built(self, entry: Entry, pickled: bool, whole: Whole) -> Built:
        try:
            return entry.build(self, pickled)
        except SpecError as error:
            whole.problems += [(entry.name, problem) for problem in error.problems]
        checked = {key: value for key, value in entry.fields.items() if key != "inputs"}
        outputs = {"outputs": dict.fromkeys(entry.outputs)} if entry.outputs else {}  # others may take from it
        return Built(body={**checked, **outputs, "run": ["true"]})

    def _defaults(
        self,
        task: str,
        params: Mapping[str, Json],
        known: dict[str, tuple[Json, str]],
        head: Mapping[str, Json],
        whole: Whole,
    ) -> None:
        given = head.get("params", {})
        for name, value in params.items():
            other, by = known.setdefault(name, (value, task))
            if (type(other), other) != (type(value), value) and name not in given:
                reason = f"the param `{name}` is {value!r} here and {other!r} in `{by}`"
                cure = (
                    f"make them the same, or say which: Workflow(…, params={{{name!r}: {value!r}}}); or, if each task "
                )
                cure += f"has its own, let a function make them: `def make({name}): …` around the `def` of the task"
                whole.problems.append((task, Problem("", reason, cure)))

    def _draw(self, tasks: dict[str, Json], whole: Whole) -> None:
        for (src, dst), place in self.arrows.items():
            gone = next((name for name in (src, dst) if name not in tasks), None)
            if gone is not None:
                where = f" ({place})" if str(place) else ""
                reason = f"`{src} >> {dst}`{where}: there is no task `{gone}` any more"
                whole.problems.append(("", Problem("", reason, "take the arrow away and run its cell again")))
            else:
                body = tasks[dst] if isinstance(tasks[dst], dict) else {"run": tasks[dst]}
                own = body.get("needs", [])
                own = [need.strip() for need in own.split(",")] if isinstance(own, str) else list(own)
                tasks[dst] = {**body, "needs": own if src in own else [*own, src]}

    def _capture(self, whole: Whole) -> None:
        """Values for `{{ x }}` of what the kernel knows by that name."""
        from wattle_jupyter import spec  # noqa: PLC0415  pydantic when something is defined

        scopes = [entry.place.scope for entry in self if entry.kind == "command"]
        for name in sorted(spec.free_names(whole.data)) if scopes else ():
            scope = next((scope for scope in scopes if name in scope), None)
            if scope is None:
                continue  # the spec tells
            params = whole.data.setdefault("params", {})
            try:
                params[name] = as_json(name, scope[name], f"`{{{{ {name} }}}}`")
            except InvalidRequest as error:
                params[name] = None
                whole.problems.append(("", Problem("", str(error))))

    def load(self, whole: Whole) -> Workflow:
        """The checked workflow. Raises WorkflowError with all problems, each at its task."""
        from wattle_jupyter import spec  # noqa: PLC0415

        told = list(whole.problems)
        loaded: Workflow | None = None
        try:
            loaded = spec.load(whole.data)
        except SpecError as error:
            told += [self._task_of(problem) for problem in error.problems]
        if told or loaded is None:
            raise WorkflowError(self.name, [(self.where(task), problem) for task, problem in told])
        return loaded

    def refused(self, error: SpecError) -> WorkflowError:
        """What the engine said about it, each problem at its task."""
        told = [self._task_of(problem) for problem in error.problems]
        return WorkflowError(self.name, [(self.where(task), problem) for task, problem in told])

    def _task_of(self, problem: Problem) -> tuple[str, Problem]:
        """The task that a problem is about, and the problem without its name."""
        rest = problem.path.removeprefix("tasks.")
        for name in sorted(self.entries, key=len, reverse=True):
            if rest != problem.path and (rest == name or rest.startswith((f"{name}.", f"{name}["))):
                return name, replace(problem, path=rest[len(name) :].lstrip("."), cure=_code_cure(problem.cure))
        return "", replace(problem, cure=_code_cure(problem.cure))

    def where(self, task: str) -> str:
        entry = self.entries.get(task)
        place = str(entry.place) if entry else ""
        return f"{task} ({place})" if place else task


def here() -> dict[str, Json]:
    """What a workflow takes from the kernel that defines it. Raises InvalidRequest if its folder was deleted."""
    try:
        return {"working_dir": os.getcwd(), "python": sys.executable}  # noqa: PTH109  as text
    except FileNotFoundError:
        raise BadUse("the folder that this kernel is in was deleted; go to another one: `%cd ~`") from None


class BadUse(InvalidRequest):
    """A use of the Python DSL that makes no sense. IPython shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


def _code_cure(cure: str) -> str:
    """A cure for cells in the words of Python."""
    cure = re.sub(r"or pass -p (\w+)=…", r"or give it: Workflow(…, params={'\1': …})", cure)
    cure = cure.replace("write `tasks:` and under it a task", "write a function under `@wf.task`, or wf.sh(…)")
    return cure.replace("add one, such as `hello: echo hello`", "write a function under `@wf.task`, or wf.sh(…)")


# ---------------------------------------------------------------------------------------------------------- the book


class Notebook:
    """The workflows of one kernel."""

    def __init__(self) -> None:
        self.drafts: dict[str, Draft] = {}
        self._shell: Any = None
        self._run = 0
        self._count = 0
        self._cell_id: str | None = None
        self._ranks: dict[str, int] = {}
        self._taken: list[Callable[[], object]] = []  # brings back what the cell that runs now had made

    def draft(self, name: str) -> Draft:
        """The workflow of this name; a new one if there is none."""
        return self.drafts.setdefault(name, Draft(name, self))

    def fresh(self, name: str) -> Draft:
        """A new workflow of this name, whatever was there."""
        self.drafts[name] = Draft(name, self)
        return self.drafts[name]

    def rank(self, place: Place) -> tuple[int, int]:
        """What is ordered by cells as they were first run, then as it stands in them."""
        self._count += 1
        return self._ranks.setdefault(place.cell, len(self._ranks)), self._count

    def here(self) -> Place:
        """Where the code stands that called this package."""
        frame = _caller()
        if frame is None:
            return Place()
        file, line, scope = frame.f_code.co_filename, frame.f_lineno, frame.f_globals
        module = _importing(frame)
        shell = self._listen()
        if module is not None or shell is None:
            key = f"module {module}" if module else ""
            label = os.path.basename(file) if os.path.isfile(file) else ""  # noqa: PTH113, PTH119  as text
            return Place(key, label, line, run=self._run, scope=scope)
        found = _parent_cell(shell) or self._cell_id
        label = _label(shell, frame)
        return Place(found or f"run {self._run}", label, line, found is not None, self._run, scope)

    def interactive(self) -> bool:
        """Is this code of a notebook's cell, rather than of a script or a module that is being imported?"""
        frame = _caller()
        return self._listen() is not None and frame is not None and _importing(frame) is None

    def take_back(self, cell: str) -> None:
        """Forget what the cell made."""
        for draft in self.drafts.values():
            for name, entry in list(draft.entries.items()):
                if entry.place.cell == cell:
                    self._taken.append(lambda d=draft, e=entry: d.entries.setdefault(e.name, e))  # type: ignore[misc]
                    del draft.entries[name]
            for arrow, place in list(draft.arrows.items()):
                if place.cell == cell:
                    self._taken.append(lambda d=draft, a=arrow, p=place: d.arrows.setdefault(a, p))  # type: ignore[misc]
                    del draft.arrows[arrow]
            said = draft.heads.get("text")
            if said and said[1].cell == cell:
                self._taken.append(lambda d=draft, s=said: d.heads.setdefault("text", s))  # type: ignore[misc]
                del draft.heads["text"]

    # ------------------------------------------------------------------------------------------------------- IPython

    def _listen(self) -> Any:
        """The shell of this kernel, from now on asked to say when cells run; None without one."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython else None
        if shell is not self._shell:
            self._shell = shell
            if shell is not None:
                shell.events.register("pre_run_cell", self._begin)
                shell.events.register("post_run_cell", self._end)
        return shell

    def _begin(self, info: Any) -> None:
        self._run += 1
        self._taken.clear()
        self._cell_id = getattr(info, "cell_id", None) or _parent_cell(self._shell)
        if self._cell_id is not None:
            self.take_back(self._cell_id)

    def _end(self, result: Any) -> None:
        if getattr(result, "error_before_exec", None) is not None or _was_refused(result):  # nothing of it ran
            for bring in self._taken:
                bring()
        self._taken.clear()


def _was_refused(result: Any) -> bool:
    """Did a ``%%wattle`` cell end with an error? Then it defined nothing."""
    text = str(getattr(getattr(result, "info", None), "raw_cell", "") or "")
    return getattr(result, "error_in_exec", None) is not None and text.lstrip().startswith("%%wattle")


def _parent_cell(shell: Any) -> str | None:
    """The front end's id of the cell that runs, if it says so."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else None
    found = (parent or {}).get("metadata", {}).get("cellId")
    return found if isinstance(found, str) and found else None


def _label(shell: Any, frame: FrameType) -> str:
    """The cell as its prompt has it. The shell's own count may be one ahead by the time that a cell runs."""
    above: FrameType | None = frame
    while above is not None:
        known = shell.compile.format_code_name(above.f_code.co_filename)
        if known is not None:
            return f"cell {known[1].removeprefix('In')}"
        above = above.f_back
    return ""


def _caller() -> FrameType | None:
    frame: FrameType | None = sys._getframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return frame


def _importing(frame: FrameType) -> str | None:
    """The module whose import runs this code, if one does."""
    module = str(frame.f_globals.get("__name__", ""))
    above: FrameType | None = frame
    while above is not None:
        if above.f_globals.get("__name__") == "importlib._bootstrap":
            return module
        above = above.f_back
    return None


_BOOK = Notebook()


def notebook() -> Notebook:
    """The one of this kernel; from the first call on it hears of every cell that runs."""
    _BOOK._listen()
    return _BOOK


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  said to the person at the keyboard


# ------------------------------------------------------------------------------------------------ values of the kernel


def as_json(name: str, value: object, shown: str) -> Json:
    """The value as JSON. Raises InvalidRequest, which begins with ``shown``, if it is none."""
    import json  # noqa: PLC0415

    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise InvalidRequest(
            f"{shown}: {name} is a {kind}, and only JSON values (text, numbers, booleans, lists, dicts) "
            f"travel to tasks; {_cure(name, value)}"
        ) from None


def _cure(name: str, value: object) -> str:
    from pathlib import PurePath  # noqa: PLC0415

    if isinstance(value, PurePath):
        return f"write {name} = str({name}) first"
    if isinstance(value, (set, frozenset)):
        return f"write {name} = sorted({name}) first"
    if isinstance(value, float):
        return "NaN and infinity are not JSON: pass a text or None"
    for method in ("tolist", "isoformat"):
        if hasattr(value, method):
            return f"write {name} = {name}.{method}() first"
    return "write it to a file and pass the file's path"
