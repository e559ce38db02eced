"""The runner of Python tasks, started as the engine starts it, and what code in tasks may say."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from payloads import cell, function, notebook, of
from processes import until

import wattle_jupyter as wt
from wattle_jupyter import passing
from wattle_jupyter.errors import Conflict, NotFound, TooLarge
from wattle_jupyter.launch import RUNNER
from wattle_jupyter.objects import Objects
from wattle_jupyter.outputs import read_values


@dataclass
class Ended:
    code: int
    out: str
    err: str
    left: dict[str, Any]  # objects are unpickled


class Runner:
    """Runs payloads in ``folder`` with the store's objects beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "notebooks"
        self.folder.mkdir()
        self.objects = Objects(folder / "objects")
        self.output = folder / "output"

    def put(self, data: bytes) -> str:
        with self.objects.writer() as writer:
            writer.write(data)
            return str(self.objects.path(writer.publish()))

    def environment(
        self, payload: bytes, params: Mapping[str, Any], inputs: Mapping[str, tuple[str, str]], results: list[str]
    ) -> dict[str, str]:
        call = {"object": self.put(payload), "params": params, "results": results}
        return {
            **os.environ,
            "NO_COLOR": "1",
            "WATTLE_TASK": "t",
            "WATTLE_CALL": json.dumps(call),
            "WATTLE_INPUTS": json.dumps({name: kind for name, (kind, _) in inputs.items()}),
            **{f"WATTLE_INPUT_{name.upper()}": text for name, (_, text) in inputs.items()},
            "WATTLE_OUTPUT": str(self.output),
            "WATTLE_OBJECTS": str(self.objects.folder),
        }

    def start(self, payload: bytes, *flags: str, **more: Any) -> subprocess.Popen[str]:
        asked = {name: more.pop(name, default) for name, default in {"params": {}, "inputs": {}, "results": []}.items()}
        env = {**self.environment(payload, **asked), **more}
        return subprocess.Popen(
            [sys.executable, *flags, RUNNER], cwd=self.folder, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, payload: bytes, *flags: str, **more: Any) -> Ended:
        process = self.start(payload, *flags, **more)
        out, err = process.communicate(timeout=60)
        values, problem = read_values(self.output)
        assert problem == ""
        return Ended(process.returncode, out, err, {name: self.value(left) for name, left in values.items()})

    def value(self, left: Any) -> Any:
        if not isinstance(left, dict) or "$object" not in left:
            return left
        assert left["size"] == self.objects.size(left["$object"])
        with self.objects.verified(left["$object"]) as file:
            return pickle.load(file)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


# ----------------------------------------------------------------------------------------------------------- functions


def test_a_function_takes_params_and_inputs_by_name_and_leaves_what_it_returns(runner: Runner) -> None:
    source = "def f(a, b, n=1):\n    print('in the log')\n    return {'sum': a + b['x'], 'n': n}"
    inputs = {"a": ("json", "3"), "b": ("json", '{"x": 4}')}
    ended = runner.run(function(source), params={"n": 5}, inputs=inputs, results=["result"])
    assert ended == Ended(0, "in the log\n", "", {"result": {"sum": 7, "n": 5}})


def test_each_kind_of_input_arrives_as_what_it_was(runner: Runner) -> None:
    source = "def f(text, number, path, thing):\n    return [text, number, str(path), type(path).__name__, thing]"
    thing = runner.put(pickle.dumps({1, 2}))
    inputs = {
        "text": ("text", "3"), "number": ("json", "3"), "path": ("file", "/x/y.csv"), "thing": ("object", thing),
    }  # fmt: skip
    ended = runner.run(function(source), inputs=inputs, results=["result"])
    assert ended.left == {"result": ["3", 3, "/x/y.csv", "PosixPath", {1, 2}]}, ended.err


def test_an_async_function_is_awaited(runner: Runner) -> None:
    source = "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 'done'"
    assert runner.run(function(source), results=["result"]).left == {"result": "done"}


def test_what_a_function_does_not_take_by_name_waits_for_input(runner: Runner) -> None:
    source = "import wattle_jupyter as wt\ndef f(a):\n    wt.emit(loss=0.5)\n    return a + wt.input('b')"
    ended = runner.run(
        function(source), params={"n": 1}, inputs={"a": ("json", "1"), "b": ("json", "2")}, results=["result"]
    )
    assert ended.left == {"loss": 0.5, "result": 3}, ended.err


