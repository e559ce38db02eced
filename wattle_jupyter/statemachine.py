"""What follows from what: the rules of the scheduler as a synchronous state machine.

No I/O and no clock: facts, requests and the time come in, a :class:`~wattle_jupyter.change.Change` to commit and
:class:`Effects` to carry out *after* that commit come out. ``scheduler`` is the loop round it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wattle_jupyter import liverun, reopening
from wattle_jupyter.admission import Admission
from wattle_jupyter.ahead import Ahead
from wattle_jupyter.change import Change, Draft, Request
from wattle_jupyter.errors import NotFound, TooManyRuns, WattleError
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import FINAL, MOVES, Attempt, AttemptState, Json, Run, State, Task, TaskRun, Value, Workflow
from wattle_jupyter.queues import Queues
from wattle_jupyter.verdict import End, judge

LOSS_DELAY = 1.0  # seconds before a lost attempt is made again, doubled each time

OPEN = (State.CREATED, State.QUEUED, State.WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may go on at once in one store."""

    slots: int = 8
    ahead: int = 0  # most attempts that the executor is given before a slot is free, while tasks are brief
    max_active_runs: int = 100
    max_queued_runs: int = 1000
    loss_budget: int = 3
    grace: float = 10.0
    timeout: float | None = None  # of an attempt whose task sets none


@dataclass(slots=True)
class Effects:
    """What to do once the change is committed."""

    start: list[tuple[LiveRun, Task, Attempt]] = field(default_factory=list)
    stop: list[tuple[str, float]] = field(default_factory=list)  # attempt, grace
    acknowledge: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)  # runs that ended


