"""The routes of the Wattle Scheduler, where a task is called a worker. They speak of the latest run."""

from __future__ import annotations

from typing import Any

from wattle_jupyter import history, launch, outputs, paging, spec
from wattle_jupyter.aside import aside
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import Conflict, NotFound
from wattle_jupyter.handlers.base import WattleHandler, executes, reads, writes
from wattle_jupyter.handlers.logs import TaskLogsHandler, TaskLogStreamHandler
from wattle_jupyter.handlers.workflows import detail, load_spec, params_of, stored
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import Left, Workflow
from wattle_jupyter.plan import Plan
from wattle_jupyter.wire import TaskRunView, WorkerView


async def find(engine: Engine, workflow: str, worker: str) -> Workflow:
    """The definition that holds this worker. Raises NotFound with what is close."""
    definition = await stored(engine, workflow)
    if worker not in definition.tasks:
        hint = paging.suggestion(worker, list(definition.tasks))
        raise NotFound(f"workflow {workflow} has no worker {worker!r}{hint}")
    return definition


async def latest(engine: Engine, workflow: str) -> LiveRun | None:
    run = await history.latest_of(engine.store, workflow)
    return None if run is None else await history.load(engine.store, run)


async def latest_with(engine: Engine, workflow: str, worker: str) -> str:
    """Id of the newest run that has this worker. Raises NotFound if there was none."""
    await find(engine, workflow, worker)
    live = await latest(engine, workflow)
    if live is None or worker not in live.task_runs:
        raise NotFound(f"worker {worker} of {workflow} was never run")
    return live.run.id


def worker_view(workflow: Workflow, form: dict[str, Any], live: LiveRun | None) -> WorkerView:
    """One worker, from its part of the file in the Wattle Scheduler format and its latest run."""
    task = workflow.tasks[form["name"]]
    seen: TaskRunView | None = live.task_view(task.name) if live and task.name in live.task_runs else None
    return WorkerView(
        name=task.name,
        workflow=workflow.name,
        command=form["command"],
        args=form.get("args", []),
        working_dir=launch.working_dir(workflow, task),
        env_vars=dict(task.env),
        inputs=dict(task.inputs),
        outputs=form.get("outputs", {}),
        status=seen["state"] if seen else "created",
        reason=seen["reason"] if seen else "",
        run=live.run.id if live and seen else None,
        attempt=seen["attempt"] if seen else None,
        exit_code=seen["exit_code"] if seen else None,
        started_at=seen["started_at"] if seen else None,
        ended_at=seen["ended_at"] if seen else None,
    )


def worker_views(workflow: Workflow, live: LiveRun | None) -> list[WorkerView]:
    forms: list[dict[str, Any]] = spec.wattle_format(workflow)["workers"]
    return [worker_view(workflow, form, live) for form in forms]


async def describe_worker(engine: Engine, workflow: str, worker: str) -> WorkerView:
    views = await aside(worker_views, await find(engine, workflow, worker), await latest(engine, workflow))
    return next(v for v in views if v["name"] == worker)


class WorkersHandler(WattleHandler):
    @reads
    async def get(self, name: str) -> None:
        arguments = {k: self.get_query_arguments(k) for k in self.request.query_arguments}
        query = paging.parse(arguments, ("name", "status", "started_at"), "name")
        views = await aside(worker_views, await stored(self.engine, name), await latest(self.engine, name))
        found = [v for v in views if (not query.status or v["status"] in query.status) and query.search in v["name"]]
        if "sort_by" in arguments or "order" in arguments:  # else as defined
            found.sort(key=lambda v: str(v.get(query.sort_by) or ""), reverse=query.order == "desc")
        part = found[query.offset : query.offset + query.page_size]
        self.answer_page(part, paging.pagination(query, len(found)))


class WorkerHandler(WattleHandler):
    @reads
    async def get(self, workflow: str, worker: str) -> None:
        self.answer(await describe_worker(self.engine, workflow, worker))

    @writes
    async def delete(self, workflow: str, worker: str) -> None:
        definition = await find(self.engine, workflow, worker)
        users = [name for name, task in definition.tasks.items() if worker in task.upstream]
        if users:
            raise Conflict(
                f"{', '.join(users)} of {workflow} need {worker}; delete them first, or define {workflow} anew"
            )
        data = await aside(spec.dump, definition)
        del data["tasks"][worker]
        if not data["tasks"]:
            raise Conflict(f"{worker} is the last worker of {workflow}; delete the workflow instead")
        await self.engine.scheduler.define(await load_spec(data))
        self.target = workflow
        await self.answer_long(await detail(self.engine, workflow))


class WorkerStartHandler(WattleHandler):
    """A new run of one worker alone: what it takes from others is what they left when they last ran."""

    starts_runs = True

    @executes
    async def post(self, workflow: str, worker: str) -> None:
        body = self.read_object("params")
        definition = await find(self.engine, workflow, worker)
        run = await self.engine.scheduler.submit(
            definition,
            user=self.username,
            params=params_of(body),
            only=[worker],
            given=await self._given(definition, worker),
            key=self.key,
        )
        await self.answer_run(run)

    async def _given(self, definition: Workflow, worker: str) -> dict[str, Left]:
        given: dict[str, Left] = {}
        for name in Plan(definition).upstream[worker]:
            task = definition.tasks[name]
            given.update(outputs.declared(task, launch.working_dir(definition, task)))
        live = await latest(self.engine, definition.name)
        if live is not None:
            given.update({ref: value for ref, value in live.values.items() if ref.split("/")[0] != worker})
        return given


class WorkerStopHandler(WattleHandler):
    @executes
    async def post(self, workflow: str, worker: str) -> None:
        self.read_object()
        run = await latest_with(self.engine, workflow, worker)
        await self.engine.scheduler.stop_task(run, worker, self.username, self.key)
        self.answer(await describe_worker(self.engine, workflow, worker))


class WorkerLogsHandler(TaskLogsHandler):
    @reads
    async def get(self, workflow: str, worker: str) -> None:
        await self.send_log(await latest_with(self.engine, workflow, worker), worker)


class WorkerLogStreamHandler(TaskLogStreamHandler):
    @reads
    async def get(self, workflow: str, worker: str) -> None:
        await self.stream_log(await latest_with(self.engine, workflow, worker), worker)
