"""``%%wattle etl.clean …``: a cell becomes a task. Its free names are found and resolved.

Nothing is executed. A free name is, in this order: what ``-i`` says, an output of a task named by ``-n``, a parameter
of the workflow, code of the kernel (modules, functions, classes), a built-in. Everything else is told at once.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from wattle_jupyter import freevars, pickling, variables
from wattle_jupyter.cellline import Line
from wattle_jupyter.errors import InvalidRequest, Problem, SpecError
from wattle_jupyter.model import RESULT, Json, sole_output
from wattle_jupyter.notebook import as_json
from wattle_jupyter.wording import nearest

_BUILTINS = [name for name in dir(builtins) if not name.startswith("_")]
_MODULE_NAMES = frozenset({"__name__", "__doc__", "__builtins__", "__package__", "__spec__", "__loader__"})


@dataclass(frozen=True, kw_only=True)
class Around:
    """What the cell may take names from."""

    user: Mapping[str, Any]  # variables of the kernel
    tasks: Mapping[str, Sequence[str]]  # of the workflow, without the one that the cell makes → their outputs
    params: Mapping[str, Json]  # of the workflow and of the line
    ipythons: Collection[str] = ()  # what IPython put among the variables, such as an `open` of its own


@dataclass(kw_only=True)
class CellTask:
    """The cell, resolved."""

    line: Line
    source: str
    captured: dict[str, Any] = field(default_factory=dict)  # code of the kernel
    snapshots: dict[str, Any] = field(default_factory=dict)  # data of the kernel, asked for with `-i`
    along: dict[str, Any] = field(default_factory=dict)  # data that captured functions read
    inputs: dict[str, str] = field(default_factory=dict)  # x → task/output
    params: list[str] = field(default_factory=list)
    outputs: dict[str, str | None] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)  # outputs that are variables of the cell
    replaced: set[str] = field(default_factory=set)  # globals of captured functions that the cell itself gives
    notes: list[str] = field(default_factory=list)

    def form(self, hash: str) -> dict[str, Json]:
        """The task as data for ``spec.load``."""
        taken = {source.partition("/")[0] for source in self.inputs.values()}
        form: dict[str, Json] = {"call": {"object": hash, "source": self.source, "params": self.params}}
        needs = [name for name in self.line.needs if name not in taken]
        parts = {"needs": needs, "inputs": self.inputs, "outputs": self.outputs, **self.line.fields}
        return {**form, **{key: value for key, value in parts.items() if value not in ([], {})}}

    def told(self) -> str:
        """One line on what the cell takes with it and is given; nothing if that is nothing."""
        said = [f"{name} ({variables.kind(value)})" for name, value in sorted(self.captured.items())]
        said += [f"{name} ({_brief(value)})" for name, value in sorted(self.along.items())]
        said += [f"{name} ({_brief(value)}, as it is now)" for name, value in sorted(self.snapshots.items())]
        said += [f"{name} ({source})" for name, source in sorted(self.inputs.items())]
        said += [f"{name} (param)" for name in self.params]
        return f"captured: {', '.join(said)}" if said else ""


def _brief(value: object) -> str:
    return variables.about(value).partition(" ")[2].replace(" (", ", ").removesuffix(")")


def given_params(line: Line, user: Mapping[str, Any]) -> dict[str, Json]:
    """The parameters that the line gives. SpecError for a variable that is not there, or is no JSON."""
    found = dict(line.params)
    problems = []
    for name in line.from_kernel:
        if name not in user:
            close = _close(name, user)
            cure = f"did you mean `{close}`?" if close else f"write -p {name}=VALUE"
            problems.append(Problem("", f"-p {name}: there is no variable `{name}` in this kernel", cure))
            continue
        try:
            found[name] = as_json(name, user[name], f"-p {name}")
        except InvalidRequest as error:
            problems.append(Problem("", str(error)))
    if problems:
        raise SpecError(problems)
    return found


# ------------------------------------------------------------------------------------------------------------- the cell


def resolve(line: Line, body: str, around: Around, transform: Callable[[str], str]) -> CellTask:
    """The cell as a task. ``transform`` is IPython's, for magics. SpecError with everything that is wrong."""
    source = python(body, transform)
    names = _names(source)
    resolver = _Resolver(line, names, around)
    resolver.resolve()
    if resolver.problems:
        raise SpecError(sorted(resolver.problems, key=lambda problem: problem.line or 0))
    found = resolver.found
    found.source = source
    return found


