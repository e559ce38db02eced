"""Live runs: what they wait for, and what the API shows of them."""

from __future__ import annotations

import json
from typing import Any

from wattle_jupyter import liverun, spec
from wattle_jupyter.model import Event, Run, State

TASKS = {"a": {"run": "x"}, "b": {"run": "x", "needs": ["a"]}, "c": {"run": "x"}}


def made(**fields: Any) -> liverun.LiveRun:
    workflow = spec.load({"name": "w", "working_dir": "/", "tasks": TASKS})
    run = Run(
        id="0" * 32, workflow="w", workflow_hash="", snapshot={}, params={"name": "ç “x”"}, mode="dependency",
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
    shown = liverun.published(live.detail(1))
    assert json.loads(shown.text()) == shown.detail
    for seq, name in enumerate(("c", "a", "c"), 2):
        live.task_runs[name].state, live.task_runs[name].reason = State.FAILED, f"at {seq}"
        body = {"run": dict(live.summary()), "tasks": [live.task_view(name)]}
        shown.apply(Event(seq, live.run.id, "run.changed", 2.0, body))
        assert json.loads(shown.text()) == shown.detail
        assert json.loads(shown.text())["seq"] == seq


def test_a_copy_does_not_change_with_what_is_published_later() -> None:
    live = made()
    shown = liverun.published(live.detail(1))
    before = shown.copy()
    live.task_runs["a"].state = State.RUNNING
    shown.apply(Event(2, live.run.id, "run.changed", 2.0, {"run": {}, "tasks": [live.task_view("a")]}))
    assert (before["seq"], before["tasks"][0]["state"]) == (1, "created")


def test_texts_that_were_made_elsewhere_are_kept_but_for_what_changed_meanwhile() -> None:
    live = made()
    shown = liverun.published(live.detail(1))
    snapshot = shown.snapshot()
    live.task_runs["a"].state = State.RUNNING
    shown.apply(Event(2, live.run.id, "run.changed", 2.0, {"run": {}, "tasks": [live.task_view("a")]}))
    assert json.loads(snapshot.text())["tasks"][0]["state"] == "created"
    shown.learn(snapshot)
    assert [bool(text) for text in shown._texts] == [False, True, True]
    assert json.loads(shown.text()) == shown.detail
