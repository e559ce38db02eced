"""What a notebook is given, and the cell that sets it: told without a kernel."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattle_jupyter import parameters
from wattle_jupyter.notebooktask import parameter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def done(text: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(text, space)  # what the kernel would do
    return space


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("rate = 1\nname: str = 'x'", {"rate", "name"}),
        ("a = b = 2", {"a", "b"}),
        ("a, b = [c, d[0]] = 1, 2", {"a", "b", "c"}),
        ("import os\nrate = os.cpu_count()\nrows.append(1)\nx[0] = 1", {"rate"}),
        ("if True:\n    inner = 1", set()),
        ("%%bash\nrate=1", set()),
        ("", set()),
    ],
)
def test_the_names_that_a_cell_sets_by_themselves(source: str, names: set[str]) -> None:
    assert parameters.assigned(source) == names


def test_magics_do_not_hide_what_a_cell_sets() -> None:
    assert parameters.assigned("%matplotlib inline\nrate = 1\n!ls\n?help\nname = 'x'") == {"rate", "name"}
    assert parameters.assigned("help?\nfiles = !ls\nhere=%pwd\nrate = 1  # is it?") == {"files", "here", "rate"}


def test_arguments_come_before_inputs_and_inputs_before_params() -> None:
    takes = frozenset(("a", "b", "c"))
    inputs = {"b": ("json", "2"), "c": ("json", "2")}
    assert parameters.given({"a": 1, "b": 1, "c": 1, "d": 1}, inputs, {"c": 3}, takes) == {"a": "1", "b": "2", "c": "3"}


@settings(deadline=None)
@given(JSON)
def test_any_value_arrives_as_it_was_whatever_way_it_takes(value: Any) -> None:
    ways = parameters.given({"a": value}, {"b": ("json", json.dumps(value))}, {"c": value}, frozenset("a"))
    space = done(parameters.cell(ways))
    assert space["a"] == space["b"] == space["c"] == value
    assert type(space["a"]) is type(space["b"]) is type(value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity, 1]"])
def test_numbers_that_python_has_no_word_for_arrive(text: str) -> None:
    value = json.loads(text)
    ways = parameters.given({"a": value}, {"b": ("json", text)}, {"c": value}, frozenset("a"))
    space = done(parameters.cell(ways))
    assert repr([space["a"], space["b"], space["c"]]) == repr([value] * 3)


def test_inputs_that_no_variable_can_be_called_by_are_left_to_be_asked_for() -> None:
    assert parameters.given({}, {"in": ("text", "x"), "a-b": ("text", "x")}, {}, frozenset()) == {}
    with pytest.raises(argparse.ArgumentTypeError, match="no variable of Python can be called 'class'"):
        parameter("class=1")


@settings(deadline=None)
@given(st.text())
def test_texts_and_paths_are_never_code(text: str) -> None:
    space = done(parameters.cell(parameters.given({}, {"t": ("text", text), "p": ("file", text)}, {}, frozenset())))
    assert (space["t"], space["p"]) == (text, Path(text))


def test_what_looks_like_a_secret_is_set_by_code_that_nobody_sees() -> None:
    values = parameters.given({}, {"token": ("file", "sesame")}, {"api_key": "sesame", "rate": 1}, frozenset())
    assert parameters.cell(values) == "# set by wattle\nrate = 1\n# token = •••\n# api_key = •••"
    assert done(parameters.hidden(values))["token"] == Path("sesame")
    assert done(parameters.hidden(values))["api_key"] == "sesame"


def test_how_an_object_is_read_is_no_secret() -> None:
    values = parameters.given({}, {"tokens": ("object", "/x"), "p": ("file", "/x")}, {}, frozenset())
    assert parameters.hidden(values) == ""
    assert parameters.cell(values).splitlines() == [
        "# set by wattle",
        "from pathlib import Path",
        "import wattle_jupyter",
        "tokens = wattle_jupyter.input('tokens')",
        "p = Path('/x')",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x=1", 1),
        ("x=[1, null]", [1, None]),
        ('x="1"', "1"),
        ("x=it's", "it's"),
        ("x=", ""),
        ("x=a=b", "a=b"),
        ("x=NaN", "NaN"),
    ],
)
def test_an_argument_is_json_where_it_reads_as_it(text: str, value: Any) -> None:
    assert parameter(text) == ("x", value)
