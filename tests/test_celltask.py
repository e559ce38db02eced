"""A cell as a task: the line, where names come from, what travels, and exactly what is said about mistakes."""

from __future__ import annotations

import io
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager

from wattle_jupyter import cellline, cellpayload, celltask, shapes, spec, task
from wattle_jupyter.celltask import Around, CellTask
from wattle_jupyter.errors import SpecError, WattleError

ROWS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "fixtures" / "bad_cell_tasks.yaml").read_text())
A_HASH = "0" * 64


def kernel(code: str) -> dict[str, Any]:
    """The variables of a kernel in which this code was run."""
    user: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "<kernel>", "exec"), user)
    return user


def resolved(
    cell: str,
    line: str = "etl.clean",
    user: dict[str, Any] | None = None,
    tasks: dict[str, list[str]] | None = None,
    params: dict[str, Any] | None = None,
) -> CellTask:
    read = cellline.read(line)
    given = celltask.given_params(read, user or {})
    around = Around(user=user or {}, tasks=tasks or {}, params={**(params or {}), **given})
    return celltask.resolve(read, cell, around, TransformerManager().transform_cell)


def whole(row: dict[str, Any]) -> None:
    """All that is looked at before a cell is a task."""
    user = kernel(row.get("kernel", ""))
    try:
        look_at(row, user)
    finally:
        for opened in (value for value in user.values() if isinstance(value, io.IOBase)):
            opened.close()


def look_at(row: dict[str, Any], user: dict[str, Any]) -> None:
    found = resolved(row["cell"], row["line"], user, row.get("tasks"), row.get("params"))
    _, payload = cellpayload.pack(found, user, row.get("most", 1 << 20))
    assert payload
    others = {name: {"run": "true", "outputs": outputs} for name, outputs in row.get("tasks", {}).items()}
    tasks = {**others, found.line.task: found.form(A_HASH)}
    spec.load(
        {
            "name": found.line.workflow,
            "tasks": tasks,
            "params": {**row.get("params", {}), **celltask.given_params(found.line, user)},
        }
    )


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['line']}: {row['cell'][:30]}" for row in ROWS])
def test_what_is_said_about_a_mistake(row: dict[str, Any]) -> None:
    with pytest.raises(WattleError) as caught:
        whole(row)
    assert str(caught.value) == row["says"].rstrip("\n")


# ------------------------------------------------------------------------------------------------ where names come from


def test_an_output_of_a_needed_task_is_an_input_by_its_name_or_the_tasks() -> None:
    tasks = {"fetch": ["df", "rows"], "load": ["result"], "other": ["x"]}
    found = resolved("df, rows, load", "etl.clean -n fetch load,other -o df", {"df": 1}, tasks)
    assert found.inputs == {"df": "fetch/df", "rows": "fetch/rows", "load": "load/result"}
    form = found.form(A_HASH)
    assert form["needs"] == ["other"]  # the others are waited for by their data
    assert form["outputs"] == {"df": None}


def test_an_input_may_name_its_source() -> None:
    found = resolved("a + b", "etl.x -i a=load b=fetch/df", {}, {"load": ["result"], "fetch": ["df", "rows"]})
    assert found.inputs == {"a": "load/result", "b": "fetch/df"}


def test_params_of_the_workflow_and_of_the_line_are_taken_by_name() -> None:
    user = {"n": 3, "m": 4}
    found = resolved("print(n, m, k)", "etl.x -p n m=5", user, params={"k": 1, "unused": 2})
    assert found.form(A_HASH)["call"]["params"] == ["n", "m", "k"]
    assert celltask.given_params(found.line, user) == {"n": 3, "m": 5}


def test_code_of_the_kernel_is_captured_by_itself() -> None:
    user = kernel("import math\nfrom os.path import join\nclass A: pass\ndef f(): return A\nsquare = lambda x: x * x\n")
    found = resolved("f(), math.pi, join('a'), square(A)", user=user)
    assert set(found.captured) == {"f", "math", "join", "square", "A"}
    assert found.told().startswith("captured: A (class), f (function), join (function), math (module)")


def test_a_variable_of_the_kernel_hides_a_builtin_as_it_does_there() -> None:
    assert resolved("max(1, 2)").captured == {}
    with pytest.raises(SpecError, match="`max` is an int"):
        resolved("max(1, 2)", user={"max": 3})


def test_the_last_expression_is_the_result_unless_outputs_are_named() -> None:
    assert resolved("x = 1\nx").form(A_HASH)["outputs"] == {"result": None}
    assert "outputs" not in resolved("x = 1\nx;").form(A_HASH)
    assert "outputs" not in resolved("x = 1").form(A_HASH)
    assert resolved("result = 1").results == ["result"]
    assert resolved("x = 1\nx", "etl.c -o x page=page.html").form(A_HASH)["outputs"] == {"x": None, "page": "page.html"}


def test_an_input_that_is_changed_in_place_may_be_an_output() -> None:
    found = resolved("rows.sort()", "etl.c -i rows -o rows", {"rows": [2, 1]})
    assert (found.snapshots, found.results) == ({"rows": [2, 1]}, ["rows"])


def test_names_that_a_star_import_may_bring_are_not_missed() -> None:
    assert resolved("from os.path import *\njoin('a', 'b')").inputs == {}
    assert resolved("from not_loaded_here import *\nanything()").captured == {}


def test_fields_of_the_task_stand_in_the_line() -> None:
    line = "etl.clean --retries 2 --timeout 5m --keep-children -e A=1 B=2 --name clean.all"
    found = resolved("x = 1", line)
    form = found.form(A_HASH)
    assert {key: form[key] for key in ("retries", "timeout", "keep_children", "env")} == {
        "retries": 2, "timeout": "5m", "keep_children": True, "env": {"A": "1", "B": "2"},
    }  # fmt: skip
    assert found.line.task == "clean.all"


