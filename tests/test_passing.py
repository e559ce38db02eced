"""Values, objects and files from kernel to task to task to kernel, by the real engine."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from payloads import cell, function, notebook, of
from processes import EngineProcess, until

from wattle_jupyter import passing
from wattle_jupyter.client import Client
from wattle_jupyter.errors import Conflict, InvalidRequest, NotFound, RunFailed, SpecError
from wattle_jupyter.run import Run

Submit = Callable[..., Run]
EMIT = "import wattle_jupyter as wt\n"


def test_a_task_says_how_far_it_is_once_for_each_per_cent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WATTLE_ATTEMPT", "a")
    passing._said.clear()
    for n in range(5000):
        passing.progress(n, 10_000)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["::wattle progress=0/10000::", "::wattle progress=100/10000::"]
    assert len(said) == 50
    for value, total in ((12.5, None), (140, None), (-1, 8), (1e-9, 0.25), (3, 0)):
        passing.progress(value, total)
    tail = ["12.5", "100", "0/8", "0/0.25"]
    assert capsys.readouterr().out.splitlines() == [f"::wattle progress={text}::" for text in tail]


def test_outside_of_a_task_nothing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("WATTLE_ATTEMPT", raising=False)
    passing.progress(3, 8)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("value", "total"), [("3", 8), (None, None), (float("nan"), None), (3, float("inf")), (True, 2)]
)
def test_what_is_no_number_is_refused(value: Any, total: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"takes numbers.*progress\(3, 8\)"):
        passing.progress(value, total)


@pytest.fixture
def client(engine: EngineProcess) -> Client:
    return Client(engine.store, start=False)


@pytest.fixture
def submit(client: Client, tmp_path: Path) -> Submit:
    def start(tasks: dict[str, Any], **head: Any) -> Run:
        spec = {"name": "w", "tasks": tasks, "working_dir": str(tmp_path), "python": sys.executable, **head}
        params = head.pop("given", None)
        return Run(client, client.submit(spec={k: v for k, v in spec.items() if k != "given"}, params=params))

    return start


@pytest.fixture
def call(client: Client) -> Callable[..., dict[str, Any]]:
    """A task of the spec that calls what a payload holds."""

    def make(payload: bytes, inputs: dict[str, str] | None = None, params: tuple[str, ...] = (), **more: Any) -> Any:
        made = {"call": {"object": client.put_object(payload), "params": list(params)}, "outputs": {"result": None}}
        return {**made, "inputs": inputs or {}, **more}

    return make


Call = Callable[..., dict[str, Any]]


def done(run: Run) -> Run:
    run.wait(quiet=True)
    assert run.status == "completed", f"{run.reason}\n{run.logs()}"
    return run


# ------------------------------------------------------------------------------------------------------ task to task


def test_functions_pass_on_what_they_return(submit: Submit, call: Call) -> None:
    tasks = {
        "fetch": call(function("def f(n):\n    return list(range(n))"), params=("n",)),
        "clean": call(function("async def f(fetch, k=3):\n    return {x * k for x in fetch}"),
                      {"fetch": "fetch/result"}),
        "count": call(function("def f(clean, fetch):\n    return len(clean) + len(fetch)"),
                      {"clean": "clean/result", "fetch": "fetch/result"}),
    }  # fmt: skip
    run = done(submit(tasks, params={"n": 5}, given={"n": 4}))
    assert {task.task: task.result() for task in run} == {
        "fetch": [0, 1, 2, 3], "clean": {0, 3, 6, 9}, "count": 8,
    }  # fmt: skip


def test_a_cell_takes_and_leaves_names(submit: Submit, call: Call) -> None:
    tasks = {
        "load": call(cell("df = [1, 2]\nother = {3}"), outputs={"df": None, "other": None}),
        "sum": call(cell("total = sum(df) + max(other)\ntotal"), {"df": "load/df", "other": "load/other"},
                    outputs={"total": None}),
    }  # fmt: skip
    run = done(submit(tasks))
    assert run["load"].outputs() == {"df": [1, 2], "other": {3}}
    assert (run["sum"].result(), run["sum"].logs()) == (6, "6\n")
    assert repr(run["load"].outputs()).startswith("<Outputs of load: df: [1, 2], other: object, ")


def test_a_shell_command_takes_json_and_the_path_of_an_object(submit: Submit, call: Call) -> None:
    tasks = {
        "a": call(function("def f(): return {'n': [1, 'x y']}")),
        "b": call(function("def f(): return {1, 2}")),
        "show": {"run": "printf '%s\\n' {{ a }}; python3 -m pickle {{ b }}; echo $WATTLE_INPUT_S",
                 "inputs": {"s": "b/result"}},
    }  # fmt: skip
    run = done(submit(tasks))
    first, second, third = run["show"].logs().splitlines()
    assert (json.loads(first), second) == ({"n": [1, "x y"]}, "{1, 2}")
    assert Path(third).name == run.client.task(run.id, "b")["outputs"][0]["value"]


def test_a_script_emits_and_takes_inputs(submit: Submit, call: Call, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(EMIT + "wt.emit(loss=0.25, model={wt.input('rows')}, path=str(wt.input('raw')))")
    tasks = {
        "load": call(function("def f(): return (1, 2)")),
        "raw": {"run": "echo 1 > raw.csv", "outputs": {"file": "raw.csv"}},
        "train": {"run": "train.py", "inputs": {"rows": "load/result", "raw": "raw/file"},
                  "outputs": {"loss": None, "model": None, "path": None}},
    }  # fmt: skip
    run = done(submit(tasks))
    assert run["train"].outputs() == {"loss": 0.25, "model": {(1, 2)}, "path": str(tmp_path / "raw.csv")}
    with pytest.raises(
        NotFound, match=r"train left no `result`; it left `loss`, `model`, `path`: take one with .output"
    ):
        run["train"].result()


def test_a_task_elsewhere_still_finds_modules_beside_the_notebook(submit: Submit, call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 4")
    (tmp_path / "data").mkdir()
    source = "def f():\n    import mine, os\n    return [mine.x, os.path.basename(os.getcwd())]"
    run = done(submit({"a": call(function(source), working_dir="data")}))
    assert run["a"].result() == [4, "data"]


# ---------------------------------------------------------------------------------------------------- task to kernel

LATER = """
import json, sys
import wattle_jupyter as wt
model = wt.attach(sys.argv[1])["train"].result()
print(json.dumps([type(model).__name__, model.predict(2)]))
"""


def test_a_class_of_the_notebook_goes_all_the_way_and_into_a_later_kernel(
    submit: Submit, call: Call, engine: EngineProcess
) -> None:
    kernel = notebook("""
    class Model:
        def __init__(self, k): self.k = k
        def predict(self, x): return self.k * x
    def init(k): return Model(k)
    def train(init):
        init.k += 1
        return init
    """)
    tasks = {
        "init": call(of(kernel["init"]), params=("k",)),
        "train": call(of(kernel["train"]), {"init": "init/result"}),
    }
    run = done(submit(tasks, params={"k": 4}))
    found = run["train"].result()
    assert isinstance(found, kernel["Model"]), "in the kernel that defined it, it is the class that it was"
    assert found.predict(2) == 10
    env = {**os.environ, "WATTLE_STORE__DIR": str(engine.store)}
    command = [sys.executable, "-c", LATER, run.id]
    later = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert later.stdout == '["Model", 10]\n', later.stderr


def test_a_module_that_a_later_kernel_lacks_is_named(
    submit: Submit, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_there.py").write_text("class Thing: pass")
    run = done(submit({"a": call(function("def f():\n    import only_there\n    return only_there.Thing()"))}))
    with pytest.raises(
        Conflict, match=r"result of a needs the module `only_there`, which .* does not have; if it is a file"
    ):
        run["a"].result()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(run["a"].result()).__name__ == "Thing"


def test_what_is_not_there_is_said_with_the_reason(submit: Submit, call: Call, tmp_path: Path) -> None:
    wait = "import os, time\ndef f():\n    while not os.path.exists('go'): time.sleep(0.02)"
    run = submit({
        "slow": call(function(wait)),
        "bad": {"run": "echo n=1 >> $WATTLE_OUTPUT; exit 3", "outputs": {"n": None}},
        "after": {"run": "true", "needs": ["bad"]},
        "none": "true",
        "two": {"run": "printf 'rows=1\\ncolumns=2\\n' >> $WATTLE_OUTPUT", "outputs": {"rows": None, "columns": None}},
    })  # fmt: skip
    until(lambda: run["slow"].status == "running")
    with pytest.raises(Conflict, match=r"slow is still running; wait for it first, with `run.wait\(\)` or `await run`"):
        run["slow"].result()
    (tmp_path / "go").touch()
    run.wait(quiet=True)
    assert run["slow"].result() is None
    with pytest.raises(RunFailed, match=r'bad failed: exit 3, so it left nothing; its log: `run\["bad"\].logs\(\)`'):
        run["bad"].output("n")
    assert run["bad"].outputs() == {}, "what a failed attempt wrote is not taken for a result"
    with pytest.raises(RunFailed, match="after was skipped: bad failed, so it left nothing"):
        run["after"].result()
    with pytest.raises(NotFound, match="none left no `result`; it left nothing"):
        run["none"].result()
    with pytest.raises(NotFound, match="two left no output `row`; did you mean `rows`"):
        run["two"].output("row")
    assert run["two"].output("rows") == "1"


def test_only_the_attempt_that_succeeded_is_believed(submit: Submit, call: Call) -> None:
    source = """
    import os
    import wattle_jupyter as wt
    def f():
        wt.emit(n=1, old=2)
        if not os.path.exists('flag'):
            open('flag', 'w')
            raise ValueError
        wt.emit(n=3)
    """
    task = call(function(source), outputs={"n": None}, retries=1, retry_delay=0)
    after = call(function("def f(n): return n"), {"n": "a/n"})
    run = done(submit({"a": task, "b": after}))
    assert (run["a"].outputs(), run["b"].result()) == ({"n": 3}, 3)


# ---------------------------------------------------------------------------------------------------------- failures


def test_a_failing_function_says_why_as_in_a_notebook(submit: Submit, call: Call) -> None:
    run = submit({"a": call(function("def f(n):\n    x = n\n    return 1 / x"), params=("n",))}, params={"n": 0},
                 env={"NO_COLOR": "1"}).wait(quiet=True)  # fmt: skip
    assert (run["a"].status, run["a"].reason) == ("failed", "exit 1")
    lines = run.logs("a").splitlines()
    assert lines[2] == "File /tmp/ipykernel_1/2.py:3, in f(n)"
    assert "----> 3     return 1 / x" in lines
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_a_result_that_cannot_be_passed_on_fails_its_task(submit: Submit, call: Call) -> None:
    run = submit({"a": call(function("import threading\ndef f(): return {'k': threading.Lock()}"))}).wait(quiet=True)
    assert (run["a"].status, run["a"].reason) == ("failed", "exit 1")
    assert run.logs("a").startswith("wattle: result of a cannot be pickled: its part `['k']` is a _thread.lock")


def test_an_output_that_was_never_emitted_is_missing(submit: Submit, call: Call) -> None:
    run = submit({"a": call(function("def f(): return 1"), outputs={"loss": None})}).wait(quiet=True)
    assert run["a"].reason == "exit 0, but output loss is missing: `wattle_jupyter.emit(loss=…)` was not called"


@pytest.mark.parametrize("line", ['{"x": {"$object": "%s"}}' % ("0" * 64), '{"x": {"$object": "../../etc/passwd"}}'])
def test_an_object_that_the_store_does_not_have_is_no_output(submit: Submit, line: str) -> None:
    run = submit({"a": {"run": ["sh", "-c", f"echo '{line}' >> $WATTLE_OUTPUT"], "outputs": {"x": None}}})
    assert run.wait(quiet=True)["a"].reason.startswith("exit 0, but output x is missing: ")


def test_code_that_the_store_does_not_have_is_refused_at_once(client: Client, tmp_path: Path) -> None:
    spec = {"name": "gone", "working_dir": str(tmp_path), "tasks": {"a": {"call": {"object": "0" * 64}}}}
    for ask in (lambda: client.define(spec), lambda: client.submit(spec=spec)):
        with pytest.raises(SpecError) as caught:
            ask()
        assert str(caught.value) == (
            "tasks.a.call.object: the store has no object 000000000000…; "
            "define the task again in the kernel that has its code"
        )


# ------------------------------------------------------------------------------------------------------------- files


def test_a_declared_file_of_the_first_run_outlives_the_second(submit: Submit, tmp_path: Path) -> None:
    tasks = {"a": {"run": "echo {{ n }} > report.html", "outputs": {"page": "report.html"}}}
    first, second = (done(submit(tasks, params={"n": n})) for n in (1, 2))
    assert [(r["a"].result().name, r["a"].result().read_text()) for r in (first, second)] == [
        ("report.html", "1\n"), ("report.html", "2\n"),
    ]  # fmt: skip
    assert (tmp_path / "report.html").read_text() == "2\n"
    assert repr(first["a"].outputs()) == "<Outputs of a: page: file, 2 bytes>"


def test_the_next_task_gets_the_file_itself(submit: Submit, tmp_path: Path) -> None:
    tasks = {
        "a": {"run": "echo 1 > raw.csv", "outputs": {"raw": "raw.csv"}},
        "b": {"run": "cat {{ a.raw }}; echo {{ a.raw }} $WATTLE_INPUTS", "inputs": {"x": "a/raw"}},
    }
    run = done(submit(tasks))
    assert run.logs("b") == f'1\n{tmp_path}/raw.csv {{"x": "file"}}\n'


def test_a_folder_is_an_output_without_a_copy(submit: Submit, tmp_path: Path) -> None:
    run = done(submit({"a": {"run": "mkdir parts; echo 1 > parts/1", "outputs": {"parts": "parts/"}}}))
    assert run["a"].result() == tmp_path / "parts"
    status, answer = 404, run.client.exchange("GET", f"runs/{run.id}/tasks/a/outputs/parts")
    assert (answer[0], b"is not a file; of folders no copies are kept" in answer[1]) == (status, True)


def test_a_file_over_the_limit_is_the_original_as_long_as_it_looks_the_same(submit: Submit, tmp_path: Path) -> None:
    run = done(submit({"a": {"run": "truncate -s 101M big.bin", "outputs": {"big": "big.bin"}}}))
    assert run["a"].result() == tmp_path / "big.bin"
    (tmp_path / "big.bin").write_text("other")
    with pytest.raises(NotFound, match=r"is not what a left \(101 MiB then, 5 bytes now\), and no copy was kept"):
        run["a"].result()
    (tmp_path / "big.bin").unlink()
    with pytest.raises(NotFound, match=r"the output big of a, is gone: No such file"):
        run["a"].result()


def test_outputs_are_downloaded(submit: Submit, call: Call, engine: EngineProcess) -> None:
    tasks = {
        "obj": call(function("def f(): return {1, 2}")),
        "json": call(function("def f(): return ['ü', 1]")),
        "file": {"run": "echo hello > 'rép ort.txt'", "outputs": {"result": "./rép ort.txt"}},
    }
    run = done(submit(tasks))
    path = f"runs/{run.id}/tasks/{{}}/outputs/{{}}"
    status, content, headers = engine.raw("GET", path.format("obj", "result"))
    assert (status, cloudpickle.loads(content)) == (200, {1, 2})
    assert headers["Content-Disposition"] == "attachment; filename=\"result.pickle\"; filename*=UTF-8''result.pickle"
    status, content, headers = engine.raw("GET", path.format("json", "result"))
    assert (status, json.loads(content), headers["Content-Type"]) == (200, ["ü", 1], "application/json")
    status, content, headers = engine.raw("GET", path.format("file", "result"))
    assert (status, content, headers["X-Content-Type-Options"]) == (200, b"hello\n", "nosniff")
    assert headers["Content-Disposition"].endswith("filename*=UTF-8''r%C3%A9p%20ort.txt")
    status, answer = engine.request("GET", path.format("file", "nope"))
    assert (status, answer["message"]) == (404, "task file (completed) left no output 'nope'; it left: result")
    assert engine.request("GET", path.format("none", "x"))[0] == 404


# --------------------------------------------------------------------------------------------------------- large ones


def test_an_array_of_200_mb_goes_through_without_filling_the_server(
    submit: Submit, call: Call, engine: EngineProcess
) -> None:
    numpy = pytest.importorskip("numpy")
    tasks = {
        "make": call(function("import numpy\ndef f(): return numpy.arange(25_000_000)")),
        "sum": call(function("def f(make): return int(make.sum())"), {"make": "make/result"}),
    }
    process = psutil.Process(engine.pid)
    before = process.memory_info().rss
    run = done(submit(tasks))
    assert run["sum"].result() == 312_499_987_500_000
    found = run["make"].result()
    assert (found.nbytes, bool((found == numpy.arange(25_000_000)).all())) == (200_000_000, True)
    assert process.memory_info().rss - before < 100 << 20


def test_a_task_waits_for_room_to_leave_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk takes half a line, then nothing, then all."""
    told = iter((9, errno.ENOSPC))
    write = os.write

    def crowded(fd: int, data: bytes) -> int:
        what = next(told, None)
        if what == errno.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data if what is None else data[:what])

    monkeypatch.setenv("WATTLE_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setattr(passing, "ROOM", 0.0)
    monkeypatch.setattr(os, "write", crowded)
    passing.leave("loss", 0.25)
    assert (tmp_path / "output").read_text() == '{"loss": 0.25}\n'
    assert capsys.readouterr().err == "wattle: No space left on device; this task waits for room\n"
