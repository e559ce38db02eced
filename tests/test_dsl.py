"""The Python DSL: functions and commands as tasks, arrows, YAML both ways; against the real engine at the end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from processes import EngineProcess
from test_spec import specs

import wattle_jupyter as wt
from wattle_jupyter import magic, notation, notebook, pickling, spec
from wattle_jupyter.client import Client
from wattle_jupyter.errors import NotFound, WattleError
from wattle_jupyter.notebook import BadUse, Notebook, WorkflowError

FIXTURES = Path(__file__).parent / "fixtures"
BAD: list[dict[str, str]] = yaml.safe_load((FIXTURES / "bad_dsl.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """A kernel that has defined nothing yet."""
    made = Notebook()
    monkeypatch.setattr(notebook, "_BOOK", made)
    return made


@pytest.fixture
def shell(book: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """IPython, as the notebook of a kernel that has defined nothing yet."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    InteractiveShell.clear_instance()
    found = InteractiveShell.instance()
    found.history_manager.enabled = False
    notebook.notebook()
    found.user_ns.update(wt=wt, wf=None)
    yield found
    found.events.unregister("pre_run_cell", book._begin)
    found.events.unregister("post_run_cell", book._end)
    found.history_manager.end_session()
    InteractiveShell.clear_instance()


