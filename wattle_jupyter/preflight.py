"""What only the disk can tell about a workflow, looked at before anything runs: folders, scripts, commands.

Here the scripts of a run are copied as well, so that an edit during the run changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from wattle_jupyter import shell
from wattle_jupyter.command import is_notebook
from wattle_jupyter.errors import Problem, SpecError, StoreUnavailable
from wattle_jupyter.launch import INTERPRETERS, python_environment, working_dir
from wattle_jupyter.litter import touch
from wattle_jupyter.model import Task, Workflow, json_problem
from wattle_jupyter.objects import Objects

MAX_SCRIPT = 64 << 20
"""Bytes."""


def problems(workflow: Workflow, path: str, objects: Objects) -> list[Problem]:
    """Everything that would keep a task from starting, as far as it can be seen now. ``path`` is the server's PATH."""
    found = missing_objects(workflow, objects)
    if workflow.python and not os.access(workflow.python, os.X_OK):
        found.append(
            Problem("python", f"no interpreter {workflow.python}", "define the workflow again in a kernel that exists")
        )
    if workflow.python:
        path = python_environment(workflow.python, path).get("PATH", path)
    made = {o.path for task in workflow.tasks.values() for o in task.outputs.values() if o.path}
    folders: dict[str, Problem | None] = {}
    commands: dict[str, bool] = {}
    for task in workflow.tasks.values():
        folder = working_dir(workflow, task)
        if folder not in folders:
            folders[folder] = _folder_problem(folder)
        problem = folders[folder]
        if problem is not None:
            found.append(Problem(f"tasks.{task.name}.working_dir", problem.reason, problem.cure))
            continue
        if task.call is not None and workflow.python:
            continue
        where = task.env.get("PATH") or workflow.env.get("PATH") or path
        found.extend(_script_problems(task, folder) or _program_problems(task, where, made, commands))
    return found


def warnings(workflow: Workflow, path: str, objects: Objects) -> list[Problem]:
    """The same, and what shells will most likely look for in vain: nothing to keep a run from being tried."""
    found = problems(workflow, path, objects)
    if workflow.python:
        path = python_environment(workflow.python, path).get("PATH", path)
    made = {o.path for task in workflow.tasks.values() for o in task.outputs.values() if o.path}
    known: dict[str, bool] = {}
    for task in workflow.tasks.values():
        if isinstance(task.run, str):
            where = task.env.get("PATH") or workflow.env.get("PATH") or path
            words = [word for word in shell.commands(task.run) if word != task.script and word not in made]
            found.extend(problem for word in words for problem in _not_found(task, word, where, known))
    return found


def missing_objects(workflow: Workflow, objects: Objects) -> list[Problem]:
    """Python that the tasks call and that this store does not have. A file in YAML holds only the names of it."""
    found: list[Problem] = []
    for task in workflow.tasks.values():
        if task.call is not None and objects.wanted(task.call.object) is None:
            place, short = f"tasks.{task.name}.call.object", task.call.object[:12]
            cure = "define the task again in the kernel that has its code"
            found.append(Problem(place, f"the store has no object {short}…", cure))
    return found


def _folder_problem(folder: str) -> Problem | None:
    if not os.path.isdir(folder):  # noqa: PTH112
        return Problem("", f"no folder {folder}", "create it, or correct working_dir")
    if not os.access(folder, os.X_OK):
        return Problem("", f"the folder {folder} cannot be entered", "change its permissions, or working_dir")
    return None


def _script_problems(task: Task, folder: str) -> list[Problem]:
    if task.script is None:
        return []
    place, script = f"tasks.{task.name}.run", posixpath.join(folder, task.script)
    if not os.path.isfile(script):  # noqa: PTH113
        cure = "correct its path; it is looked up in the task's working_dir"
        return [Problem(place, f"no script {script}", cure)]
    if not os.access(script, os.R_OK):
        return [Problem(place, f"the script {script} cannot be read", "change its permissions")]
    return _notebook_problems(place, script) if is_notebook(task.script) else []


