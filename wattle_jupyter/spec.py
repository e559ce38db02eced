"""Data to workflow and back. Everything that is wrong is found at once, each with its place, reason and cure.

Two forms are accepted: the canonical one (``tasks``) and the Wattle Scheduler format (``workers``). In the latter,
braces are plain text, outputs may be missing, and a failure cancels the run, as its documentation says.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from wattle_jupyter import command, template
from wattle_jupyter.checks import Draft, Findings, check_head, check_tasks
from wattle_jupyter.errors import SpecError, TooLarge
from wattle_jupyter.model import Call, Json, Output, Task, Workflow, sole_output
from wattle_jupyter.notation import Where, is_path, json_data, split_arrow, toml_data, yaml_data, yaml_text
from wattle_jupyter.wording import describe

if TYPE_CHECKING:
    from wattle_jupyter.shapes import OutputShape, Shape, TaskShape, WorkerShape

MAX_TASKS = 100_000
_S = TypeVar("_S", bound="Shape")
_READERS = {".json": json_data, ".toml": toml_data}


def from_text(text: str, suffix: str) -> object:
    """Data of a text whose notation ``suffix`` names: ``.json``, ``.toml``, else YAML. SpecError names the line."""
    if suffix.lower() in _READERS:
        return _READERS[suffix.lower()](text)
    return yaml_data(text)[0]


def load(data: object, *, name: str | None = None, lines: Mapping[str, int] | None = None) -> Workflow:
    """A validated workflow, or SpecError with all problems.

    ``name`` goes before the name in ``data``. ``lines`` maps paths (``tasks.train.retries``) to 1-based lines.
    Raises TooLarge for more than 100,000 tasks.
    """
    findings = Findings(lines or {})
    if not isinstance(data, dict):
        findings.add((), f"a workflow must be a mapping (`name: value`), not {describe(data)}", "write `tasks:`")
        raise findings.error()
    worker_form = "workers" in data and "tasks" not in data
    head = _head(data, name, worker_form, findings)
    drafts = list(_workers(data, findings) if worker_form else _tasks(data, findings))
    _complete(drafts, head)
    _count(data, worker_form, findings)
    check_head(head, findings)
    check_tasks(drafts, head, findings)
    if findings.problems:
        raise findings.error()
    return replace(head, tasks={draft.task.name: draft.task for draft in drafts})


def dump(workflow: Workflow) -> dict[str, Json]:
    """The canonical form: what :func:`load` turns into an equal workflow. Defaults are left out."""
    head = _changed(workflow, Workflow(name="", tasks={}), skip=("name", "tasks"))
    return {"name": workflow.name, **head, "tasks": {name: _dump_task(t) for name, t in workflow.tasks.items()}}


def to_yaml(workflow: Workflow) -> str:
    """The workflow as YAML for people, which reads back as an equal one; commands as one types them."""
    form = dump(workflow)
    return yaml_text({**form, "tasks": {name: _readable(task) for name, task in form["tasks"].items()}})


def restore(form: Mapping[str, Json]) -> Workflow:
    """The workflow of a form that :func:`dump` made, without looking for problems: many times faster than ``load``."""
    tasks = {name: _restored(name, task) for name, task in form["tasks"].items()}
    return Workflow(**{**form, "tasks": tasks})


def digest(workflow: Workflow) -> str:
    """Hash of what the workflow does: of its canonical form without the name. The order of tasks counts."""
    return digest_of(dump(workflow))


def digest_of(form: Mapping[str, Json]) -> str:
    """The same of a form that :func:`dump` made. Task by task, so that other threads get their turn."""
    fields = []
    for key in sorted(form.keys() - {"name"}):
        listed = key == "tasks"  # their order counts
        value = f"[{','.join(map(_sorted_json, form[key].items()))}]" if listed else _sorted_json(form[key])
        fields.append(f"{_sorted_json(key)}:{value}")
    text = f"{{{','.join(fields)}}}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


_sorted_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def wattle_format(workflow: Workflow) -> dict[str, Json]:
    """The workflow in the Wattle Scheduler format. What that cannot say (retries, order without data) is left out."""
    form: dict[str, Json] = {"name": workflow.name}
    if workflow.working_dir is not None:
        form["working_dir"] = workflow.working_dir
    return {**form, "workers": [_dump_worker(task) for task in workflow.tasks.values()]}


def free_names(data: object) -> set[str]:
    """Names that templates ask for and that are neither tasks nor params: a cell takes them from its kernel.

    Data of a wrong shape has none here; :func:`load` says what is wrong with it.
    """
    if not isinstance(data, dict) or not isinstance(data.get("tasks"), dict):
        return set()
    tasks, params = data["tasks"], data.get("params")
    known = {split_arrow(str(key))[0] for key in tasks} | set(params if isinstance(params, dict) else ())
    return {ref.name for text in _texts(data) for ref in _references(text) if ref.key is None} - known


# ------------------------------------------------------------------------------------------------------- reading


def _head(data: dict[Any, Any], name: str | None, worker_form: bool, findings: Findings) -> Workflow:
    given = {str(key): value for key, value in data.items() if key not in ("tasks", "workers")}
    if "tasks" in data and "workers" in data:
        findings.add(("workers",), "`tasks` and `workers` are two forms of the same", "keep `tasks`")
    if name is not None:
        given["name"] = name
    from wattle_jupyter.shapes import HeadShape  # noqa: PLC0415  pydantic only where a spec is read

    shape, wrong = HeadShape.tried(given, ())
    if shape is None:
        for where, reason, cure in wrong:
            findings.add(where, reason, cure)
            if where:
                given.pop(str(where[0]), None)
            else:  # a name that is no text
                given = {key: given[key] for key in HeadShape.model_fields if key in given}
        shape = HeadShape.model_validate(given)
    values = {field: getattr(shape, field) for field in HeadShape.model_fields}
    if worker_form and "on_failure" not in given:
        values["on_failure"] = "cancel"
    return Workflow(tasks={}, **{**values, "name": shape.name or ""})


def _count(data: dict[Any, Any], worker_form: bool, findings: Findings) -> None:
    key = "workers" if worker_form else "tasks"
    tasks = data.get(key)
    if tasks is None:
        findings.add(
            () if key not in data else (key,), "the workflow has no tasks", "write `tasks:` and under it a task"
        )
    elif isinstance(tasks, list | dict):
        if not tasks:
            findings.add((key,), "the workflow has no tasks", "add one, such as `hello: echo hello`")
        if len(tasks) > MAX_TASKS:
            raise TooLarge(f"the workflow has {len(tasks):,} tasks; the limit is {MAX_TASKS:,}; split it")


def _complete(drafts: list[Draft], head: Workflow) -> None:
    """Write ``{{ task }}`` out where the task has a sole output, and is not a parameter's name too."""
    sole = {d.task.name: sole_output(d.task.outputs) for d in drafts if d.sound}
    keys = {name: key for name, key in sole.items() if key is not None and name not in head.params}
    if not keys:
        return

    def written(text: str) -> str:
        try:
            return template.complete(text, keys) if "{{" in text else text
        except SpecError:
            return text  # the checks tell

    for draft in drafts:
        task = draft.task
        if any("{{" in text for text in _task_texts(task.run, task.env)):
            run = written(task.run) if isinstance(task.run, str) else tuple(map(written, task.run))
            env = {name: written(text) for name, text in task.env.items()}
            draft.task = replace(task, run=run, env=env, references=_task_references(run, env))


