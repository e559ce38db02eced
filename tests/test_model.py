from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from wattle_jupyter.model import FINAL, MOVES, AttemptState, State, Task


def test_every_state_has_its_moves_and_only_retries_leave_a_final_one() -> None:
    assert set(MOVES) == set(State)
    assert {state for state in State if state.final} == FINAL
    for state in FINAL - {State.COMPLETED}:
        assert MOVES[state] == {State.CREATED, State.QUEUED, State.RUNNING}
    assert not MOVES[State.COMPLETED]


def test_from_every_open_state_a_run_can_end_in_any_final_one() -> None:
    assert all(MOVES[state] >= FINAL for state in State if not state.final)


def test_no_state_moves_to_itself() -> None:
    assert [state for state, to in MOVES.items() if state in to] == []


def test_an_attempt_is_over_unless_it_starts_or_runs() -> None:
    assert {state for state in AttemptState if not state.final} == {AttemptState.STARTING, AttemptState.RUNNING}


def test_upstream_names_each_task_once_order_before_data() -> None:
    task = Task(name="t", run=("x",), needs=("b", "a"), inputs={"x": "c/o", "y": "a/o"}, references=("d/o", "c/p"))
    assert task.data_needs == ("c", "a", "d")
    assert task.upstream == ("b", "a", "c", "d")


def test_a_task_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Task(name="t", run=("x",)).retries = 3  # type: ignore[misc]  # that is the test
