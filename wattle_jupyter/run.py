"""A run as an object of the notebook: look at it, wait for it, stop it. It lives in the engine, not in the kernel."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from wattle_jupyter import client as clients
from wattle_jupyter import tables
from wattle_jupyter.client import Client, Stream
from wattle_jupyter.errors import NotFound, RunFailed
from wattle_jupyter.gauge import percent
from wattle_jupyter.lines import Lines, LogText, RunSource, TaskLine, TaskSource, instant, read_log
from wattle_jupyter.model import Json, State, Workflow
from wattle_jupyter.wire import (
    RUN_MIME,
    EventView,
    ProgressView,
    RunDetail,
    RunNow,
    RunSummary,
    TaskEnvironment,
    TaskRunView,
)

if TYPE_CHECKING:
    import asyncio

    from wattle_jupyter.results import Outputs

_WAKE = 0.5  # seconds
_TOLD = 5  # failed tasks that an error lists
_WIDE = 200  # characters of a last line in it
Progress = Callable[[Sequence[TaskRunView]], None]
"""Called with all task runs at first, then with those that just changed."""
Far = Callable[[Mapping[str, ProgressView]], None]
"""Called with how far running tasks are, by their names, as far as they say."""

Since = str | float | datetime | None
"""``"90s"``, ``"10m"``, ``"2h"`` ago, a date and time, or seconds of the epoch."""


class Detached(KeyboardInterrupt):
    """An interrupt that ended the waiting for a run, not the run. IPython shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Run:
    """One execution of a workflow. Make one with ``%wattle run``, find one with :func:`attach` or :func:`runs`."""

    def __init__(self, client: Client, known: RunSummary) -> None:
        self.client = client
        self._known = known
        self._ended: RunNow | None = None  # how it ended, once somebody waited for that
        self._workflow: Workflow | None = None

    # ------------------------------------------------------------------------------------------------------- what it is

    @property
    def id(self) -> str:
        return self._known["id"]

    @property
    def workflow(self) -> str:
        return self._known["workflow"]

    @property
    def status(self) -> State:
        """The state just now."""
        return State(self.detail()["state"])

    @property
    def reason(self) -> str:
        """Why it is in that state, in plain words."""
        return self.detail()["reason"]

    def detail(self) -> RunNow:
        """All that the engine says about it just now."""
        return self.client.run(self.id)

    def definition(self) -> Workflow:
        """The workflow as it was when the run was submitted."""
        if self._workflow is None:
            from wattle_jupyter import spec  # noqa: PLC0415  pydantic is not for every kernel

            self._workflow = spec.load(self.client.snapshot(self.id))
        return self._workflow

    def __getitem__(self, task: str) -> TaskRunHandle:
        names = [view["task"] for view in self.detail()["tasks"]]
        if task not in names:
            raise NotFound(f"{self.workflow} has no task `{task}`{did_you_mean(task, names)}")
        return TaskRunHandle(self, task)

    def __iter__(self) -> Iterator[TaskRunHandle]:
        return iter(self.tasks)

    @property
    def duration(self) -> float | None:
        """Seconds from its start to its end, or to now; None before it started."""
        detail = self.detail()
        return took(detail["started_at"], detail["ended_at"])

    @property
    def tasks(self) -> TaskList:
        """All of its tasks; shows itself as a table of their states."""
        detail = self.detail()
        return TaskList(self, detail["tasks"], detail["progress"])

    @property
    def failed(self) -> TaskList:
        """Those of its tasks that failed."""
        return TaskList(self, [view for view in self.detail()["tasks"] if view["state"] == "failed"])

    def __repr__(self) -> str:
        total = self._known["total"]
        return f"<Run of {self.workflow}: {total} task{'' if total == 1 else 's'}>"

    # ---------------------------------------------------------------------------------------------------- what it does

    def wait(
        self,
        timeout: float | None = None,
        *,
        check: bool = False,
        progress: Progress | None = None,
        far: Far | None = None,
        quiet: bool = False,
    ) -> Run:
        """Wait until it ended. An interrupt (Detached, a KeyboardInterrupt) ends the waiting only; the run goes on.

        Meanwhile a terminal shows a bar and a notebook the live view, unless ``quiet`` or ``progress`` is given.
        ``far`` is told how far running tasks are.

        Raises TimeoutError after ``timeout`` seconds, and with ``check`` RunFailed unless it completed.
        """
        with self._events(far) as events, self._watched(progress, quiet) as told:
            timer = threading.Timer(timeout or 0, events.close)
            timer.daemon = True
            if timeout is not None:
                timer.start()
            try:
                self._follow(events, told)
            except KeyboardInterrupt as interrupt:
                if quiet:
                    raise
                raise Detached(self._detached()) from interrupt
            finally:
                timer.cancel()
        if self._ended is None:
            raise TimeoutError(f"{self.workflow} was still {self.status} after {timeout:g} s; it goes on")
        return self.checked() if check else self

    def __await__(self) -> Generator[Any, None, Run]:
        return self._wait_beside_the_loop().__await__()

    async def _wait_beside_the_loop(self) -> Run:
        import asyncio  # noqa: PLC0415  the command line starts without

        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        events = self._events()
        shown = contextlib.ExitStack()
        told = shown.enter_context(self._watched(None, quiet=False))

        def settle(error: BaseException | None) -> None:
            if not done.done():
                done.set_exception(error) if error else done.set_result(None)

        def follow() -> None:
            error: BaseException | None = None
            try:
                self._follow(events, told)
            except Exception as problem:  # noqa: BLE001  carried over to the awaiting side
                error = problem
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, error)

        threading.Thread(target=follow, name="wattle-await", daemon=True).start()
        interrupts = shown.enter_context(_interrupts_cancel(loop))
        try:
            while not done.done():  # an interrupt cancels from a signal handler, which wakes no loop
                await asyncio.wait([done], timeout=_WAKE)
            done.result()
        except asyncio.CancelledError:
            if interrupts:
                raise Detached(self._detached()) from None
            print(self._detached(), file=sys.stderr)  # noqa: T201  said to the person at the keyboard
            raise
        finally:
            events.close()
            shown.close()
        return self

    def checked(self) -> Run:
        """Itself if it completed; raises RunFailed, with the failed tasks, if it ended otherwise."""
        detail = self.detail()
        if detail["state"] != "completed":
            bad = [view for view in detail["tasks"] if view["state"] == "failed"]
            tasks = "".join(f"\n  {view['task']}: {view['reason']}{self._last_words(view)}" for view in bad[:_TOLD])
            tasks += f"\n  and {len(bad) - _TOLD} more" if len(bad) > _TOLD else ""
            tasks += f'\n  all of a log: `run["{bad[0]["task"]}"].logs()`' if bad else ""
            raise RunFailed(f"{self.workflow} {detail['state']}: {detail['reason']}{tasks}", run=self.id)
        return self

    def _last_words(self, view: TaskRunView) -> str:
        """The last line of a task's log, which mostly says what was wrong."""
        said = read_log(self.client, self.id, view["task"], 1).strip() if view["attempt"] else ""
        return f": {said[:_WIDE]}{'…' if len(said) > _WIDE else ''}" if said else ""

    def cancel(self) -> Run:
        """Stop all of its tasks and start no more."""
        self.client.cancel(self.id)
        return self

    def retry(self, *tasks: str) -> Run:
        """New attempts of these tasks, of all failed ones if none are named."""
        self.client.retry(self.id, list(tasks) or None)
        self._ended = None
        return self

    def logs(self, task: str | None = None, tail: int | None = None, since: Since = None) -> LogText:
        """The log of a task, or of every task that has one under its name; only the last ``tail`` lines of each, only
        what came after ``since``: ``"10m"`` ago, a date and time, or seconds of the epoch."""
        if task is not None:
            return self[task].logs(tail, since)
        views, start = [view for view in self.detail()["tasks"] if view["attempt"]], moment(since)
        texts = {v["task"]: read_log(self.client, self.id, v["task"], tail, start) for v in views}
        parts = [f"── {task} ──\n{text}" for task, text in texts.items() if text or since is None]
        return LogText("\n".join(part.rstrip("\n") for part in parts))

    def stream(self, tail: int | None = None, since: Since = None) -> Lines[TaskLine]:
        """The lines of all tasks, each with its task's name before it, as they are written, until the run ended.

        For ``for`` and ``async for``; leaving the loop leaves the run as it is.
        """
        return Lines(RunSource(self.client, self.id, tail, moment(since)))

    # ---------------------------------------------------------------------------------------------------- how it looks

    def graph(self) -> Drawing:
        """A drawing of it with the states of just now."""
        return Drawing(self.definition(), self.detail())

    def show_end(self) -> Run:
        """From now on show how it ended, if it did."""
        detail = self.detail()
        self._ended = detail if State(detail["state"]).final else None
        return self

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Json], dict[str, Json]]:
        drawing = Drawing(self.definition(), self._ended)
        store = self.client.info()["store"]
        data = {**self._live_view(store, drawing.data()), **drawing.bundle(), RUN_MIME: drawing.data()}
        return data, {"wattle": {"run": self.id, "store": store}}

    def _live_view(self, store: str, saved: dict[str, Json]) -> dict[str, Json]:
        if not has_front_end():
            return {}
        from wattle_jupyter import widget  # noqa: PLC0415  anywidget is not for every kernel

        return widget.view_of(self.client, self.id, store, saved)

    # ----------------------------------------------------------------------------------------------------------- inside

    def _watched(self, progress: Progress | None, quiet: bool) -> AbstractContextManager[Progress | None]:
        """What shows how far it is while somebody waits."""
        if progress is not None or quiet or State(self._known["state"]).final:
            return contextlib.nullcontext(progress)
        from wattle_jupyter import live  # noqa: PLC0415  who only submits waits for nothing

        return live.cell(self) if has_front_end() else live.bar()

    def _events(self, far: Far | None = None) -> Stream[EventView]:
        """Changes after what ``_known`` says."""
        known = self.detail()
        self._known = known
        return self.client.events(known["seq"], self.id, far and (lambda message: far(message["tasks"])))

    def _follow(self, events: Stream[EventView], progress: Progress | None) -> None:
        """Until the end, or until the stream is closed. What is so already is told first."""
        if progress:
            progress(cast(RunDetail, self._known)["tasks"])
        if not State(self._known["state"]).final:
            for event in events:
                if event["kind"] == "run.deleted":
                    raise NotFound(f"This run of {self.workflow} was deleted")
                if event["kind"] != "run.changed":
                    continue
                if progress and event["body"]["tasks"]:
                    progress(event["body"]["tasks"])
                if State(event["body"]["run"]["state"]).final:
                    break
            else:
                return
        self.show_end()

    def _detached(self) -> str:
        back, end = f'wattle_jupyter.attach("{self.id[:8]}")', f"%wattle cancel {self.id[:8]}"
        return f"Detached; the run of {self.workflow} goes on. Back to it: `{back}`; end it: `{end}`"