def run_cell(shell: Any, code: str, cell: str | None = None) -> Any:
    """What the cell gave; raises what it raised."""
    done = shell.run_cell(code, cell_id=cell)
    done.raise_error()
    return done.result


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("row", BAD, ids=[row["case"] for row in BAD])
def test_a_mistake_is_told_exactly_so(shell: Any, row: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")')
    with pytest.raises(WattleError) as caught:
        run_cell(shell, row["code"])
    assert str(caught.value) == row["says"].rstrip("\n")


def test_no_message_comes_from_a_library_and_most_say_what_to_do() -> None:
    said = [row["says"] for row in BAD]
    assert len(said) >= 25
    assert [text for text in said if "Traceback" in text or "pydantic" in text.lower()] == []
    assert sum(";" in text for text in said) > 0.9 * len(said)


def test_an_error_is_a_block_without_a_traceback(shell: Any) -> None:
    with pytest.raises(WorkflowError) as caught:
        run_cell(shell, 'wf = wt.Workflow("etl")\n@wf.task\ndef clean(fecth): pass\nwf.run()')
    assert caught.value._render_traceback_() == str(caught.value).splitlines()
    assert caught.value.problems[0].reason == "takes `fecth`, which is neither a task nor a param"


# ------------------------------------------------------------------------------------------------------------ functions


def test_a_call_stays_a_plain_call_and_the_name_and_words_of_the_function_are_kept(book: Notebook) -> None:
    wf = wt.Workflow("etl")

    @wf.task(retries=1)
    def fetch(n: int = 5) -> list[int]:
        """Numbers."""
        return list(range(n))

    @wf.task
    async def late(fetch: list[int]) -> int:
        return len(fetch)

    assert fetch(2) == [0, 1]
    assert asyncio.run(late([1, 2])) == 2
    assert (fetch.__name__, fetch.__doc__, repr(fetch)) == ("fetch", "Numbers.", "<Task fetch of etl>")


def test_parameters_become_inputs_params_or_stay_as_they_are(book: Notebook) -> None:
    wf = wt.Workflow("etl", params={"k": 2})
    load = wf.sh("load", "true", outputs={"rows": "rows.csv"})

    @wf.task(inputs={"first": load}, outputs=["page"])
    def clean(first: str, load: str, k: int, n: int = 5, shape: tuple[int, int] = (1, 2)) -> None: ...

    task = wf.definition().tasks["clean"]
    assert task.inputs == {"first": "load/rows", "load": "load/rows"}
    assert task.call is not None
    assert task.call.params == ("k", "n")
    assert wf.definition().params == {"n": 5, "k": 2}
    assert list(task.outputs) == ["result", "page"]


def test_a_lambda_and_a_function_of_another_module_may_be_tasks(book: Notebook) -> None:
    wf = wt.Workflow("etl")
    double = wf.task(name="double")(lambda x=2: 2 * x)
    wf.task(textwrap.indent, name="text", inputs={"text": double, "prefix": double, "predicate": double})
    assert double(4) == 8
    assert list(wf.definition().tasks) == ["double", "text"]


def test_a_task_may_call_another_one_as_the_function_that_it_is(shell: Any) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")\n@wf.task\ndef fact(n=5): return 1 if n < 2 else n * fact(n - 1)')
    payload = pickling.payload(shell.user_ns["fact"], "fact")
    code = f"import pickle; print(pickle.loads({payload.data!r})['function'](n=4))"
    done = subprocess.run([sys.executable, "-S", "-c", SITE + code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("24\n", "")


# Where packages are, without ours: a task's process needs cloudpickle only.
SITE = f"import sys; sys.path += {[str(Path(yaml.__file__).parent.parent)]!r}; sys.modules['wattle_jupyter'] = None; "


# --------------------------------------------------------------------------------------------------------------- arrows


def test_arrows_join_one_and_several_in_all_combinations(book: Notebook) -> None:
    wf = wt.Workflow("etl")
    a, b, c, d, e, f = (wf.sh(name, "true") for name in "abcdef")
    a >> [b, c] >> d
    (b, c) >> e
    a >> b >> [e, f]
    needs = {name: set(task.needs) for name, task in wf.definition().tasks.items()}
    assert needs == {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}, "e": {"b", "c"}, "f": {"b"}}


def test_several_at_the_end_of_an_arrow_may_point_to_several(book: Notebook) -> None:
    wf = wt.Workflow("etl")
    a, b, c, d, e = (wf.sh(name, "true") for name in "abcde")
    a >> [b, c] >> [d, e]
    assert [set(wf.definition().tasks[name].needs) for name in "de"] == [{"b", "c"}, {"b", "c"}]


def test_needs_may_name_tasks_or_be_them(book: Notebook) -> None:
    wf = wt.Workflow("etl")
    a, b = wf.sh("a", "true"), wf.sh("b", "true")
    wf.sh("c", "true", needs=[a, "b"])
    wf.sh("d", "true", needs=b)
    wf.sh("e", "true", needs="a, b")
    assert [wf.definition().tasks[name].needs for name in "cde"] == [("a", "b"), ("b",), ("a", "b")]


# ------------------------------------------------------------------------------------------------- cells of a notebook


def test_a_cell_that_runs_again_replaces_its_tasks_and_arrows(shell: Any) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")', "head")
    run_cell(shell, "@wf.task\ndef fetch(): return 1", "one")
    run_cell(shell, "@wf.task\ndef clean(fetch): return 2\nlast = wf.sh('last', 'true')\nclean >> last", "two")
    run_cell(shell, "@wf.task\ndef scrub(fetch): return 2\nlast = wf.sh('last', 'true')", "two")
    wf = run_cell(shell, "wf", "three")
    assert [node.name for node in wf] == ["fetch", "scrub", "last"]
    assert wf.definition().tasks["last"].needs == ()
    run_cell(shell, "1 + 1", "two")
    assert [node.name for node in wf] == ["fetch"]


def test_a_slip_of_syntax_takes_nothing_back(shell: Any) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")\nwf.sh("a", "true")', "one")
    with pytest.raises(SyntaxError):
        run_cell(shell, "wf.sh(", "one")
    assert [node.name for node in shell.user_ns["wf"]] == ["a"]


def test_the_last_cell_wins_and_that_is_said_once(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")\n@wf.task\ndef a(): return 1', "one")
    for _ in range(2):
        run_cell(shell, "@wf.task\ndef a(): return 2", "two")
    assert capsys.readouterr().out == "a of etl was made by cell [1]; this one replaces it\n"
    assert shell.user_ns["wf"]["a"]() == 2
    run_cell(shell, "pass", "one")
    assert "a" in shell.user_ns["wf"]


def test_without_ids_of_cells_a_function_that_is_defined_again_replaces_itself(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")\n@wf.task\ndef a(): return 1\nb = wf.sh("b", "true")')
    run_cell(shell, "@wf.task\ndef a(): return 2")
    assert [node.name for node in shell.user_ns["wf"]] == ["a", "b"]
    assert capsys.readouterr().out == ""


def test_an_arrow_to_a_task_that_went_is_told_with_its_place(shell: Any) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")\na = wf.sh("a", "true")', "one")
    run_cell(shell, 'b = wf.sh("b", "true")\na >> b', "two")
    run_cell(shell, 'wf = wt.Workflow("etl")', "one")
    with pytest.raises(WorkflowError, match=r"`a >> b` \(cell \[1\], line 2\): there is no task `a` any more"):
        shell.user_ns["wf"].definition()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), st.lists(st.sampled_from("abcd"), unique=True))))
