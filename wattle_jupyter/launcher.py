"""From a task that is ready to what the executor is given, with the values that its run has by then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wattle_jupyter import launch, surroundings
from wattle_jupyter.executors import AttemptSpec
from wattle_jupyter.interpreters import activated
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import Attempt, Task, Workflow
from wattle_jupyter.objects import Objects
from wattle_jupyter.statemachine import Limits
from wattle_jupyter.wire import TaskEnvironment

_LATER = "<known at the start>"


class Launcher:
    """Makes attempts' specs for one store. ``environ`` is the server's; ``limits`` has the grace and the time limit
    of tasks that set none."""

    def __init__(self, store: Path, environ: Mapping[str, str], limits: Limits, objects: Objects) -> None:
        self._objects = objects
        self._attempts_path, self._objects_path = str(store / "attempts"), str(objects.folder)
        self._environ = environ
        self._limits = limits
        self._bases: dict[str, Mapping[str, str]] = {}  # by interpreter

    def output_file(self, attempt: str) -> Path:
        """What ``$WATTLE_OUTPUT`` names."""
        return Path(self._attempts_path, attempt, "output")

    def check(self, live: LiveRun, task: Task) -> None:
        """Raises Conflict or InvalidRequest if the task cannot be launched, say for want of a value."""
        if launch.is_plain(live.workflow, task):
            return
        values = launch.Values(live.run.params, live.values, self._objects_path)
        words = launch.argv(live.workflow, task, values, live.run.scripts.get(task.name))
        launch.check_sizes(task, words, launch.environment(live.workflow, task, values, {}, {}))

    def describe(
        self, workflow: Workflow, task: Task, live: LiveRun | None, attempt: Attempt | None
    ) -> TaskEnvironment:
        """What the task was, or would be, started with, for people to look at: in this run, or in the next one.

        Raises InvalidRequest if a template cannot be rendered.
        """
        params, outputs = (live.run.params, live.values) if live else (workflow.params, {})
        values = surroundings.Shown(params, outputs, str(self._objects.folder))
        ids = (
            (attempt.run, attempt.task_run, attempt.id)
            if attempt
            else (live.run.id if live else _LATER, _LATER, _LATER)
        )
        script = live.run.scripts.get(task.name) if live else None
        return surroundings.describe(
            workflow, task, values, script=script, base=self._base(workflow), names=self._names(*ids)
        )

    def _base(self, workflow: Workflow) -> Mapping[str, str]:
        """The server's environment as the workflow's interpreter may see it."""
        if workflow.python is None:
            return self._environ
        if workflow.python not in self._bases:
            self._bases[workflow.python] = activated(workflow.python, self._environ)
        return self._bases[workflow.python]

    def _names(self, run: str, task_run: str, attempt: str) -> dict[str, str]:
        return {
            "WATTLE_RUN": run,
            "WATTLE_TASK_RUN": task_run,
            "WATTLE_ATTEMPT": attempt,
            "WATTLE_OUTPUT": f"{self._attempts_path}/{attempt}/output",
            "WATTLE_OBJECTS": self._objects_path,
            "WATTLE_MAX_OBJECT": str(self._objects.limit),
        }

    def spec(self, live: LiveRun, task: Task, attempt: Attempt) -> AttemptSpec:
        """Raises as :meth:`check`."""
        values = launch.Values(live.run.params, live.values, self._objects_path)
        names = self._names(live.run.id, attempt.task_run, attempt.id)
        return AttemptSpec(
            id=attempt.id,
            task_run=attempt.task_run,
            run=live.run.id,
            n=attempt.n,
            round=attempt.round,
            epoch=attempt.epoch,
            argv=launch.argv(live.workflow, task, values, live.run.scripts.get(task.name)),
            cwd=launch.working_dir(live.workflow, task),
            env=launch.environment(live.workflow, task, values, self._base(live.workflow), names),
            timeout=task.timeout or self._limits.timeout,
            grace=self._limits.grace if task.grace is None else task.grace,
            keep_children=task.keep_children,
            exit_file=task.exit_file,
        )