def _task_texts(run: str | tuple[str, ...], env: Mapping[str, str]) -> list[str]:
    return [*([run] if isinstance(run, str) else run), *env.values()]


def _tasks(data: dict[Any, Any], findings: Findings) -> Iterator[Draft]:
    tasks = data.get("tasks", {})
    if not isinstance(tasks, dict):
        if tasks is not None:
            findings.add(("tasks",), f"must be a mapping, not {describe(tasks)}", "write `name: command` for each task")
        return
    from wattle_jupyter.shapes import TaskShape  # noqa: PLC0415  pydantic only where a spec is read

    for key, value in list(tasks.items())[: MAX_TASKS + 1]:
        name, needs = split_arrow(str(key))
        where: Where = ("tasks", name)
        body = _body(value, needs)
        if isinstance(body, dict) and body.get("call") is not None:
            if "run" in body:
                findings.add((*where, "call"), "excludes `run`", "keep one of them")
            body = {**body, "run": []}
        shape = _shape(TaskShape, body, where, findings)
        yield Draft(_task(name, shape) if shape else Task(name=name, run=()), where, sound=shape is not None)


def _body(value: object, needs: list[str] | None) -> object:
    body = {"run": value} if isinstance(value, str | list | bool) else value
    if needs is None or not isinstance(body, dict):
        return body
    own = body.get("needs", [])
    own = [name.strip() for name in own.split(",")] if isinstance(own, str) else own
    return {**body, "needs": [*needs, *(name for name in own if name not in needs)] if isinstance(own, list) else own}