class TaskRunHandle:
    """A task's fate in one run."""

    def __init__(self, run: Run, task: str) -> None:
        self.run = run
        self.task = task

    def __repr__(self) -> str:
        return f"<Task {self.task} of {self.run!r}>"

    @property
    def status(self) -> State:
        return State(self.run.client.task(self.run.id, self.task)["state"])

    @property
    def reason(self) -> str:
        return self.run.client.task(self.run.id, self.task)["reason"]

    def result(self) -> Any:
        """What the function of this task returned, or the only output of a task that has one.

        Raises Conflict before it ended, RunFailed if it did not complete, NotFound if there is no such output.
        """
        return self.outputs().result()

    def output(self, name: str) -> Any:
        """The Python object that it left under this name; a file as the Path of the copy. Raises as :meth:`result`."""
        return self.outputs().one(name)

    def outputs(self) -> Outputs:
        """All that it left, by name; objects are fetched when they are looked at."""
        from wattle_jupyter.results import Outputs  # noqa: PLC0415  not every run is asked for them

        return Outputs(self.run.client, self.run.id, self.task)

    @property
    def duration(self) -> float | None:
        """Seconds from the start of its first attempt to its end, or to now; None before it started."""
        view = self.run.client.task(self.run.id, self.task)
        return took(view["started_at"], view["ended_at"])

    @property
    def progress(self) -> float | None:
        """How far it is, from 0 to 1, as the end of its log tells; None if it does not run or does not say."""
        told = self.run.client.task(self.run.id, self.task)["progress"]
        return told and told["fraction"]

    def environment(self) -> TaskSurroundings:
        """How it was, or would be, started: command, folder, interpreter, variables. Secrets are masked."""
        return TaskSurroundings(self.run.client.environment(self.run.id, self.task))

    def logs(self, tail: int | None = None, since: Since = None) -> LogText:
        """What its newest attempt wrote; only the last ``tail`` lines, only what came after ``since``."""
        return LogText(read_log(self.run.client, self.run.id, self.task, tail, moment(since)))

    def stream(self, tail: int | None = None, since: Since = None) -> Lines[str]:
        """Its lines as they are written, for ``for`` and ``async for``, until its newest attempt ended; it waits for
        the first attempt. Leaving the loop leaves the task as it is."""
        return Lines(TaskSource(self.run.client, self.run.id, self.task, tail, moment(since)))

    def stop(self) -> TaskRunHandle:
        self.run.client.stop(self.run.id, self.task)
        return self

    def retry(self) -> TaskRunHandle:
        self.run.client.retry_task(self.run.id, self.task)
        return self


