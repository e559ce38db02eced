"""Pictures in saved notebooks pass the sanitisers of sites that show notebooks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sanitiser import parts, sanitised

from wattle_jupyter import draw, spec
from wattle_jupyter.model import State, Workflow

HOSTILE = "</title><script>alert(1)</script><rect onload=alert(1) style='x:url(//e)'>&\x00\ud800"


def workflow(count: int) -> Workflow:
    tasks = {f"t{i}": {"run": "x", "needs": [f"t{i - 1}"] if i % 5 else []} for i in range(count)}
    return replace(spec.load({"name": "w", "tasks": tasks}), name=HOSTILE)  # worse than any file may say


@pytest.mark.parametrize("count", [1, 12, 121])
@pytest.mark.parametrize("state", [None, *State])
def test_nothing_of_a_drawing_is_lost_in_a_sanitiser(count: int, state: State | None) -> None:
    found = workflow(count)
    states = None if state is None else dict.fromkeys(found.tasks, state)
    svg = draw.svg(found, states)
    assert parts(sanitised(svg)) == parts(svg)


def test_the_sanitiser_would_take_what_is_not_plain() -> None:
    bad = '<svg xmlns="http://www.w3.org/2000/svg"><style>a{}</style><rect style="fill:red" onload="x()"/></svg>'
    assert parts(sanitised(bad)) != parts(bad)
    assert "style" not in sanitised(bad.replace("<style>a{}</style>", ""))


@pytest.mark.parametrize("states", [None, {"t0": State.FAILED}])
def test_beside_the_drawing_the_same_is_said_as_text(states: dict[str, State] | None) -> None:
    said = draw.text(workflow(3), states)
    assert [line.split()[1] for line in said.splitlines()[1:]] == ["t0", "t1", "t2"]
    assert ("[failed]" in said) is (states is not None)
