"""How a task is started, for people to look at: command, folder, environment. Secrets are masked. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from wattle_jupyter import launch, template
from wattle_jupyter.model import Json, Left, Task, Workflow
from wattle_jupyter.wire import TaskEnvironment, VariableView

MASK = "•••"

_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_WORDS = """
token tokens secret secrets password passwd passphrase pwd pw key keys apikey credential credentials auth pat cookie
"""
_SECRET = frozenset(_WORDS.split())
_ENDS = ("token", "secret", "password", "passwd", "apikey", "credentials")
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # of a URL


def is_secret(name: str) -> bool:
    """Does a variable, param or output of this name look like one that holds a secret?"""
    parts = [part.lower() for part in _PARTS.findall(name)]
    return any(part in _SECRET or part.endswith(_ENDS) for part in parts)


class Shown(launch.Values):
    """Values as they may be shown: secrets masked, and what is not known yet as it is written, noted in ``missing``."""

    def __init__(self, params: Mapping[str, Json], outputs: Mapping[str, Left], objects: str) -> None:
        super().__init__(params, outputs, objects)
        self.missing: list[str] = []

    def __call__(self, reference: template.Reference) -> Json:
        if reference.key is None and reference.name in self._params and is_secret(reference.name):
            return MASK
        if reference.key is None and reference.name not in self._params:
            return self._unknown(reference.name)
        return super().__call__(reference)

    def output(self, ref: str) -> Json:
        if ref not in self._outputs:
            return self._unknown(ref.replace("/", "."))
        return MASK if is_secret(ref.partition("/")[2]) else super().output(ref)

    def kind(self, ref: str) -> str:
        return super().kind(ref) if ref in self._outputs else "text"

    def _unknown(self, name: str) -> str:
        if name not in self.missing:
            self.missing.append(name)
        return f"{{{{ {name} }}}}"


def describe(
    workflow: Workflow,
    task: Task,
    values: Shown,
    *,
    script: str | None,
    base: Mapping[str, str],
    names: Mapping[str, str],
) -> TaskEnvironment:
    """What the task is started with; ``base`` and ``names`` as in :func:`launch.environment`.

    Of the environment only what is not inherited as it is. Raises InvalidRequest if a template cannot be rendered.
    """
    if task.script is not None and script is None:
        script = posixpath.join(launch.working_dir(workflow, task), task.script)
    ours = launch.environment(workflow, task, values, {}, names)
    whole = launch.environment(workflow, task, values, base, names)
    written = {**workflow.env, **task.env}
    return TaskEnvironment(
        argv=[_LOGIN.sub(MASK, word) for word in launch.argv(workflow, task, values, script)],
        cwd=launch.working_dir(workflow, task),
        python=workflow.python,
        variables=[_variable(name, whole[name], name in written) for name in sorted(whole) if name in ours],
        removed=sorted(name for name in base if name not in whole),
        missing=values.missing,
    )


def _variable(name: str, value: str, written: bool) -> VariableView:
    secret = is_secret(name.removeprefix("WATTLE_INPUT_"))
    shown = MASK if secret else _LOGIN.sub(MASK, value)
    return VariableView(name=name, value=shown, source="spec" if written else "wattle", secret=secret or shown != value)