def test_no_edit_of_cells_leaves_a_stale_task_behind(shell: Any, edits: list[tuple[str, list[str]]]) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")\nwf.clear()', "head")
    made: dict[str, str] = {}  # task → the cell that made it last
    for cell, names in edits:
        made = {name: by for name, by in made.items() if by != cell} | dict.fromkeys(names, cell)
        run_cell(shell, "# mine\n" + "\n".join(f"@wf.task\ndef {name}(): pass" for name in names), cell)
        assert {node.name for node in shell.user_ns["wf"]} == set(made)


def test_a_module_that_a_cell_imports_keeps_its_tasks(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "pipe.py").write_text('import wattle_jupyter as wt\nwf = wt.Workflow("pipe")\nwf.sh("a", "true")\n')
    for _ in range(2):
        run_cell(shell, f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from pipe import wf as pipe", "one")
    assert len(shell.user_ns["pipe"]) == 1
    del sys.modules["pipe"]


# ------------------------------------------------------------------------------------------------------ what travels


REDEFINED = """
import json
STOP = {"a", "b", "c d"}
class Row:
    def text(self): return STOP
def helper(x): return Row().text()
@wf.task
def clean(n=5):
    'Numbers.'
    return [helper(i) for i in range(n) if i not in {'x', 'y', 'z'}]
print(wf.definition().tasks["clean"].call.object)
"""


def test_a_function_that_is_defined_again_is_the_same_object(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run_cell(shell, 'wf = wt.Workflow("etl")')
    run_cell(shell, REDEFINED, "one")
    run_cell(shell, "\n\n# moved down\n" + REDEFINED, "one")
    assert len(set(capsys.readouterr().out.split())) == 1


def test_another_kernel_gives_the_same_object_for_the_same_code(tmp_path: Path) -> None:
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(); shell.history_manager.enabled = False\n"
        "shell.run_cell('import wattle_jupyter as wt; wf = wt.Workflow(\"etl\")')\n"
        f"shell.run_cell({REDEFINED!r}).raise_error()\n"
    )
    found = set()
    for seed in "12":
        environ = {"PYTHONHASHSEED": seed, "IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        found.add(done.stdout.split()[-1])
    assert len(found) == 1


def test_more_data_may_be_allowed(book: Notebook) -> None:
    wf = wt.Workflow("etl", max_capture="100 kB")
    data = bytes(80_000)

    @wf.task
    def count() -> int:
        return len(data)

    assert wf.definition().tasks["count"].call is not None
    assert pickling.bytes_of("1.5GiB") == 3 * 2**29


# --------------------------------------------------------------------------------------------------------- round trips

ODD = st.sampled_from(
    ["yes", "1e3", "é", "a  ", "{{ x }}", "", "null", "~", "0x1F", "1_000", "2020-01-01", "12:30", "a: b", "a #b", "#x",
     "- a", "? b", "| x", "\ttab", "a\tb", "line\n", "line\n\n", "a\n b\n", "a\n\tb", " lead\nx", "x \ny", "a\r\nb",
     "\n", "---", "...", "'q'", '"d"', "'\"", "\\{{", "*a", "&b", "!t", "@x", "%y", "`z", "<<", "=", "a\u2028b",
     "\ufeff", "a\x85b", "😀", "key:", "+x", "1.", "-", "-.inf", ".nan", "0o7", "1:2", "a\n---\nb", "# c\nx", "\x7f\n"]
)  # fmt: skip
TEXTS = ODD | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
def test_whatever_is_written_as_yaml_is_read_back(data: dict[str, Any]) -> None:
    text = notation.yaml_text(data)
    assert json.dumps(notation.yaml_data(text)[0]) == json.dumps(data)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=specs())
def test_a_workflow_goes_to_yaml_and_through_the_dsl_and_back(book: Notebook, data: dict[str, Any]) -> None:
    workflow = spec.load(data)
    text = spec.to_yaml(workflow)
    assert spec.load(spec.from_text(text, ".yaml")) == workflow
    made = wt.Workflow.from_yaml(text)
    assert made.definition() == workflow
    assert made.to_yaml() == text


def test_yaml_is_written_as_people_write_it(book: Notebook) -> None:
    wf = wt.Workflow("etl", working_dir="/data", python="python3", params={"n": 5})
    wf.sh("fetch", "curl -sS {{ url }} -o raw.csv", env={"A": "1"}, timeout="5m")
    wf.sh("rows", ["python", "rows.py", "a b"], needs="fetch")
    wf.sh("both", "set -e\nls | wc\n")
    assert wf.to_yaml() == YAML


url = "here"  # captured by the template above, as a cell would capture it

YAML = """\
name: etl
params:
  n: 5
  url: here
working_dir: /data
python: python3
tasks:
  fetch:
    run: curl -sS {{ url }} -o raw.csv
    env:
      A: "1"
    timeout: 300
  rows:
    run: python rows.py 'a b'
    needs:
      - fetch
  both: |-
    set -e
    ls | wc
"""


def test_a_file_is_written_once_unless_it_may_be_replaced(book: Notebook, tmp_path: Path) -> None:
    wf = wt.Workflow("etl")
    wf.sh("a", "true")
    text = wf.to_yaml(tmp_path / "etl.yaml")
    with pytest.raises(BadUse, match="is there already"):
        wf.to_yaml(tmp_path / "etl.yaml")
    assert wf.to_yaml(tmp_path / "etl.yaml", overwrite=True) == text == (tmp_path / "etl.yaml").read_text()


# -------------------------------------------------------------------------------------------------------- how it looks


def test_a_workflow_shows_its_drawing_or_what_is_wrong(book: Notebook) -> None:
    wf = wt.Workflow("etl")
    assert wf._repr_mimebundle_()["text/plain"].startswith("<Workflow etl: 0 tasks>; write a function")
    node = wf.sh("a", "true")
    wf.sh("b", "true", needs=node)
    assert "image/svg+xml" in wf._repr_mimebundle_()
    assert "b ← a" in str(wf.graph())
    del wf["a"]
    assert "no task `a`" in wf._repr_mimebundle_()["text/plain"]
    with pytest.raises(NotFound, match="has no task `c`"):
        wf["c"]


# ------------------------------------------------------------------------------------------------ with the real engine


@pytest.fixture
def live(shell: Any, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WATTLE_STORE__DIR", str(engine.store))
    return shell


CHAIN = """
wf = wt.Workflow("chain", concurrent=True)
@wf.task
def fetch(n=5): return list(range(n))
@wf.task
async def clean(fetch): return [x * 2 for x in fetch]
@wf.task(retries=1)
def total(clean, fetch): return {"sum": sum(clean), "n": len(fetch)}
wf.sh("show", "echo {{ total }} $WATTLE_INPUT_N", inputs={"n": clean})
"""


def test_functions_run_in_processes_of_their_own_and_pass_on_what_they_return(live: Any) -> None:
    run_cell(live, CHAIN)
    run = run_cell(live, "wf.run(n=4)").wait(check=True)
    assert run["total"].result() == {"sum": 12, "n": 4}
    assert json.loads(run["show"].logs().split(" [")[0]) == {"sum": 12, "n": 4}
    again = run_cell(live, "wf.run(wait=True)")
    assert again["total"].result() == {"sum": 20, "n": 5}


def test_a_notebook_takes_what_functions_return_and_its_copy_goes_on_to_others(live: Any, tmp_path: Path) -> None:
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "outputs": [], "execution_count": None,
         "source": "days = 1\nname = ''"},
        {"cell_type": "code", "id": "b", "metadata": {}, "outputs": [], "execution_count": None,
         "source": "print('saw', days, name, total)"},
    ]  # fmt: skip
    (tmp_path / "my report.ipynb").write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    run_cell(live, f'wf = wt.Workflow("noted", params={{"days": 7}}, working_dir={str(tmp_path)!r})')
    run_cell(live, "@wf.task\ndef total(): return {'sum': 3}")
    run_cell(live, "report = wf.notebook('report', 'my report.ipynb', params={'name': '5'}, inputs={'total': total})")
    run_cell(live, """wf.sh('count', 'grep -c saw "$WATTLE_INPUT_R"', inputs={'r': report})""")
    run = run_cell(live, "wf.run(days=2)").wait(check=True)
    assert "saw 2 5 {'sum': 3}" in run["report"].logs()
    assert "saw 2 5" in run["report"].result().read_text()
    assert run_cell(live, "wf.to_yaml()").count("my report.ipynb") == 1


