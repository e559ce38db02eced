from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattle_jupyter import draw, spec
from wattle_jupyter.layout import place
from wattle_jupyter.model import State, Workflow
from wattle_jupyter.plan import Plan

SVG = "{http://www.w3.org/2000/svg}"


def flow(needs: dict[str, list[str]], name: str = "w") -> Workflow:
    return spec.load({"name": name, "tasks": {task: {"run": ["x"], "needs": ups} for task, ups in needs.items()}})


MODELS = flow(
    {"fetch": [], "clean": ["fetch"], "a": ["clean"], "b": ["clean"], "report": ["a", "b", "fetch"]}, "models"
)
MIXED = {"fetch": State.COMPLETED, "clean": State.COMPLETED, "a": State.FAILED, "b": State.RUNNING}


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


@st.composite
def flows(draw_: st.DrawFn) -> Workflow:
    size = draw_(st.integers(1, 14))
    return flow({f"t{i}": [f"t{j}" for j in sorted(draw_(st.sets(st.integers(0, i - 1), max_size=3)))] if i else []
                 for i in range(size)})  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ text


def test_the_text_of_a_plan_lists_tasks_upstream_first() -> None:
    assert draw.text(MODELS) == (
        "models: 5 tasks\n"
        "  • fetch\n"
        "  • clean  ← fetch\n"
        "  • a      ← clean\n"
        "  • b      ← clean\n"
        "  • report ← a, b, fetch"
    )


def test_the_text_of_a_run_says_states_and_reasons() -> None:
    assert draw.text(MODELS, MIXED, {"a": "exit 3", "fetch": "not shown"}) == (
        "models: 5 tasks, 1 created, 1 running, 2 completed, 1 failed\n"
        "  ✓ fetch\n"
        "  ✓ clean  ← fetch\n"
        "  ✗ a      ← clean  [failed: exit 3]\n"
        "  ▶ b      ← clean  [running]\n"
        "  ○ report ← a, b, fetch"
    )


def test_a_reason_of_several_lines_stays_on_one() -> None:
    assert draw.text(flow({"a": []}), {"a": State.FAILED}, {"a": "exit 1:\n  no"}).endswith("✗ a  [failed: exit 1: no]")


# ------------------------------------------------------------------------------------------------------------ data


def test_the_data_holds_states_edges_and_nothing_that_changes_from_run_to_run() -> None:
    assert draw.mime(MODELS, MIXED, {"a": "exit 3"}) == {
        "version": 1,
        "workflow": "models",
        "state": "running",
        "tasks": [
            {"task": "fetch", "state": "completed", "reason": ""},
            {"task": "clean", "state": "completed", "reason": ""},
            {"task": "a", "state": "failed", "reason": "exit 3"},
            {"task": "b", "state": "running", "reason": ""},
            {"task": "report", "state": "created", "reason": ""},
        ],
        "edges": [
            {"src": "fetch", "dst": "clean", "kind": "order"},
            {"src": "clean", "dst": "a", "kind": "order"},
            {"src": "clean", "dst": "b", "kind": "order"},
            {"src": "a", "dst": "report", "kind": "order"},
            {"src": "b", "dst": "report", "kind": "order"},
            {"src": "fetch", "dst": "report", "kind": "order"},
        ],
    }


def test_a_plan_has_no_states() -> None:
    data = draw.mime(MODELS)
    assert (data["state"], {task["state"] for task in data["tasks"]}) == (None, {None})


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ("completed completed", "completed"),
        ("completed failed skipped", "failed"),
        ("completed cancelled skipped", "cancelled"),
        ("failed cancelled", "failed"),
        ("completed created", "running"),
        ("created created", "created"),
        ("queued running", "running"),
    ],
)
def test_the_state_of_a_run_follows_from_its_tasks(states: str, state: str) -> None:
    assert draw.run_state({str(i): State(word) for i, word in enumerate(states.split())}) == state


# ------------------------------------------------------------------------------------------------------------- svg


@pytest.mark.parametrize("states", [None, MIXED], ids=["plan", "run"])
def test_the_svg_is_plain_and_can_be_read_aloud(states: dict[str, State] | None) -> None:
    svg = draw.svg(MODELS, states)
    root = parsed(svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "g",
        "rect",
        "path",
        "text",
    }
    assert not re.search(r"style|class=|id=|href|var\(|url\(|on\w+=", svg)
    assert root.attrib["role"] == "img"
    assert root.findtext(f"{SVG}title") == "Workflow models"
    assert "clean completed" in str(root.findtext(f"{SVG}desc")) or states is None