def _notebook_problems(place: str, path: str) -> list[Problem]:
    """Is it one at all? A kernel that it names may be anywhere: that is for its own start to say."""
    try:
        known = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return [Problem(place, f"{path} is not a notebook: {error}", "correct it, or its path")]
    if not isinstance(known, dict) or "nbformat" not in known:
        return [Problem(place, f"{path} is not a notebook: it does not say `nbformat`", "correct its path")]
    return []


def _program_problems(task: Task, path: str, made: set[str], known: dict[str, bool]) -> list[Problem]:
    """Is the program on PATH? A path is not looked at: an earlier task may make it, and the host says it in words."""
    if task.script is not None:
        word = INTERPRETERS[posixpath.splitext(task.script)[1]]
    elif task.call is not None:
        word = "python3"
    else:
        word = task.run[0] if isinstance(task.run, tuple) else ""
    return [] if not word or "{{" in word or word in made or "/" in word else _not_found(task, word, path, known)


def _not_found(task: Task, word: str, path: str, known: dict[str, bool]) -> list[Problem]:
    """Each word is looked up once in each PATH."""
    place = f"{word}\0{path}"
    if place not in known:
        known[place] = shutil.which(word, path=path) is not None
    if known[place]:
        return []
    return [Problem(f"tasks.{task.name}.run", f"command not found: {word}", "install it, or give its full path")]


def check(workflow: Workflow, path: str, objects: Objects) -> None:
    """Raises SpecError with all problems."""
    found = problems(workflow, path, objects)
    if found:
        raise SpecError(found)


def snapshot_scripts(workflow: Workflow, objects: Path) -> dict[str, str]:
    """Copy the scripts of all tasks into the content-addressed ``objects`` folder. Task → path of the copy."""
    copies: dict[str, str] = {}
    taken: dict[str, str] = {}
    for task in workflow.tasks.values():
        if task.script is not None:
            source = posixpath.join(working_dir(workflow, task), task.script)
            if source not in taken:
                taken[source] = _keep(source, objects)
            copies[task.name] = taken[source]
    return copies


def _keep(source: str, objects: Path) -> str:
    """``objects/ab/<hash>/train.py``: its own name, so that a traceback reads as people expect."""
    try:
        with open(source, "rb") as file:  # noqa: PTH123
            content = file.read(MAX_SCRIPT + 1)
    except OSError as error:
        raise SpecError([Problem("", f"the script {source} cannot be read: {error.strerror}")]) from error
    if len(content) > MAX_SCRIPT:
        raise SpecError([Problem("", f"the script {source} is larger than 64 MiB", "keep data out of scripts")])
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    target = objects / digest[:2] / digest / posixpath.basename(source)
    if not target.exists() or not touch(target.parent):  # used again: it must not go just now
        try:
            publish(target, content)
        except OSError as error:
            raise StoreUnavailable(f"a copy of {source} cannot be kept in {objects}: {error.strerror}") from error
    return str(target)


def publish(target: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there at all."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def params(workflow: Workflow, given: Mapping[str, object]) -> dict[str, object]:
    """The params of a run: the workflow's, with those given in their place. Raises SpecError for unknown
    names and for what is not JSON."""
    unknown = [name for name in given if name not in workflow.params]
    if unknown:
        known = f"it has: {', '.join(workflow.params)}" if workflow.params else "it takes no params"
        reason = f"{workflow.name} has no param"
        raise SpecError([Problem(f"params.{n}", f"{reason} {n}", known) for n in unknown])
    chosen = {**workflow.params, **given}
    faulty = [(name, problem) for name, value in chosen.items() if (problem := json_problem(value))]
    if faulty:
        raise SpecError([Problem(f"params.{name}", problem, "give it a JSON value") for name, problem in faulty])
    return chosen
