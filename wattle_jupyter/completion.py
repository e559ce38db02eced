"""What comes next in ``%wattle`` lines and ``%%wattle`` cells, for IPython. No key press waits long for the engine.

In a line: verbs, options, names of workflows, runs and tasks, files. In a cell: fields, tasks after an arrow, names
inside ``{{ }}``; after ``%%wattle etl.clean`` tasks and variables of the kernel, while its body is Python as ever.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from wattle_jupyter import cellline, verbs
from wattle_jupyter.client import Client
from wattle_jupyter.errors import WattleError
from wattle_jupyter.notebook import notebook
from wattle_jupyter.places import store_dir

TASK_FIELDS = (
    "run", "needs", "inputs", "outputs", "env", "working_dir", "retries", "retry_delay", "retry_backoff",
    "retry_max_delay", "timeout", "grace", "priority", "keep_children", "exit_file",
)  # fmt: skip
HEAD_FIELDS = (
    "name", "mode", "params", "working_dir", "env", "on_failure", "max_parallel", "concurrent", "priority", "python",
    "description",
)  # fmt: skip
VALUES: Mapping[str, Sequence[str]] = {
    "mode": ("dependency", "sequential", "parallel"),
    "on_failure": ("continue", "stop", "cancel"),
    "priority": ("high", "normal", "low"),
    "concurrent": ("true", "false"),
    "keep_children": ("true", "false"),
    "exit_file": ("true", "false"),
}
"""Fields that take one of a few words."""

_NAMES = r"(?:[\w.-]+[ \t]*,[ \t]*)*"
_ENTRY = re.compile(r"([A-Za-z_][\w.-]*)[ \t]*(?:<-[^:]*)?:(?:\s|$)")


class Found(NamedTuple):
    """What may stand in place of ``fragment``, the text left of the cursor."""

    fragment: str
    words: list[str]


class Completion:
    """Candidates for what stands left of the cursor."""

    def __init__(self, variables: Callable[[], Mapping[str, object]]) -> None:
        self._variables = variables
        self._engine = _Engine()

    def answer(self, context: Any) -> dict[str, Any]:
        """The candidates as a matcher of IPython returns them."""
        from IPython.core.completer import SimpleCompletion  # noqa: PLC0415

        lines = context.full_text.split("\n")[: context.cursor_line + 1]
        found = self.candidates([*lines[:-1], context.text_until_cursor])
        if found is None:
            return {"completions": [], "suppress": False}
        words = found.words or (
            [found.fragment] if found.fragment else []
        )  # else Python's guesses would take its place
        completions = [SimpleCompletion(text=word) for word in words]
        return {"completions": completions, "suppress": True, "matched_fragment": found.fragment}

    def candidates(self, lines: Sequence[str]) -> Found | None:
        """``lines`` are the cell's up to the cursor. None if that is not ours."""
        first = next((i for i, line in enumerate(lines) if line.strip()), len(lines) - 1)
        head = re.match(r"[ \t]*%%wattle(?:[ \t]+(.*))?$", lines[first])
        if head is None:
            return self._line(lines[-1])
        line = head[1] or ""
        if first == len(lines) - 1:
            return self._cell_line(line) if head[1] is not None else None
        if cellline.is_cell_task(line):
            return self._line(lines[-1])  # Python, with magics in it
        return self._body(line.split()[:1], list(lines[first + 1 :]))

    # ------------------------------------------------------------------------------------------------ %wattle VERB

    def _line(self, text: str) -> Found | None:
        found = re.match(r"\s*(?:[\w.]+\s*=\s*)?%wattle\s+(.*)$", text, re.DOTALL)
        if found is None:
            return None
        *words, last = re.split(r"\s+", found[1])
        return _fitting(last, self._of_verb(words, last))

    def _of_verb(self, words: list[str], last: str) -> Iterable[str]:
        parsers = verbs.verbs()
        if not words:
            return sorted(parsers)
        parser = parsers.get(words[0])
        if parser is None:
            return []
        actions = [action for action in parser._actions if not isinstance(action, verbs.ShowHelp)]
        asked = next((action for action in actions if words[-1] in action.option_strings and action.nargs != 0), None)
        if last.startswith("-"):
            return sorted(option for action in actions for option in action.option_strings)
        if asked is None:
            places = [action for action in actions if not action.option_strings]
            asked = places[0] if places else None
        if asked is None or asked.choices:
            return [str(choice) for choice in asked.choices or ()] if asked else []
        return self._place(str(asked.metavar or ""), last, words)

    def _place(self, kind: str, last: str, words: Sequence[str]) -> Iterator[str]:
        """Candidates for an argument by its metavar, such as ``RUN[/TASK]``."""
        before, slash, _ = last.partition("/")
        if kind == "NAME=VALUE":
            yield from (f"{name}=" for name in self._params(next((w for w in words[1:] if w[:1] != "-"), "")))
        if "RUN" in kind:
            yield from self._engine.runs()
        if "TASK" in kind and slash:
            yield from (
                f"{before}/{task}" for task in (self._engine.tasks_of_run(before) if "NAME" not in kind else ())
            )
            yield from (f"{before}/{task}" for task in (self._tasks(before) if "NAME" in kind else ()))
        if kind.startswith("NAME") and "=" not in kind:
            yield from self._workflows()
        if "FILE" in kind:
            yield from verbs.files_like(last)

    def _workflows(self) -> list[str]:
        here = [name for name, draft in notebook().drafts.items() if draft.entries]
        return list(dict.fromkeys([*here, *self._engine.workflows()]))

    def _tasks(self, workflow: str) -> dict[str, tuple[str, ...]]:
        """Tasks of a workflow, of this kernel or stored → their outputs."""
        draft = notebook().drafts.get(workflow)
        if draft is not None and draft.entries:
            return {entry.name: entry.outputs for entry in draft}
        tasks = self._engine.spec(workflow).get("tasks", {})
        return {
            name: tuple(body.get("outputs") or ()) if isinstance(body, dict) else () for name, body in tasks.items()
        }

    def _params(self, workflow: str) -> list[str]:
        draft = notebook().drafts.get(workflow)
        own = draft.head().get("params", {}) if draft is not None else {}
        return list({**own, **self._engine.spec(workflow).get("params", {})})

    # -------------------------------------------------------------------------------------------------- %%wattle NAME

    def _cell_line(self, text: str) -> Found:
        *words, last = re.split(r"\s+", text)
        if not words:
            return _fitting(last, [*self._workflows(), *(f"{name}." for name in self._workflows() if "." in last)])
        if not cellline.is_cell_task(words[0]):
            return _fitting(last, self._options_of_workflow(words, last))
        if last.startswith("-"):
            return _fitting(last, cellline.options())
        flag = next((word for word in reversed(words) if word.startswith("-")), "")
        workflow, _, own = words[0].rpartition(".")
        tasks = {name: outputs for name, outputs in self._tasks(workflow).items() if name != own}
        fragment = re.split(r"[=,]", last)[-1]
        return _fitting(fragment, self._of_flag(flag, last, tasks, workflow))

    def _options_of_workflow(self, words: Sequence[str], last: str) -> Iterable[str]:
        if last.startswith("-"):
            return ["--mode", "--param", "--jobs"]
        if words[-1] == "--mode":
            return VALUES["mode"]
        return [f"{name}=" for name in self._params(words[0])] if words[-1] in ("-p", "--param") else []

    def _of_flag(self, flag: str, last: str, tasks: Mapping[str, Sequence[str]], workflow: str) -> Iterator[str]:
        if flag in ("-n", "--needs"):
            yield from tasks
        elif flag in ("-i", "--input") and "=" in last:
            yield from (f"{name}/{output}" for name, outputs in tasks.items() for output in outputs)
        elif flag in ("-i", "--input"):
            yield from (name for name, value in self._variables().items() if _is_data(value) and name[:1] != "_")
        elif flag in ("-p", "--param") and "=" not in last:
            yield from self._params(workflow)
            yield from self._plain_variables()
        elif flag == "--priority":
            yield from VALUES["priority"]

    def _plain_variables(self) -> list[str]:
        plain = (str, int, float, bool, list, dict)
        return [name for name, value in self._variables().items() if type(value) in plain and name[:1] != "_"]

    # -------------------------------------------------------------------------------------------------- what is inside

    def _body(self, workflow: Sequence[str], lines: list[str]) -> Found | None:
        """In a cell of commands: a key, a value, or a name inside of one."""
        text = lines[-1]
        name = workflow[0] if workflow else ""
        tasks = {**self._tasks_here(lines), **(self._tasks(name) if name else {})}
        if inside := re.search(r"\{\{[ \t]*([\w.-]*)$", text):
            return _fitting(inside[1], self._in_braces(lines, tasks, name))
        own = _entry_of(lines) if text[:1] in (" ", "\t") else ""
        others = {task: outputs for task, outputs in tasks.items() if task != own}
        if arrow := re.match(rf"[\w.-]+[ \t]*<-[ \t]*{_NAMES}([\w.-]*)$", text):
            return _fitting(arrow[1], (task for task in others if task != text.partition("<-")[0].strip()))
        if needs := re.match(rf"[ \t]+needs:[ \t]*\[?[ \t]*{_NAMES}([\w.-]*)$", text):
            return _fitting(needs[1], others)
        if item := re.match(r"[ \t]+-[ \t]+([\w.-]*)$", text):
            return _fitting(item[1], others) if _parent(lines) == "needs" else None
        return self._in_inputs(lines, others) or _value(text) or _key(lines)

    def _in_braces(self, lines: Sequence[str], tasks: Mapping[str, Sequence[str]], workflow: str) -> Iterator[str]:
        yield from (f"{task}.{output}" for task, outputs in tasks.items() for output in outputs)
        yield from (name for line in lines if line.startswith("params:") for name in re.findall(r"(\w+):", line[7:]))
        yield from self._params(workflow)
        yield from self._plain_variables()

    def _in_inputs(self, lines: Sequence[str], tasks: Mapping[str, Sequence[str]]) -> Found | None:
        text = lines[-1]
        found = re.match(r"[ \t]+inputs:[ \t]*\{.*?\w+:[ \t]+([\w./-]*)$", text)
        if found is None and _parent(lines) == "inputs":
            found = re.match(r"[ \t]+\w+:[ \t]+([\w./-]*)$", text)
        if found is None:
            return None
        return _fitting(found[1], (f"{name}/{output}" for name, outputs in tasks.items() for output in outputs))

    def _tasks_here(self, lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Tasks that the cell defines above the cursor → their outputs, as far as they stand on one line."""
        found: dict[str, tuple[str, ...]] = {}
        name = ""
        for line in lines[:-1]:
            if entry := _ENTRY.match(line):
                name = "" if entry[1] in HEAD_FIELDS else entry[1]
                found.update({name: ()} if name else {})
            elif name and (outputs := re.match(r"[ \t]+outputs:[ \t]*[\[{](.*)[\]}]", line)):
                found[name] = tuple(part.partition(":")[0].strip() for part in outputs[1].split(",") if part.strip())
        return found


def _fitting(fragment: str, words: Iterable[str]) -> Found:
    return Found(fragment, list(dict.fromkeys(word for word in words if word.startswith(fragment))))


def _is_data(value: object) -> bool:
    """As the snapshot of a variable may be: modules, functions and classes are captured without being asked for."""
    return not isinstance(value, type) and type(value).__name__ not in (
        "module",
        "function",
        "builtin_function_or_method",
    )


def _entry_of(lines: Sequence[str]) -> str:
    """The task that the last line stands in."""
    for line in reversed(lines):
        if entry := _ENTRY.match(line):
            return entry[1]
    return ""


def _parent(lines: Sequence[str]) -> str:
    """The key under which the last line is indented."""
    indent = len(lines[-1]) - len(lines[-1].lstrip())
    for line in reversed(lines[:-1]):
        own = len(line) - len(line.lstrip())
        if line.strip() and own < indent:
            return line.strip().partition(":")[0].partition("<-")[0].strip()
    return ""


def _value(text: str) -> Found | None:
    """Of a field that takes one of a few words."""
    found = re.match(r"[ \t]*(\w+):[ \t]+(\w*)$", text)
    return _fitting(found[2], VALUES[found[1]]) if found and found[1] in VALUES else None


def _key(lines: Sequence[str]) -> Found | None:
    """A field of the workflow at the left edge, of a task where it is indented."""
    found = re.match(r"([ \t]*)(\w*)$", lines[-1])
    if found is None:
        return None
    if not found[1]:
        return _fitting(found[2], (f"{field}: " for field in (*HEAD_FIELDS, "tasks")))
    parent = _parent(lines)
    if not parent or parent in (*HEAD_FIELDS, "inputs", "outputs", "tasks"):
        return None
    there = {line.strip().partition(":")[0] for line in _same_block(lines)}
    return _fitting(found[2], (f"{field}: " for field in TASK_FIELDS if field not in there))


def _same_block(lines: Sequence[str]) -> Iterator[str]:
    for line in reversed(lines[:-1]):
        if line.strip() and not line.startswith((" ", "\t")):
            return
        yield line


# ----------------------------------------------------------------------------------------------------------- the engine


class _Engine:
    """Names that the engine knows, as of the last two seconds. A slow answer serves the next key press."""

    PATIENCE = 0.035  # seconds that a key press may wait
    FRESH = 2.0  # seconds

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()

    def workflows(self) -> list[str]:
        def names(client: Client) -> list[str]:
            return [view["name"] for view in client.workflows(sort_by="updated_at", order="desc")]

        return list(self._ask("workflows", names, []))

    def runs(self) -> list[str]:
        def ids(client: Client) -> list[str]:
            return ["last", *(view["id"][:8] for view in client.runs(limit=20, sort_by="created_at", order="desc"))]

        return list(self._ask("runs", ids, []))

    def tasks_of_run(self, run: str) -> list[str]:
        return list(self._ask(f"run {run}", lambda client: [view["task"] for view in client.run(run)["tasks"]], []))

    def spec(self, workflow: str) -> dict[str, Any]:
        if not workflow:
            return {}
        return dict(self._ask(f"workflow {workflow}", lambda client: dict(client.workflow(workflow)["spec"]), {}))

    def _ask(self, key: str, question: Callable[[Client], Any], nothing: Any) -> Any:
        with self._lock:
            due = time.monotonic() - self._asked.get(key, -self.FRESH) >= self.FRESH
            if due:
                self._asked[key] = time.monotonic()
        if due:
            asking = threading.Thread(target=self._fetch, args=(key, question), name="wattle-complete", daemon=True)
            asking.start()
            asking.join(self.PATIENCE)
        return self._known.get(key, nothing)

    def _fetch(self, key: str, question: Callable[[Client], Any]) -> None:
        try:
            self._known[key] = question(Client(store_dir(os.environ), start=False, timeout=2.0))
        except (WattleError, OSError):
            self._known.pop(key, None)  # no engine, or no such thing: a key press is no place for errors
