"""What is counted and timed: histograms and their quantiles, and what a commit tells of tasks."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from wattle_jupyter.change import Change
from wattle_jupyter.meter import BOUNDS, Histogram, Meter
from wattle_jupyter.model import Attempt, AttemptState, Event, Run, State, TaskRun

TIMES = st.lists(st.floats(0, 10_000), min_size=1, max_size=200)


@given(TIMES)
def test_each_time_is_in_one_bucket_that_has_room_for_it(times: list[float]) -> None:
    histogram = Histogram()
    for time in times:
        before = list(histogram.counts)
        histogram.observe(time)
        (place,) = (i for i, (a, b) in enumerate(zip(before, histogram.counts, strict=True)) if a != b)
        assert place == len(BOUNDS) or time <= BOUNDS[place]
        assert place == 0 or time > BOUNDS[place - 1]
    assert histogram.count == len(times)
    assert abs(histogram.sum - sum(times)) < 1e-6 * max(1.0, sum(times))


@given(TIMES, st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(times: list[float], q: float) -> None:
    histogram = Histogram()
    for time in times:
        histogram.observe(time)
    found = histogram.quantile(q)
    true = sorted(times)[max(0, -(-int(q * len(times) * 1e9) // 10**9) - 1)]  # the smallest with rank >= q × n
    place = next((i for i, bound in enumerate(BOUNDS) if true <= bound), len(BOUNDS))
    assert found is not None
    assert (BOUNDS[place - 1] if place else 0) <= found <= max(times)
    assert place == len(BOUNDS) or found <= BOUNDS[place]


def test_quantiles_rise_and_end_at_the_longest() -> None:
    histogram = Histogram()
    for n in range(1, 1001):
        histogram.observe(n / 1000)
    found = [histogram.quantile(q) or 0.0 for q in (0.1, 0.5, 0.95, 1.0)]
    assert found == sorted(found)
    assert found[-1] == 1.0
    assert abs(found[1] - statistics.median(n / 1000 for n in range(1, 1001))) < 0.01


def test_nothing_has_no_quantile_and_a_clock_that_went_back_counts_as_nothing() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    histogram.observe(-3.0)
    assert (histogram.counts[0], histogram.sum, histogram.quantile(0.5)) == (1, 0.0, 0.0)


def attempt(**more: object) -> Attempt:
    values = {"id": "a", "task_run": "t", "run": "r", "n": 1, "round": 1, "executor": "x", "host": "h", "epoch": 1}
    return Attempt(**(values | {"created_at": 105.0} | more))  # type: ignore[arg-type]


def test_a_commit_tells_how_long_a_task_waited_and_how_long_its_start_took() -> None:
    meter = Meter()
    task_run = TaskRun(id="t", run="r", task="x", queued_at=100.0)
    first, second = Change(), Change()
    first.new_attempts["a"] = made = attempt()
    first.task_runs["t"] = (task_run, State.QUEUED)
    meter.committed(first, 0.002)
    made.state, made.started_at = AttemptState.RUNNING, 105.25
    second.attempts["a"] = (made, AttemptState.STARTING)
    meter.committed(second, 0.002)
    assert (meter.queue_wait.count, meter.queue_wait.sum) == (1, 5.0)
    assert (meter.start_latency.count, meter.start_latency.sum) == (1, 0.25)
    assert meter.commit.count == 2
    assert not meter.attempts_ended


def test_an_end_is_counted_once_with_the_bytes_of_its_log() -> None:
    meter, change = Meter(), Change()
    ended = attempt(state=AttemptState.COMPLETED, started_at=105.5, log_size=17)
    change.attempts["a"] = (ended, AttemptState.STARTING)  # it was so short that its start was told with its end
    meter.committed(change, 0.0)
    again = Change()
    again.attempts["a"] = (ended, AttemptState.COMPLETED)  # a later change of what has ended
    meter.committed(again, 0.0)
    assert meter.attempts_ended == {"completed": 1}
    assert (meter.log_bytes, meter.start_latency.count) == (17, 1)


def run(state: State) -> Run:
    return Run(
        id="r", workflow="w", workflow_hash="", params={}, mode="dependency", priority="normal", user="u",
        state=state,
    )  # fmt: skip


def test_runs_are_counted_when_they_end_and_again_when_a_retried_one_ends() -> None:
    meter = Meter()
    for state, before in (
        (State.RUNNING, State.CREATED), (State.FAILED, State.RUNNING), (State.RUNNING, State.FAILED),
        (State.COMPLETED, State.RUNNING), (State.COMPLETED, State.COMPLETED),
    ):  # fmt: skip
        change = Change()
        change.runs["r"] = (run(state), before)
        meter.committed(change, 0.0)
    assert meter.runs_ended == {"failed": 1, "completed": 1}


def test_events_are_counted() -> None:
    meter, change = Meter(), Change()
    change.events.extend([Event(0, "r", "run.changed", 0.0, {})] * 3)  # type: ignore[list-item]  # only their number counts
    meter.committed(change, 0.0)
    assert meter.events == 3
