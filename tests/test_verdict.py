"""What an end means, in words."""

from __future__ import annotations

import pytest

from wattle_jupyter.model import AttemptState, Task
from wattle_jupyter.verdict import End, judge, killed_by, seconds

TASK = Task(name="a", run="x", timeout=60)


@pytest.mark.parametrize(
    ("end", "required", "state", "reason"),
    [
        (End(code=0), False, "completed", ""),
        (End(code=3), False, "failed", "exit 3"),
        (End(code=255), False, "failed", "exit 255"),
        (End(signal=11), False, "failed", "killed by SIGSEGV (segmentation fault)"),
        (End(signal=9), False, "failed", "killed by SIGKILL"),
        (End(signal=9, why="killed by the OOM killer"), False, "failed", "killed by the OOM killer"),
        (End(code=0, why="timed out"), False, "failed", "timed out after 60 s"),
        (End(code=0, why="stopped"), False, "cancelled", "stopped"),
        (End(signal=15, why="stopped", stopped_by="ada"), False, "cancelled", "stopped by ada"),
        (End(code=0, missing=["o is missing", "p too"]), True, "failed", "exit 0, but o is missing; p too"),
        (End(code=0, missing=["o is missing"]), False, "completed", "o is missing"),
        (End(code=1, missing=["o is missing"]), True, "failed", "exit 1"),
    ],
)
def test_an_end_is_judged_in_plain_words(end: End, required: bool, state: str, reason: str) -> None:
    assert judge(end, TASK.timeout, required) == (AttemptState(state), reason)


@pytest.mark.parametrize(("number", "text"), [(8, "killed by SIGFPE (arithmetic error)"), (99, "killed by signal 99")])
def test_a_signal_has_a_name_where_there_is_one(number: int, text: str) -> None:
    assert killed_by(number) == text


@pytest.mark.parametrize(
    ("duration", "text"), [(None, "its limit"), (60, "60 s"), (0.5, "0.5 s"), (0.1, "0.1 s"), (1_234_567, "1234567 s")]
)
def test_a_duration_is_written_as_people_do(duration: float | None, text: str) -> None:
    assert seconds(duration) == text