class StateMachine:
    """All runs that go on, and the rules by which they do.

    ``ids`` makes a new id at each call; ``prepare`` raises a WattleError if a task cannot be launched (a value that
    its command names is missing): the task then fails with that message.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        ids: Callable[[], str],
        prepare: Callable[[LiveRun, Task], None] = lambda live, task: None,
        executor: str = "local",
        host: str = "local",
        boot_id: str = "",
        epoch: int = 0,
    ) -> None:
        self.limits = limits
        self.live: dict[str, LiveRun] = {}
        self.ids = ids
        self.prepare = prepare
        self.executor, self.host, self.boot_id, self.epoch = executor, host, boot_id, epoch
        self.by_attempt: dict[str, tuple[LiveRun, TaskRun, Attempt]] = {}
        self.ahead = Ahead(limits.ahead)
        self._queues = Queues()
        self._admission = Admission(limits.max_active_runs)
        self._changed: dict[str, set[str]] = {}  # run → tasks that changed in this step
        self.change = Change()
        self.effects = Effects()

    # ------------------------------------------------------------------------------------------------ one step

    def advance(self, now: float) -> None:
        """Everything that follows from what came in."""
        self._start_due_retries(now)
        again = True
        while again:  # a run that ended makes a place for the next one
            self._admit_runs(now)
            self._start_ready(now)
            again = self._close_runs(now) and bool(self._admission.waiting)

    def take(self, now: float) -> tuple[Change, Effects]:
        """The change since the last call, with its events, and what to do after its commit."""
        self.change.at = now
        for run_id, tasks in self._changed.items():
            live = self.live[run_id]
            if run_id in self.change.new_runs:
                body: dict[str, Json] = {"run": dict(live.detail(0))}
                self.change.events.append(Draft(run_id, "run.created", body))
            else:
                views = [live.task_view(name) for name in sorted(tasks, key=live.position.__getitem__)]
                body = {"run": dict(live.summary()), "tasks": views}
                self.change.events.append(Draft(run_id, "run.changed", body))
            live.let_go(tasks)
        change, effects = self.change, self.effects
        self.change, self.effects, self._changed = Change(), Effects(), {}
        for run_id in effects.finished:
            self._drop(run_id)
        return change, effects

    def next_timer(self) -> float | None:
        """When something is due that nobody will tell us about."""
        return self._queues.next_timer

    @property
    def active(self) -> int:
        """Slots in use."""
        return len(self.by_attempt) - len(self.ahead)

    @property
    def big_runs_wait(self) -> bool:
        """Is there a run that is much work once it goes on?"""
        return self._admission.big > 0

    @property
    def queued_runs(self) -> int:
        return len(self._admission.waiting)

    # ------------------------------------------------------------------------------------------------ requests

    def submit(self, run: Run, workflow: Workflow, request: Request | None = None) -> LiveRun:
        """Take a new run in. It starts in the same step if there is a place for it."""
        if self.queued_runs >= self.limits.max_queued_runs:
            raise TooManyRuns(
                f"{self.limits.max_queued_runs} runs wait already, which is the limit of this store; "
                "wait for some to end or cancel some"
            )
        live = liverun.create(run, workflow, (self.ids() for _ in workflow.tasks))
        self.live[run.id] = live
        self.change.new_runs[run.id] = live
        self.change.new_task_runs.update((t.id, t) for t in live.task_runs.values())
        self._changed[run.id] = set()
        run.state = State.QUEUED
        self._admission.wait(live)
        self._remember(request)
        return live

    def adopt(self, live: LiveRun, now: float) -> None:
        """Take in a run that the store holds: at start, or to reopen it."""
        self.live[live.run.id] = live
        for attempt in live.attempts.values():
            if not attempt.state.final:
                task_run = next(t for t in live.task_runs.values() if t.id == attempt.task_run)
                self.by_attempt[attempt.id] = (live, task_run, attempt)
                self._has_slot(live, task_run, now)
                if task_run.stop_at is not None or live.run.cancel_at is not None:
                    self._signal(live, task_run)
        live.let_go(live.task_runs)
        failed = next(live.in_state(State.FAILED), None)
        if failed is not None and live.workflow.on_failure != "continue":
            live.stopping = f"{failed.task} failed"
        if live.run.state in (State.CREATED, State.QUEUED):
            self._admission.wait(live)
        elif live.run.state is State.RUNNING:
            self._admission.go_on(live)
            for task_run in live.in_state(State.QUEUED):
                self._wait_for_slot(live, task_run)
            self._release(live, now)

    def cancel(self, run_id: str, user: str, now: float, request: Request | None = None) -> None:
        """Start nothing more of this run and stop what runs. Harmless if it is ending already."""
        live = self._get(run_id)
        self._remember(request)
        if live.run.state.final:
            return
        if live.run.cancel_at is None:
            self._touch_run(live)
            live.run.cancel_at, live.run.cancelled_by = now, user
        self._let_go_ahead(live, now)
        self._end_open(live, State.CANCELLED, f"cancelled by {user}", now)
        for task_run in live.in_state(State.RUNNING):
            self._ask_to_stop(live, task_run, user, now)

    def stop(self, run_id: str, task: str, user: str, now: float, request: Request | None = None) -> None:
        """Stop one task; its dependents are skipped."""
        live = self._get(run_id)
        task_run = live.task_run(task)
        self._remember(request)
        if task_run.attempt in self.ahead:
            self._has_slot(live, task_run, now)
        if task_run.state is State.RUNNING:
            self._ask_to_stop(live, task_run, user, now)
        elif not task_run.state.final:
            self._end(live, task_run, State.CANCELLED, f"stopped by {user}", now)

    def retry(self, run_id: str, tasks: Sequence[str] | None, now: float, request: Request | None = None) -> None:
        """New attempts for what failed or was cancelled, and for all that was skipped because of it.

        Raises Conflict if there is nothing to retry, or a task's upstream did not complete and is not retried too.
        """
        live = self._get(run_id)
        again = reopening.with_skipped(live, reopening.to_retry(live, tasks))
        self._remember(request)
        if live.run.state.final:
            self._reopen(live)
        self._touch_run(live)
        live.run.cancel_at = live.run.cancelled_by = None
        live.stopping = ""
        for name in live.plan.order:
            if name in again:
                self._renew(live, live.task_runs[name])
        live.recount()
        if live.run.state is State.RUNNING:
            self._release(live, now)

    def repeat(self, request: Request) -> None:
        """Remember a request that changed nothing, so that its repeat changes nothing either."""
        self._remember(request)

    def clock_was_set(self, by: float) -> None:
        """What is to come comes as soon as if it had not been, and what goes on has taken as long."""
        self._queues.shift(by)
        self._admission.shift(by)
        for live in self.live.values():
            self._touch_run(live)
            for task_run in live.shift(by):
                self._touch(live, task_run)

    # ------------------------------------------------------------------------------------------------ facts

    def started(self, attempt_id: str, pid: int | None, boot_id: str, at: float | None, now: float) -> None:
        """The process of an attempt runs."""
        known = self.by_attempt.get(attempt_id)
        if known is None:
            return
        live, task_run, attempt = known
        self._has_slot(live, task_run, now)
        if task_run.reason:  # its host can be reached again
            self._touch(live, task_run)
            task_run.reason = ""
        if attempt.state is not AttemptState.STARTING:
            return
        self.change.touch_attempt(attempt)
        attempt.state, attempt.pid, attempt.started_at = AttemptState.RUNNING, pid, at
        attempt.boot_id = boot_id or attempt.boot_id

    def ended(self, attempt_id: str, end: End, now: float, **facts: float | int | None) -> None:
        """The process of an attempt ran and ended. ``facts`` are columns of the attempt (times, peak_rss, …)."""
        self.effects.acknowledge.append(attempt_id)
        known = self.by_attempt.get(attempt_id)
        if known is None:
            return
        live, task_run, attempt = known
        self._has_slot(live, task_run, now)
        began = facts.get("started_at")
        self.ahead.note((facts.get("ended_at") or now) - (began or 0.0))
        task = live.workflow.tasks[task_run.task]
        required = any(task.outputs[n].required for n in task.outputs) if end.missing else False
        stopped_by = task_run.stopped_by or live.run.cancelled_by or ""
        if end.why == "stopped" and not end.stopped_by:
            end = End(code=end.code, signal=end.signal, why=end.why, stopped_by=stopped_by)
        state, reason = judge(end, task.timeout or self.limits.timeout, required)
        self._close_attempt(attempt, state, reason, now, code=end.code, signal=end.signal, **facts)
        self._free(live, attempt, now)
        if state is AttemptState.COMPLETED:
            self._keep_values(live, task, attempt, end)
            self._end(live, task_run, State.COMPLETED, reason, now)
        elif state is AttemptState.CANCELLED:
            self._end(live, task_run, State.CANCELLED, reason, now)
        else:
            self._failed(live, task_run, task, reason, now)

    def vanished(self, attempt_id: str, state: AttemptState, why: str, now: float) -> None:
        """An attempt that never started (made again, for nothing was done) or is lost (from a budget of its own)."""
        self.effects.acknowledge.append(attempt_id)
        known = self.by_attempt.get(attempt_id)
        if known is None:
            return
        live, task_run, attempt = known
        stopped = why == "stopped" or task_run.stop_at is not None or live.run.cancel_at is not None
        reason = why or ("its process vanished" if state is AttemptState.LOST else "it was never started")
        self._close_attempt(attempt, state, reason, now)
        self._free(live, attempt, now)
        if stopped:
            by = task_run.stopped_by or live.run.cancelled_by
            self._end(live, task_run, State.CANCELLED, f"stopped by {by}" if by else "stopped", now)
        elif state is AttemptState.LOST:
            self._lost(live, task_run, reason, now)
        elif why:  # the host says why it could not be started: an ordinary failure
            self._failed(live, task_run, live.workflow.tasks[task_run.task], reason, now)
        elif live.stopping:
            self._end(live, task_run, State.SKIPPED, live.stopping, now)
        else:
            self._again(live, task_run, reason, LOSS_DELAY, now)

    def unreachable(self, attempt_id: str, why: str) -> None:
        """Nobody can see the process just now; it keeps its slot, and the user sees why."""
        known = self.by_attempt.get(attempt_id)
        if known is not None and known[1].reason != why:
            self._touch(known[0], known[1])
            known[1].reason = why

    # ------------------------------------------------------------------------------------------------ the steps

    def _start_due_retries(self, now: float) -> None:
        for entry in self._queues.take_due(now):
            live, name = self.live.get(entry.run), entry.task
            if live is None:
                continue
            task_run = live.task_runs[name]
            if task_run.state is State.QUEUED and task_run.not_before is not None and task_run.not_before <= now:
                self._touch(live, task_run)
                task_run.not_before = None
                self._wait_for_slot(live, task_run)

    def _admit_runs(self, now: float) -> None:
        while (live := self._admission.next()) is not None:
            self._touch_run(live)
            live.run.state, live.run.reason = State.RUNNING, ""
            live.run.started_at = live.run.started_at or now
            self._release(live, now)
        for live, why in self._admission.reasons():
            if live.run.reason != why:
                self._touch_run(live)
                live.run.reason = why

    def _start_ready(self, now: float) -> None:
        while len(self.by_attempt) < self.limits.slots + self.ahead.room and (entry := self._queues.take_ready()):
            live = self.live.get(entry.run)
            if live is None:
                continue
            task_run = live.task_runs[entry.task]
            if task_run.state is not State.QUEUED or task_run.not_before:
                pass
            elif live.at_limit:
                live.park(entry)
            elif self.active < self.limits.slots:
                self._start(live, task_run, now)
                self._has_slot(live, task_run, now)
            elif live.workflow.max_parallel is None and live.workflow.on_failure == "continue":
                self._start(live, task_run, now)
                if task_run.state is State.QUEUED:  # it could be prepared
                    self.ahead.add(task_run.attempt or "")
            else:
                self._queues.put_back(entry)
                return
            self._unpark(live)

    def _unpark(self, live: LiveRun) -> None:
        """One that waits for the run's own limit comes back. Each that is taken brings the next, if there is room."""
        if live.parked and not live.at_limit:
            self._queues.put_back(live.unpark())

    def _start(self, live: LiveRun, task_run: TaskRun, now: float) -> None:
        task = live.workflow.tasks[task_run.task]
        try:
            self.prepare(live, task)
        except WattleError as error:
            self._end(live, task_run, State.FAILED, str(error), now)
            return
        self._touch(live, task_run)
        task_run.attempts += 1
        attempt = Attempt(
            id=self.ids(),
            task_run=task_run.id,
            run=live.run.id,
            n=task_run.attempts,
            round=task_run.round,
            executor=self.executor,
            host=self.host,
            epoch=self.epoch,
            boot_id=self.boot_id,
            created_at=now,
        )
        if task_run.attempt is not None:
            live.attempts.pop(task_run.attempt, None)
        task_run.attempt, task_run.reason, task_run.ended_at = attempt.id, "", None
        live.attempts[attempt.id] = attempt
        live.active += 1
        self.by_attempt[attempt.id] = (live, task_run, attempt)
        self.change.new_attempts[attempt.id] = attempt
        self.effects.start.append((live, task, attempt))

    def _has_slot(self, live: LiveRun, task_run: TaskRun, now: float) -> None:
        """The executor starts it by now, or has long since."""
        self.ahead.discard(task_run.attempt or "")
        if task_run.state is State.QUEUED:
            self._move(live, task_run, State.RUNNING, "", now)
            task_run.started_at = now

    def _let_go_ahead(self, live: LiveRun, now: float) -> None:
        """What is ahead of a run that a user interferes with counts as started, so that it is stopped."""
        for attempt in list(self.ahead):
            owner, task_run, _ = self.by_attempt[attempt]
            if owner is live:
                self._has_slot(live, task_run, now)

    def _close_runs(self, now: float) -> bool:
        closed = False
        for run_id in list(self._changed):
            live = self.live[run_id]
            if live.run.state.final or live.active or not live.all_final:
                continue
            self._touch_run(live)
            live.run.state, live.run.reason = self._outcome(live)
            live.run.ended_at = now
            self.effects.finished.append(run_id)
            self._admission.end(live)
            closed = True
        return closed

    @staticmethod
    def _outcome(live: LiveRun) -> tuple[State, str]:
        failed = list(live.in_state(State.FAILED))
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            return State.FAILED, f"{failed[0].task} failed: {failed[0].reason}{more}"
        if live.run.cancelled_by is not None:
            return State.CANCELLED, f"cancelled by {live.run.cancelled_by}"
        cancelled = next(live.in_state(State.CANCELLED), None)
        if cancelled:
            return State.CANCELLED, f"{cancelled.task} was {cancelled.reason}"
        return State.COMPLETED, ""

    # ------------------------------------------------------------------------------------------------ what ends

    def _end(self, live: LiveRun, task_run: TaskRun, state: State, reason: str, now: float) -> None:
        """A task run is final; its dependents are released or skipped."""
        self._move(live, task_run, state, reason, now)
        if state is State.COMPLETED:
            for name in live.plan.downstream[task_run.task]:
                live.waiting[name] -= 1
                if live.waiting[name] == 0:
                    self._ready_now(live, live.task_runs[name], now)
            return
        cause = f"{task_run.task} {'failed' if state is State.FAILED else 'was ' + state.value}"
        self._skip_after(live, task_run.task, cause, now)
        if state is State.FAILED and live.workflow.on_failure != "continue":
            self._stop_run(live, cause, now)

    def _skip_after(self, live: LiveRun, name: str, cause: str, now: float) -> None:
        stack = list(live.plan.downstream[name])
        while stack:
            task_run = live.task_runs[stack.pop()]
            if task_run.state in OPEN:
                self._move(live, task_run, State.SKIPPED, cause, now)
                stack.extend(live.plan.downstream[task_run.task])

    def _stop_run(self, live: LiveRun, cause: str, now: float) -> None:
        """What ``on_failure: stop`` and ``on_failure: cancel`` ask for."""
        live.stopping = cause
        self._end_open(live, State.SKIPPED, cause, now)
        if live.workflow.on_failure == "cancel":
            for task_run in live.in_state(State.RUNNING):
                self._ask_to_stop(live, task_run, f"the run, as {cause}", now)

    def _end_open(self, live: LiveRun, state: State, reason: str, now: float) -> None:
        for task_run in list(live.in_state(*OPEN)):
            self._move(live, task_run, state, reason, now)

    def _failed(self, live: LiveRun, task_run: TaskRun, task: Task, reason: str, now: float) -> None:
        self._touch(live, task_run)
        task_run.failures += 1
        if task_run.failures > task.retries or task_run.stop_at is not None or self._ending(live):
            self._end(live, task_run, State.FAILED, reason, now)
            return
        delay = min(task.retry_delay * task.retry_backoff ** (task_run.failures - 1), task.retry_max_delay)
        self._again(live, task_run, f"{reason}; retry {task_run.failures} of {task.retries}", delay, now)

    def _lost(self, live: LiveRun, task_run: TaskRun, reason: str, now: float) -> None:
        self._touch(live, task_run)
        task_run.losses += 1
        if task_run.losses > self.limits.loss_budget or self._ending(live):
            times = "once" if task_run.losses == 1 else f"{task_run.losses} times"
            self._end(live, task_run, State.FAILED, f"lost {times}: {reason}", now)
            return
        text = f"{reason}; started again ({task_run.losses} of {self.limits.loss_budget})"
        self._again(live, task_run, text, LOSS_DELAY * 2.0 ** (task_run.losses - 1), now)

    def _again(self, live: LiveRun, task_run: TaskRun, reason: str, delay: float, now: float) -> None:
        """Back into the queue after a delay; full jitter over its last quarter keeps a crowd from coming at once."""
        jitter = int((task_run.attempt or "0")[:4], 16) / 0xFFFF
        self._move(live, task_run, State.QUEUED, reason, now)
        task_run.not_before = now + delay * (0.75 + 0.25 * jitter)
        self._wait_for_slot(live, task_run)

    @staticmethod
    def _ending(live: LiveRun) -> bool:
        return live.run.cancel_at is not None or bool(live.stopping)

    def _close_attempt(
        self, attempt: Attempt, state: AttemptState, reason: str, now: float, **facts: float | int | None
    ) -> None:
        self.change.touch_attempt(attempt)
        attempt.state, attempt.reason, attempt.ended_at = state, reason, now
        for column, fact in facts.items():
            if fact is not None:
                setattr(attempt, column, fact)

    def _free(self, live: LiveRun, attempt: Attempt, now: float) -> None:
        """The slot of an attempt that ended: the executor has given it to the first that waits there."""
        del self.by_attempt[attempt.id]
        self.ahead.discard(attempt.id)
        live.active -= 1
        while self.ahead and self.active < self.limits.slots:
            owner, task_run, _ = self.by_attempt[next(iter(self.ahead))]
            self._has_slot(owner, task_run, now)
        self._unpark(live)

    def _keep_values(self, live: LiveRun, task: Task, attempt: Attempt, end: End) -> None:
        for name, left in end.values.items():
            live.values[f"{task.name}/{name}"] = left
            self.change.values.append(Value(attempt=attempt.id, name=name, **left._asdict()))

    # ------------------------------------------------------------------------------------------------ what gets ready

    def _release(self, live: LiveRun, now: float) -> None:
        """Queue every task that waits for nothing; skip what can never start."""
        for name in live.plan.order:
            task_run = live.task_runs[name]
            if task_run.state is State.CREATED and live.waiting[name] == 0:
                self._ready_now(live, task_run, now)
        self._touch_run(live)

    def _ready_now(self, live: LiveRun, task_run: TaskRun, now: float) -> None:
        if task_run.state is not State.CREATED or live.run.state is not State.RUNNING:
            return
        self._move(live, task_run, State.QUEUED, "", now)
        task_run.queued_at = now
        self._wait_for_slot(live, task_run)

    def _wait_for_slot(self, live: LiveRun, task_run: TaskRun) -> None:
        if task_run.not_before is not None:
            self._queues.add_timer(live.run.id, task_run.task, task_run.not_before)
        else:
            priority = live.workflow.tasks[task_run.task].priority or live.run.priority
            self._queues.add_ready(live.run.id, task_run.task, task_run.queued_at or 0.0, priority)

    # ------------------------------------------------------------------------------------------------ retry by a user

    def _reopen(self, live: LiveRun) -> None:
        self._touch_run(live)
        live.run.state, live.run.reason, live.run.ended_at = State.QUEUED, "", None
        self._admission.wait(live)

    def _renew(self, live: LiveRun, task_run: TaskRun) -> None:
        self._touch(live, task_run)
        live.counts[task_run.state.value] -= 1
        live.counts["created"] += 1
        task_run.state, task_run.reason = State.CREATED, ""
        task_run.round += 1
        task_run.failures = task_run.losses = 0
        task_run.not_before = task_run.stop_at = task_run.stopped_by = None
        task_run.queued_at = task_run.started_at = task_run.ended_at = None

    # ------------------------------------------------------------------------------------------------ small things

    def _ask_to_stop(self, live: LiveRun, task_run: TaskRun, user: str, now: float) -> None:
        if task_run.stop_at is None:
            self._touch(live, task_run)
            task_run.stop_at, task_run.stopped_by = now, user
        self._signal(live, task_run)

    def _signal(self, live: LiveRun, task_run: TaskRun) -> None:
        grace = live.workflow.tasks[task_run.task].grace
        if task_run.attempt is not None:
            self.effects.stop.append((task_run.attempt, self.limits.grace if grace is None else grace))

    def _move(self, live: LiveRun, task_run: TaskRun, state: State, reason: str, now: float) -> None:
        if state is not task_run.state and state not in MOVES[task_run.state]:
            raise AssertionError(f"{task_run.task}: {task_run.state} → {state} is not a legal move")
        self._touch(live, task_run)
        live.counts[task_run.state.value] -= 1
        live.counts[state.value] += 1
        task_run.state, task_run.reason = state, reason
        if state in FINAL:
            task_run.ended_at, task_run.not_before = now, None

    def _touch(self, live: LiveRun, task_run: TaskRun) -> None:
        self.change.touch_task_run(task_run)
        self._changed.setdefault(live.run.id, set()).add(task_run.task)

    def _touch_run(self, live: LiveRun) -> None:
        self.change.touch_run(live.run)
        self._changed.setdefault(live.run.id, set())

    def _remember(self, request: Request | None) -> None:
        if request is not None:
            self.change.requests[request.key] = request

    def _get(self, run_id: str) -> LiveRun:
        live = self.live.get(run_id)
        if live is None:
            raise NotFound(f"no run {run_id}")
        return live

    def _drop(self, run_id: str) -> None:
        live = self.live.get(run_id)
        if live is not None and live.run.state.final:
            del self.live[run_id]
