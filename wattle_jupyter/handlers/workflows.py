"""Definitions: kept, listed, started, deleted."""

from __future__ import annotations

import os

from wattle_jupyter import jsontext, library, paging, preflight, runlist, spec
from wattle_jupyter.aside import aside
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import InvalidRequest, NotFound, SpecError
from wattle_jupyter.handlers.base import WattleHandler, executes, reads, writes
from wattle_jupyter.library import Recipe
from wattle_jupyter.model import Json, Workflow
from wattle_jupyter.wording import describe


async def load_spec(data: Json) -> Workflow:
    """A validated workflow, made aside: a big one takes its time."""
    return await aside(spec.load, data)


async def stored(engine: Engine, name: str) -> Workflow:
    """A definition as a workflow, which others hold as well. Raises NotFound."""
    return (await engine.scheduler.recipe(name)).workflow


async def detail(engine: Engine, name: str) -> str:
    """A definition with what its next run would stumble over, as the JSON of a WorkflowDetail."""
    found = await library.current(engine.store, name)
    path, objects = os.environ.get("PATH", os.defpath), engine.scheduler.objects
    problems = await aside(lambda: preflight.warnings(found.workflow(), path, objects))
    head, warnings = jsontext.encode(found.summary), jsontext.encode([str(p) for p in problems])
    return f'{head[:-1]},"spec":{found.text},"warnings":{warnings}}}'


async def start(engine: Engine, workflow: Workflow | Recipe, body: dict[str, Json], user: str, key: str | None) -> str:
    """A run of ``workflow`` as ``body`` (params, mode, priority, cause) asks for it. Returns its id."""
    changed = {k: body[k] for k in ("mode", "priority") if body.get(k) is not None}
    if changed:
        form = await aside(spec.dump, workflow.workflow if isinstance(workflow, Recipe) else workflow)
        workflow = await load_spec({**form, **changed})
    params = params_of(body)
    cause = body.get("cause", "api")
    if cause not in ("api", "cell", "cli", "sidebar"):
        raise InvalidRequest("cause must be one of api, cell, cli, sidebar")
    return await engine.scheduler.submit(workflow, user=user, params=params, cause=cause, key=key)


def params_of(body: dict[str, Json]) -> dict[str, Json]:
    """The params of a request. Raises InvalidRequest."""
    params = body.get("params")
    if params is None:
        return {}
    if not isinstance(params, dict):
        raise InvalidRequest("params must be an object: {name: value}")
    return params


class WorkflowsHandler(WattleHandler):
    takes_specs = True

    @reads
    async def get(self) -> None:
        query = paging.parse(_arguments(self), library.SORTS, "updated_at")
        self.answer_page(*await library.page(self.engine.store, query))

    @writes
    async def post(self) -> None:
        workflow = await load_spec(await self.read_spec())
        if missing := await aside(preflight.missing_objects, workflow, self.engine.scheduler.objects):
            raise SpecError(missing)  # unlike a folder or a command, it does not come by itself
        await self.engine.scheduler.define(workflow)
        self.target = workflow.name
        await self.answer_long(await detail(self.engine, workflow.name), 201)


class WorkflowHandler(WattleHandler):
    @reads
    async def get(self, name: str) -> None:
        await self.answer_long(await detail(self.engine, name))

    @writes
    async def delete(self, name: str) -> None:
        await self.engine.scheduler.undefine(name)
        self.answer({"name": name})


class WorkflowStartHandler(WattleHandler):
    starts_runs = True

    @executes
    async def post(self, name: str) -> None:
        body = self.read_object("params", "mode", "priority", "cause")
        workflow = await self.engine.scheduler.recipe(name)
        await self.answer_run(await start(self.engine, workflow, body, self.username, self.key))


class WorkflowTaskEnvironmentHandler(WattleHandler):
    @reads
    async def get(self, name: str, task: str) -> None:
        workflow = await stored(self.engine, name)
        if task not in workflow.tasks:
            raise NotFound(f"workflow {name} has no task {task!r}")
        self.answer(self.engine.scheduler.launcher.describe(workflow, workflow.tasks[task], None, None))


class RunsHandler(WattleHandler):
    takes_specs = True
    starts_runs = True

    @reads
    async def get(self) -> None:
        query = paging.parse(_arguments(self), runlist.SORTS, "created_at", extra=("workflow",))
        self.answer_page(*await self.engine.runs.page(query))

    @executes
    async def post(self) -> None:
        body = await self.read_object_with_spec("workflow", "spec", "params", "mode", "priority", "cause")
        if (body.get("workflow") is None) == (body.get("spec") is None):
            raise InvalidRequest("give either `workflow`, the name of a defined one, or `spec`, a definition")
        name = body.get("workflow")
        workflow: Workflow | Recipe
        if name is None:
            workflow = await load_spec(body["spec"])
        elif isinstance(name, str):
            workflow = await self.engine.scheduler.recipe(name)
        else:
            raise InvalidRequest(f"workflow must be the name of one, not {describe(name)}")
        await self.answer_run(await start(self.engine, workflow, body, self.username, self.key))


def _arguments(handler: WattleHandler) -> dict[str, list[str]]:
    return {name: handler.get_query_arguments(name) for name in handler.request.query_arguments}