def _shape(kind: type[_S], value: object, where: Where, findings: Findings) -> _S | None:
    if not isinstance(value, dict):
        worker = where[0] == "workers"
        what = "a mapping with `name` and `command`" if worker else "a command or a mapping"
        cure = "" if worker else "write the command after the name, or `run:` on an indented line"
        findings.add(where, f"must be {what}, not {describe(value)}", cure)
        return None
    shape, wrong = kind.tried({str(key): field for key, field in value.items()}, where)
    for fault in wrong:
        findings.add(*fault)
    return shape


def _restored(name: str, form: Mapping[str, Json]) -> Task:
    run, script = command.parse(form.get("run", []))
    call = Call(**{**form["call"], "params": tuple(form["call"].get("params", ()))}) if "call" in form else None
    outputs = _left(script, {key: _restored_output(output) for key, output in form.get("outputs", {}).items()})
    refs = _task_references(run, form.get("env", {}))
    passed = {key: value for key, value in form.items() if key not in ("run", "call", "needs", "outputs")}
    needs = tuple(form.get("needs", ()))
    return Task(name=name, run=run, call=call, script=script, needs=needs, outputs=outputs, references=refs, **passed)


def _restored_output(form: Json) -> Output:
    if isinstance(form, str):
        return Output(path=form) if is_path(form) else Output(description=form)
    return Output(**(form or {}))


_PASSED = tuple(
    field.name
    for field in fields(Task)
    if field.name not in ("name", "run", "call", "script", "needs", "outputs", "references")
)


def _task(name: str, shape: TaskShape) -> Task:
    run, script = command.parse(shape.run)
    passed = {field: getattr(shape, field) for field in _PASSED}
    needs = tuple(dict.fromkeys(shape.needs))
    outputs = _left(script, {key: _output(output) for key, output in shape.outputs.items()})
    refs = _task_references(run, shape.env)
    call = Call(**{**shape.call.model_dump(), "params": tuple(shape.call.params)}) if shape.call else None
    return Task(name=name, run=run, call=call, script=script, needs=needs, outputs=outputs, references=refs, **passed)


def _left(script: str | None, outputs: dict[str, Output]) -> dict[str, Output]:
    """The outputs, and the executed copy of a notebook before them."""
    return {command.COPY: Output(), **outputs} if command.is_notebook(script) else outputs


def _output(shape: OutputShape, *, required: bool = True) -> Output:
    return Output(path=shape.path, required=shape.required and required, description=shape.description)


def _task_references(run: str | tuple[str, ...], env: Mapping[str, str]) -> tuple[str, ...]:
    texts = _task_texts(run, env)
    refs = [ref for text in texts if "{{" in text for ref in _references(text)]
    return tuple(dict.fromkeys(f"{ref.name}/{ref.key}" for ref in refs if ref.key is not None))


def _references(text: str) -> list[template.Reference]:
    """References of a text; none if it is faulty, which the checks tell."""
    try:
        return template.references(text)
    except SpecError:
        return []


def _texts(data: Mapping[str, Any]) -> Iterator[str]:
    for part in [data, *data["tasks"].values()]:
        body = part if isinstance(part, dict) else {"run": part}
        run, env = body.get("run"), body.get("env")
        given = [run, *(run if isinstance(run, list) else ()), *(env.values() if isinstance(env, dict) else ())]
        yield from (text for text in given if isinstance(text, str))


# --------------------------------------------------------------------------------------- the Wattle Scheduler format

_WORKER_FIELDS = {"run": "command", "env": "env_vars"}


