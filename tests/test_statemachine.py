"""The rules of the scheduler, without any process, disk or clock."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wattle_jupyter import liverun, spec
from wattle_jupyter.change import Change, Request
from wattle_jupyter.errors import Conflict, NotFound, TooManyRuns
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import AttemptState, Run, State, Task
from wattle_jupyter.statemachine import Effects, Limits, StateMachine
from wattle_jupyter.verdict import End

DIAMOND = {"a": {"run": "x"}, "b": {"run": "x", "needs": ["a"]}, "c": {"run": "x", "needs": ["a"]},
           "d": {"run": "x", "needs": ["b", "c"]}}  # fmt: skip


class Bench:
    """A state machine with a clock that the test moves and processes that the test ends."""

    def __init__(self, **limits: Any) -> None:
        numbers = itertools.count(1)
        self.now = 1000.0
        self.machine = StateMachine(Limits(**limits), ids=lambda: f"{next(numbers):032x}")
        self.running: dict[str, str] = {}  # attempt → task
        self.order: list[str] = []
        self.stopped: list[str] = []
        self.takes = 1.0  # seconds, each task
        self.changes: list[Change] = []

    def submit(self, tasks: dict[str, Any], name: str = "w", **extra: Any) -> LiveRun:
        run_fields = {k: extra.pop(k) for k in ("only", "given", "key") if k in extra}
        workflow = spec.load({"name": name, "tasks": tasks, "working_dir": "/", **extra})
        key = run_fields.pop("key", None)
        run = Run(
            id=self.machine.ids(), workflow=name, workflow_hash="", params={}, mode=workflow.mode,
            priority=workflow.priority, user="ada", created_at=self.now, **run_fields,
        )  # fmt: skip
        live = self.machine.submit(run, workflow, Request(key, "submit", run.id) if key else None)
        self.step()
        return live

    def step(self) -> Effects:
        self.machine.advance(self.now)
        change, effects = self.machine.take(self.now)
        self.changes.append(change)
        for _, task, attempt in effects.start:
            self.running[attempt.id] = task.name
            self.order.append(task.name)
        self.stopped += [self.running[a] for a, _ in effects.stop if a in self.running]
        return effects

    def attempt(self, task: str) -> str:
        return next(a for a, t in self.running.items() if t == task)

    def end(self, task: str, code: int = 0, **how: Any) -> Effects:
        attempt = self.attempt(task)
        del self.running[attempt]
        began = self.now - self.takes
        self.machine.ended(attempt, End(code=code, **how), self.now, started_at=began, ended_at=self.now)
        return self.step()

    def lose(self, task: str, state: AttemptState = AttemptState.LOST, why: str = "") -> None:
        attempt = self.attempt(task)
        del self.running[attempt]
        self.machine.vanished(attempt, state, why, self.now)
        self.step()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.step()


def states(live: LiveRun) -> dict[str, str]:
    return {name: t.state.value for name, t in live.task_runs.items()}


def test_tasks_start_when_what_they_wait_for_completed_and_the_run_completes_with_the_last() -> None:
    bench = Bench()
    live = bench.submit(DIAMOND)
    assert bench.order == ["a"]
    bench.end("a")
    assert bench.order == ["a", "b", "c"]
    bench.end("c")
    assert states(live) == {"a": "completed", "b": "running", "c": "completed", "d": "created"}
    bench.end("b")
    effects = bench.end("d")
    assert live.run.state is State.COMPLETED
    assert effects.finished == [live.run.id]
    assert bench.machine.live == {}


def test_readiness_has_no_level_barrier() -> None:
    bench = Bench()
    bench.submit({"slow": {"run": "x"}, "fast": {"run": "x"}, "next": {"run": "x", "needs": ["fast"]}})
    bench.end("fast")
    assert "next" in bench.order


def test_a_failed_task_skips_all_that_depends_on_it_and_the_rest_goes_on() -> None:
    bench = Bench()
    live = bench.submit({**DIAMOND, "e": {"run": "x"}})
    bench.end("a", 3)
    assert states(live) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "skipped", "e": "running"}
    assert live.task_runs["a"].reason == "exit 3"
    assert live.task_runs["d"].reason == "a failed"
    bench.end("e")
    assert (live.run.state, live.run.reason) == (State.FAILED, "a failed: exit 3")


def test_on_failure_stop_starts_nothing_new_and_lets_what_runs_end() -> None:
    bench = Bench(slots=2)
    live = bench.submit({n: {"run": "x"} for n in "abc"}, on_failure="stop")
    bench.end("a", 1)
    assert states(live) == {"a": "failed", "b": "running", "c": "skipped"}
    assert bench.stopped == []
    bench.end("b")
    assert live.run.state is State.FAILED


def test_on_failure_cancel_stops_what_runs() -> None:
    bench = Bench()
    live = bench.submit({n: {"run": "x"} for n in "ab"}, on_failure="cancel")
    bench.end("a", 1)
    assert bench.stopped == ["b"]
    bench.end("b", -15, why="stopped")
    assert states(live) == {"a": "failed", "b": "cancelled"}
    assert live.run.state is State.FAILED


def test_a_retry_waits_for_its_delay_which_doubles_and_the_budget_ends() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x", "retries": 2, "retry_delay": 8}})
    bench.end("a", 1)
    task = live.task_runs["a"]
    assert (task.state, task.reason) == (State.QUEUED, "exit 1; retry 1 of 2")
    assert task.not_before is not None
    assert 6 <= task.not_before - bench.now <= 8
    bench.wait(5)
    assert not bench.running
    bench.wait(4)
    bench.end("a", 1)
    assert task.not_before is not None
    assert 12 <= task.not_before - bench.now <= 16
    bench.wait(16)
    bench.end("a", 1)
    assert (task.state, task.attempts, task.failures) == (State.FAILED, 3, 3)


def test_a_lost_attempt_is_made_again_from_a_budget_of_its_own() -> None:
    bench = Bench(loss_budget=2)
    live = bench.submit({"a": {"run": "x"}})
    for _ in range(2):
        bench.lose("a")
        bench.wait(10)
    assert bench.order == ["a", "a", "a"]
    assert live.task_runs["a"].failures == 0
    bench.lose("a")
    assert live.task_runs["a"].state is State.FAILED
    assert live.task_runs["a"].reason == "lost 3 times: its process vanished"


def test_an_attempt_that_never_started_is_made_again_as_often_as_it_takes() -> None:
    bench = Bench(loss_budget=0)
    live = bench.submit({"a": {"run": "x"}})
    for _ in range(5):
        bench.lose("a", AttemptState.NEVER_STARTED)
        bench.wait(10)
    bench.end("a")
    assert (live.task_runs["a"].state, live.task_runs["a"].losses, live.task_runs["a"].attempts) == ("completed", 0, 6)


def test_a_run_that_stops_makes_no_new_attempt_after_it_was_read_from_disk() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x"}, "b": {"run": "x", "retries": 3}}, on_failure="stop")
    bench.end("a", 1)
    again = liverun.load(live.run, live.workflow, live.task_runs.values(), live.attempts, {})
    bench.machine.live[live.run.id] = again
    bench.machine.by_attempt = {k: (again, t, a) for k, (_, t, a) in bench.machine.by_attempt.items()}
    bench.end("b", 1)
    assert again.task_runs["b"].state is State.FAILED


def test_an_attempt_that_could_not_be_started_fails_with_the_words_of_the_host() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x"}})
    bench.lose("a", AttemptState.NEVER_STARTED, "command not found: x")
    assert (live.task_runs["a"].state, live.task_runs["a"].reason) == (State.FAILED, "command not found: x")


def test_an_end_that_nobody_knows_is_acknowledged_all_the_same() -> None:
    bench = Bench()
    bench.machine.ended("f" * 32, End(code=0), bench.now)
    assert bench.step().acknowledge == ["f" * 32]


def test_cancel_ends_what_waits_and_stops_what_runs() -> None:
    bench = Bench(slots=1)
    live = bench.submit({n: {"run": "x"} for n in "ab"})
    bench.machine.cancel(live.run.id, "ada", bench.now)
    bench.step()
    assert states(live) == {"a": "running", "b": "cancelled"}
    assert bench.stopped == ["a"]
    bench.end("a", -15, why="stopped")
    assert (live.run.state, live.run.reason) == (State.CANCELLED, "cancelled by ada")
    assert live.task_runs["a"].reason == "stopped by ada"


def test_an_exit_that_was_there_before_the_stop_counts() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x"}})
    bench.machine.cancel(live.run.id, "ada", bench.now)
    bench.step()
    bench.end("a", 0)
    assert states(live) == {"a": "completed"}


def test_stopping_a_task_skips_its_dependents_only() -> None:
    bench = Bench()
    live = bench.submit({**DIAMOND, "e": {"run": "x"}})
    bench.machine.stop(live.run.id, "a", "ada", bench.now)
    bench.step()
    bench.end("a", -15, why="stopped")
    assert states(live) == {"a": "cancelled", "b": "skipped", "c": "skipped", "d": "skipped", "e": "running"}


def test_stopping_a_task_that_waits_for_its_retry_ends_it() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x", "retries": 5, "retry_delay": 60}})
    bench.end("a", 1)
    bench.machine.stop(live.run.id, "a", "ada", bench.now)
    bench.step()
    assert live.task_runs["a"].state is State.CANCELLED
    bench.wait(1000)
    assert not bench.running


def test_retry_makes_failed_tasks_and_their_skipped_dependents_run_again() -> None:
    bench = Bench()
    live = bench.submit(DIAMOND)
    bench.end("a")
    bench.end("b", 1)
    bench.end("c")
    assert live.run.state is State.FAILED
    bench.machine.live[live.run.id] = live  # as the scheduler does for a run that has ended
    bench.machine.retry(live.run.id, None, bench.now)
    bench.step()
    assert states(live) == {"a": "completed", "b": "running", "c": "completed", "d": "created"}
    assert live.task_runs["b"].round == 2
    bench.end("b")
    bench.end("d")
    assert live.run.state is State.COMPLETED
    assert bench.order.count("a") == bench.order.count("c") == 1


def test_retry_in_a_run_that_goes_on() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x"}, "b": {"run": "x"}})
    bench.end("a", 1)
    bench.machine.retry(live.run.id, ["a"], bench.now)
    bench.step()
    assert states(live) == {"a": "running", "b": "running"}


def test_what_waits_for_two_failures_runs_again_when_both_are_retried_and_not_before() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x"}, "b": {"run": "x"}, "d": {"run": "x", "needs": ["a", "b"]}})
    bench.end("a", 1)
    bench.end("b", 1)
    for task, state in (("a", State.FAILED), ("b", State.RUNNING)):
        bench.machine.adopt(live, bench.now)
        bench.machine.retry(live.run.id, [task], bench.now)
        bench.step()
        bench.end(task)
        assert live.run.state is state
    bench.end("d")
    assert live.run.state is State.COMPLETED


@pytest.mark.parametrize("tasks", [None, ["a"]])
@pytest.mark.parametrize("policy", ["stop", "cancel"])
def test_retry_also_runs_what_the_policy_kept_from_starting(policy: str, tasks: Sequence[str] | None) -> None:
    bench = Bench(slots=1)
    live = bench.submit(
        {"a": {"run": "x"}, "other": {"run": "x"}, "d": {"run": "x", "needs": ["a", "other"]}}, on_failure=policy
    )
    bench.end("a", 1)
    assert states(live) == {"a": "failed", "other": "skipped", "d": "skipped"}
    bench.machine.adopt(live, bench.now)
    bench.machine.retry(live.run.id, tasks, bench.now)
    bench.step()
    while bench.running:
        bench.end(next(iter(bench.running.values())))
    assert states(live) == {"a": "completed", "other": "completed", "d": "completed"}
    assert live.run.state is State.COMPLETED


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["d"], "d needs b, which did not complete; retry b instead"),
        (["a"], "a is completed: only what failed, was cancelled or skipped can be retried"),
    ],
)
def test_retry_refuses_what_makes_no_sense(tasks: Sequence[str], message: str) -> None:
    bench = Bench()
    live = bench.submit({**DIAMOND, "keep": {"run": "x"}})
    bench.end("a")
    bench.end("b", 1)
    with pytest.raises(Conflict, match=message):
        bench.machine.retry(live.run.id, tasks, bench.now)


def test_retry_of_an_unknown_task_is_not_found() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x"}})
    with pytest.raises(NotFound, match="no task 'z'"):
        bench.machine.retry(live.run.id, ["z"], bench.now)


def test_slots_are_never_exceeded_and_always_used() -> None:
    bench = Bench(slots=3)
    bench.submit({f"t{i}": {"run": "x"} for i in range(10)})
    while bench.running:
        assert len(bench.running) <= 3
        bench.end(next(iter(bench.running.values())))
    assert len(bench.order) == 10


def brief(**limits: Any) -> Bench:
    """One that has seen a brief task end."""
    bench = Bench(**limits)
    bench.takes = 0.001
    bench.submit({"first": {"run": "x"}}, name="first")
    bench.end("first")
    bench.order.clear()
    return bench


def test_while_tasks_are_brief_the_executor_has_some_in_hand_that_count_as_queued() -> None:
    bench = brief(slots=2, ahead=2)
    live = bench.submit({n: {"run": "x"} for n in "abcdef"})
    assert bench.order == ["a", "b", "c", "d"]
    assert [states(live)[n] for n in "abcde"] == ["running", "running", "queued", "queued", "queued"]
    assert bench.machine.active == 2
    bench.end("a")
    assert [states(live)[n] for n in "abcde"] == ["completed", "running", "running", "queued", "queued"]
    assert bench.order[-1] == "e"


def test_nothing_is_in_hand_of_tasks_that_take_their_time() -> None:
    bench = brief(slots=1, ahead=8)
    bench.takes = 60.0
    bench.submit({"long": {"run": "x"}}, name="long")
    bench.end("long")
    bench.order.clear()
    bench.submit({n: {"run": "x"} for n in "abc"})
    assert bench.order == ["a"]


@pytest.mark.parametrize("rule", [{"on_failure": "stop"}, {"on_failure": "cancel"}, {"max_parallel": 2}])
def test_nothing_is_in_hand_where_it_may_never_start(rule: dict[str, Any]) -> None:
    bench = brief(slots=1, ahead=8)
    bench.submit({n: {"run": "x"} for n in "abc"}, **rule)
    assert bench.order == ["a"]


def test_cancel_stops_what_the_executor_has_in_hand() -> None:
    bench = brief(slots=1, ahead=1)
    live = bench.submit({n: {"run": "x"} for n in "abc"})
    bench.machine.cancel(live.run.id, "ada", bench.now)
    bench.step()
    assert sorted(bench.stopped) == ["a", "b"]
    assert states(live)["c"] == "cancelled"
    bench.lose("b", AttemptState.NEVER_STARTED, "stopped")
    bench.end("a", why="stopped")
    assert states(live) == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}


def test_stopping_one_that_the_executor_has_in_hand_stops_only_that() -> None:
    bench = brief(slots=1, ahead=2)
    live = bench.submit({n: {"run": "x"} for n in "abc"})
    bench.machine.stop(live.run.id, "b", "ada", bench.now)
    bench.step()
    assert bench.stopped == ["b"]
    assert states(live)["c"] == "queued"


def test_what_cannot_be_prepared_is_in_nobodys_hand() -> None:
    def refuse(live: LiveRun, task: Task) -> None:
        if task.name == "b":
            raise Conflict("param x has no value")

    bench = brief(slots=1, ahead=2)
    bench.machine.prepare = refuse
    live = bench.submit({n: {"run": "x"} for n in "abcd"})
    for task in "acd":
        bench.end(task)
    assert states(live) == {"a": "completed", "b": "failed", "c": "completed", "d": "completed"}


def test_what_the_executor_had_in_hand_counts_as_started_when_it_is_read_from_disk() -> None:
    bench = brief(slots=1, ahead=1)
    live = bench.submit({n: {"run": "x"} for n in "ab"})
    again = Bench(slots=1)
    again.machine.adopt(live, again.now)
    again.step()
    assert states(live) == {"a": "running", "b": "running"}
    assert again.order == []


def test_max_parallel_limits_one_run_and_leaves_the_slots_to_others() -> None:
    bench = Bench(slots=8)
    bench.submit({f"t{i}": {"run": "x"} for i in range(5)}, max_parallel=2)
    assert len(bench.running) == 2
    bench.submit({"other": {"run": "x"}}, name="v")
    assert "other" in bench.running.values()
    bench.end("t0")
    assert sum(t.startswith("t") for t in bench.running.values()) == 2


def test_a_second_run_of_a_workflow_waits_and_says_why() -> None:
    bench = Bench()
    first = bench.submit({"a": {"run": "x"}})
    second = bench.submit({"a": {"run": "x"}})
    assert (second.run.state, second.run.reason) == (State.QUEUED, "waits for an earlier run of w to end")
    bench.end("a")
    assert first.run.state is State.COMPLETED
    assert (second.run.state, second.run.reason) == (State.RUNNING, "")


def test_concurrent_workflows_do_not_wait_for_each_other() -> None:
    bench = Bench()
    for _ in range(2):
        bench.submit({"a": {"run": "x"}}, concurrent=True)
    assert len(bench.running) == 2


def test_the_queue_of_runs_has_a_capacity_and_refuses_with_the_reason() -> None:
    bench = Bench(max_active_runs=1, max_queued_runs=2)
    for i in range(3):
        bench.submit({"a": {"run": "x"}}, name=f"w{i}")
    with pytest.raises(TooManyRuns, match="2 runs wait already"):
        bench.submit({"a": {"run": "x"}}, name="late")


def test_a_higher_priority_goes_first_and_nothing_starves() -> None:
    bench = Bench(slots=1)
    bench.submit({"busy": {"run": "x"}}, name="busy")
    bench.submit({"low": {"run": "x"}}, name="low", priority="low")
    bench.now += 1
    bench.submit({"high": {"run": "x"}}, name="high", priority="high")
    bench.end("busy")
    assert list(bench.running.values()) == ["high"]
    for i in range(1000):  # an endless stream of urgent work
        bench.now += 1
        bench.submit({f"h{i}": {"run": "x"}}, name=f"h{i}", priority="high")
        if "low" in bench.running.values():
            break
        bench.end(next(iter(bench.running.values())))
    assert "low" in bench.order


def test_a_run_of_some_tasks_leaves_the_others_out_and_does_not_wait_for_them() -> None:
    bench = Bench()
    live = bench.submit(DIAMOND, only=["d"])
    assert states(live) == {"a": "skipped", "b": "skipped", "c": "skipped", "d": "running"}
    bench.end("d")
    assert live.run.state is State.COMPLETED


def test_a_task_that_cannot_be_launched_fails_with_the_reason_and_uses_no_slot() -> None:
    def refuse(live: LiveRun, task: Task) -> None:
        raise Conflict(f"output x of {task.name} has no value")

    bench = Bench()
    bench.machine.prepare = refuse
    live = bench.submit({"a": {"run": "x"}})
    assert (live.task_runs["a"].state, live.task_runs["a"].attempts) == (State.FAILED, 0)
    assert live.run.state is State.FAILED


def test_a_missing_required_output_is_a_failure_and_an_optional_one_a_remark() -> None:
    bench = Bench()
    strict = bench.submit({"a": {"run": "x", "outputs": {"o": "o.csv"}}})
    bench.end("a", 0, missing=["output o is missing"])
    assert strict.task_runs["a"].reason == "exit 0, but output o is missing"
    old = {"name": "v", "working_dir": "/", "workers": [{"name": "a", "command": "x", "outputs": {"o": "o.csv"}}]}
    live = bench.submit(spec.dump(spec.load(old))["tasks"], name="v", on_failure="cancel")
    bench.end("a", 0, missing=["output o is missing"])
    assert (live.task_runs["a"].state, live.task_runs["a"].reason) == (State.COMPLETED, "output o is missing")


def test_a_change_holds_each_row_once_with_the_state_that_is_on_disk() -> None:
    bench = Bench()
    live = bench.submit({"a": {"run": "x"}})
    created = bench.changes[0]
    assert set(created.new_task_runs) == {live.task_runs["a"].id}
    assert created.task_runs == {}  # new rows are written as they are now, not changed afterwards
    bench.end("a")
    ended = bench.changes[-1]
    assert [before for _, before in ended.task_runs.values()] == [State.RUNNING]
    assert [event.kind for event in ended.events] == ["run.changed"]
    assert ended.events[0].body["tasks"][0]["state"] == "completed"


@given(data=st.data())
@hypothesis_settings(max_examples=150, deadline=None)
def test_whatever_happens_every_run_ends_and_no_rule_is_broken(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8))
    tasks: dict[str, Any] = {}
    for i in range(size):
        needs = data.draw(st.lists(st.sampled_from([f"t{j}" for j in range(i)]), max_size=3, unique=True)) if i else []
        tasks[f"t{i}"] = {"run": "x", "needs": needs, "retries": data.draw(st.integers(0, 2))}
    bench = Bench(slots=data.draw(st.integers(1, 4)), ahead=data.draw(st.integers(0, 3)), loss_budget=1)
    bench.takes = data.draw(st.sampled_from([0.001, 1.0]))
    live = bench.submit(tasks, on_failure=data.draw(st.sampled_from(["continue", "stop", "cancel"])))
    retries = data.draw(st.integers(0, 3))
    for _ in range(200):
        if live.run.state.final and not retries:
            break
        move = data.draw(st.sampled_from(["ok", "ok", "ok", "fail", "lose", "wait", "cancel", "stop"]))
        if live.run.state.final or (retries and data.draw(st.integers(0, 5)) == 0):
            retries -= 1
            retry(bench, live, data.draw(st.sampled_from([None, *([name] for name in tasks)])))
            continue
        task = data.draw(st.sampled_from(sorted(bench.running.values()))) if bench.running else None
        if move == "cancel":
            bench.machine.cancel(live.run.id, "ada", bench.now)
            bench.step()
        elif move == "stop" and task:
            bench.machine.stop(live.run.id, task, "ada", bench.now)
            bench.step()
        elif move == "wait" or task is None:
            bench.wait(400)
        elif move == "lose":
            bench.lose(task)
        else:
            bench.end(task, 0 if move == "ok" else 1)
        check(bench, live)
    assert live.run.state.final
    assert not bench.running
    assert all(t.state.final for t in live.task_runs.values())


def retry(bench: Bench, live: LiveRun, tasks: Sequence[str] | None) -> None:
    if live.run.state.final:
        bench.machine.adopt(live, bench.now)
    with contextlib.suppress(Conflict):
        bench.machine.retry(live.run.id, tasks, bench.now)
    bench.step()


def check(bench: Bench, live: LiveRun) -> None:
    limits, machine = bench.machine.limits, bench.machine
    assert machine.active + len(machine.ahead) == len(bench.running) <= limits.slots + limits.ahead
    stopping = any(t.stop_at is not None for t in live.task_runs.values())  # is stopped wherever it waits
    assert machine.active <= limits.slots or stopping
    assert len(set(bench.running.values())) == len(bench.running), "two live attempts of one task"
    for name, task_run in live.task_runs.items():
        if task_run.state in (State.RUNNING, State.COMPLETED):
            assert all(live.task_runs[up].state is State.COMPLETED for up in live.plan.upstream[name])
    counted = [t.state.value for t in live.task_runs.values()]
    assert all(live.counts[s] == counted.count(s) for s in live.counts)