def test_several_outputs_are_the_entries_of_a_dict(runner: Runner) -> None:
    ended = runner.run(function("def f():\n    return {'a': 1, 'b': 2, 'c': 3}"), results=["a", "c"])
    assert ended.left == {"a": 1, "c": 3}


def test_classes_of_the_notebook_travel_with_the_values(runner: Runner) -> None:
    source = "class Model:\n    def __init__(self, n): self.n = n\ndef f(n):\n    return Model(n)"
    ended = runner.run(function(source), params={"n": 3}, results=["result"])
    assert (type(ended.left["result"]).__name__, ended.left["result"].n) == ("Model", 3)


def test_a_pool_of_processes_finds_the_functions_of_the_notebook(runner: Runner) -> None:
    source = """
    def double(n): return 2 * n
    def f():
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(double, [1, 2])
    """
    assert runner.run(function(source), results=["result"]).left == {"result": [2, 4]}


def test_modules_beside_the_notebook_are_found_and_ours_are_not(runner: Runner) -> None:
    (runner.folder / "mine.py").write_text("x = 4")
    (runner.folder / "logs.py").write_text("x = 5")  # there is a module of this name beside the runner
    ended = runner.run(function("def f():\n    import logs, mine\n    return mine.x + logs.x"), results=["result"])
    assert ended.left == {"result": 9}, ended.err


def test_an_interpreter_that_has_no_packages_runs_a_cell(runner: Runner) -> None:
    payload = {"v": 1, "cell": "import wattle_jupyter\nwattle_jupyter.emit(x={1})\ny = n", "file": "", "names": {}}
    ended = runner.run(pickle.dumps(payload), "-I", "-S", params={"n": 2}, results=["y"])
    assert (ended.code, ended.left) == (0, {"x": {1}, "y": 2}), ended.err


# --------------------------------------------------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("source", "shown"),
    [("1 + 1", "2\n"), ("x = 1", ""), ("1 + 1;", ""), ("None", ""), ("'a'", "'a'\n"), ("1 + 1\nfor x in []: x", ""),
     ("import asyncio\nawait asyncio.sleep(0, 'slept')", "'slept'\n"), ("", ""), ("# only words", "")],
)  # fmt: skip
def test_a_cell_shows_its_last_expression(runner: Runner, source: str, shown: str) -> None:
    assert runner.run(cell(source)) == Ended(0, shown, "", {})


def test_a_cell_leaves_the_names_that_are_asked_for(runner: Runner) -> None:
    source = "df = [clean(row) for row in rows]\nother = scale"
    names = {"clean": notebook("def clean(x): return x + 1")["clean"], "scale": 7}
    ended = runner.run(cell(source, names=names), inputs={"rows": ("json", "[1, 2]")}, results=["df", "other"])
    assert ended.left == {"df": [2, 3], "other": 7}, ended.err


def test_a_cell_without_names_to_leave_leaves_its_last_expression(runner: Runner) -> None:
    assert runner.run(cell("n * 2"), params={"n": 4}, results=["result"]) == Ended(0, "8\n", "", {"result": 8})
    assert runner.run(cell("result = 1\n5"), results=["result"]).left == {"result": 1}


def test_a_cell_runs_as_main(runner: Runner) -> None:
    source = "class A: pass\nx = [__name__, A.__module__]\nimport __main__\nx.append(__main__.A is A)"
    assert runner.run(cell(source), results=["x"]).left == {"x": ["__main__", "__main__", True]}


def test_a_name_that_the_cell_never_made_is_told(runner: Runner) -> None:
    ended = runner.run(cell("if n:\n    df = 1"), params={"n": 0}, results=["df"])
    assert (ended.code, ended.err) == (1, "wattle: the cell of t ended without a value for df\n")


# ---------------------------------------------------------------------------------------------------------------- ends


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [("sys.exit(3)", 3, ""), ("sys.exit('bye')", 1, "bye\n"), ("sys.exit()", 0, ""), ("os._exit(7)", 7, ""),
     ("os.kill(os.getpid(), 15)", -15, "")],
)  # fmt: skip
def test_a_task_ends_as_a_script_does(runner: Runner, body: str, code: int, said: str) -> None:
    ended = runner.run(function(f"import os, sys\ndef f():\n    {body}"), results=["result"])
    assert (ended.code, ended.err, ended.left) == (code, said, {})


def test_an_interrupt_ends_it_by_that_signal(runner: Runner) -> None:
    source = "import time\ndef f():\n    print('on', flush=True)\n    time.sleep(60)"
    process = runner.start(function(source))
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert RUNNER not in err


# ---------------------------------------------------------------------------------------------------------- tracebacks