def test_every_field_of_a_task_can_be_said_in_the_line() -> None:
    elsewhere = {"run", "call", "needs", "inputs", "outputs", "env", "exit_file"}  # the last is for commands
    assert {*cellline.TASK_FIELDS, *cellline.SWITCHES} == set(shapes.TaskShape.model_fields) - elsewhere


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("etl.clean", True),
        ("a.b.c -n x", True),
        ("etl", False),
        ("etl -p x=1.5", False),
        ("-p x.y etl", False),
        ("", False),
    ],
)
def test_a_dot_in_the_first_word_makes_a_cell_a_task(line: str, is_one: bool) -> None:
    assert cellline.is_cell_task(line) is is_one


def test_the_part_before_the_last_dot_is_the_workflow() -> None:
    read = cellline.read("my.flow.clean")
    assert (read.workflow, read.task) == ("my.flow", "clean")


def test_lines_stay_where_they_are_when_a_cell_begins_with_empty_ones() -> None:
    with pytest.raises(SpecError, match="line 3: `nowhere`"):
        resolved("\n\nnowhere\n")


def test_a_name_that_may_come_too_late_is_a_note() -> None:
    found = resolved("def f():\n    return df\ndf = f()\n", user={"df": [1]})
    assert found.notes == [
        "line 2: `df` may be read before the cell assigns it; if it is to be a list (1 item) of this kernel, "
        "add `-i df`"
    ]


def test_a_snapshot_that_the_cell_does_not_mention_is_sent_and_said() -> None:
    found = resolved("x = 1", "etl.c -i df", {"df": [1]})
    assert (found.snapshots, found.notes) == ({"df": [1]}, ["-i df: the cell does not mention `df`"])


# --------------------------------------------------------------------------------------------------------- what travels


def executed(found: CellTask, user: dict[str, Any], given: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the runner of tasks makes of the cell, in this process."""
    name, data = cellpayload.pack(found, user)
    payload = pickle.load(io.BytesIO(data))
    assert len(name) == 64
    return dict(task._run_cell(payload, given or {}, found.results, "clean"))


@pytest.fixture
def _own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner takes the place of ``__main__``."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.mark.usefixtures("_own_main")
def test_a_function_travels_with_what_it_needs() -> None:
    user = kernel(
        "import math\nSTOP = {'a'}\ndef inner(x): return x not in STOP\ndef keep(x): return inner(x) and math.pi"
    )
    found = resolved("kept = keep('a'), keep('b') > 3", "etl.clean -o kept", user)
    assert set(found.along) == {"STOP"}
    assert "STOP (set, 1 item)" in found.told()
    assert executed(found, user)["kept"] == (False, True)


@pytest.mark.usefixtures("_own_main")
def test_functions_of_the_kernel_read_what_the_cell_and_its_inputs_give() -> None:
    user = kernel("import threading\nlimit = threading.Lock()\ndf = 0\ndef f(): return df + limit\n")
    found = resolved("limit = 5\ntotal = f()", "etl.clean -o total -n load", user, {"load": ["df"]})
    assert found.replaced == {"limit"}  # the lock stays at home
    assert executed(found, user)["total"] == 5
    found = resolved("total = f()\ndf", "etl.clean -o total -i limit=load/n df=load/df", user, {"load": ["df", "n"]})
    assert executed(found, user, {"df": 1, "limit": 2})["total"] == 3


@pytest.mark.usefixtures("_own_main")
def test_a_class_of_the_kernel_and_its_objects_travel() -> None:
    user = kernel(
        "class P:\n    def __init__(self, x): self.x = x\n    def twice(self): return P(self.x * 2)\np = P(4)"
    )
    found = resolved("q = P(1).twice().x + p.twice().x", "etl.clean -i p -o q", user)
    assert executed(found, user)["q"] == 10


@pytest.mark.usefixtures("_own_main")
def test_await_works_at_the_top_level() -> None:
    found = resolved("import asyncio\nx = await asyncio.sleep(0, 3)\nx")
    assert executed(found, {})["result"] == 3


def test_the_same_cell_is_the_same_object() -> None:
    code = "import math\nSTOP = {'a', 'b', 'c'}\nclass A:\n    x = STOP\ndef keep(x): return A, x not in STOP"
    packed = []
    for gap in ("", "\n\n"):
        user = kernel(gap + code)
        packed.append(cellpayload.pack(resolved("keep(1)", user=user), user)[0])
    assert packed[0] == packed[1]


def test_functions_that_read_too_much_are_refused_with_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cellpayload, "MOST_CODE", 1000)
    user = kernel("big = b'1' * 2000\nsmall = 1\ndef f(): return big, small")
    with pytest.raises(SpecError) as caught:
        cellpayload.pack(resolved("f()", user=user), user)
    assert str(caught.value) == (
        "functions that the cell uses read 1.98 KiB of this kernel: `big` (1.97 KiB); "
        "give it to them as an argument, or add `-i big` if it is to be sent"
    )


def test_what_a_function_reads_and_nobody_defines_is_a_note() -> None:
    found = resolved("f()", user=kernel("def f(): return nobody_has_it"))
    assert found.notes == ["f reads `nobody_has_it`, which is not defined"]


def test_a_lock_that_nothing_uses_stays_at_home() -> None:
    user = {**kernel("def f(): return 1"), "lock": threading.Lock()}
    assert cellpayload.pack(resolved("f()", user=user), user)
