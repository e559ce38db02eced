"""From a task that is ready to what the executor is given, with the values that its run has by then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wattle_jupyter import launch
from wattle_jupyter.executors import AttemptSpec
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import Attempt, Task
from wattle_jupyter.objects import Objects
from wattle_jupyter.statemachine import Limits


class Launcher:
    """Makes attempts' specs for one store. ``environ`` is the server's; ``limits`` has the grace and the time limit
    of tasks that set none."""

    def __init__(self, store: Path, environ: Mapping[str, str], limits: Limits, objects: Objects) -> None:
        self._store = store
        self._objects = objects
        self._environ = environ
        self._limits = limits

    def output_file(self, attempt: str) -> Path:
        """What ``$WATTLE_OUTPUT`` names."""
        return self._store / "attempts" / attempt / "output"

    def check(self, live: LiveRun, task: Task) -> None:
        """Raises Conflict or InvalidRequest if the task cannot be launched, say for want of a value."""
        values = launch.Values(live.run.params, live.values, str(self._objects.folder))
        launch.argv(live.workflow, task, values, live.run.scripts.get(task.name))
        launch.environment(live.workflow, task, values, {}, {})

    def spec(self, live: LiveRun, task: Task, attempt: Attempt) -> AttemptSpec:
        """Raises as :meth:`check`."""
        values = launch.Values(live.run.params, live.values, str(self._objects.folder))
        names = {
            "WATTLE_RUN": live.run.id,
            "WATTLE_TASK_RUN": attempt.task_run,
            "WATTLE_ATTEMPT": attempt.id,
            "WATTLE_OUTPUT": str(self.output_file(attempt.id)),
            "WATTLE_OBJECTS": str(self._objects.folder),
            "WATTLE_MAX_OBJECT": str(self._objects.limit),
        }
        return AttemptSpec(
            id=attempt.id,
            task_run=attempt.task_run,
            run=live.run.id,
            n=attempt.n,
            round=attempt.round,
            epoch=attempt.epoch,
            argv=launch.argv(live.workflow, task, values, live.run.scripts.get(task.name)),
            cwd=launch.working_dir(live.workflow, task),
            env=launch.environment(live.workflow, task, values, self._environ, names),
            timeout=task.timeout or self._limits.timeout,
            grace=self._limits.grace if task.grace is None else task.grace,
            keep_children=task.keep_children,
            exit_file=task.exit_file,
        )
