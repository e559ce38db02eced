"""What tasks leave behind, however they leave it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattle_jupyter import outputs
from wattle_jupyter.model import MAX_DEPTH, Left, Output, Task, json_problem
from wattle_jupyter.objects import Objects


def read(folder: Path, content: str | bytes) -> tuple[dict[str, object], str]:
    path = folder / "output"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return outputs.read_values(path)


def task(**declared: Output) -> Task:
    return Task(name="a", run="x", outputs=declared)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("", {}),
        ("rows=12\nname=a b = c\n", {"rows": "12", "name": "a b = c"}),
        ("rows=1\nrows=2", {"rows": "2"}),
        ("empty=\n\n   \n", {"empty": ""}),
        ('{"a": [1, null, {"b": 2.5}], "c": "ü"}\n', {"a": [1, None, {"b": 2.5}], "c": "ü"}),
        ('  {"a": 1}\na=text\r\n', {"a": "text"}),
        ("x=one\u2028line\x0bstill\x85it\n", {"x": "one\u2028line\x0bstill\x85it"}),
        (b"x=\xff\xfe\n", {"x": "��"}),
    ],
)
def test_values_are_lines_of_text_or_json(tmp_path: Path, content: str | bytes, values: dict[str, object]) -> None:
    assert read(tmp_path, content) == (values, "")


@pytest.mark.parametrize(
    "line",
    ["no value", "1x=2", "=3", '{"a": 1', '{"a": NaN}', '{"a": 1e999}', '{"a": -Infinity}', '{"a":' * 50_000,
     '{"a": ' + "[" * 500 + "]" * 500 + "}", '{"a": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_what_is_neither_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    values, problem = read(tmp_path, f"ok=1\n{line}\nlater=2\n")
    assert values == {"ok": "1"}
    assert problem.startswith("line 2 of $WATTLE_OUTPUT is neither `key=value` nor a JSON object: ")


def test_too_much_is_refused_with_the_cure(tmp_path: Path) -> None:
    assert read(tmp_path, "x=" + "y" * (outputs.MAX_VALUES - 2))[1] == ""
    assert "write big things to files" in read(tmp_path, "x=" + "y" * (outputs.MAX_VALUES - 1))[1]


def test_a_file_that_nobody_wrote_holds_no_values(tmp_path: Path) -> None:
    assert outputs.read_values(tmp_path / "none") == ({}, "")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path)])
def test_what_could_block_or_lead_elsewhere_is_not_read(tmp_path: Path, make: object) -> None:
    make(tmp_path / "output")  # type: ignore[operator]  # one of the three above
    assert outputs.read_values(tmp_path / "output")[1].startswith("$WATTLE_OUTPUT is no regular file")


def test_declared_files_and_values_are_collected(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("1\n2\n")
    (tmp_path / "output").write_text("n=2\nunasked=1\n")
    asked = task(rows=Output(path="data/../data/rows.csv"), n=Output())
    found, missing = outputs.collect(asked, str(tmp_path), tmp_path / "output", Objects(tmp_path / "objects"))
    digest = hashlib.sha256(b"1\n2\n").hexdigest()
    assert found == {"rows": Left("file", str(tmp_path / "data" / "rows.csv"), 4, digest), "n": Left("json", "2")}
    assert missing == []


def test_a_value_that_only_looks_like_a_file_stays_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("of the folder that the server happens to be in")
    monkeypatch.chdir(tmp_path)
    found = outputs._value(task(), "cfg", {"cfg": {"$file": "x"}}, Objects(tmp_path / "objects"))
    assert found == Left("json", {"$file": "x"})


def test_what_is_missing_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("junk\n")
    asked = task(rows=Output(path="rows.csv"), n=Output(), nul=Output(path="a\0b"), odd=Output(path="\ud800.csv"))
    found, missing = outputs.collect(asked, str(tmp_path), tmp_path / "output", Objects(tmp_path / "objects"))
    assert found == {}
    assert missing[0].startswith("line 1 of $WATTLE_OUTPUT")
    assert missing[1:3] == [
        "output rows is missing: rows.csv (No such file or directory)",
        "output n is missing: nothing wrote `n=…` to $WATTLE_OUTPUT",
    ]
    assert missing[3].startswith("output nul is missing: 'a\\x00b' is no path")
    assert missing[4].startswith("output odd is missing: '\\ud800.csv' is no path")


def test_files_that_a_task_would_leave_are_known_without_running_it() -> None:
    asked = task(rows=Output(path="rows.csv"), n=Output(), far=Output(path="/x/y.csv"))
    found = outputs.declared(asked, "/data")
    assert found == {"a/rows": Left("file", "/data/rows.csv"), "a/far": Left("file", "/x/y.csv")}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=20))
def test_json_has_no_problem(value: object) -> None:
    assert json_problem(value) == ""


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "nan is not JSON"),
        ([{"x": float("inf")}], "inf is not JSON"),
        ({1: 2}, "a key is not text"),
        ({"x": {1, 2}}, "a set is not JSON"),
        ([b""], "a bytes is not JSON"),
    ],
)
def test_what_is_not_json_is_told(value: object, problem: str) -> None:
    assert json_problem(value) == problem


def test_json_may_be_nested_up_to_the_limit() -> None:
    value: object = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert json_problem(value) == ""
    assert json_problem([value]) == f"it is nested deeper than {MAX_DEPTH} levels"