FAILS = """
    def inner(x):
        return 1 / x

    def f():
        y = 0
        return inner(y)
    """


def test_a_traceback_is_that_of_a_notebook(runner: Runner) -> None:
    ended = runner.run(function(FAILS, line=4))
    assert ended.code == 1
    lines = ended.err.splitlines()
    assert lines[1].split() == ["ZeroDivisionError", "Traceback", "(most", "recent", "call", "last)"]
    assert "----> 9     return inner(y)" in lines
    assert "----> 5     return 1 / x" in lines
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert os.path.dirname(RUNNER) not in ended.err


def test_a_traceback_has_colours_where_they_are_wanted(runner: Runner) -> None:
    assert "\x1b[" in runner.run(function(FAILS), NO_COLOR="").err


@pytest.mark.parametrize("broken", ["raise ImportError", "class core: pass"])
def test_without_ipython_a_traceback_is_that_of_python(runner: Runner, broken: str) -> None:
    (runner.folder / "IPython.py").write_text(broken)
    ended = runner.run(function(FAILS, line=4))
    assert ended.err.splitlines()[:3] == [
        "Traceback (most recent call last):",
        '  File "/tmp/ipykernel_1/2.py", line 9, in f',
        "    return inner(y)",
    ]
    assert os.path.dirname(RUNNER) not in ended.err


def test_the_sources_that_came_along_are_shown(runner: Runner) -> None:
    helper = notebook("def helper():\n    raise ValueError('no')", "<helper>")["helper"]
    caller = notebook("def f():\n    helper()", "<f>", helper=helper)["f"]
    payload = pickle.loads(of(caller, "def f():\n    helper()", "<f>"))
    payload["sources"] = {"<helper>": "def helper():\n    raise ValueError('no')"}
    assert "----> 2     raise ValueError('no')" in runner.run(cloudpickle.dumps(payload)).err


@pytest.mark.parametrize("asynchronous", ["async ", ""])
def test_neither_asyncio_nor_the_runner_is_in_a_traceback(runner: Runner, asynchronous: str) -> None:
    ended = runner.run(function(f"{asynchronous}def f():\n    raise ValueError('no')"))
    assert "----> 2     raise ValueError('no')" in ended.err
    assert "asyncio" not in ended.err
    assert "task.py" not in ended.err


@pytest.mark.parametrize(
    ("source", "shown"),
    [("x = 1\n1 / 0", "----> 2 1 / 0"), ("x = 1\nawait nothing()", "----> 2 await nothing()"), ("x = (", "    x = (")],
)
def test_a_traceback_of_a_cell_shows_its_lines(runner: Runner, source: str, shown: str) -> None:
    ended = runner.run(cell(source))
    assert (ended.code, shown in ended.err.splitlines()) == (1, True), ended.err
    assert os.path.dirname(RUNNER) not in ended.err


# ----------------------------------------------------------------------------------------------- what cannot travel


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("{'log': [1, open('/dev/null')]}", "its part `['log'][1]` is a io.TextIOWrapper (an open file belongs to"),
        ("threading.Lock()", "it is a _thread.lock (cannot pickle '_thread.lock' object"),
        ("(x for x in [])", "it is a generator (cannot pickle 'generator' object"),
        ("types.SimpleNamespace(a=1, b={'c': threading.Lock()})", "its part `b['c']` is a _thread.lock"),
        ("(lambda lock: lambda: lock)(threading.Lock())", "its part `lock` is a _thread.lock"),
    ],
)
def test_what_cannot_be_pickled_is_named_with_the_part(runner: Runner, value: str, part: str) -> None:
    ended = runner.run(function(f"import threading, types\ndef f():\n    return {value}"), results=["result"])
    assert ended.code == 1
    assert ended.err.startswith(f"wattle: result of t cannot be pickled: {part.replace('a io.', 'a _io.')}")
    cure = "return a list of it" if "generator" in part else "leave it out, or write it to a file and return the path"
    assert ended.err.endswith(f"; {cure}\n")
    assert list((runner.objects.folder / "incoming").iterdir()) == []


def test_a_result_that_is_too_large_is_told_with_size_limit_and_cure(runner: Runner) -> None:
    ended = runner.run(function("def f():\n    return bytes(5 << 20)"), results=["result"], WATTLE_MAX_OBJECT="1048576")
    assert (ended.code, ended.err) == (
        1,
        "wattle: result of t is 5 MiB; the limit of an object is 1 MiB ([store] max_object); "
        "write it to a file and return the path\n",
    )