class TaskSurroundings(dict[str, Any]):
    """A :class:`~wattle_jupyter.wire.TaskEnvironment` that shows itself as text."""

    def __repr__(self) -> str:
        return tables.environment(cast(TaskEnvironment, self))


class TaskList(list[TaskRunHandle]):
    """Tasks of a run, shown as a table of how they were when they were asked for."""

    def __init__(self, run: Run, views: Sequence[TaskRunView], far: Mapping[str, ProgressView] | None = None) -> None:
        super().__init__(TaskRunHandle(run, view["task"]) for view in views)
        self._views = list(views)
        self._far = far or {}

    def __repr__(self) -> str:
        return tables.tasks(self._views, self._far) if self._views else "no tasks"

    def _repr_html_(self) -> str:
        return tables.tasks_html(self._views, self._far) if self._views else "<p>no tasks</p>"


class RunList(list[Run]):
    """Runs, shown as a table of how they were when they were asked for."""

    def __repr__(self) -> str:
        return tables.runs([run._known for run in self]) if self else "no runs"

    def _repr_html_(self) -> str:
        return tables.runs_html([run._known for run in self]) if self else "<p>no runs</p>"


class Drawing:
    """A workflow as text, SVG and data; with the states of a run if there is one. The same in, the same out."""

    def __init__(self, workflow: Workflow, detail: RunNow | None = None) -> None:
        self.workflow = workflow
        views = detail["tasks"] if detail else []
        self._state = State(detail["state"]) if detail else None
        self._states = {view["task"]: State(view["state"]) for view in views} if detail else None
        self._reasons = {view["task"]: view["reason"] for view in views if view["reason"]}
        told = detail["progress"] if detail else {}
        self._reasons |= {task: percent(far["fraction"]) for task, far in told.items() if task not in self._reasons}

    def __str__(self) -> str:
        from wattle_jupyter import draw  # noqa: PLC0415

        return draw.text(self.workflow, self._states, self._reasons)

    def __repr__(self) -> str:
        return str(self)

    def svg(self) -> str:
        from wattle_jupyter import draw  # noqa: PLC0415

        return draw.svg(self.workflow, self._states)

    def data(self) -> dict[str, Json]:
        """What the JupyterLab renderer takes."""
        from wattle_jupyter import draw  # noqa: PLC0415

        return draw.mime(self.workflow, self._states)

    def bundle(self) -> dict[str, Json]:
        return {"text/plain": str(self), "image/svg+xml": self.svg()}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Json]:
        return self.bundle()


