"""What can be wrong with a workflow whose parts all have the right shape: names, references, cycles, texts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wattle_jupyter import command, template
from wattle_jupyter.errors import Problem, SpecError
from wattle_jupyter.model import Call, Json, Task, Workflow
from wattle_jupyter.notation import Where, path_text
from wattle_jupyter.plan import arrows, cycles
from wattle_jupyter.wording import describe, nearest

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_WORKFLOW_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_PARAMETER = re.compile(r"[A-Za-z_]\w*=", re.ASCII)
_UNUSABLE = re.compile(r"[\x00\ud800-\udfff]")
_OWN = frozenset(f"WATTLE_{word}" for word in ("RUN", "TASK", "TASK_RUN", "ATTEMPT", "OUTPUT"))
_MOST = 100  # problems told at once
_DEEP = 50

NAME_RULE = "use letters (a-z, A-Z), digits, `_`, `.` and `-`, starting with a letter or `_`, at most 100 characters"
KEY_RULE = "use letters (a-z, A-Z), digits and `_`, starting with a letter or `_`, at most 100 characters"


def is_task_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


class Findings:
    """Problems as they are found, with the line of the nearest place that has one."""

    def __init__(self, lines: Mapping[str, int]) -> None:
        self.problems: list[Problem] = []
        self._lines = lines

    def add(self, where: Where, reason: str, cure: str = "") -> None:
        line = next((self._lines[p] for p in self._up(where) if p in self._lines), None) if self._lines else None
        self.problems.append(Problem(path_text(where), reason, cure, line))

    def error(self) -> SpecError:
        shown = sorted(self.problems, key=lambda problem: problem.line or 0)
        if len(shown) > _MOST:
            shown = [*shown[:_MOST], Problem("", f"and {len(shown) - _MOST:,} more problems", "cure these first")]
        return SpecError(shown)

    @staticmethod
    def _up(where: Where) -> Iterator[str]:
        return (path_text(where[:end]) for end in range(len(where), 0, -1))


@dataclass(slots=True)
class Draft:
    """A task before it is checked. A task without ``sound`` shape takes part with its name only."""

    task: Task
    where: Where
    sound: bool = True
    fields: Mapping[str, str] = field(default_factory=dict)  # what a field is called in the form at hand

    def at(self, name: str, *more: str | int) -> Where:
        return (*self.where, self.fields.get(name, name), *more)


# --------------------------------------------------------------------------------------------------------- the head


def check_head(head: Workflow, findings: Findings) -> None:
    if any(problem.path == "name" for problem in findings.problems):
        pass  # said already
    elif not head.name:
        findings.add(("name",), "the workflow has no name", "write `name:`, or the name after `%%wattle`")
    elif not _WORKFLOW_NAME.fullmatch(head.name):
        findings.add(
            ("name",), f"{describe(head.name)} is not a name", NAME_RULE.replace("a letter or", "a letter, digit or")
        )
    for name, value in head.params.items():
        if not _IDENTIFIER.fullmatch(name):
            findings.add(("params", name), f"{describe(name)} is not a name of a parameter", KEY_RULE)
        fault = json_fault(value)
        if fault:
            findings.add(("params", name), *fault)
    _check_texts(findings, ("description",), [head.description])
    for place, text in (("working_dir", head.working_dir), ("python", head.python)):
        _check_line(findings, (place,), text)
    if head.working_dir is not None and not head.working_dir.startswith("/"):
        findings.add(("working_dir",), f"`{head.working_dir}` is not an absolute path", "start it with `/`")
    _check_env(findings, ("env",), head.env)
    for name, text in head.env.items():
        for ref in _references(findings, ("env", name), text, sh=False):
            if ref.key is not None:
                reason = f"`{{{{ {ref} }}}}`: the environment of the whole workflow can not take a task's output"
                findings.add(("env", name), reason, "set it in the tasks that need it")
            elif ref.name not in head.params:
                findings.add(("env", name), *_no_param(ref, head.params, ()))


def json_fault(value: Json, depth: int = 0) -> tuple[str, str] | None:
    """Why the value can not be a parameter; None if it can."""
    if depth > _DEEP:
        return f"nested deeper than {_DEEP} levels", "make it flatter"
    if isinstance(value, dict):
        odd = [key for key in value if not isinstance(key, str)]
        fault = (f"has {describe(odd[0])} as a key", "keys must be text") if odd else None
        return fault or _first_fault([*value, *value.values()], depth)
    return _first_fault(value, depth) if isinstance(value, list) else _scalar_fault(value)


def _scalar_fault(value: Json) -> tuple[str, str] | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number, not {value}", "JSON knows neither NaN nor infinity; write null or text"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "does not fit into 64 bits", "write it as text"
    if isinstance(value, str) and _UNUSABLE.search(value):
        return "holds a NUL or half of a surrogate pair", "remove it"
    if value is None or isinstance(value, str | bool | int | float):
        return None
    return f"must be a JSON value, not {describe(value)}", "use text, numbers, true, false, null, lists and mappings"


def _first_fault(values: Iterable[Json], depth: int) -> tuple[str, str] | None:
    return next((fault for value in values if (fault := json_fault(value, depth + 1))), None)


# -------------------------------------------------------------------------------------------------------- the tasks


def check_tasks(drafts: Sequence[Draft], head: Workflow, findings: Findings) -> None:
    _check_names(drafts, findings)
    links = _Links({draft.task.name: draft for draft in drafts}, head, findings)
    for draft in drafts:
        if draft.sound:
            _check_command(draft, findings)
            _check_data(draft, findings)
            _check_policy(draft, head, findings)
            links.check(draft)
    links.check_cycles()


def _check_names(drafts: Sequence[Draft], findings: Findings) -> None:
    seen: set[str] = set()
    for draft in drafts:
        name = draft.task.name
        if not _NAME.fullmatch(name):
            findings.add(draft.where, f"{describe(name)} is not a name of a task", NAME_RULE)
        elif name in seen:
            findings.add(draft.where, f"a second task `{name}`", "give it another name")
        seen.add(name)


def _check_command(draft: Draft, findings: Findings) -> None:
    if draft.task.call is not None:
        _check_call(draft, draft.task.call, findings)
        return
    run = draft.task.run
    where = draft.at("run")
    texts = [run] if isinstance(run, str) else list(run)
    if not run or not texts[0].strip():
        findings.add(where, "the command is empty", "write what to run, such as `python script.py`")
    elif notebook := command.hidden_notebook(run, draft.task.script):
        findings.add(
            where,
            f"the shell cannot start {notebook}",
            "write its name first and without quotes, or the command as a list: [my notebook.ipynb, rate=0.1]",
        )
    elif command.is_notebook(draft.task.script) and (wrong := _no_parameter(run)):
        findings.add(where, f"`{wrong}` is not a parameter of a notebook", "write `name=value`, such as `rate=0.1`")
    elif isinstance(run, str):
        _check_texts(findings, where, texts)
    elif any(_UNUSABLE.search(text) for text in texts):
        findings.add(where, "holds a NUL or half of a surrogate pair", "remove it")


def _no_parameter(run: str | Sequence[str]) -> str | None:
    """The first argument of a notebook that is none. What the shell reads is known only when it runs."""
    words = iter(() if isinstance(run, str) else run[1:])
    for word in words:
        if word == "--kernel":
            next(words, None)
        elif not _PARAMETER.match(word):
            return word
    return None


def _check_call(draft: Draft, call: Call, findings: Findings) -> None:
    for i, name in enumerate(call.params):
        if not _IDENTIFIER.fullmatch(name):
            findings.add(draft.at("call", "params", i), f"{describe(name)} is not a name of a parameter", KEY_RULE)
        elif name in draft.task.inputs:
            findings.add(draft.at("inputs", name), f"`{name}` is taken as a parameter too", "keep one of them")
    if _UNUSABLE.search(call.source):
        findings.add(draft.at("call", "source"), "holds a NUL or half of a surrogate pair", "remove it")


def _check_data(draft: Draft, findings: Findings) -> None:
    task = draft.task
    _check_env(findings, draft.at("env"), task.env)
    _check_line(findings, draft.at("working_dir"), task.working_dir)
    for key, output in task.outputs.items():
        if not _IDENTIFIER.fullmatch(key):
            findings.add(draft.at("outputs", key), f"{describe(key)} is not a name of an output", KEY_RULE)
        _check_line(findings, draft.at("outputs", key), output.path)
        _check_texts(findings, draft.at("outputs", key), [output.description])
        if output.path is not None and "{{" in output.path and output.required:
            findings.add(draft.at("outputs", key), "templates work in `run` and `env` only", "write the path out")


def _check_policy(draft: Draft, head: Workflow, findings: Findings) -> None:
    task = draft.task
    if task.keep_children and task.retries:
        cure = "take one of them away: what the first attempt left running would meet the second"
        findings.add(draft.at("keep_children"), "excludes `retries`", cure)
    if head.mode == "parallel" and task.data_needs:
        reason = f"takes data from `{task.data_needs[0]}`, but in mode `parallel` nothing waits for anything"
        findings.add(draft.where, reason, "use mode `dependency`")


class _Links:
    """Checks what tasks say about each other."""

    def __init__(self, names: Mapping[str, Draft], head: Workflow, findings: Findings) -> None:
        self._names = names
        self._params = head.params
        self._findings = findings

    def check(self, draft: Draft) -> None:
        self._needs(draft)
        self._inputs(draft)
        for i, name in enumerate(draft.task.call.params if draft.task.call else ()):
            if _IDENTIFIER.fullmatch(name) and name not in self._params:
                ref = template.Reference(name, None, False, 0)
                self._findings.add(draft.at("call", "params", i), *_no_param(ref, self._params, ()))
        run = draft.task.run
        for text in [run] if isinstance(run, str) else run:
            self._templates(draft, draft.at("run"), text, isinstance(run, str))
        for key, text in draft.task.env.items():
            self._templates(draft, draft.at("env", key), text, False)

    def _needs(self, draft: Draft) -> None:
        for i, need in enumerate(draft.task.needs):
            where = draft.at("needs", i)
            if need == draft.task.name:
                self._findings.add(where, f"`{need}` needs itself", "remove it")
            elif not need:
                self._findings.add(where, "an empty name", "write the names of tasks, with commas between")
            elif need not in self._names:
                self._findings.add(where, f"no task `{need}`", self._other(need, draft))

    def _inputs(self, draft: Draft) -> None:
        folded = Counter(key.upper() for key in draft.task.inputs)
        for key, source in draft.task.inputs.items():
            where = draft.at("inputs", key)
            if not _IDENTIFIER.fullmatch(key):
                self._findings.add(where, f"{describe(key)} is not a name of an input", KEY_RULE)
            elif folded[key.upper()] > 1:
                self._findings.add(where, f"two inputs would be `WATTLE_INPUT_{key.upper()}`", "rename one")
            name, _, output = source.partition("/")
            if name and output:
                self._source(draft, where, name, output)
            else:
                self._findings.add(where, f"{describe(source)} does not name an output", "write `task/output`")

    def _source(self, draft: Draft, where: Where, name: str, output: str) -> None:
        if name == draft.task.name:
            self._findings.add(where, f"`{name}` takes data from itself", "remove it")
        elif name not in self._names:
            self._findings.add(where, f"no task `{name}`", self._other(name, draft))
        elif self._names[name].sound and output not in self._names[name].task.outputs:
            cure = nearest(output, self._names[name].task.outputs) or f"declare it in `{name}`: `outputs: [{output}]`"
            self._findings.add(where, f"task `{name}` has no output `{output}`", cure)

    def _templates(self, draft: Draft, where: Where, text: str, sh: bool) -> None:
        for ref in _references(self._findings, where, text, sh):
            if ref.key is not None:
                self._source(draft, where, ref.name, ref.key)
            elif ref.name not in self._params:
                self._findings.add(where, *_no_param(ref, self._params, self._names))

    def _other(self, name: str, draft: Draft) -> str:
        if len(self._findings.problems) > _MOST:
            return ""  # never shown
        return nearest(name, [other for other in self._names if other != draft.task.name])

    def check_cycles(self) -> None:
        upstream = {
            name: [up for up in draft.task.upstream if up in self._names and up != name] if draft.sound else []
            for name, draft in self._names.items()
        }
        for cycle in cycles(upstream):
            reason = f"these tasks wait for each other: {arrows(cycle)}"
            self._findings.add(self._names[cycle[0]].where, reason, "take one of the arrows away")


def _references(findings: Findings, where: Where, text: str, sh: bool) -> list[template.Reference]:
    if "{{" not in text:
        return []
    try:
        if sh:
            template.render(text, lambda _: "", quote=True)
        return template.references(text)
    except SpecError as error:
        for problem in error.problems:
            findings.add(where, problem.reason, problem.cure)
        return []


def _no_param(ref: template.Reference, params: Iterable[str], tasks: Iterable[str]) -> tuple[str, str]:
    if ref.name in tasks:
        return f"`{{{{ {ref} }}}}` names a task, not one of its outputs", f"write `{{{{ {ref.name}.output }}}}`"
    cure = f"define {ref.name} in the notebook before this cell, or pass -p {ref.name}=…"
    close = nearest(ref.name, params)
    return f"no parameter `{ref.name}`", f"{close[:-1]}? Otherwise {cure}" if close.startswith("did") else cure


# ---------------------------------------------------------------------------------------------------------- texts


def _check_env(findings: Findings, where: Where, env: Mapping[str, str]) -> None:
    for name, value in env.items():
        if not name or "=" in name or _CONTROL.search(name) or "\n" in name:
            cure = "use letters, digits and `_`"
            findings.add((*where, name), f"{describe(name)} is not a name of an environment variable", cure)
        elif name in _OWN or name.startswith("WATTLE_INPUT_"):
            findings.add((*where, name), "the scheduler sets this variable itself", "use another name")
        if _UNUSABLE.search(value):
            findings.add((*where, name), "holds a NUL or half of a surrogate pair", "remove it")


def _check_texts(findings: Findings, where: Where, texts: Iterable[str]) -> None:
    for text in texts:
        match = _CONTROL.search(text)
        if match:
            cure = "save the text with Unix line ends" if match[0] == "\r" else "remove it"
            findings.add(where, f"holds the control character U+{ord(match[0]):04X}", cure)


def _check_line(findings: Findings, where: Where, text: str | None) -> None:
    if text is None:
        return
    if not text.strip():
        findings.add(where, "is empty", "leave it out, or write a path")
    elif "\n" in text or "\t" in text:
        findings.add(where, "holds a line break or a tab", "remove it")
    _check_texts(findings, where, [text])
