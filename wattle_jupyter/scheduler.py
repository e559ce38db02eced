"""The loop round the state machine: take what came in, commit it, publish it, act on it. The only writer of state.

Requests, facts of the executor and timers are *stimuli*; they are taken together, so one commit serves all that came
while the last one was on its way to the disk. Nobody sees a state that is not on disk, and nothing is started, stopped
or acknowledged before the commit that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from sqlite3 import Connection
from typing import TypeVar, cast

from wattle_jupyter import history, jsontext, launch, library, outputs, preflight
from wattle_jupyter.aside import Aside, aside
from wattle_jupyter.change import Change, Request
from wattle_jupyter.clock import Clock, ClockWatch
from wattle_jupyter.errors import Conflict, NotFound, StoreUnavailable, Unavailable, WattleError
from wattle_jupyter.events import Hub
from wattle_jupyter.executors import Executor, Fact
from wattle_jupyter.launcher import Launcher
from wattle_jupyter.library import Recipe, Shelf
from wattle_jupyter.liverun import BIG, LiveRun, Published, published
from wattle_jupyter.meter import Meter
from wattle_jupyter.model import Event, Json, Left, Run, State, Task, Workflow
from wattle_jupyter.objects import Objects
from wattle_jupyter.outbox import Outbox
from wattle_jupyter.statemachine import Effects, Limits, StateMachine
from wattle_jupyter.stimulus import Asked, EndedMeanwhile, Stimulus, of_fact
from wattle_jupyter.store import Store
from wattle_jupyter.verdict import End
from wattle_jupyter.wire import RunDetail, RunSummary, TaskRunView

T = TypeVar("T")

RETRY_COMMIT = 0.5  # seconds between tries while the disk does not take a commit
ANSWER_WITHIN = 1.0  # seconds that a request waits for such a disk
KEPT_SIZES = 10_000  # final sizes of logs that are kept in memory


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
        objects: Objects | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock = time.time,
        steady: Clock | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.store = store
        self.executor = executor
        self.limits = limits
        self.objects = objects or Objects(store.folder / "objects")
        self.meter = Meter()
        self.trouble: str | None = None
        self.troubles: dict[str, str] = {}  # by what has it: scheduler, store, executor
        self.live: dict[str, Published] = {}
        self.final_sizes: dict[str, int] = {}  # of logs of attempts that ended lately
        self.on_trouble: list[Callable[[str | None], None]] = []
        self._environ = dict(os.environ if environ is None else environ)
        self._clock = clock
        self._watch = None if steady is None else ClockWatch(clock, steady)
        self._log = log or logging.getLogger("wattle")
        self._inbox: list[Stimulus] = []
        self._batch: list[Stimulus] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._broken = ""  # the error of our own that ended the loop
        self.launcher = Launcher(store.folder, self._environ, limits, self.objects)
        self._outbox = Outbox(executor, partial(self._set_trouble, "executor"))
        self._tasks: list[asyncio.Task[None]] = []
        self._collecting: set[asyncio.Task[None]] = set()  # what ended tasks left is being read
        self._aside = Aside(1)  # for big steps
        self._shelf = Shelf()
        self._reopening = asyncio.Lock()
        self._order = asyncio.Lock()  # commits are published in the order in which they were made
        self.hub: Hub
        self._machine: StateMachine

    # ------------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Connect to the executor, take up every run that had not ended, learn the truth about its attempts."""
        self.hub = Hub(lambda seq, run: history.events_since(self.store, seq, run), await self.store.newest_seq())
        self.executor.watch(partial(self._set_trouble, "host"))
        epoch = await self.executor.start(self.store.epoch)
        await self.store.set_epoch(epoch)
        host = self.executor.hosts()[0]
        self._machine = StateMachine(
            self.limits,
            ids=lambda: uuid.uuid4().hex,
            prepare=self.launcher.check,
            executor=self.executor.name,
            host=host.name,
            boot_id=host.boot_id,
            epoch=epoch,
        )
        await self._recover()
        loops = (self._loop, self._listen, self._outbox.run)
        self._tasks = [asyncio.create_task(self._guard(loop)) for loop in loops]

    async def stop(self) -> None:
        """Finish the commit that is under way, then let go of executor and hub. The store is the caller's to close."""
        self._stopping = True
        self._wake.set()
        if self._tasks:
            await asyncio.wait({self._tasks[0]}, timeout=5)
            with contextlib.suppress(TimeoutError):  # what is owed then is known from the store at the next start
                await asyncio.wait_for(self._outbox.drained(), 1)
        ending = (*self._tasks, *self._collecting)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._refuse(Unavailable("the server is stopping; ask again in a moment"))
        self.hub.close()
        self._aside.close()
        await self.executor.close()

    def _refuse(self, error: Exception) -> None:
        """Answer everybody who waits; what they asked for is committed whole or not at all."""
        for stimulus in (*self._batch, *self._inbox):
            stimulus.settle(error)
        self._batch, self._inbox = [], []

    async def _recover(self) -> None:
        now = self._clock()
        going_on, unreadable = await history.going_on(self.store)
        for run, why in unreadable.items():
            self._log.error("wattle: run %s cannot be read and is left alone: %s", run, why)
        for live in going_on:
            self.live[live.run.id] = published(live, live.detail(self.hub.newest))  # before anything changes in memory
            self._machine.adopt(live, now)
        rows = {a.id: a.boot_id for _, _, a in self._machine.by_attempt.values()}
        facts = await self.executor.inspect(rows) if rows else []
        await self._take_facts(facts)

    async def _guard(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop that ended by an error would be a silent server: say it, and answer who waits.

        Nothing goes on after it: what is in memory may be half a step. The next start reads the truth from the disk.
        """
        try:
            await loop()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is told
            self._log.exception("the scheduler stopped")
            self._broken = (
                f"the scheduler stopped by an error of its own: {error!r}; restart the server, nothing is lost"
            )
            self._set_trouble("scheduler", self._broken)
            self._refuse(Unavailable(self._broken))
            self._wake.set()

    # ------------------------------------------------------------------------------------------------ the loop

    async def _loop(self) -> None:
        while not self._stopping and not self._broken:
            await self._step()
            await self._wait()

    async def _wait(self) -> None:
        due = self._machine.next_timer()
        if due is None:
            await self._wake.wait()
        else:
            timer = asyncio.get_running_loop().call_later(max(0.0, due - self._clock()), self._wake.set)
            await self._wake.wait()
            timer.cancel()
        self._wake.clear()

    async def _step(self) -> None:
        """Everything that is in the inbox: one change, one commit."""
        self._batch, self._inbox = self._inbox, []
        await self._recall(self._batch)
        self._heed_clock()
        now = self._clock()
        if self._machine.big_runs_wait or sum(stimulus.weight for stimulus in self._batch) > BIG:
            change, effects = await self._aside(self._work_out, now)  # nobody else touches the machine meanwhile
        else:
            change, effects = self._work_out(now)
        if change:
            await self._commit(change)
        for run in effects.finished:
            self.live.pop(run, None)
        for stimulus in self._batch:
            stimulus.settle()
        self._batch = []
        starts = [self.launcher.spec(live, task, attempt) for live, task, attempt in effects.start]
        self._outbox.put(starts, effects.stop, effects.acknowledge)

    def _work_out(self, now: float) -> tuple[Change, Effects]:
        for stimulus in self._batch:
            self._hear(stimulus, now)
        self._machine.advance(now)
        return self._machine.take(now)

    def _heed_clock(self) -> None:
        by = self._watch.set_by() if self._watch else 0.0
        if by:
            self._log.warning("wattle: the clock was set by %+.1f s; what waits for its time is moved with it", by)
            self._machine.clock_was_set(by)

    async def _recall(self, batch: Sequence[Stimulus]) -> None:
        """Answer repeats of requests. Exact, because only this loop makes new ones: none is committed meanwhile."""
        asking = [s for s in batch if s.asked is not None]
        if not asking:
            return
        try:
            known = await history.requests(self.store, [s.asked.key for s in asking if s.asked])
        except StoreUnavailable as error:
            for stimulus in asking:
                stimulus.settle(error)
            return
        for stimulus in asking:
            if stimulus.asked and stimulus.asked.key in known:
                self._answer_repeat(stimulus, *known[stimulus.asked.key])

    @staticmethod
    def _answer_repeat(stimulus: Stimulus, verb: str, run: str) -> None:
        assert stimulus.asked is not None
        try:
            stimulus.result = stimulus.asked.repeated(verb, run)
        except Conflict as error:
            stimulus.error = error
        stimulus.settle()

    def _hear(self, stimulus: Stimulus, now: float) -> None:
        if stimulus.done is not None and stimulus.done.done():
            return  # answered already, or whoever asked was refused
        asked = stimulus.asked
        twin = self._machine.change.requests.get(asked.key) if asked else None
        try:
            if twin is not None and asked is not None:
                stimulus.result = asked.repeated(twin.verb, twin.run)
            else:
                stimulus.result = stimulus.tell(now)
        except WattleError as error:  # any other error is one of our own and ends the loop
            if stimulus.done is None:
                raise
            stimulus.error = error

    async def _commit(self, change: Change) -> None:
        """Commit, however long the disk refuses, then publish."""
        async with self._order:
            since = time.monotonic()
            while True:
                began = time.monotonic()
                try:
                    events = await self.store.commit(change)
                    break
                except StoreUnavailable as error:
                    self._set_trouble("store", str(error))
                    if self._stopping or self._broken:
                        raise
                    if time.monotonic() - since > ANSWER_WITHIN:
                        self._answer_meanwhile(error)
                    await asyncio.sleep(RETRY_COMMIT)
            self._set_trouble("store", None)
            self.meter.committed(change, time.monotonic() - began)
            self._publish(change, events)

    def _answer_meanwhile(self, error: StoreUnavailable) -> None:
        """Nobody waits for a disk. What is in the change stays in it; what came later is refused."""
        for stimulus in self._batch:
            later = StoreUnavailable(f"{error}. What was asked for is done as soon as it can be written")
            stimulus.settle(stimulus.error or later)
        for stimulus in self._inbox:
            stimulus.settle(error)

    def _publish(self, change: Change, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind == "run.created":
                event.body["run"]["seq"] = event.seq
                live = change.new_runs[str(event.run)]
                live.run.snapshot = ""  # it is in the store, and nobody asks for it here
                self.live[live.run.id] = published(live, event.body["run"])
            elif event.run in self.live:
                self.live[event.run].apply(event)
        for attempt, _ in change.attempts.values():
            if attempt.state.final:  # one that never started or is lost has no size: what is there is all
                self.final_sizes[attempt.id] = attempt.log_size or 0
        while len(self.final_sizes) > KEPT_SIZES:
            del self.final_sizes[next(iter(self.final_sizes))]
        self.hub.publish(events)

    def _set_trouble(self, of: str, trouble: str | None) -> None:
        if trouble == self.troubles.get(of):
            return
        if trouble:
            self.troubles[of] = trouble
        else:
            del self.troubles[of]
        self.trouble = next(iter(self.troubles.values()), None)
        (self._log.error if trouble else self._log.info)("wattle: %s", trouble or f"the {of} works again")
        for tell in self.on_trouble:
            tell(self.trouble)

    # ------------------------------------------------------------------------------------------------ facts

    async def _listen(self) -> None:
        async for facts in self.executor.events():
            await self._take_facts(facts)

    async def _take_facts(self, facts: Sequence[Fact]) -> None:
        if self._broken:
            return  # the executor holds them until they are acknowledged
        for told in facts:
            fact = replace(told, why=_plain(told.why)) if told.why else told
            source = self._source(fact)
            if source is None:
                self._hear_fact(fact, outputs.NOTHING)
            else:  # big files take their time: nobody else's end waits for them
                task = asyncio.create_task(self._guard(partial(self._collect, fact, *source)))
                self._collecting.add(task)
                task.add_done_callback(self._collecting.discard)

    def _source(self, fact: Fact) -> tuple[Task, str] | None:
        """The task whose outputs are to be read from the disk now, and its folder."""
        known = self._machine.by_attempt.get(fact.id) if fact.kind == "exited" else None
        if known is None or fact.code != 0 or fact.why:
            return None
        live, task_run, _ = known
        task = live.workflow.tasks[task_run.task]
        return (task, launch.working_dir(live.workflow, task)) if task.outputs else None

    async def _collect(self, fact: Fact, task: Task, folder: str) -> None:
        file = self.launcher.output_file(fact.id)
        self._hear_fact(fact, await asyncio.to_thread(outputs.collect, task, folder, file, self.objects))

    def _hear_fact(self, fact: Fact, found: tuple[outputs.Found, list[str]]) -> None:
        values, missing = found[0], [_plain(text) for text in found[1]]
        end = End(code=fact.code, signal=fact.signal, why=fact.why, values=values, missing=missing)
        self._inbox.append(of_fact(self._machine, fact, end))
        self._wake.set()

    # ------------------------------------------------------------------------------------------------ requests

    def _check_open(self) -> None:
        """Refuse at once what could only wait."""
        if self._stopping:
            raise Unavailable("the server is stopping; ask again in a moment")
        if self._broken:
            raise Unavailable(self._broken)
        if "store" in self.troubles:
            raise StoreUnavailable(self.troubles["store"])

    async def _ask(self, tell: Callable[[float], T], asked: Asked | None = None, weight: int = 1) -> T:
        """Have the loop do something to about ``weight`` task runs; returns once it is committed."""
        self._check_open()
        stimulus = Stimulus(tell, asyncio.get_running_loop().create_future(), asked, weight)
        self._inbox.append(stimulus)
        self._wake.set()
        assert stimulus.done is not None
        return cast("T", await asyncio.shield(stimulus.done))

    async def define(self, workflow: Workflow) -> str:
        """Keep a workflow as the current version of its name. Returns its row id."""

        async def save() -> str:
            async with self._order:
                row, event = await library.save(self.store, recipe, self._clock())
                self.hub.publish([event] if event else [])
            return row

        self._check_open()
        recipe = await aside(Recipe.of, workflow)
        return await asyncio.shield(asyncio.ensure_future(save()))  # committed is published, whoever went away

    @property
    def settled(self) -> asyncio.Lock:
        """While this is held, no run that ended begins anew."""
        return self._reopening

    async def record(self, transaction: Callable[[Connection], list[Event]]) -> list[Event]:
        """Commit what is not of the state machine, and publish its events in their order."""

        async def write() -> list[Event]:
            async with self._order:
                events = await self.store.write(transaction)
                self.hub.publish(events)
                return events

        self._check_open()
        return await asyncio.shield(asyncio.ensure_future(write()))

    async def undefine(self, name: str) -> None:
        """Hide a workflow. Raises NotFound."""

        async def hide() -> None:
            async with self._order:
                self.hub.publish([await library.delete(self.store, name, self._clock())])

        self._check_open()
        await asyncio.shield(asyncio.ensure_future(hide()))

    async def recipe(self, name: str) -> Recipe:
        """The current definition of ``name``. Raises NotFound."""
        return await library.recipe(self.store, self._shelf, name)

    async def submit(
        self,
        workflow: Workflow | Recipe,
        *,
        user: str,
        params: Mapping[str, Json] | None = None,
        cause: str = "api",
        key: str | None = None,
        only: Sequence[str] | None = None,
        given: Mapping[str, Left] | None = None,
    ) -> str:
        """Start a run. Returns its id, once it is committed.

        Raises SpecError for what the disk says, TooManyRuns, Conflict for a ``key`` used otherwise, NotFound if
        ``only`` names no task. The same ``key`` starts one run only.
        """
        self._check_open()
        asked = Asked(key, "submit", None) if key else None
        try:
            recipe, chosen, scripts = await self._prepared(workflow, params or {}, only or ())
        except WattleError:  # of a repeat it is no matter; the loop knows all others
            if asked and (known := await history.requests(self.store, [asked.key])):
                return asked.repeated(*known[asked.key])
            raise
        workflow = recipe.workflow
        run = Run(
            id=uuid.uuid4().hex,
            workflow=workflow.name,
            workflow_hash=recipe.digest,
            snapshot=recipe.text,
            params=chosen,
            mode=workflow.mode,
            priority=workflow.priority,
            user=_plain(user),
            cause=cause,
            scripts=scripts,
            only=None if only is None else list(only),
            given=dict(given or {}),
        )
        return await self._ask(lambda now: self._submit(run, recipe.workflow, key, now), asked, len(workflow.tasks))

    async def _prepared(
        self, asked: Workflow | Recipe, params: Mapping[str, Json], only: Sequence[str]
    ) -> tuple[Recipe, dict[str, Json], dict[str, str]]:
        """What is run, its params, and copies of its scripts. Raises SpecError, NotFound."""
        workflow = asked.workflow if isinstance(asked, Recipe) else asked
        chosen = preflight.params(workflow, params)
        unknown = [name for name in only if name not in workflow.tasks]
        if unknown:
            raise NotFound(f"{workflow.name} has no task {unknown[0]!r}")

        def look() -> tuple[Recipe, dict[str, Json], dict[str, str]]:
            preflight.check(workflow, self._environ.get("PATH", os.defpath), self.objects)
            scripts = preflight.snapshot_scripts(workflow, self.objects.folder)
            return asked if isinstance(asked, Recipe) else Recipe.of(asked), chosen, scripts

        return await aside(look)

    def _submit(self, run: Run, workflow: Workflow, key: str | None, now: float) -> str:
        run.created_at = now
        self._machine.submit(run, workflow, Request(key, "submit", run.id) if key else None)
        return run.id

    async def cancel(self, run_id: str, user: str, key: str | None = None) -> None:
        """Stop a run. Harmless if it has ended. Raises NotFound."""
        user = _plain(user)
        await self._end_by_user(
            run_id, "cancel", key, lambda run, now, request: self._machine.cancel(run, user, now, request)
        )

    async def stop_task(self, run_id: str, task: str, user: str, key: str | None = None) -> None:
        """Stop one task of a run. Harmless if it has ended. Raises NotFound."""
        user = _plain(user)
        await self._end_by_user(
            run_id, "stop", key, lambda run, now, request: self._machine.stop(run, task, user, now, request)
        )

    async def _end_by_user(
        self, text: str, verb: str, key: str | None, tell: Callable[[str, float, Request | None], None]
    ) -> None:
        run_id = await history.resolve(self.store, text)
        request = Request(key, verb, run_id) if key else None

        def apply(now: float) -> None:
            if run_id in self._machine.live:
                tell(run_id, now, request)
            elif request:
                self._machine.repeat(request)

        live = self._machine.live.get(run_id)
        await self._ask(apply, Asked(key, verb, run_id) if key else None, len(live.task_runs) if live else 1)

    async def retry(self, run_id: str, tasks: Sequence[str] | None, key: str | None = None) -> None:
        """New attempts for what failed. Raises NotFound, Conflict if there is nothing to retry."""
        self._check_open()
        run_id = await history.resolve(self.store, run_id)
        async with self._reopening:  # only a retry changes a run that ended: what is loaded here stays true
            while True:
                with contextlib.suppress(EndedMeanwhile):
                    await self._retry(run_id, tasks, key)
                    return

    async def _retry(self, run_id: str, tasks: Sequence[str] | None, key: str | None) -> None:
        known = self._machine.live.get(run_id)
        ended = await history.load(self.store, run_id) if known is None else None
        request = Request(key, "retry", run_id) if key else None

        def apply(now: float) -> None:
            if run_id not in self._machine.live:
                if ended is None or not ended.run.state.final:
                    raise EndedMeanwhile("look again")
                self._reopen(ended, tasks, now, request)
            else:
                self._machine.retry(run_id, tasks, now, request)

        weight = sum(len(live.task_runs) for live in (known, ended) if live)
        await self._ask(apply, Asked(key, "retry", run_id) if key else None, weight)

    def _reopen(self, live: LiveRun, tasks: Sequence[str] | None, now: float, request: Request | None) -> None:
        """Have a run that ended in memory again, if its retry makes sense."""
        self.live[live.run.id] = published(live, live.detail(self.hub.newest))
        self._machine.adopt(live, now)
        try:
            self._machine.retry(live.run.id, tasks, now, request)
        except WattleError:
            del self._machine.live[live.run.id], self.live[live.run.id]
            raise

    # ------------------------------------------------------------------------------------------------ answers

    async def detail(self, run_id: str) -> RunDetail:
        """A run as last committed. Raises NotFound."""
        if run_id in self.live:
            return self.live[run_id].copy()
        seq = self.hub.newest
        return await aside((await history.load(self.store, run_id)).detail, seq)

    async def detail_text(self, run_id: str) -> str:
        """The same as JSON. Raises NotFound."""
        live = self.live.get(run_id)
        if live is None:
            seq = self.hub.newest
            loaded = [await history.load(self.store, run_id)]  # a big one is let go of where it was used
            return await aside(lambda: jsontext.encode(loaded.pop().detail(seq), 2))
        if not live.big:
            return live.text()
        shown = live.snapshot()
        text = await aside(shown.text)
        live.learn(shown)
        return text

    async def summary(self, run_id: str) -> RunSummary:
        if run_id not in self.live:
            return await history.summary(self.store, run_id)
        detail = self.live[run_id].detail
        return {k: v for k, v in detail.items() if k not in ("tasks", "edges", "seq")}  # type: ignore[return-value]

    async def task(self, run_id: str, task: str) -> TaskRunView:
        """One task run as last committed. Raises NotFound."""
        live = self.live.get(run_id)
        if live is not None and task in live.tasks:
            return live.detail["tasks"][live.tasks[task]]
        return await history.task_view(self.store, run_id, task)

    async def definition(self, run_id: str, task: str) -> tuple[Workflow, list[str]]:
        """The workflow of a run with this task at least, and what the task waits for. Raises NotFound."""
        live = self._machine.live.get(run_id)
        if live is None or task not in live.task_runs:
            return await history.definition_of(self.store, run_id, task)
        return live.workflow, list(live.plan.upstream[task])

    def final_size(self, attempt: str) -> int | None:
        """Size of the log of an attempt that ended lately, None if it may still grow or ended long ago."""
        return self.final_sizes.get(attempt)

    @property
    def active(self) -> int:
        """Slots in use."""
        return self._machine.active

    @property
    def queued_runs(self) -> int:
        return self._machine.queued_runs

    @property
    def queued_tasks(self) -> int:
        """Task runs that are ready and wait for a slot."""
        return sum(live.counts["queued"] for live in list(self._machine.live.values()))

    def runs_by_state(self) -> dict[str, int]:
        """How many runs wait, and how many go on."""
        return {"queued": self.queued_runs, "running": len(self._machine.live) - self.queued_runs}

    @property
    def pending(self) -> bool:
        """Is there work that has not ended?"""
        return bool(self._inbox) or any(p.detail["state"] not in _FINAL for p in list(self.live.values()))


_FINAL = frozenset(str(s) for s in State if s.final)


def _plain(text: str) -> str:
    """Text that UTF-8 can hold: file names and errors may carry lone surrogates, which no database takes."""
    return text.encode("utf-8", "replace").decode()
