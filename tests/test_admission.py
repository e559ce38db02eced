"""Which runs may go on, beside the plain rule: look at all that wait, in order, each time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_statemachine import Bench

from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import State
from wattle_jupyter.queues import HEAD_START

TASK = {"a": {"run": "x"}}


def calls(work: Callable[[], object]) -> int:
    """How many functions are called: what it costs, whatever else the machine does."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.disable()  # what a collection calls is not ours
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def end_of_one(bench: Bench) -> int:
    attempt = next(iter(bench.running))
    task = bench.running[attempt]
    return calls(lambda: bench.end(task))


@pytest.mark.parametrize("alike", [False, True])
def test_the_end_of_a_run_costs_the_same_however_many_wait(alike: bool) -> None:
    costs = []
    for waiting in (10, 300):
        bench = Bench(max_active_runs=2)
        for n in range(waiting + 2):
            bench.submit(TASK, name="w" if alike else f"w{n}")
        costs.append(end_of_one(bench))
    assert costs[0] == costs[1]


def test_a_create_costs_the_same_however_many_wait() -> None:
    costs = []
    for waiting in (10, 300):
        bench = Bench(max_active_runs=2)
        for n in range(waiting + 2):
            bench.submit(TASK, name=f"w{n}")
        costs.append(calls(lambda bench=bench: bench.submit(TASK, name="late")))  # type: ignore[misc]
    assert costs[0] == costs[1]


def test_the_end_of_a_task_costs_the_same_however_many_wait_for_the_limit_of_their_run() -> None:
    costs = []
    for waiting in (10, 300):
        bench = Bench(slots=8)
        bench.submit({f"t{n:03}": {"run": "x"} for n in range(waiting)}, max_parallel=2)
        costs.append(end_of_one(bench))
    assert costs[0] == costs[1]


def test_what_waits_for_the_limit_of_its_run_comes_in_order_and_none_is_forgotten() -> None:
    bench = Bench(slots=4)
    live = bench.submit({f"t{n}": {"run": "x"} for n in range(9)}, max_parallel=2)
    bench.machine.stop(live.run.id, "t2", "ada", bench.now)  # the first in line goes
    bench.machine.stop(live.run.id, "t5", "ada", bench.now)
    bench.step()
    while bench.running:
        assert len(bench.running) <= 2
        bench.end(next(iter(bench.running.values())))
    assert bench.order == ["t0", "t1", "t3", "t4", "t6", "t7", "t8"]
    assert live.run.state is State.CANCELLED


def test_the_one_behind_a_waiting_run_goes_on_when_that_is_cancelled() -> None:
    bench = Bench()
    bench.submit(TASK)
    second, third = bench.submit(TASK), bench.submit(TASK)
    other = bench.submit(TASK, concurrent=True)
    assert other.run.state is State.RUNNING
    bench.machine.cancel(second.run.id, "ada", bench.now)
    bench.step()
    bench.end("a")
    seen = [third.run.state]  # the one that need not wait is of that workflow, too
    bench.end("a")
    assert [*seen, third.run.state] == [State.QUEUED, State.RUNNING]


def test_the_reason_to_wait_is_the_one_of_now() -> None:
    bench = Bench(max_active_runs=2)
    bench.submit(TASK, name="v")
    bench.submit({"b": {"run": "x"}}, name="w")
    place = "waits for a place: the limit is 2 active at a time"
    first, second = bench.submit({"c": {"run": "x"}}, name="w"), bench.submit({"d": {"run": "x"}}, name="w")
    assert (first.run.reason, second.run.reason) == (place, place)
    bench.end("b")
    assert (first.run.reason, second.run.reason) == ("", place)


class Plain:
    """The rule without any shortcut."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.runs: list[LiveRun] = []

    def admitted(self) -> set[str]:
        going = {live.run.id: live for live in self.runs if live.run.state is State.RUNNING}
        busy = {live.run.workflow for live in going.values()}
        waiting = [live for live in self.runs if live.run.state is State.QUEUED]
        for live in sorted(waiting, key=lambda live: live.run.created_at + HEAD_START[live.run.priority]):
            behind = live.run.workflow in busy and not live.workflow.concurrent
            if len(going) < self.places and not behind:
                going[live.run.id] = live
                busy.add(live.run.workflow)
        return set(going)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from("uvw"), st.sampled_from(["high", "normal", "low"]), st.booleans()),
        st.tuples(st.sampled_from(["end", "cancel", "retry", "fail"]), st.integers(0, 30)),
        st.tuples(st.just("clock"), st.sampled_from([-5000.0, 5000.0])),
    ),
    max_size=40,
)


@given(actions=ACTIONS, places=st.integers(1, 3))
def test_whatever_comes_and_goes_those_go_on_that_the_plain_rule_lets(actions: list[Any], places: int) -> None:
    bench, plain = Bench(slots=50, max_active_runs=places), Plain(places)
    for action, *how in actions:
        bench.now += 1
        if action == "create":
            name, priority, concurrent = how
            task = {f"t{len(plain.runs)}": {"run": "x"}}
            plain.runs.append(bench.submit(task, name=name, priority=priority, concurrent=concurrent))
        elif action == "clock":
            bench.machine.clock_was_set(how[0])
            bench.now += how[0]
            for live in plain.runs:
                live.run.created_at += how[0]  # the line keeps its order
        elif plain.runs:
            _touch(bench, action, plain.runs[how[0] % len(plain.runs)])
        expected = plain.admitted()
        bench.step()
        going = {live.run.id for live in plain.runs if live.run.state is State.RUNNING}
        waiting = {live.run.id for live in plain.runs if live.run.state is State.QUEUED}
        assert going == expected
        assert set(bench.machine._admission.waiting) == waiting
        assert all(live.run.reason for live in plain.runs if live.run.id in waiting)


def _touch(bench: Bench, action: str, live: LiveRun) -> None:
    task = next(iter(live.task_runs))
    if action == "cancel" and live.run.id in bench.machine.live:
        bench.machine.cancel(live.run.id, "ada", bench.now)
    elif action == "retry" and live.run.state in (State.FAILED, State.CANCELLED):
        bench.machine.adopt(live, bench.now)
        bench.machine.retry(live.run.id, None, bench.now)
    elif action in ("end", "fail") and task in bench.running.values():
        bench.end(task, code=int(action == "fail"))