def python(body: str, transform: Callable[[str], str]) -> str:
    """The cell as plain Python with the same lines. SpecError for syntax of IPython, which tasks do not have."""
    lead = re.match(r"(?:[ \t]*\n)*", body)
    blank = lead[0].count("\n") if lead else 0  # IPython drops empty lines at the start
    try:
        source = "\n" * blank + transform(body)
    except SyntaxError as error:
        raise _syntax_error(error) from None
    magics = list(_magics(source, body.split("\n")))
    if magics:
        raise SpecError(magics)
    return source


def _magics(source: str, rows: Sequence[str]) -> Iterator[Problem]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return  # told with its line later
    except ValueError as error:
        raise SpecError([Problem("", str(error), "remove it")]) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "get_ipython":
            row = rows[node.lineno - 1].strip() if node.lineno <= len(rows) else ""
            yield Problem("", *_magic_words(row), node.lineno)


def _magic_words(row: str) -> tuple[str, str]:
    shown = row if len(row) <= 40 else row[:39] + "…"
    if "get_ipython" in row:
        return "`get_ipython` is not there in a task", "leave out what speaks to IPython"
    if row.startswith("!") or re.search(r"=\s*!", row):
        command = row.partition("!")[2].strip("! ") or "ls"
        return (
            f"`{shown}` is a shell command of IPython, which a task does not have",
            f"write `import subprocess; subprocess.run({command!r}, shell=True, check=True)`, or make it a task of "
            "its own in a `%%wattle` cell",
        )
    if row.startswith("?") or row.endswith("?"):
        return f"`{shown}` asks IPython for help, which a task does not have", "remove it"
    if row.startswith("%%"):
        return f"`{shown}` is a magic of IPython, which a task does not have", "remove the line"
    return f"`{shown}` is a magic of IPython, which a task does not have", "remove it, or run it in a cell of its own"


def _names(source: str) -> freevars.Names:
    try:
        found = freevars.names(source)
    except SyntaxError as error:
        raise _syntax_error(error) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SpecError([Problem("", f"Python cannot read this cell: {error}", "split it, or remove it")]) from None
    if not found.needs and not found.makes and not source.strip():
        raise SpecError([Problem("", "the cell is empty", "write the Python of the task under the first line")])
    return found


def _syntax_error(error: SyntaxError) -> SpecError:
    cure = ""
    if re.match(r"\s*[\w.-]+(\s*<-\s*[\w\s,.-]+)?:\s", error.text or ""):
        cure = (
            "a name with a dot after %%wattle makes the cell a Python task; name a workflow of commands without a dot"
        )
    return SpecError([Problem("", f"Python does not understand this: {error.msg}", cure, error.lineno)])


# -------------------------------------------------------------------------------------------------------- free names


