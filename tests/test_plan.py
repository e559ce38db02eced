from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattle_jupyter.model import Mode, Output, Task, Workflow
from wattle_jupyter.plan import Plan, cycles, topological


def flow(needs: dict[str, list[str]], mode: Mode = "dependency", inputs: dict[str, str] | None = None) -> Workflow:
    """A workflow of these needs; ``inputs`` gives a task the data of another."""
    given_data = {dst: {"x": f"{src}/o"} for dst, src in (inputs or {}).items()}
    outputs = {"o": Output()}
    return Workflow(
        name="w",
        mode=mode,
        tasks={
            name: Task(name=name, run=("true",), needs=tuple(ups), inputs=given_data.get(name, {}), outputs=outputs)
            for name, ups in needs.items()
        },
    )


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    names = draw(st.permutations([f"t{i}" for i in range(draw(st.integers(1, 12)))]))
    needs = {name: draw(st.lists(st.sampled_from(names[:i]), unique=True)) if i else [] for i, name in enumerate(names)}
    return {name: needs[name] for name in draw(st.permutations(names))}


def test_the_order_is_that_of_the_definition_where_the_edges_allow_it() -> None:
    assert Plan(flow({"a": [], "b": ["d"], "c": ["a"], "d": []})).order == ["a", "c", "d", "b"]


@given(acyclic())
def test_upstream_always_comes_first_and_every_task_comes_once(needs: dict[str, list[str]]) -> None:
    plan = Plan(flow(needs))
    at = {name: i for i, name in enumerate(plan.order)}
    assert sorted(plan.order) == sorted(needs)
    assert all(at[up] < at[name] for name, ups in needs.items() for up in ups)


@given(acyclic())
def test_a_layer_is_as_deep_as_the_longest_path_and_downstream_mirrors_upstream(needs: dict[str, list[str]]) -> None:
    plan = Plan(flow(needs))
    depth = {name: i for i, layer in enumerate(plan.layers()) for name in layer}
    assert all(depth[name] == max((depth[up] + 1 for up in ups), default=0) for name, ups in needs.items())
    assert {(up, name) for name, ups in plan.upstream.items() for up in ups} == {
        (name, down) for name, downs in plan.downstream.items() for down in downs
    }


def test_a_slow_branch_holds_up_only_what_waits_for_it() -> None:
    plan = Plan(flow({"fast": [], "slow": [], "after_fast": ["fast"], "after_slow": ["slow"]}))
    assert plan.upstream["after_fast"] == ("fast",)


def test_edges_tell_data_from_order() -> None:
    plan = Plan(flow({"a": [], "b": [], "c": ["a"]}, inputs={"c": "b"}))
    assert plan.edges == [{"src": "a", "dst": "c", "kind": "order"}, {"src": "b", "dst": "c", "kind": "data"}]


def test_sequential_is_a_chain_that_also_shows_the_data() -> None:
    plan = Plan(flow({"a": [], "b": [], "c": []}, "sequential", {"c": "a"}))
    assert plan.order == ["a", "b", "c"]
    assert plan.edges == [
        {"src": "a", "dst": "b", "kind": "order"},
        {"src": "b", "dst": "c", "kind": "order"},
        {"src": "a", "dst": "c", "kind": "data"},
    ]


def test_in_parallel_nothing_waits() -> None:
    plan = Plan(flow({"a": [], "b": ["a"]}, "parallel"))
    assert (plan.edges, plan.layers()) == ([], [["a", "b"]])


def test_descendants_are_all_that_wait_directly_or_not() -> None:
    plan = Plan(flow({"a": [], "b": ["a"], "c": ["b"], "d": ["c", "a"], "e": []}))
    assert plan.descendants("a") == ["b", "d", "c"]
    assert plan.descendants("e") == []


def test_a_cycle_is_shown_in_the_direction_of_flow() -> None:
    assert cycles({"x": [], "a": ["c", "x"], "b": ["a"], "c": ["b"], "after": ["c"]}) == [["a", "b", "c", "a"]]
    with pytest.raises(ValueError, match="a → b → a"):
        Plan(flow({"a": ["b"], "b": ["a"]}))


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), unique=True)))
def test_every_cycle_shown_is_one_and_there_is_none_exactly_if_all_can_be_ordered(graph: dict[str, list[str]]) -> None:
    graph = {name: [up for up in ups if up in graph] for name, ups in graph.items()}
    found = cycles(graph)
    assert (found == []) == (len(topological(graph)) == len(graph))
    for loop in found:
        assert loop[0] == loop[-1]
        assert all(left in graph[right] for left, right in pairwise(loop))


def test_a_hundred_thousand_tasks_are_planned() -> None:
    needs = {f"t{i}": [f"t{i - 1}"] if i % 100 else [] for i in range(100_000)}
    plan = Plan(flow(needs))
    assert len(plan.order) == 100_000
    assert [len(layer) for layer in plan.layers()] == [1_000] * 100
