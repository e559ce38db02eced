"""Which tasks a user's retry makes again."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from wattle_jupyter.errors import Conflict
from wattle_jupyter.liverun import LiveRun
from wattle_jupyter.model import FINAL, State


def to_retry(live: LiveRun, tasks: Sequence[str] | None) -> list[str]:
    if tasks is None:
        chosen = [t.task for t in live.in_state(State.FAILED, State.CANCELLED)]
        if not chosen:
            raise Conflict(f"nothing to retry: the run is {live.run.state} and none of its tasks failed")
        return chosen
    for name in tasks:
        task_run = live.task_run(name)
        if task_run.state not in (State.FAILED, State.CANCELLED, State.SKIPPED) or live.left_out(name):
            raise Conflict(f"{name} is {task_run.state}: only what failed, was cancelled or skipped can be retried")
        blocking = [
            up for up in live.plan.upstream[name] if live.task_runs[up].state in FINAL and not live.satisfied(up)
        ]
        if blocking and not set(blocking) <= set(tasks):
            raise Conflict(f"{name} needs {blocking[0]}, which did not complete; retry {blocking[0]} instead")
    return list(tasks)


def with_skipped(live: LiveRun, chosen: Sequence[str]) -> set[str]:
    """What is retried and all that did not run because of it. What still waits in vain for another failure stays
    as it is: reopened, it would keep the run open for ever."""
    again = set(chosen)
    below = set(live.plan.descendants(*chosen))
    stopped = live.workflow.on_failure != "continue" and all(t.task in again for t in live.in_state(State.FAILED))
    for name in live.plan.order:
        state = live.task_runs[name].state
        because = (name in below and state in (State.SKIPPED, State.CANCELLED)) or (stopped and state is State.SKIPPED)
        if because and not live.left_out(name) and not _in_vain(live, name, again):
            again.add(name)
    return again


def _in_vain(live: LiveRun, name: str, again: Collection[str]) -> bool:
    """Does ``name`` wait for a task that ended without letting it go on, and that is not among ``again``?"""
    return any(
        live.task_runs[up].state in FINAL and not live.satisfied(up) and up not in again
        for up in live.plan.upstream[name]
    )
