"""Live runs: what they wait for, and what the API shows of them."""

from __future__ import annotations

import json
from typing import Any

from wattle_jupyter import liverun, spec
from wattle_jupyter.model import Attempt, Event, Run, State
from wattle_jupyter.wire import Edge, TaskRunView

TASKS = {"a": {"run": "x"}, "b": {"run": "x", "needs": ["a"]}, "c": {"run": "x"}}


def made(**fields: Any) -> liverun.LiveRun:
    workflow = spec.load({"name": "w", "working_dir": "/", "tasks": TASKS})
    run = Run(
        id="0" * 32, workflow="w", workflow_hash="", params={"name": "ç “x”"}, mode="dependency",
        priority="normal", user="ada", created_at=1.0, **fields,
    )  # fmt: skip
    return liverun.create(run, workflow, (f"{i:032x}" for i in range(9)))


def test_a_run_of_some_tasks_leaves_the_others_out_and_waits_for_none_of_them() -> None:
    live = made(only=["b"])
    assert live.waiting == {"a": 0, "b": 0, "c": 0}
    assert [t.state for t in live.task_runs.values()] == [State.SKIPPED, State.CREATED, State.SKIPPED]
    assert live.task_runs["a"].reason == "left out: only b was asked for"


def test_the_text_of_a_run_is_its_json_whatever_changed_since_the_last_one() -> None:
    live = made()
    shown = liverun.published(live, live.detail(1))
    assert json.loads(shown.text()) == shown.copy()
    for seq, name in enumerate(("c", "a", "c"), 2):
        live.task_runs[name].state, live.task_runs[name].reason = State.FAILED, f"at {seq}"
        body = {"run": dict(live.summary()), "tasks": [live.task_view(name)]}
        shown.apply(Event(seq, live.run.id, "run.changed", 2.0, body))
        assert json.loads(shown.text()) == shown.copy()
        assert json.loads(shown.text())["seq"] == seq


def test_a_view_of_a_task_run_has_what_the_wire_says_in_that_order() -> None:
    live = made()
    assert list(live.task_view("a")) == list(TaskRunView.__annotations__)
    assert [list(edge) for edge in live.detail(1)["edges"]] == [list(Edge.__annotations__)]
    assert json.loads(json.dumps(live.task_view("a"))) == live.task_view("a")


def test_of_what_completed_the_attempt_is_in_the_store_only() -> None:
    live = made()
    for name, state in (("a", State.COMPLETED), ("b", State.FAILED), ("c", State.RUNNING)):
        attempt = Attempt(
            id=f"of {name}", task_run=live.task_runs[name].id, run=live.run.id, n=1, round=1, executor="local",
            host="here", epoch=1, code=3,
        )  # fmt: skip
        live.attempts[attempt.id] = attempt
        live.task_runs[name].state, live.task_runs[name].attempt = state, attempt.id
    live.let_go(["a", "b", "c"])
    assert list(live.attempts) == ["of b", "of c"]
    assert (live.task_view("b")["exit_code"], live.task_view("a")["attempt"]) == (3, "of a")


def test_a_copy_does_not_change_with_what_is_published_later() -> None:
    live = made()
    shown = liverun.published(live, live.detail(1))
    before = shown.copy()
    live.task_runs["a"].state = State.RUNNING
    shown.apply(Event(2, live.run.id, "run.changed", 2.0, {"run": {}, "tasks": [live.task_view("a")]}))
    assert (before["seq"], before["tasks"][0]["state"]) == (1, "created")


def test_texts_that_were_made_elsewhere_are_kept_but_for_what_changed_meanwhile() -> None:
    live = made()
    shown = liverun.published(live, live.detail(1))
    snapshot = shown.snapshot()
    live.task_runs["a"].state = State.RUNNING
    shown.apply(Event(2, live.run.id, "run.changed", 2.0, {"run": {}, "tasks": [live.task_view("a")]}))
    assert json.loads(snapshot.text())["tasks"][0]["state"] == "created"
    shown.learn(snapshot)
    assert [bool(text) for text in shown._texts] == [False, True, True]
    assert json.loads(shown.text()) == shown.copy()
