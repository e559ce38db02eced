from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wattle_jupyter import cell, spec
from wattle_jupyter.errors import SpecError
from wattle_jupyter.model import Workflow
from wattle_jupyter.shapes import HeadShape, TaskShape

FIXTURES = Path(__file__).parent / "fixtures"
BAD: list[dict[str, str]] = yaml.safe_load((FIXTURES / "bad_cells.yaml").read_text(encoding="utf-8"))

CELL = r"""# NBVAL_IGNORE_OUTPUT
fetch:  curl -sS -H "Accept: text/csv" {{url}} -o raw.csv   # keep this
clean <- fetch: awk -F: '{print $1}' raw.csv > clean.csv && echo "rows: $(wc -l < clean.csv) # here"

max_parallel: 2
description: first: second  # not this
params: {url: x, lr: 1}
train <- clean:
  # why
  run: python -c "d = {'a': 1}" --lr {{ lr }}
  retries: 2
  outputs: [auc]
report <- clean, train: report.py {{ train.auc }}
multi: |
  set -euo pipefail
  # not a comment of YAML
  run: not a field
list: ["python", "-c", "print(1)"]
flow <- list: {run: true, retries: 1}
quoted: "echo 'a: b'"
test: "[ -f x ] && echo y"
group: [ -f x ] && { echo y; }
redirect: > out.txt date
"""


def load(text: str) -> Workflow:
    data, lines = cell.parse(text)
    return spec.load(data, name="w", lines=lines)


@pytest.mark.parametrize("row", BAD, ids=[json.dumps(row["cell"])[1:40] for row in BAD])
def test_a_bad_cell_gives_one_clear_error_at_its_line(row: dict[str, str]) -> None:
    with pytest.raises(SpecError) as caught:
        load(row["cell"])
    assert str(caught.value) == row["says"]
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].line is not None


def test_one_liners_are_taken_as_they_are() -> None:
    tasks = load(CELL).tasks
    assert tasks["fetch"].run == 'curl -sS -H "Accept: text/csv" {{url}} -o raw.csv'
    assert (
        tasks["clean"].run
        == """awk -F: '{print $1}' raw.csv > clean.csv && echo "rows: $(wc -l < clean.csv) # here\""""
    )
    assert tasks["group"].run == "[ -f x ] && { echo y; }"
    assert tasks["redirect"].run == "> out.txt date"


def test_blocks_lists_mappings_and_quoted_texts_are_yaml() -> None:
    tasks = load(CELL).tasks
    assert tasks["train"].run == """python -c "d = {'a': 1}" --lr {{ lr }}"""
    assert tasks["train"].retries == 2
    assert tasks["multi"].run == "set -euo pipefail\n# not a comment of YAML\nrun: not a field"
    assert tasks["list"].run == ("python", "-c", "print(1)")
    assert tasks["quoted"].run == ("echo", "a: b")
    assert tasks["test"].run == "[ -f x ] && echo y"


def test_arrows_name_what_a_task_waits_for() -> None:
    assert {name: task.upstream for name, task in load(CELL).tasks.items() if task.upstream} == {
        "clean": ("fetch",),
        "train": ("clean",),
        "report": ("clean", "train"),
        "flow": ("list",),
    }


def test_fields_of_the_workflow_stand_between_the_tasks() -> None:
    workflow = load(CELL)
    assert (workflow.max_parallel, workflow.description) == (2, "first: second")
    assert list(workflow.tasks)[:3] == ["fetch", "clean", "train"]


def test_lines_are_those_that_the_author_sees() -> None:
    _, lines = cell.parse(CELL)
    rows = CELL.split("\n")
    assert all(rows[lines[f"tasks.{name}"] - 1].startswith(name) for name in load(CELL).tasks)
    assert rows[lines["tasks.train.retries"] - 1] == "  retries: 2"
    assert rows[lines["max_parallel"] - 1] == "max_parallel: 2"


def test_a_comment_needs_a_blank_before_it_and_no_quotes_around_it() -> None:
    text = "a: echo x#y 'z # z' \\# \"p # p\" # gone"
    assert load(text).tasks["a"].run == "echo x#y 'z # z' \\# \"p # p\""


def test_a_whole_spec_may_stand_in_a_cell() -> None:
    text = "name: other\nmode: sequential\ntasks:\n  a: echo x\n  b <- a:\n    run: echo y\n    retries: 1\n"
    workflow = load(text)
    assert (workflow.name, workflow.mode, workflow.tasks["b"].needs) == ("w", "sequential", ("a",))
    assert cell.parse(text)[1]["tasks.b.retries"] == 7


def test_the_wattle_scheduler_format_may_be_pasted() -> None:
    text = (FIXTURES / "dag_test.json").read_text(encoding="utf-8")
    data, lines = cell.parse(text)
    assert data == json.loads(text)
    assert lines["workers[1].inputs.rows"] == 3


def test_lists_and_mappings_may_go_over_several_lines() -> None:
    tasks = load("a: [python,\n    -c, x]\nb: {run: echo x,\n    retries: 1}\n").tasks
    assert tasks["a"].run == ("python", "-c", "x")
    assert tasks["b"].retries == 1


def test_line_ends_of_windows_are_taken() -> None:
    assert load("a: echo x\r\nb: |\r\n  echo y\r\n  echo z\r\n").tasks["b"].run == "echo y\necho z"


COMMAND = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc"]), min_size=1)


@settings(max_examples=200, deadline=None)
@given(COMMAND.map(lambda s: "x" + s.rstrip()).filter(lambda s: " #" not in s))
def test_any_command_on_one_line_reaches_the_task_unchanged(command: str) -> None:
    data, _ = cell.parse(f"task: {command}\n")
    assert data["tasks"] == {"task": {"run": command}}


LINES = [
    "a: x",
    "b <- a: y",
    "  run: z",
    "c:",
    "d: |",
    "  - x",
    "tasks:",
    "env:",
    "  k: v",
    "{",
    "]",
    "e: [1",
    "# n",
    "",
]
LINES += ["\tq", "f: &x", "g: *x", "h: 'u", "mode: x", "a b", "-> a: b", "workers:", "- x", "? y", "a: {run: x}"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=6))
def test_any_cell_is_data_or_an_error_with_a_line(rows: list[str]) -> None:
    try:
        data, lines = cell.parse("\n".join(rows))
    except SpecError as error:
        found = [problem.line for problem in error.problems]
        assert found != [None], error  # noqa: PT017 - an error is one of two right answers here
    else:
        assert all(1 <= line <= len(rows) for line in lines.values())
        spec.free_names(data)


DOCS = (Path(__file__).parent.parent / "docs" / "cell-language.md").read_text(encoding="utf-8")


def test_the_cell_in_the_documentation_works() -> None:
    body = DOCS.split("```")[1].partition("%%wattle etl\n")[2]
    data, lines = cell.parse(body)
    assert spec.free_names(data) == {"url", "lr"}
    workflow = spec.load({**data, "params": {"url": "http://x", "lr": 0.1}}, name="etl", lines=lines)
    assert workflow.tasks["report"].upstream == ("clean", "train")
    assert workflow.tasks["train"].script == "train.py"


def test_the_documentation_names_every_field() -> None:
    rows = {
        word for line in DOCS.splitlines() if line.startswith("| `") for word in line.split("|")[1].split("`")[1::2]
    }
    assert rows == (set(TaskShape.model_fields) | set(HeadShape.model_fields)) - {"name"}
