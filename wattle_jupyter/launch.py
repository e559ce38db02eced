"""From a task and the values that it takes to a command, a folder and an environment. Pure."""

from __future__ import annotations

import json
import posixpath
import shlex
import sys
from collections.abc import Mapping, Sequence

from wattle_jupyter import template
from wattle_jupyter.command import COPY, is_notebook
from wattle_jupyter.errors import Conflict, InvalidRequest
from wattle_jupyter.model import Call, Json, Left, Task, Workflow

RUNNER = posixpath.join(posixpath.dirname(__file__), "task.py")
"""What runs Python that a task calls: started by its path, in the interpreter of the kernel that defined the task."""

SECRET_PREFIXES = ("JUPYTERHUB_", "JPY_", "JUPYTER_TOKEN", "CONFIGPROXY_", "WATTLE_")
"""Names of variables that tasks do not inherit from the server: Jupyter's and the Hub's tokens, and our own."""

INTERPRETERS = {".py": "", ".ipynb": "", ".R": "Rscript", ".r": "Rscript", ".sh": "bash"}
"""What runs a script of this suffix; Python is the interpreter of the kernel that defined the workflow."""

NOTEBOOK_RUNNER = (sys.executable, "-P", "-m", "wattle_jupyter.notebooktask")
"""What runs a notebook: the server's Python, which has what speaks to kernels. Never with the user's folder in its
path: a ``secrets.py`` there is not the library's."""


LONGEST = (128 << 10) - 1
"""Bytes that Linux lets one argument have, or one variable with its name."""


def working_dir(workflow: Workflow, task: Task) -> str:
    """Absolute folder that the task runs in."""
    return posixpath.normpath(posixpath.join(workflow.working_dir or "/", task.working_dir or "."))


class Values:
    """What templates may name: params as ``{{ x }}``, outputs of other tasks as ``{{ task.key }}``.

    An object is the path of its file: ``objects`` is the absolute path of the folder that holds them.
    """

    def __init__(self, params: Mapping[str, Json], outputs: Mapping[str, Left], objects: str = "") -> None:
        self._params, self._outputs, self._objects = params, outputs, objects

    def __call__(self, reference: template.Reference) -> Json:
        if reference.key is None:
            if reference.name not in self._params:
                raise Conflict(f"param {reference.name} has no value; give it one with -p {reference.name}=…")
            return self._params[reference.name]
        return self.output(f"{reference.name}/{reference.key}")

    def output(self, ref: str) -> Json:
        if ref not in self._outputs:
            task, key = ref.split("/", 1)
            raise Conflict(f"output {key} of {task} has no value: {task} did not leave it in this run")
        left = self._outputs[ref]
        return self.object(left.ref) if left.kind == "object" else left.ref

    def kind(self, ref: str) -> str:
        """How the text that stands for an output is to be read: ``text``, ``json``, ``file`` or ``object``."""
        left = self._outputs[ref]
        return "text" if left.kind == "json" and isinstance(left.ref, str) else left.kind

    def object(self, name: str) -> str:
        """Absolute path of the object of this hash."""
        return f"{self._objects}/{name[:2]}/{name}"

    def params(self, names: Sequence[str]) -> dict[str, Json]:
        return {name: self(template.Reference(name, None, False, 0)) for name in names}


def argv(workflow: Workflow, task: Task, values: Values, script: str | None) -> tuple[str, ...]:
    """The argument list. ``script`` is the path of the snapshot that takes the place of ``task.script``.

    Raises Conflict if a value is missing, InvalidRequest if a template cannot be rendered.
    """
    if task.call is not None:
        return (workflow.python or "python3", RUNNER)
    if isinstance(task.run, tuple):
        words = [template.render(word, values, quote=False) for word in task.run]
        if task.script is not None and script is not None:
            words[:1] = interpreter(workflow, task, script)
        return tuple(words)
    text = task.run
    if task.script is not None and script is not None:
        head = shlex.join(interpreter(workflow, task, script))
        text = template.escape(head) + text.lstrip()[len(task.script) :]
    return ("/bin/sh", "-c", template.render(text, values, quote=True))