def test_a_module_that_is_missing_is_named_with_interpreter_and_cure(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "there_only.py").write_text("def f(): return 1")
    sys.path.insert(0, str(tmp_path))
    try:
        there_only = importlib.import_module("there_only")
    finally:
        sys.path.remove(str(tmp_path))
    ended = runner.run(of(there_only.f))
    assert (ended.code, ended.err) == (
        1,
        f"wattle: task t needs the module `there_only`, which {sys.executable} does not have; if it is a file of "
        f"yours, put it into {runner.folder} (a task's `working_dir` says where that is); else install it: "
        f"`{sys.executable} -m pip install there_only`\n",
    )


def test_a_missing_cloudpickle_is_named_with_the_cure(runner: Runner) -> None:
    ended = runner.run(function("def f(): return 1"), "-S")
    assert (ended.code, ended.err) == (
        1,
        f"wattle: task t needs the module `cloudpickle`, which {sys.executable} does not have; "
        f"install it: `{sys.executable} -m pip install cloudpickle`\n",
    )


def test_a_damaged_payload_is_not_run(runner: Runner) -> None:
    payload = function("def f(): return 1")
    path = Path(runner.put(payload))
    path.chmod(0o600)
    env = runner.environment(payload, {}, {}, [])
    path.chmod(0o600)
    path.write_bytes(b"other")
    done = subprocess.run([sys.executable, RUNNER], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "is damaged" in done.stderr) == (1, True)


# ------------------------------------------------------------------------------------------------------ emit and input


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in a task."""
    env = {"TASK": "t", "OUTPUT": str(tmp_path / "output"), "OBJECTS": str(tmp_path / "objects")}
    for name, text in env.items():
        monkeypatch.setenv(f"WATTLE_{name}", text)
    return tmp_path / "output"


def test_outside_of_a_task_emit_says_that_it_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    wt.emit(loss=0.5, token="sesame")
    assert capsys.readouterr().err == "wattle: not a task, so emit(loss=…, token=…) leaves nothing\n"


def test_outside_of_a_task_there_is_no_input() -> None:
    with pytest.raises(Conflict, match=r"input\(\) is for code that runs as a task.*output"):
        wt.input("x")


def test_the_last_one_of_a_name_counts(inside: Path) -> None:
    inside.write_text("n=0\n")
    for loss in (0.5, 0.25):
        wt.emit(loss=loss, n=1)
    assert read_values(inside) == ({"loss": 0.25, "n": 1}, "")


def test_an_input_that_is_not_there_is_named_with_those_that_are(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="task t has no input `x`; it has none"):
        wt.input("x")
    monkeypatch.setenv("WATTLE_INPUTS", '{"rows": "text"}')
    with pytest.raises(NotFound, match="task t has no input `x`; it has: rows"):
        wt.input("x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc ü{\n"), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
@hypothesis_settings(deadline=None)
def test_plain_values_travel_as_json_and_come_out_as_they_were(value: object) -> None:
    text = passing.json_text(value)
    assert text is not None
    assert repr(json.loads(text)) == repr(value)


LOOP: list[object] = []
LOOP.append(LOOP)
WIDE: object = 1
for _ in range(40):
    WIDE = [WIDE, WIDE]


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1: 2}, float("nan"), float("inf"), 2**63, "a\0b", "\ud800", {"a\0": 1}, b"x", {1}, ["x" * 70_000],
     {"$object": "x"}, {"$file": "/etc/hosts"}, type("Text", (str,), {})("x"), LOOP, WIDE, [True, (1,)],
     list(range(70_000))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_all_else_travels_as_an_object(value: object) -> None:
    assert passing.json_text(value) is None


def test_what_is_kept_is_described(tmp_path: Path) -> None:
    about = passing.keep(Objects(tmp_path), {"x": {1, 2}, "y": "z" * 500}, "it")
    assert (about["type"], about["size"]) == ("dict", Objects(tmp_path).size(about["hash"]))
    assert len(about["repr"]) <= 80
    assert passing.type_text(time.localtime()) == "time.struct_time"


def test_an_object_that_is_too_large_and_cannot_be_pickled_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="it is 1 MiB; the limit of an object is 1 KiB"):
        passing.keep(Objects(tmp_path, limit=1024), bytes(1 << 20), "it")
    assert list((tmp_path / "incoming").iterdir()) == []


def test_threads_may_emit_at_once(inside: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: wt.emit(**{f"x{n}": "v" * n}), range(200)))
    assert until(lambda: read_values(inside)) == ({f"x{n}": "v" * n for n in range(200)}, "")