def attach(run: str, *, client: Client | None = None) -> Run:
    """The run with this id, with a unique prefix of it (≥ 4 characters), or the ``last`` one."""
    engine = client or clients.find()
    return Run(engine, engine.run(run)).show_end()


def runs(
    workflow: str | None = None, status: str | None = None, *, limit: int = 50, client: Client | None = None
) -> RunList:
    """The newest runs, newest first, as a list that shows itself as a table.

    ``status`` may be several states with commas between them. Raises InvalidRequest for a state that there is not.
    """
    engine = client or clients.find()
    query = {"workflow": workflow, "status": status, "sort_by": "created_at", "order": "desc"}
    return RunList(Run(engine, known) for known in engine.runs(limit=limit, **query))


def moment(since: Since) -> float | None:
    """Seconds of the epoch."""
    if isinstance(since, datetime):
        return since.timestamp()
    return instant(since, time.time()) if isinstance(since, str) else since


def took(start: str | None, end: str | None) -> float | None:
    """Seconds between two instants of the API; to now if there is no end."""
    if start is None:
        return None
    last = datetime.fromisoformat(end).timestamp() if end else time.time()
    return max(0.0, last - datetime.fromisoformat(start).timestamp())


@contextlib.contextmanager
def _interrupts_cancel(loop: asyncio.AbstractEventLoop) -> Iterator[list[int]]:
    """Let an interrupt cancel the task that awaits, where nobody else sees to it; what came is in the list.

    A KeyboardInterrupt in the loop itself, as in IPython in a terminal, would leave the task waiting for ever, its bar
    on the screen.
    """
    import asyncio  # noqa: PLC0415  the command line starts without

    came: list[int] = []
    task = asyncio.current_task()
    before = signal.getsignal(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler

    def cancel(number: int, _: object) -> None:
        came.append(number)
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

    if mine:
        signal.signal(signal.SIGINT, cancel)
    try:
        yield came
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)


def has_front_end() -> bool:
    """Is this a kernel, whose outputs a notebook shows? A terminal shows text only."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """``; did you mean `x`?``, or what there is, or nothing."""
    if close := get_close_matches(word, known, 1, 0.6):
        return f"; did you mean `{close[0]}`?"
    listed = ", ".join(list(known)[:8]) + (", …" if len(known) > 8 else "")
    return f"; there are: {listed}" if known else ""
