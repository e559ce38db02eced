"""The loop round the state machine: take what came in, commit it, publish it, act on it. The only writer of state.

Requests, facts of the executor and timers are *stimuli*; they are taken together, so one commit serves all that came
while the last one was on its way to the disk. Nobody sees a state that is not on disk, and nothing is started, stopped
or acknowledged before the commit that says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from wattle_jupyter import history, launch, library, outputs, preflight, spec
from wattle_jupyter.change import Change, Request
from wattle_jupyter.errors import NotFound, StoreUnavailable, Unavailable
from wattle_jupyter.events import Hub
from wattle_jupyter.executors import AttemptSpec, Executor, Fact
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import Attempt, AttemptState, Event, Json, Run, State, Task, Workflow
from wattle_jupyter.statemachine import Effects, Limits, StateMachine
from wattle_jupyter.store import Store
from wattle_jupyter.verdict import End
from wattle_jupyter.wire import RunDetail, RunSummary, TaskRunView

T = TypeVar("T")
Clock = Callable[[], float]

RETRY_COMMIT = 0.5  # seconds between tries while the disk does not take a commit


@dataclass(slots=True)
class _Stimulus:
    """Something to tell the state machine, and whoever waits until it is committed."""

    tell: Callable[[float], Any]
    done: asyncio.Future[Any] | None = None
    result: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Published:
    """A live run as it was last committed: what the API answers from."""

    detail: RunDetail
    tasks: dict[str, int] = field(default_factory=dict)  # task → place in detail["tasks"]

    def apply(self, event: Event) -> None:
        self.detail.update(event.body["run"])
        for view in event.body.get("tasks", ()):
            self.detail["tasks"][self.tasks[view["task"]]] = view
        self.detail["seq"] = event.seq


def published(detail: RunDetail) -> Published:
    return Published(detail, {view["task"]: i for i, view in enumerate(detail["tasks"])})


class Scheduler:
    """Schedules the runs of one store on one executor.

    ``await start()`` recovers what went on; ``await stop()`` detaches and ends no task.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        limits: Limits,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Clock = time.time,
        log: logging.Logger | None = None,
    ) -> None:
        self.store = store
        self.executor = executor
        self.limits = limits
        self.trouble: str | None = None
        self.live: dict[str, Published] = {}
        self.final_sizes: dict[str, int] = {}  # of logs of attempts that ended lately
        self.on_trouble: list[Callable[[str | None], None]] = []
        self._environ = dict(os.environ if environ is None else environ)
        self._clock = clock
        self._log = log or logging.getLogger("wattle")
        self._inbox: list[_Stimulus] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._reopening = asyncio.Lock()
        self._order = asyncio.Lock()  # commits are published in the order in which they were made
        self.hub: Hub
        self._machine: StateMachine

    # ------------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect to the executor, take up every run that had not ended, learn the truth about its attempts."""
        self.hub = Hub(lambda seq, run: history.events_since(self.store, seq, run), await self.store.newest_seq())
        epoch = await self.executor.start(self.store.epoch)
        await self.store.set_epoch(epoch)
        host = self.executor.hosts()[0]
        self._machine = StateMachine(
            self.limits,
            ids=lambda: uuid.uuid4().hex,
            prepare=self._prepare,
            executor=self.executor.name,
            host=host.name,
            boot_id=host.boot_id,
            epoch=epoch,
        )
        await self._recover()
        self._tasks = [asyncio.create_task(self._guard(self._loop)), asyncio.create_task(self._guard(self._listen))]

    async def stop(self) -> None:
        """Finish the commit that is under way, then let go of executor and hub. The store is the caller's to close."""
        self._stopping = True
        self._wake.set()
        if self._tasks:
            await asyncio.wait({self._tasks[0]}, timeout=5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stimulus in self._inbox:
            _settle(stimulus, Unavailable("the server is stopping; ask again in a moment"))
        self.hub.close()
        await self.executor.close()

    async def _recover(self) -> None:
        now = self._clock()
        for live in await history.going_on(self.store):
            self._machine.adopt(live, now)
            self.live[live.run.id] = published(live.detail(self.hub.newest))
        rows = {a.id: a.boot_id for _, _, a in self._machine.by_attempt.values()}
        facts = await self.executor.inspect(rows) if rows else []
        await self._take_facts(facts)

    async def _guard(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop that ended by an error would be a silent server: say it, and let health show it."""
        try:
            await loop()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._log.exception("the scheduler stopped")
            self._set_trouble(f"the scheduler stopped by an error of its own: {error!r}; restart the server")
            raise

    # ------------------------------------------------------------------------------------------------ the loop

    async def _loop(self) -> None:
        while not self._stopping:
            await self._step()
            await self._wait()

    async def _wait(self) -> None:
        due = self._machine.next_timer()
        timeout = None if due is None else max(0.0, due - self._clock())
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            return
        self._wake.clear()

    async def _step(self) -> None:
        """Everything that is in the inbox: one change, one commit."""
        batch, self._inbox = self._inbox, []
        now = self._clock()
        for stimulus in batch:
            try:
                stimulus.result = stimulus.tell(now)
            except Exception as error:  # noqa: BLE001 - a bad request must not stop the loop; it is told to whoever asked
                stimulus.error = error
        self._machine.advance(now)
        change, effects = self._machine.take(now)
        if change:
            await self._commit(change)
        await self._act(effects)
        for stimulus in batch:
            _settle(stimulus, stimulus.error)

    async def _commit(self, change: Change) -> None:
        """Commit, however long the disk refuses, then publish."""
        async with self._order:
            while True:
                try:
                    events = await self.store.commit(change)
                    break
                except StoreUnavailable as error:
                    self._set_trouble(str(error))
                    if self._stopping:
                        raise
                    await asyncio.sleep(RETRY_COMMIT)
            self._set_trouble(None)
            self._publish(change, events)

    def _publish(self, change: Change, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind == "run.created":
                event.body["run"]["seq"] = event.seq
                self.live[str(event.run)] = published(event.body["run"] | {"tasks": list(event.body["run"]["tasks"])})
            elif event.run in self.live:
                self.live[event.run].apply(event)
        for attempt, _ in change.attempts.values():
            if attempt.state.final and attempt.log_size is not None:
                self.final_sizes[attempt.id] = attempt.log_size
        self.hub.publish(events)

    async def _act(self, effects: Effects) -> None:
        """What the commit allows now. An executor that cannot be reached catches up when it is back."""
        if effects.start:
            await self.executor.submit([self._spec(live, task, attempt) for live, task, attempt in effects.start])
        for attempt, grace in effects.stop:
            await self.executor.signal(attempt, "stop", grace)
        if effects.acknowledge:
            await self.executor.acknowledge(effects.acknowledge)
        for run in effects.finished:
            self.live.pop(run, None)
        if len(self.final_sizes) > 10_000:
            self.final_sizes.clear()

    def _set_trouble(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            (self._log.error if trouble else self._log.info)("wattle: %s", trouble or "the store can be written again")
            for tell in self.on_trouble:
                tell(trouble)

    # ------------------------------------------------------------------------------------------------ facts

    async def _listen(self) -> None:
        async for facts in self.executor.events():
            await self._take_facts(facts)

    async def _take_facts(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            end = await self._end(fact) if fact.kind == "exited" else None
            self._inbox.append(_Stimulus(partial(self._tell, fact, end)))
        self._wake.set()

    def _tell(self, fact: Fact, end: End | None, now: float) -> None:
        machine = self._machine
        if fact.kind == "running":
            machine.started(fact.id, fact.pid, fact.boot_id, fact.started_at)
        elif end is not None:
            machine.ended(
                fact.id,
                end,
                now,
                started_at=fact.started_at,
                ended_at=fact.ended_at,
                peak_rss=fact.peak_rss,
                log_size=fact.log_size,
                pid=fact.pid,
            )
        elif fact.kind == "lost":
            machine.vanished(fact.id, AttemptState.LOST, fact.why, now)
        elif fact.kind == "never_started":
            machine.vanished(fact.id, AttemptState.NEVER_STARTED, fact.why, now)
        elif fact.kind == "unreachable":
            machine.unreachable(fact.id, fact.why or "its host cannot be reached")

    async def _end(self, fact: Fact) -> End:
        """The end of an attempt with what it left behind, read from the disk where its task declares outputs."""
        known = self._machine.by_attempt.get(fact.id)
        values: outputs.Found = {}
        missing: list[str] = []
        if known is not None and fact.code == 0 and not fact.why:
            live, task_run, _ = known
            task = live.workflow.tasks[task_run.task]
            if task.outputs:
                folder, file = launch.working_dir(live.workflow, task), self._attempt_folder(fact.id) / "output"
                values, missing = await asyncio.to_thread(outputs.collect, task, folder, file)
        return End(code=fact.code, signal=fact.signal, why=fact.why, values=values, missing=missing)

    # ------------------------------------------------------------------------------------------------ launching

    def _attempt_folder(self, attempt: str) -> Any:
        return self.store.folder / "attempts" / attempt

    def _values(self, live: LiveRun) -> launch.Values:
        return launch.Values(live.run.params, live.values)

    def _prepare(self, live: LiveRun, task: Task) -> None:
        values = self._values(live)
        launch.argv(live.workflow, task, values, live.run.scripts.get(task.name))
        launch.environment(live.workflow, task, values, {}, {})

    def _spec(self, live: LiveRun, task: Task, attempt: Attempt) -> AttemptSpec:
        values = self._values(live)
        names = {
            "WATTLE_RUN": live.run.id,
            "WATTLE_TASK_RUN": attempt.task_run,
            "WATTLE_ATTEMPT": attempt.id,
            "WATTLE_OUTPUT": str(self._attempt_folder(attempt.id) / "output"),
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
            timeout=task.timeout,
            grace=self.limits.grace if task.grace is None else task.grace,
            keep_children=task.keep_children,
            exit_file=task.exit_file,
        )

    # ------------------------------------------------------------------------------------------------ requests

    async def _ask(self, tell: Callable[[float], T]) -> T:
        """Have the loop do something; returns once it is committed."""
        if self._stopping:
            raise Unavailable("the server is stopping; ask again in a moment")
        if self._tasks and self._tasks[0].done():
            raise Unavailable(self.trouble or "the scheduler does not run; restart the server, nothing is lost")
        stimulus = _Stimulus(tell, asyncio.get_running_loop().create_future())
        self._inbox.append(stimulus)
        self._wake.set()
        assert stimulus.done is not None
        return cast("T", await asyncio.shield(stimulus.done))

    async def define(self, workflow: Workflow) -> str:
        """Keep a workflow as the current version of its name. Returns its row id."""
        async with self._order:
            now = self._clock()
            row, event = await library.save(self.store, spec.dump(workflow), spec.digest(workflow), now, named=True)
            self.hub.publish([event] if event else [])
        return row

    async def undefine(self, name: str) -> None:
        """Hide a workflow. Raises NotFound."""
        async with self._order:
            self.hub.publish([await library.delete(self.store, name, self._clock())])

    async def submit(
        self,
        workflow: Workflow,
        *,
        user: str,
        params: Mapping[str, Json] | None = None,
        cause: str = "api",
        key: str | None = None,
        only: Sequence[str] | None = None,
        given: Mapping[str, Json] | None = None,
    ) -> str:
        """Start a run. Returns its id, once it is committed.

        Raises SpecError if something that it needs is not there, TooManyRuns if the queue is full. The same ``key``
        starts one run only.
        """
        if key and (known := await history.remembered(self.store, key, "submit")):
            return known
        chosen = preflight.params(workflow, params or {})
        await asyncio.to_thread(preflight.check, workflow, self._environ.get("PATH", os.defpath))
        scripts = await asyncio.to_thread(preflight.snapshot_scripts, workflow, self.store.folder / "objects")
        snapshot, digest = spec.dump(workflow), spec.digest(workflow)
        async with self._order:
            row, _ = await library.save(self.store, snapshot, digest, self._clock(), named=False)
        run = Run(
            id=uuid.uuid4().hex,
            workflow=workflow.name,
            workflow_hash=digest,
            snapshot=snapshot,
            snapshot_id=row,
            params=chosen,
            mode=workflow.mode,
            priority=workflow.priority,
            user=user,
            cause=cause,
            scripts=scripts,
            only=None if only is None else list(only),
            given=dict(given or {}),
        )
        return await self._ask(lambda now: self._submit(run, workflow, key, now))

    def _submit(self, run: Run, workflow: Workflow, key: str | None, now: float) -> str:
        if key and (twin := self._same_key(key)):
            return twin
        run.created_at = now
        self._machine.submit(run, workflow, Request(key, "submit", run.id) if key else None)
        return run.id

    def _same_key(self, key: str) -> str | None:
        """A request of this very batch with the same key."""
        return next((r.run for r in self._machine.change.requests if r.key == key), None)

    async def cancel(self, run_id: str, user: str, key: str | None = None) -> None:
        """Stop a run. Harmless if it has ended. Raises NotFound."""
        await self._verb(run_id, "cancel", key, lambda now, request: self._machine.cancel(run_id, user, now, request))

    async def stop_task(self, run_id: str, task: str, user: str, key: str | None = None) -> None:
        """Stop one task of a run. Harmless if it has ended. Raises NotFound."""
        await self._verb(run_id, "stop", key, lambda now, request: self._machine.stop(run_id, task, user, now, request))

    async def retry(self, run_id: str, tasks: Sequence[str] | None, key: str | None = None) -> None:
        """New attempts for what failed. Raises NotFound, Conflict if there is nothing to retry."""
        async with self._reopening:  # only a retry changes a run that ended: what is loaded here stays true
            if run_id not in self.live:
                await self._reopen(run_id)
            try:
                await self._verb(
                    run_id, "retry", key, lambda now, request: self._machine.retry(run_id, tasks, now, request)
                )
            finally:
                await self._ask(lambda now: self._let_go(run_id))

    async def _verb(
        self, run_id: str, verb: str, key: str | None, tell: Callable[[float, Request | None], None]
    ) -> None:
        if key and await history.remembered(self.store, key, verb):
            return
        request = Request(key, verb, run_id) if key else None

        def apply(now: float) -> None:
            if key and self._same_key(key):
                return
            if run_id not in self._machine.live and verb != "retry":
                if request:
                    self._machine.repeat(request)
                return
            tell(now, request)

        await history.resolve(self.store, run_id)
        await self._ask(apply)

    async def _reopen(self, run_id: str) -> None:
        """Have a run that ended in memory again, for a retry."""
        live = await history.load(self.store, run_id)

        def adopt(now: float) -> None:
            if run_id not in self._machine.live:
                self._machine.adopt(live, now)
                self.live[run_id] = published(live.detail(self.hub.newest))

        await self._ask(adopt)

    def _let_go(self, run_id: str) -> None:
        """A run that was taken in for a retry which was refused."""
        live = self._machine.live.get(run_id)
        if live is not None and live.run.state.final:
            del self._machine.live[run_id]
            self.live.pop(run_id, None)

    # ------------------------------------------------------------------------------------------------ answers

    async def detail(self, run_id: str) -> RunDetail:
        """A run as last committed. Raises NotFound."""
        if run_id in self.live:
            return self.live[run_id].detail
        seq = self.hub.newest
        return (await history.load(self.store, run_id)).detail(seq)

    async def summary(self, run_id: str) -> RunSummary:
        detail = await self.detail(run_id)
        return {k: v for k, v in detail.items() if k not in ("tasks", "edges", "seq")}  # type: ignore[return-value]

    async def task(self, run_id: str, task: str) -> TaskRunView:
        """One task run as last committed. Raises NotFound."""
        found = next((t for t in (await self.detail(run_id))["tasks"] if t["task"] == task), None)
        if found is None:
            raise NotFound(f"run {run_id} has no task {task!r}")
        return found

    def final_size(self, attempt: str) -> int | None:
        """Size of the log of an attempt that ended lately, None if it may still grow or ended long ago."""
        return self.final_sizes.get(attempt)

    @property
    def pending(self) -> bool:
        """Is there work that has not ended?"""
        return any(p.detail["state"] not in _FINAL for p in self.live.values())


_FINAL = frozenset(str(s) for s in State if s.final)


def _settle(stimulus: _Stimulus, error: Exception | None) -> None:
    if stimulus.done is None or stimulus.done.done():
        return
    if error is not None:
        stimulus.done.set_exception(error)
    else:
        stimulus.done.set_result(stimulus.result)