def is_plain(workflow: Workflow, task: Task) -> bool:
    """Is there nothing in this task that a value could be missing for, and nothing that could be too long?"""
    words = task.run if isinstance(task.run, tuple) else (task.run,)
    if task.inputs or task.call is not None or is_notebook(task.script):
        return False
    texts = (*words, *workflow.env.values(), *task.env.values())
    return not any("{{" in text or len(text) > LONGEST // 5 for text in texts)


def check_sizes(task: Task, words: Sequence[str], env: Mapping[str, str]) -> None:
    """Raises InvalidRequest, with what is too long and the cure, for what no program can be started with."""
    for number, word in enumerate(words):
        if (size := _bytes(word)) > LONGEST:
            what = "the command" if isinstance(task.run, str) else f"argument {number} of the command"
            raise InvalidRequest(
                f"{what} of {task.name} has {size:,} bytes, and Linux takes {LONGEST:,} at most; "
                "pass what is long as a file, or as an input that a task leaves as one"
            )
    for name, text in env.items():
        if (size := _bytes(f"{name}={text}")) > LONGEST:
            raise InvalidRequest(
                f"{_meant(task, name)} has {size:,} bytes, and Linux takes {LONGEST:,} at most; {_CURE}"
            )


_CURE = "leave it as a file (`outputs: {x: x.json}`), or have a Python function return it, and pass that"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _meant(task: Task, name: str) -> str:
    """What people call the thing that travels in a variable."""
    if name in ("WATTLE_CALL", "WATTLE_PARAMS"):
        return f"what {task.name} is called with (its params)"
    taken = {
        f"WATTLE_INPUT_{key.upper()}": f"the input {key} ({ref}) of {task.name}" for key, ref in task.inputs.items()
    }
    return taken.get(name, f"the variable {name} of {task.name}")


def interpreter(workflow: Workflow, task: Task, path: str) -> list[str]:
    """``["Rscript", path]`` for a script that ends in .R, and so on."""
    assert task.script is not None
    if is_notebook(task.script):
        options = {"--python": workflow.python, "--beside": _home(workflow, task.script, task)}
        copy = task.outputs.get(COPY)
        options |= {"--to": copy.path if copy else None}
        return [*NOTEBOOK_RUNNER, *(f"{name}={text}" for name, text in options.items() if text), path]
    program = INTERPRETERS[posixpath.splitext(task.script)[1]] or workflow.python or "python3"
    return [program, path]


def _home(workflow: Workflow, script: str, task: Task) -> str:
    """The folder that a script lies in."""
    return posixpath.dirname(posixpath.join(working_dir(workflow, task), script))


def environment(
    workflow: Workflow, task: Task, values: Values, base: Mapping[str, str], names: Mapping[str, str]
) -> dict[str, str]:
    """The full environment of a task. ``base`` is the server's own, ``names`` are ids and paths of this attempt
    (``WATTLE_RUN`` and its like). Raises as :func:`argv`."""
    env = {k: v for k, v in base.items() if not k.startswith(SECRET_PREFIXES)}
    env["PYTHONUNBUFFERED"] = "1"
    if workflow.python:
        env.update(python_environment(workflow.python, env.get("PATH", "")))
    for name, text in {**workflow.env, **task.env}.items():
        env[name] = template.render(text, values, quote=False)
    if task.script is not None and task.script.endswith(".py"):  # as if it ran from its own folder
        folder = _home(workflow, task.script, task)
        env["PYTHONPATH"] = ":".join(filter(None, (folder, env.get("PYTHONPATH", ""))))
    if is_notebook(task.script) and workflow.params:
        env["WATTLE_PARAMS"] = json.dumps(values.params(list(workflow.params)))
    if task.call is not None:
        env.update(_call(workflow, task, task.call, values, env.get("PYTHONPATH", "")))
    for name, ref in task.inputs.items():
        env[f"WATTLE_INPUT_{name.upper()}"] = as_text(values.output(ref))
    if task.inputs:
        env["WATTLE_INPUTS"] = json.dumps({name: values.kind(ref) for name, ref in task.inputs.items()})
    env.update(names)
    env.update(WATTLE_TASK=task.name, WATTLE_WORKFLOW_NAME=workflow.name, WATTLE_WORKER_NAME=task.name)
    return env


def _call(workflow: Workflow, task: Task, call: Call, values: Values, path: str) -> dict[str, str]:
    """What the runner reads. Modules beside the notebook are found wherever the task itself runs."""
    results = [name for name, output in task.outputs.items() if output.path is None]
    what = {"object": values.object(call.object), "params": values.params(call.params), "results": results}
    env = {"WATTLE_CALL": json.dumps(what)}
    if task.working_dir and workflow.working_dir:
        env["PYTHONPATH"] = ":".join(filter(None, (workflow.working_dir, path)))
    return env


def python_environment(python: str, path: str) -> dict[str, str]:
    """The PATH with the bin of this interpreter first in it, once."""
    folder = posixpath.dirname(python)
    rest = [part for part in path.split(":") if part and part != folder]
    return {"PATH": ":".join([folder, *rest])} if folder else {}


def as_text(value: Json) -> str:
    """A value for an environment variable: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