class _Resolver:
    """Finds for each free name where it comes from, and notes all that is wrong."""

    def __init__(self, line: Line, names: freevars.Names, around: Around) -> None:
        self.problems: list[Problem] = []
        self.found = CellTask(line=line, source="")
        self._line = line
        self._names = names
        self._around = around
        meant = [_close(name, around.tasks) or name for name in line.needs]  # a slip is told once, not at each name
        self._left = _left_by(meant, around.tasks)
        self._told: set[str] = set()  # names that something was said about

    def resolve(self) -> None:
        self._check_needs()
        self._take_inputs()
        for name, at in self._names.needs.items():
            if not self._is_given(name) and not self._take(name):
                self.problems.append(self._missing(name, at))
        for name, at in self._names.perhaps.items():
            if not self._is_given(name) and not self._take(name) and name in self._around.user:
                self._warn_of(name, at)
        self._follow_functions()
        self._take_outputs()

    def _add(self, reason: str, cure: str = "", at: int | None = None) -> None:
        self.problems.append(Problem("", reason, cure, at))

    def _is_given(self, name: str) -> bool:
        given = (self.found.inputs, self.found.snapshots, self.found.captured, self.found.params, self._told)
        return any(name in names for names in given)

    # ---------------------------------------------------------------------------------------------------- the flags

    def _check_needs(self) -> None:
        for name in self._line.needs:
            if name == self._line.task:
                self._add(f"-n {name}: `{name}` is the task of this cell", "remove it")
            elif name not in self._around.tasks:
                there = nearest(name, self._around.tasks) or f"`{self._line.workflow}` has no other task yet"
                self._add(f"-n {name}: `{self._line.workflow}` has no task `{name}`", there)

    def _take_inputs(self) -> None:
        for name, source in self._line.inputs:
            before = len(self.problems)
            if source is not None:
                self._take_output_of(name, source)
            elif name not in self._around.user:
                self._add(f"-i {name}: there is no variable `{name}` in this kernel", self._meant(name))
            elif variables.kind(self._around.user[name]) == "data":
                self.found.snapshots[name] = self._around.user[name]
            else:
                self.found.captured[name] = self._around.user[name]
            self._told |= {name} if len(self.problems) > before else set()
            if name not in {**self._names.needs, **self._names.perhaps}:
                self.found.notes.append(f"-i {name}: the cell does not mention `{name}`")

    def _take_output_of(self, name: str, source: str) -> None:
        task, _, output = source.partition("/")
        known = self._around.tasks
        output = output or (sole_output(known[task]) if task in known else None) or RESULT
        if task not in known:
            there = nearest(task, known) or f"`{self._line.workflow}` has no other task yet"
            self._add(f"-i {name}={source}: `{self._line.workflow}` has no task `{task}`", there)
        elif output not in known[task]:
            cure = nearest(output, known[task]) or f"`{task}` leaves no outputs"
            self._add(f"-i {name}={source}: task `{task}` has no output `{output}`", cure)
        else:
            self.found.inputs[name] = f"{task}/{output}"

    def _take_outputs(self) -> None:
        given = {*self.found.inputs, *self.found.snapshots, *self.found.params}
        for name, path in self._line.outputs.items():
            self.found.outputs[name] = path
            if path is None:
                self.found.results.append(name)
                if name not in self._names.makes and name not in given:
                    near = nearest(name, self._names.makes)
                    cure = near or "assign it in the cell, or leave `-o` out: then the last expression is the output"
                    self._add(f"-o {name}: the cell never assigns `{name}`", cure)
        if not self._line.outputs and (self._names.result or RESULT in self._names.makes):
            self.found.outputs[RESULT] = None
            self.found.results.append(RESULT)

    # ---------------------------------------------------------------------------------------------------- the names

    def _take(self, name: str) -> bool:
        """Is there a source for this name that needs no word of the user's?"""
        sources = self._left.get(name, [])
        if len(sources) > 1:
            listed = " or ".join(f"`-i {name}={source}`" for source in sources)
            self._add(
                f"`{name}` is left by {' and '.join(s.partition('/')[0] for s in sources)}", f"say which: {listed}"
            )
            return True
        if sources:
            self.found.inputs[name] = sources[0]
        elif name in self._around.params:
            self.found.params.append(name)
        elif name in self._around.user:
            return self._take_code(name, self._around.user[name])
        elif hasattr(builtins, name) and not _is_ipythons(name):
            pass
        elif name not in _MODULE_NAMES:
            return self._may_be_in_a_star(name) or self._take_display(name)
        return True

    def _take_code(self, name: str, value: object) -> bool:
        if variables.kind(value) == "data":
            return False
        self.found.captured[name] = value
        return True

    def _take_display(self, name: str) -> bool:
        """``display`` is a built-in of kernels only."""
        if name != "display" or not hasattr(builtins, name):
            return False
        self.found.captured[name] = getattr(builtins, name)
        return True

    def _may_be_in_a_star(self, name: str) -> bool:
        for star in self._names.stars:
            module = sys.modules.get(star)
            if module is None:
                return True  # not loaded here, so nobody can tell
            public = getattr(module, "__all__", None)
            if name in public if public is not None else hasattr(module, name) and not name.startswith("_"):
                return True
        return False

    def _warn_of(self, name: str, at: int) -> None:
        value = self._around.user[name]
        self.found.notes.append(
            f"line {at}: `{name}` may be read before the cell assigns it; if it is to be {variables.about(value)} of "
            f"this kernel, add `-i {name}`"
        )

    def _missing(self, name: str, at: int) -> Problem:
        if name not in self._around.user:
            task = self._leaving(name)
            cure = f"add `-n {task}`, which leaves it" if task else self._meant(name)
            return Problem("", f"`{name}` is not defined, neither here nor in this kernel", cure, at)
        value = self._around.user[name]
        if stays := _stays(name, value):
            return Problem("", f"`{name}` is {stays[0]} of this kernel, which cannot be sent", stays[1], at)
        reason = f"`{name}` is {variables.about(value)} of this kernel"
        return Problem("", reason, f"add `-i {name}` to send a snapshot, or {self._maker(name)}", at)

    def _unused_outputs(self) -> Iterator[tuple[str, str]]:
        """Sole outputs of needed tasks whose names the cell does not mention."""
        for need in self._line.needs:
            output = sole_output(self._around.tasks.get(need, ()))
            if output and not {need, output} & set(self._names.needs):
                yield need, output

    def _leaving(self, name: str) -> str | None:
        """A task that leaves this name."""
        found = (task for task, outputs in self._around.tasks.items() if name in outputs)
        return next(found, name if sole_output(self._around.tasks.get(name, ())) else None)

    def _maker(self, name: str) -> str:
        tasks = self._around.tasks
        if task := self._leaving(name):
            return f"`-n {task}` to take what the task {task} leaves"
        for need, output in self._unused_outputs():
            return f"`-i {name}={need}/{output}` to take what the task {need} leaves"
        example = next(iter(tasks), "load")
        simple = isinstance(self._around.user[name], str | int | float | bool)
        return f"`-p {name}` to make it a parameter" if simple else f"`-n {example}` if the task {example} makes it"

    def _meant(self, name: str) -> str:
        left = {output for outputs in self._around.tasks.values() for output in outputs if output != RESULT}
        known = {*self._names.makes, *self._around.user, *self._around.params, *self._left}
        close = _close(name, (word for word in {*known, *left} if not word.startswith("_")))
        close = close or _close(name, _BUILTINS, 0.75)
        if close and close not in known and (task := self._leaving(close)):
            return f"did you mean `{close}`? Then add `-n {task}`, which leaves it"
        return (
            f"did you mean `{close}`?" if close else "define it in the cell, or name the task that leaves it with `-n`"
        )

    # ------------------------------------------------------------------------------------- what captured code needs

    def _follow_functions(self) -> None:
        """Data that functions of the kernel read goes along; what the cell gives itself they read from the cell."""
        own = {*self._names.makes, *self.found.inputs, *self.found.params, *self.found.snapshots}
        waiting = list(self.found.captured.items())
        seen = set(self.found.captured)
        while waiting:
            holder, value = waiting.pop()
            for name, space in variables.taken_along(value).items():
                if name in own or name in self._around.ipythons:
                    self.found.replaced.add(name)
                elif name not in seen and name in space:
                    seen.add(name)
                    if variables.kind(space[name]) == "data":
                        self.found.along[name] = space[name]
                    else:
                        waiting.append((name, space[name]))
                elif name not in seen and not hasattr(builtins, name) and not self._take(name):
                    seen.add(name)
                    self.found.notes.append(f"{holder} reads `{name}`, which is not defined")


def _close(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    return next(iter(get_close_matches(word, sorted(known), 1, cutoff)), None)


def _stays(name: str, value: object) -> tuple[str, str] | None:
    """What this is and what to do instead, if values of its type never leave a kernel."""
    for pattern, what, cure in pickling._KINDS:
        kind = pickling.kind_of(value)
        if re.fullmatch(pattern, kind):
            said = what.format(kind=kind.rpartition(".")[2]).removeprefix("the ")
            return f"{variables.article(said)} {said}", cure.format(name).replace("the function", "the cell")
    return None


def _is_ipythons(name: str) -> bool:
    return name in ("display", "get_ipython")


def _left_by(needs: Collection[str], tasks: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Name → the outputs of needed tasks that it may mean."""
    found: dict[str, list[str]] = {}
    for need in (need for need in dict.fromkeys(needs) if need in tasks):
        for output in tasks[need]:
            found.setdefault(output, []).append(f"{need}/{output}")
        sole = sole_output(tasks[need])
        if sole and need not in tasks[need]:
            found.setdefault(need, []).append(f"{need}/{sole}")
    return found
