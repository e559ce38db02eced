"""A run that goes on, in memory: its rows, its plan, and what each task still waits for."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from wattle_jupyter import jsontext
from wattle_jupyter.errors import NotFound
from wattle_jupyter.model import Attempt, Event, Left, Run, State, TaskRun, Workflow
from wattle_jupyter.plan import Plan
from wattle_jupyter.queues import Entry, shifted
from wattle_jupyter.view import count, run_summary, task_run_view
from wattle_jupyter.wire import RunDetail, RunSummary, TaskRunView

BIG = 256
"""Tasks of a run from which on all of them together take longer than others should wait: some 3 ms."""


@dataclass(slots=True)
class LiveRun:
    """Rows and plan of one run. ``waiting[task]`` counts the upstream tasks that are not satisfied yet."""

    run: Run
    workflow: Workflow
    plan: Plan
    task_runs: dict[str, TaskRun]
    attempts: dict[str, Attempt] = field(default_factory=dict)  # newest of each task run that has not completed, by id
    values: dict[str, Left] = field(default_factory=dict)  # by "task/key"
    waiting: dict[str, int] = field(default_factory=dict)
    active: int = 0  # task runs that hold a slot
    parked: list[Entry] = field(default_factory=list)  # ready, but the run is at its own limit: a heap
    counts: dict[str, int] = field(default_factory=dict)
    stopping: str = ""  # why no new task is started
    position: dict[str, int] = field(default_factory=dict)  # of each task in the plan's order

    def __post_init__(self) -> None:
        self.values = {**self.run.given, **self.values}
        self.counts = count(t.state.value for t in self.task_runs.values())
        self.position = {name: i for i, name in enumerate(self.task_runs)}
        self.recount()

    @property
    def big(self) -> bool:
        return len(self.task_runs) > BIG

    @property
    def stops(self) -> bool:
        """Does one failure end the whole run?"""
        return self.workflow.on_failure != "continue"

    @property
    def at_limit(self) -> bool:
        """Do as many of its tasks hold a slot as the workflow allows?"""
        return self.workflow.max_parallel is not None and self.active >= self.workflow.max_parallel

    def park(self, entry: Entry) -> None:
        heapq.heappush(self.parked, entry)

    def unpark(self) -> Entry:
        return heapq.heappop(self.parked)

    def shift(self, by: float) -> list[TaskRun]:
        """The clock was set by so many seconds. Returns the task runs that have other times now."""
        self.parked = [shifted(entry, by) for entry in self.parked]
        if self.run.started_at is not None:
            self.run.started_at += by
        going_on = [task_run for task_run in self.task_runs.values() if not task_run.state.final]
        for task_run in going_on:
            for name in ("not_before", "queued_at", "started_at"):
                if (at := getattr(task_run, name)) is not None:
                    setattr(task_run, name, at + by)
        return going_on

    def recount(self) -> None:
        """Count anew what each task waits for: after loading, and when a user reopens tasks."""
        self.waiting = {name: sum(not self.satisfied(up) for up in self.plan.upstream[name]) for name in self.task_runs}

    def task_run(self, name: str) -> TaskRun:
        """Raises NotFound."""
        if name not in self.task_runs:
            raise NotFound(f"run {self.run.id} of {self.run.workflow} has no task {name!r}")
        return self.task_runs[name]

    def satisfied(self, name: str) -> bool:
        """Does ``name`` no longer hold its dependents back?"""
        task_run = self.task_runs[name]
        return task_run.state is State.COMPLETED or (task_run.state is State.SKIPPED and self.left_out(name))

    def left_out(self, name: str) -> bool:
        return self.run.only is not None and name not in self.run.only

    def in_state(self, *states: State) -> Iterator[TaskRun]:
        return (t for t in self.task_runs.values() if t.state in states)

    @property
    def all_final(self) -> bool:
        open_states = (State.CREATED, State.QUEUED, State.WAITING, State.RUNNING)
        return not any(self.counts[s.value] for s in open_states)

    def newest_attempt(self, task_run: TaskRun) -> Attempt | None:
        return self.attempts.get(task_run.attempt) if task_run.attempt else None

    def let_go(self, tasks: Iterable[str]) -> None:
        """Have the attempts of those that completed, which never change again, in the store only."""
        for name in tasks:
            task_run = self.task_runs[name]
            if task_run.state is State.COMPLETED and task_run.attempt is not None:
                self.attempts.pop(task_run.attempt, None)

    def summary(self) -> RunSummary:
        return run_summary(self.run, self.counts, len(self.task_runs))

    def task_view(self, name: str) -> TaskRunView:
        task_run = self.task_runs[name]
        return task_run_view(task_run, self.newest_attempt(task_run))

    def detail(self, seq: int) -> RunDetail:
        tasks = [self.task_view(name) for name in self.task_runs]
        return RunDetail(**self.summary(), tasks=tasks, edges=self.plan.edges, seq=seq)


def create(run: Run, workflow: Workflow, ids: Iterable[str]) -> LiveRun:
    """A new run with a task run for each task, none started. Raises nothing: the workflow is valid."""
    plan = Plan(workflow)
    make = iter(ids)
    rows = {name: TaskRun(id=next(make), run=run.id, task=name) for name in plan.order}
    if run.only is not None:
        for name, row in rows.items():
            if name not in run.only:
                row.state, row.reason = State.SKIPPED, f"left out: only {', '.join(run.only)} was asked for"
                row.ended_at = run.created_at
    return LiveRun(run=run, workflow=workflow, plan=plan, task_runs=rows)


def load(
    run: Run,
    workflow: Workflow,
    task_runs: Iterable[TaskRun],
    attempts: Mapping[str, Attempt],
    values: Mapping[str, Left],
) -> LiveRun:
    """A run from its rows."""
    rows = {t.task: t for t in task_runs}
    live = LiveRun(
        run=run, workflow=workflow, plan=Plan(workflow), task_runs=rows, attempts=dict(attempts), values=dict(values)
    )
    live.active = sum(1 for a in attempts.values() if not a.state.final)
    failed = next(live.in_state(State.FAILED), None)
    if failed is not None and workflow.on_failure != "continue":
        live.stopping = f"{failed.task} failed"
    return live


@dataclass(slots=True)
class Published:
    """A live run as it was last committed: what the API answers from. Its edges are in the plan only."""

    detail: RunDetail
    plan: Plan
    tasks: dict[str, int]  # task → place in detail["tasks"]
    _texts: list[str] = field(default_factory=list)  # JSON of each task, "" where it changed
    _edges: str = ""

    def apply(self, event: Event) -> None:
        self.detail.update(event.body["run"])
        for view in event.body.get("tasks", ()):
            place = self.tasks[view["task"]]
            self.detail["tasks"][place] = view
            if self._texts:
                self._texts[place] = ""
        self.detail["seq"] = event.seq

    def text(self) -> str:
        """The run as JSON. Only what changed since the last call is encoded: a page asks again and again."""
        tasks = self.detail["tasks"]
        self._texts = [text or jsontext.encode(tasks[i]) for i, text in enumerate(self._texts or [""] * len(tasks))]
        self._edges = self._edges or jsontext.encode(self.plan.edges, 1)
        head = jsontext.encode({k: v for k, v in self.detail.items() if k not in ("tasks", "edges")})
        return f'{head[:-1]},"tasks":[{",".join(self._texts)}],"edges":{self._edges}}}'

    @property
    def big(self) -> bool:
        return len(self.tasks) > BIG

    def copy(self) -> RunDetail:
        """The run as it is now, whatever is committed later."""
        return RunDetail(**{**self._as_it_is(), "edges": self.plan.edges})

    def _as_it_is(self) -> RunDetail:
        return RunDetail(**{**self.detail, "tasks": list(self.detail["tasks"])})

    def snapshot(self) -> Published:
        """The same with its texts, so that :meth:`text` may be made in another thread."""
        return Published(self._as_it_is(), self.plan, self.tasks, list(self._texts), self._edges)

    def learn(self, snapshot: Published) -> None:
        """Take over the texts of a snapshot, but for what has changed since it was made."""
        now, then = self.detail["tasks"], snapshot.detail["tasks"]
        texts = zip(self._texts or [""] * len(now), snapshot._texts, now, then, strict=True)
        self._texts = [mine or (theirs if a is b else "") for mine, theirs, a, b in texts]
        self._edges = snapshot._edges


def published(live: LiveRun, detail: RunDetail) -> Published:
    """``live`` as ``detail`` says that it is, whatever has happened to it since."""
    return Published(RunDetail(**{**detail, "tasks": list(detail["tasks"]), "edges": []}), live.plan, live.position)