def test_a_run_may_be_found_and_a_result_read_later(live: Any) -> None:
    run_cell(live, CHAIN)
    run_cell(live, "wf.run(n=2)").wait()
    assert wt.attach("last")["clean"].result() == [0, 2]


def test_the_same_code_makes_no_new_version(live: Any, engine: EngineProcess) -> None:
    client = Client(engine.store, start=False)
    run_cell(live, CHAIN + "wf.define()", "one")
    first = client.workflow("chain")
    run_cell(live, "\n# moved" + CHAIN + "wf.define()", "one")
    assert client.workflow("chain")["hash"] == first["hash"]


def test_nothing_is_stored_of_what_cannot_work(live: Any, engine: EngineProcess) -> None:
    with pytest.raises(WorkflowError):
        run_cell(live, 'wf = wt.Workflow("never")\nwf.sh("a", "true", needs="b")\nwf.run()')
    with pytest.raises(NotFound):
        Client(engine.store, start=False).workflow("never")


def test_a_file_made_of_functions_runs_from_the_command_line(live: Any, engine: EngineProcess, tmp_path: Path) -> None:
    run_cell(live, CHAIN + "wf.to_yaml('chain.yaml')")
    command = [sys.executable, "-m", "wattle_jupyter", "run", "chain.yaml", "-w"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_text_cell_and_functions_are_one_workflow(live: Any, engine: EngineProcess) -> None:
    magic.load(live)
    run_cell(live, 'wf = wt.Workflow("mixed")\n@wf.task\ndef fetch(n=3): return n', "one")
    live.user_ns["word"] = "now"
    run_cell(live, "%%wattle mixed\nshow <- fetch: echo got {{ fetch }} {{ word }}\nother: echo x", "two")
    run_cell(live, "@wf.task(inputs={'x': fetch})\ndef last(x): return x + 1\nwf['show'] >> last", "three")
    run = run_cell(live, "wf.run(n=4)").wait(check=True)
    assert run["show"].logs() == "got 4 now\n"
    assert run["last"].result() == 5
    run_cell(live, "%%wattle mixed\nrenamed: echo {{ fetch }}", "two")
    assert [node.name for node in live.user_ns["wf"]] == ["fetch", "renamed", "last"]
    assert list(Client(engine.store, start=False).workflow("mixed")["spec"]["tasks"]) == ["fetch", "renamed", "last"]
    magic.unload(live)


def test_what_is_wrong_with_a_function_is_told_by_a_text_cell_too(live: Any) -> None:
    magic.load(live)
    run_cell(live, 'wf = wt.Workflow("mixed2")\n@wf.task\ndef fetch(nn): return nn', "one")
    with pytest.raises(WattleError) as caught:
        run_cell(live, "%%wattle mixed2\na <- b: echo", "two")
    assert "mixed2 cannot work: 2 problems" in str(caught.value)
    assert "fetch (cell [1], line 2): takes `nn`, which is neither a task nor a param" in str(caught.value)
    assert [node.name for node in live.user_ns["wf"]] == ["fetch"]
    magic.unload(live)


def test_what_the_engine_refuses_is_a_block_that_names_each_task_once(
    live: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code = 'wf = wt.Workflow("refused")\nwf.sh("plot", "plot.py")\nwf.sh("other", ["no-such-program"])\nwf.run()'
    with pytest.raises(WorkflowError) as caught:
        run_cell(live, code)
    first, *rest = caught.value._render_traceback_()
    assert first == "refused cannot work: 2 problems"
    assert [row.partition(" (")[0].strip() for row in rest] == ["plot", "other"]
    assert "run: command not found: no-such-program; install it, or give its full path" in rest[1]
    assert "warning:" not in capsys.readouterr().out


def test_any_error_for_people_is_shown_with_the_users_own_lines_only(
    live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "calm_helpers.py").write_text('def look(run):\n    return run["b"]\n')
    run_cell(live, 'wf = wt.Workflow("calm")\nwf.sh("a", "true")\nrun = wf.run(wait=True)')
    capsys.readouterr()
    live.run_cell('run["b"]')
    assert capsys.readouterr().out == "calm has no task `b`; there are: a\n"
    live.run_cell("from calm_helpers import look\nlook(run)")
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["calm has no task `b`; there are: a", "  cell [1], line 2", "  calm_helpers.py, line 2"]


def test_hundreds_of_problems_do_not_fill_the_page(shell: Any) -> None:
    with pytest.raises(WorkflowError) as caught:
        run_cell(
            shell, 'wf = wt.Workflow("many")\nfor n in range(99): wf.sh(f"t{n}", "true", needs="x")\nwf.definition()'
        )
    head, *rows = str(caught.value).splitlines()
    assert (head, len(rows), rows[-1]) == ("many cannot work: 99 problems", 21, "  and 79 more")
    assert len(caught.value.problems) == 99


def test_tasks_that_a_function_makes_have_values_of_their_own(live: Any) -> None:
    code = """
wf = wt.Workflow("fan")
def make(n):
    def square(): return n * n
    return wf.task(name=f"square{n}")(square)
parts = [make(n) for n in range(3)]
run = wf.run(wait=True)
[run[part.name].result() for part in parts]"""
    assert run_cell(live, code) == [0, 1, 4]