def test_a_box_says_its_state_as_word_colour_and_icon() -> None:
    for state in State:
        box = parsed(draw.svg(flow({"a": []}), {"a": state})).find(f"{SVG}g")
        assert box is not None
        assert [text.text for text in box.iter(f"{SVG}text")] == ["a", str(state)]
        assert len(list(box.iter(f"{SVG}path"))) == 1
    looks = {re.sub("[a-z]+</t", "", draw.svg(flow({"a": []}), {"a": state}).split("<rect")[1]) for state in State}
    assert len(looks) == len(State) - 1  # queued and waiting differ by the word


def test_names_are_escaped_and_clipped() -> None:
    workflow = Workflow(name="<w> & 'x'", tasks={}, description="")
    assert parsed(draw.svg(workflow)).findtext(f"{SVG}title") == "Workflow <w> & 'x'"
    long = parsed(draw.svg(flow({"n" * 100: []}))).find(f"{SVG}g")
    assert long is not None
    assert str(long.findtext(f"{SVG}text")).endswith("n…")
    assert long.findtext(f"{SVG}title") == "n" * 100


@settings(max_examples=80, deadline=None)
@given(flows())
def test_boxes_do_not_overlap_and_lie_inside_the_drawing(workflow: Workflow) -> None:
    root = parsed(draw.svg(workflow, {}))
    boxes = [tuple(float(r.attrib[key]) for key in ("x", "y", "width", "height")) for r in root.iter(f"{SVG}rect")]
    assert len(boxes) == len(workflow.tasks)
    for i, (x, y, width, height) in enumerate(boxes):
        assert x >= 0
        assert x + width <= float(root.attrib["width"])
        assert y >= 0
        assert y + height <= float(root.attrib["height"])
        for other_x, other_y, _, _ in boxes[i + 1 :]:
            assert other_x != x or abs(other_y - y) >= height


@settings(max_examples=50, deadline=None)
@given(flows())
def test_drawings_are_the_same_byte_for_byte(workflow: Workflow) -> None:
    again = spec.load(json.loads(json.dumps(spec.dump(workflow))))
    assert draw.svg(workflow, MIXED) == draw.svg(again, MIXED)
    assert draw.text(workflow, MIXED) == draw.text(again, MIXED)
    assert json.dumps(draw.mime(workflow)) == json.dumps(draw.mime(again))


def test_tasks_are_sorted_so_that_edges_do_not_cross() -> None:
    layout = place([["a", "b", "c"], ["x", "y", "z"]], [("a", "z"), ("b", "y"), ("c", "x")])
    ends = [
        layout.rows[dst] for _, dst in sorted([(layout.rows[s], d) for s, d in (("a", "z"), ("b", "y"), ("c", "x"))])
    ]
    assert ends == sorted(ends)


def test_a_long_edge_goes_round_the_boxes_between() -> None:
    layout = place([["a"], ["b"], ["c"]], [("a", "b"), ("b", "c"), ("a", "c")])
    assert [len(path) for path in layout.paths] == [0, 0, 1]
    assert abs(layout.paths[2][0] - layout.rows["b"]) > 0.7


def test_a_chain_is_a_straight_line() -> None:
    assert "C" not in "".join(
        re.findall(r' d="([^"]*)" fill="none" stroke="#8b949e"', draw.svg(flow({"a": [], "b": ["a"], "c": ["b"]})))
    )


def test_beyond_120_tasks_layers_are_counted_instead() -> None:
    workflow = flow({f"t{i}": [f"t{i - 10}"] if i >= 10 else [] for i in range(1_000)})
    states = {name: State.COMPLETED if i % 2 else State.FAILED for i, name in enumerate(Plan(workflow).order)}
    root = parsed(draw.svg(workflow, states))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[-1] == "w: 1,000 tasks in 100 layers, 500 completed, 500 failed"
    assert texts[:2] == ["Layers 1–9", "90 tasks"]
    assert float(root.attrib["width"]) < 2_000
    assert len(draw.svg(flow({f"t{i}": [] for i in range(121)}))) < 2_000
    assert len(list(parsed(draw.svg(flow({f"t{i}": [] for i in range(120)}))).iter(f"{SVG}g"))) == 120