def _workers(data: dict[Any, Any], findings: Findings) -> Iterator[Draft]:
    workers = data["workers"]
    if not isinstance(workers, list):
        if workers is not None:
            findings.add(("workers",), f"must be a list, not {describe(workers)}", "write named tasks under `tasks:`")
        return
    from wattle_jupyter.shapes import WorkerShape  # noqa: PLC0415  pydantic only where a spec is read

    for i, value in enumerate(workers[: MAX_TASKS + 1]):
        where: Where = ("workers", i)
        shape = _shape(WorkerShape, value, where, findings)
        if shape is not None:
            yield Draft(_worker(shape), where, fields=_WORKER_FIELDS)
        elif isinstance(value, dict) and isinstance(value.get("name"), str):
            yield Draft(Task(name=value["name"], run=()), where, sound=False)


def _worker(shape: WorkerShape) -> Task:
    """Braces are text here. A command that holds blanks and has no arguments is a command line."""
    program = template.escape(shape.command)
    line = not shape.args and any(c.isspace() for c in program.strip())
    run, script = command.parse(program if line else [program, *map(template.escape, shape.args)])
    return Task(
        name=shape.name,
        run=run,
        script=script,
        inputs=shape.inputs,
        outputs=_left(script, {key: _output(output, required=False) for key, output in shape.outputs.items()}),
        env={key: template.escape(value) for key, value in shape.env_vars.items()},
        working_dir=shape.working_dir,
    )


def _dump_worker(task: Task) -> dict[str, Json]:
    words = ("sh", "-c", task.run) if isinstance(task.run, str) else task.run
    program, *args = map(_unescaped, words)
    worker: dict[str, Json] = {"name": task.name, "command": program}
    outputs = {key: output.path or output.description for key, output in task.outputs.items()}
    env = {key: _unescaped(value) for key, value in task.env.items()}
    rest = {
        "args": args,
        "working_dir": task.working_dir,
        "env_vars": env,
        "inputs": dict(task.inputs),
        "outputs": outputs,
    }
    return {**worker, **{key: value for key, value in rest.items() if value}}


def _unescaped(text: str) -> str:
    """Braces as the format has them; a template, which it does not know, as it was written."""
    return text.replace("\\{{", "{{")


# ------------------------------------------------------------------------------------------------------- writing


def _readable(form: dict[str, Json]) -> Json:
    """A task's form with its arguments as a command line and whole seconds as such, if they mean the same."""
    run = form.get("run")
    if isinstance(run, list):
        line = shlex.join(run)
        if command.parse(line) == command.parse(run):
            form = {**form, "run": line}
    if set(form) == {"run"} and isinstance(form["run"], str):
        return form["run"]
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in form.items()
    }


def _changed(thing: Task | Workflow | Call, default: Task | Workflow | Call, skip: tuple[str, ...]) -> dict[str, Json]:
    pairs = ((field.name, getattr(thing, field.name)) for field in fields(thing) if field.name not in skip)
    return {
        name: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        for name, value in pairs
        if value != getattr(default, name)
    }


_PLAIN_TASK = Task(name="")
_PLAIN_CALL = Call(object="")


def _dump_task(task: Task) -> dict[str, Json]:
    form: dict[str, Json] = {}
    if task.call is None:
        form["run"] = command.form(task.run, task.script)
    else:
        form["call"] = _changed(task.call, _PLAIN_CALL, skip=())
    if task.needs:
        form["needs"] = list(task.needs)
    if task.outputs:
        form["outputs"] = {key: _dump_output(output) for key, output in task.outputs.items()}
    skip = ("name", "run", "call", "script", "needs", "outputs", "references")
    return {**form, **_changed(task, _PLAIN_TASK, skip)}


def _dump_output(output: Output) -> Json:
    """As short as it can be: a path, a description, nothing, or a mapping."""
    given = _changed_output(output)
    if given == {"path": output.path} and output.path is not None and is_path(output.path):
        return output.path
    if given == {"description": output.description} and not is_path(output.description):
        return output.description
    return given or None


def _changed_output(output: Output) -> dict[str, Json]:
    plain = Output()
    return {
        f.name: getattr(output, f.name) for f in fields(Output) if getattr(output, f.name) != getattr(plain, f.name)
    }
