"""One run and its tasks: looked at, cancelled, stopped, retried."""

from __future__ import annotations

import json
import shlex

from wattle_jupyter import history, launch, view
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import InvalidRequest, NotFound
from wattle_jupyter.handlers.base import WattleHandler, executes, reads, writes
from wattle_jupyter.model import Task
from wattle_jupyter.wire import TaskRunDetail


def command_of(task: Task) -> str:
    """The command, or the Python, as people wrote it."""
    if task.call is not None:
        return task.call.source.strip()
    return task.run if isinstance(task.run, str) else " ".join(_word(w) for w in task.run)


def _word(word: str) -> str:
    return word if "{{" in word else shlex.quote(word)


async def describe_task(engine: Engine, run: str, name: str) -> TaskRunDetail:
    """A task run with all its attempts. Raises NotFound."""
    task_view = await engine.scheduler.task(run, name)
    workflow, needs = await engine.scheduler.definition(run, name)
    task = workflow.tasks[name]
    attempts, values = await history.attempts_of(engine.store, run, name)
    objects = engine.scheduler.objects
    kept = {v.name: objects.kept(v.hash, v.ref) for v in values if v.kind == "file" and v.hash}
    return TaskRunDetail(
        **task_view,
        progress=engine.progress.of_task(task_view),
        command=command_of(task),
        working_dir=launch.working_dir(workflow, task),
        needs=needs,
        history=[view.attempt_view(a) for a in attempts],
        outputs=[view.value_view(v, str(kept[v.name]) if kept.get(v.name) else None) for v in values],
    )


class RunHandler(WattleHandler):
    @reads
    async def get(self, text: str) -> None:
        known = text in self.engine.scheduler.live  # by its whole id, and not ended: nothing to look up
        run = text if known else await history.resolve(self.engine.store, text)
        text = await self.engine.scheduler.detail_text(run)
        progress = json.dumps(await self.engine.progress.of_run(run), separators=(",", ":"))
        await self.answer_long(f'{text[:-1]},"progress":{progress}}}')

    @writes
    async def delete(self, text: str) -> None:
        run = await history.resolve(self.engine.store, text)
        await self.engine.retention.delete(run)
        self.answer({"id": run})


class SnapshotHandler(WattleHandler):
    @reads
    async def get(self, text: str) -> None:
        run = await history.resolve(self.engine.store, text)
        await self.answer_long(f'{{"spec":{await history.snapshot_of(self.engine.store, run)}}}')


class CancelHandler(WattleHandler):
    @executes
    async def post(self, text: str) -> None:
        self.read_object()
        run = await history.resolve(self.engine.store, text)
        await self.engine.scheduler.cancel(run, self.username, self.key)
        self.answer(await self.engine.scheduler.summary(run))


class RetryHandler(WattleHandler):
    @executes
    async def post(self, text: str) -> None:
        tasks = self.read_object("tasks").get("tasks")
        if tasks is not None and not (isinstance(tasks, list) and tasks and all(isinstance(t, str) for t in tasks)):
            raise InvalidRequest("tasks must be a list of names of tasks, or be left out for all that failed")
        run = await history.resolve(self.engine.store, text)
        await self.engine.scheduler.retry(run, tasks, self.key)
        self.answer(await self.engine.scheduler.summary(run))


class TaskHandler(WattleHandler):
    @reads
    async def get(self, text: str, task: str) -> None:
        run = await history.resolve(self.engine.store, text)
        self.answer(await describe_task(self.engine, run, task))


class TaskEnvironmentHandler(WattleHandler):
    @reads
    async def get(self, text: str, task: str) -> None:
        run = await history.resolve(self.engine.store, text)
        live = await history.load(self.engine.store, run)
        if task not in live.workflow.tasks:
            raise NotFound(f"run {run} has no task {task!r}")
        attempt = live.newest_attempt(live.task_runs[task])
        self.answer(self.engine.scheduler.launcher.describe(live.workflow, live.workflow.tasks[task], live, attempt))


class TaskStopHandler(WattleHandler):
    @executes
    async def post(self, text: str, task: str) -> None:
        self.read_object()
        run = await history.resolve(self.engine.store, text)
        await self.engine.scheduler.task(run, task)
        await self.engine.scheduler.stop_task(run, task, self.username, self.key)
        self.answer(await self.engine.scheduler.task(run, task))


class TaskRetryHandler(WattleHandler):
    @executes
    async def post(self, text: str, task: str) -> None:
        self.read_object()
        run = await history.resolve(self.engine.store, text)
        await self.engine.scheduler.retry(run, [task], self.key)
        self.answer(await self.engine.scheduler.summary(run))


async def newest_attempt(engine: Engine, run: str, task: str, chosen: str | None) -> str | None:
    """The attempt whose log is meant: ``chosen`` if it is one of this task run, else the newest. Raises NotFound."""
    if chosen is None:
        return (await engine.scheduler.task(run, task))["attempt"]
    attempts, _ = await history.attempts_of(engine.store, run, task)
    if chosen not in (a.id for a in attempts):
        raise NotFound(f"task {task} of run {run} has no attempt {chosen[:64]}")
    return chosen
