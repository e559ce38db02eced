"""Notebooks as tasks: the runner started as the engine starts it, and whole runs."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from processes import EngineProcess, until

from wattle_jupyter.command import COPY
from wattle_jupyter.launch import NOTEBOOK_RUNNER
from wattle_jupyter.objects import Objects
from wattle_jupyter.outputs import read_values


def code(source: str, *tags: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "source": source,
        "metadata": {"tags": list(tags)},
        "outputs": [],
        "execution_count": None,
    }


def markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def write(path: Path, *cells: dict[str, Any], kernel: str = "python3") -> Path:
    named = [{"id": f"c{i}", **cell} for i, cell in enumerate(cells)]
    about = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    path.write_text(json.dumps({"cells": named, "metadata": about, "nbformat": 4, "nbformat_minor": 5}))
    return path


@dataclass
class Ended:
    code: int
    out: str
    err: str
    copy: Path

    def cells(self) -> list[Any]:
        return list(nbformat.read(self.copy, as_version=4).cells)  # type: ignore[no-untyped-call]

    def seen(self) -> list[str]:
        """The lines of the log, as a terminal shows them."""
        return [line.rpartition("\r")[2].rstrip() for line in self.out.split("\n")[:-1]]

    def sources(self) -> list[str]:
        return [cell.source for cell in self.cells()]


class Runner:
    """Runs notebooks in ``folder``, which holds nothing else; the store is beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.attempt = folder / "work", folder / "attempt"
        self.folder.mkdir()
        self.attempt.mkdir()
        self.temporary = folder / "t"
        self.temporary.mkdir()
        self.objects = Objects(folder / "objects")

    def start(self, *words: str, **env: str) -> subprocess.Popen[bytes]:
        ours = {
            "NO_COLOR": "1", "TMPDIR": str(self.temporary), "WATTLE_TASK": "report", "WATTLE_ATTEMPT": "a",
            "WATTLE_OUTPUT": str(self.attempt / "output"), "WATTLE_OBJECTS": str(self.objects.folder),
        }  # fmt: skip
        return subprocess.Popen(
            [*NOTEBOOK_RUNNER, *words], cwd=self.folder, env={**os.environ, **ours, **env},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, *cells: dict[str, Any], words: tuple[str, ...] = (), kernel: str = "python3", **env: str) -> Ended:
        write(self.folder / "report.ipynb", *cells, kernel=kernel)
        return self.again(*words, **env)

    def again(self, *words: str, **env: str) -> Ended:
        process = self.start("report.ipynb", *words, **env)
        out, err = (said.decode() for said in process.communicate(timeout=120))
        left = {path.name for path in (*self.temporary.iterdir(), *self.attempt.iterdir())}
        assert left <= {"report.ipynb", "output"}  # nothing of the kernel
        return Ended(process.returncode, out, err, self.attempt / "report.ipynb")

    def left(self) -> dict[str, Any]:
        values, problem = read_values(self.attempt / "output")
        assert problem == ""
        return values


@pytest.fixture
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("n"))


def inputs(**given: tuple[str, str]) -> dict[str, str]:
    texts = {f"WATTLE_INPUT_{name.upper()}": text for name, (_, text) in given.items()}
    return {"WATTLE_INPUTS": json.dumps({name: kind for name, (kind, _) in given.items()}), **texts}


# ------------------------------------------------------------------------------------------------------- what comes out


def test_the_cells_run_in_order_and_a_copy_holds_what_they_showed(runner: Runner) -> None:
    ended = runner.run(markdown("# Sales"), code("x = 6\nprint('begun')"), code(""), code("x * 7"))
    assert ended.err == ""
    assert ended.seen() == ["[1/2] x = 6", "begun", "[2/2] x * 7", "42", "2 of 2 cells done"]
    assert [cell.get("outputs", [])[:1] for cell in ended.cells()] == [
        [],
        [{"output_type": "stream", "name": "stdout", "text": "begun\n"}],
        [],
        [{"output_type": "execute_result", "execution_count": 2, "data": {"text/plain": "42"}, "metadata": {}}],
    ]
    assert runner.left() == {COPY: {"$file": str(ended.copy)}}
    assert ended.code == 0


def test_a_mark_of_byte_order_and_cells_without_ids_are_no_matter(runner: Runner) -> None:
    path = write(runner.folder / "report.ipynb", code("1"), code("2"))
    path.write_text("\ufeff" + path.read_text().replace('"id": "c0", ', "").replace("c1", "c0"), "utf-8")
    ended = runner.again()
    assert (ended.code, ended.err) == (0, "")
    assert all(cell.id for cell in ended.cells())


def test_the_notebook_itself_is_only_read(runner: Runner) -> None:
    path = write(runner.folder / "report.ipynb", code("print(1)"))
    before = path.read_bytes(), path.stat().st_mtime_ns
    path.chmod(0o400)
    assert runner.again().code == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [p.name for p in runner.folder.iterdir()] == ["report.ipynb"]


def test_pictures_are_kept_in_the_copy_and_told_as_text(runner: Runner) -> None:
    ended = runner.run(code("from IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))"))
    assert "<IPython.core.display.HTML object>\n" in ended.out
    assert ended.cells()[0].outputs[0]["data"]["text/html"] == "<b>x</b>"


def test_a_line_that_goes_on_is_ended_before_ours_begin(runner: Runner) -> None:
    ended = runner.run(code("print('half', end='')"), code("2"))
    assert ended.seen() == ["[1/2] print('half', end='')", "half", "[2/2] 2", "2", "2 of 2 cells done"]


def test_each_line_of_ours_is_written_over_a_mark_of_how_far_it_is(runner: Runner) -> None:
    ended = runner.run(code("1"), code("2"))
    assert [float(share) for share in re.findall(r"::wattle progress=(\d)/2::\r", ended.out)] == [0, 1, 2]
    assert all(len(line.split("\r")[1]) >= len(line.split("\r")[0]) for line in ended.out.splitlines() if "\r" in line)


def test_much_output_arrives_whole_and_in_order(runner: Runner) -> None:
    ended = runner.run(code("for i in range(100_000): print(i, 'x' * 40)"))
    numbers = [line.split()[0] for line in ended.out.splitlines() if line.endswith("xx")]
    assert numbers == [str(i) for i in range(100_000)]
    assert ended.cells()[0].outputs[0]["text"].count("\n") == 100_000


def test_a_line_of_megabytes_takes_no_longer_than_many_short_ones(runner: Runner) -> None:
    ended = runner.run(code("print('x' * 3_000_000)"))
    assert len(ended.cells()[0].outputs[0]["text"]) == 3_000_001


def test_of_what_is_written_over_the_copy_keeps_the_last(runner: Runner) -> None:
    ended = runner.run(code("import sys\nfor i in range(3): print(f'\\r{i}', end='', flush=True)\nprint('\\r\\nx\\n')"))
    assert [output["text"] for output in ended.cells()[0].outputs] == ["2\r\nx\n\n"]


def test_what_a_cell_emits_and_says_of_its_progress_counts(runner: Runner) -> None:
    ended = runner.run(code("import wattle_jupyter as wt\nwt.progress(1, 4)\nwt.emit(loss=0.25)"))
    assert "::wattle progress=1/4::\n" in ended.out
    assert runner.left() == {"loss": 0.25, COPY: {"$file": str(ended.copy)}}


def test_the_copy_can_be_sent_to_a_path_of_its_own(runner: Runner) -> None:
    write(runner.folder / "report.ipynb", code("1"))
    assert runner.again("--to=out/done.ipynb").code == 0
    assert nbformat.read(runner.folder / "out/done.ipynb", as_version=4).cells[0].execution_count == 1  # type: ignore[no-untyped-call]
    assert not (runner.attempt / "output").exists()


# -------------------------------------------------------------------------------------------------------- what goes in

SHOW = code("print(rate, name)")
DEFAULTS = code("rate = 0.5\nname: str = 'nobody'", "parameters")


def test_params_of_the_workflow_that_the_tagged_cell_sets_are_set_after_it(runner: Runner) -> None:
    params = json.dumps({"rate": 0.1, "elsewhere": 3})
    ended = runner.run(DEFAULTS, SHOW, WATTLE_PARAMS=params)
    assert "0.1 nobody\n" in ended.out
    assert ended.sources() == ["rate = 0.5\nname: str = 'nobody'", "# set by wattle\nrate = 0.1", "print(rate, name)"]


def test_arguments_come_before_params_and_are_json_where_they_read_as_it(runner: Runner) -> None:
    words = ("rate=[1, null]", 'name="5"')
    ended = runner.run(DEFAULTS, SHOW, words=words, WATTLE_PARAMS='{"rate": 0.1}')
    assert "[1, None] 5\n" in ended.out
    assert runner.again("name=it's a 'text' {", "rate=true").out.count("True it's a 'text' {\n") == 1


def test_inputs_of_each_kind_arrive_as_what_they_were(runner: Runner) -> None:
    with runner.objects.writer() as writer:
        writer.write(pickle.dumps({1, 2}))
        thing = runner.objects.path(writer.publish())
    given = inputs(text=("text", "3"), number=("json", "3"), path=("file", "/x/y.csv"), thing=("object", str(thing)))
    ended = runner.run(code("print([text, number, path, thing])"), **given)
    assert "['3', 3, PosixPath('/x/y.csv'), {1, 2}]\n" in ended.out, ended.err


def test_an_object_reaches_a_kernel_that_does_not_have_this_package(runner: Runner) -> None:
    with runner.objects.writer() as writer:
        writer.write(pickle.dumps({1, 2}))
        thing = runner.objects.path(writer.publish())
    hidden = (
        "import sys\nsys.path[:] = [p for p in sys.path if not __import__('os').path.isdir(p + '/wattle_jupyter')]\n"
    )
    hidden += "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
    (runner.folder / "sitecustomize.py").write_text(hidden)
    write(runner.folder / "report.ipynb", code("print(thing)\nimport wattle_jupyter as wt; wt.emit(n=1)"))
    ended = runner.again(f"--beside={runner.folder}", **inputs(thing=("object", str(thing))))
    assert "{1, 2}\n" in ended.out, ended.err
    assert runner.left()["n"] == 1


def test_what_looks_like_a_secret_is_set_but_not_saved(runner: Runner) -> None:
    ended = runner.run(code("api_key = ''", "parameters"), code("print(len(api_key))"), words=("api_key=sesame",))
    assert "6\n" in ended.out
    assert "sesame" not in ended.copy.read_text()
    assert ended.sources()[1] == "# set by wattle\n# api_key = •••"


def test_a_secret_is_not_seen_where_setting_what_stands_beside_it_fails(runner: Runner) -> None:
    thing = runner.folder / "thing"
    thing.write_bytes(b"no pickle")
    ended = runner.run(code("1"), words=("api_key=sesame", "rate=1"), **inputs(thing=("object", str(thing))))
    assert ended.code == 1
    assert "while its parameters were set" in ended.err
    assert "thing = wattle_jupyter.input('thing')" in ended.copy.read_text()
    assert "sesame" not in ended.copy.read_text() + ended.out + ended.err


def test_a_secret_is_not_saved_by_what_fails_before_it_is_set(runner: Runner) -> None:
    ended = runner.run(code("1"), code("1 / 0"), code("api_key = ''", "parameters"), words=("api_key=sesame",))
    assert ended.code == 1
    assert "sesame" not in ended.copy.read_text()


def test_without_a_tagged_cell_arguments_are_set_first_and_that_is_told(runner: Runner) -> None:
    ended = runner.run(SHOW, words=("rate=1", "name=x"))
    assert "1 x\n" in ended.out
    assert ended.err == "wattle: report.ipynb has no cell tagged `parameters`: rate, name set before all cells\n"


def test_an_argument_that_has_no_default_is_set_and_told(runner: Runner) -> None:
    ended = runner.run(DEFAULTS, code("print(rates)"), words=("rates=1", "rate=2"))
    assert "1\n" in ended.out
    assert ended.err == "wattle: the cell of report.ipynb tagged `parameters` has no default for rates; set as given\n"


def test_an_executed_copy_can_be_executed_again_with_other_values(runner: Runner) -> None:
    runner.run(DEFAULTS, SHOW, words=("rate=1",))
    (runner.attempt / "report.ipynb").rename(runner.folder / "report.ipynb")
    ended = runner.again("rate=2")
    assert "2 nobody\n" in ended.out
    assert len(ended.cells()) == 3


def test_modules_beside_the_notebook_are_found_and_those_of_the_library_are_not_hidden(runner: Runner) -> None:
    (runner.folder / "lib").mkdir()
    (runner.folder / "lib/helper.py").write_text("x = 'from beside'")
    (runner.folder / "secrets.py").write_text("raise SystemExit('hidden')")
    write(runner.folder / "report.ipynb", code("import helper; print(helper.x)"))
    ended = runner.again(f"--beside={runner.folder / 'lib'}")
    assert "from beside\n" in ended.out, ended.err


# ------------------------------------------------------------------------------------------------------ what goes wrong


def test_a_cell_that_fails_is_named_and_the_rest_does_not_run(runner: Runner) -> None:
    ended = runner.run(code("print('first')"), code("1 / 0"), code("print('third')"))
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.err
    assert ended.err.splitlines()[-2:] == [
        "wattle: report.ipynb failed in cell 2 of 3: ZeroDivisionError: division by zero",
        f"wattle: its executed copy is {ended.copy}",
    ]
    assert "third" not in ended.out
    assert [cell.outputs != [] for cell in ended.cells()] == [True, True, False]
    assert not (runner.attempt / "output").exists()


def test_a_cell_that_asks_somebody_is_told_what_to_do_instead(runner: Runner) -> None:
    ended = runner.run(code("name = input('who? ')"))
    assert ended.code == 1
    assert "StdinNotImplementedError: nobody is there to answer input(); take it as a parameter\n" in ended.err


def test_cells_with_the_tags_of_nbclient_may_fail_or_are_left_out(runner: Runner) -> None:
    ended = runner.run(code("1 / 0", "raises-exception"), code("print('no')", "skip-execution"), code("print('on')"))
    assert ended.code == 0
    assert "no\n" not in ended.out
    assert ended.seen()[-3:] == ["[2/2] print('on')", "on", "2 of 2 cells done"]


def test_a_kernel_that_ends_is_told_with_the_cell_and_the_signal(runner: Runner) -> None:
    ended = runner.run(code("1"), code("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "wattle: the kernel ended in cell 2 of 2 (signal 9, as the system does for want of memory)",
        f"wattle: its executed copy is {ended.copy}",
    ]
    assert ended.cells()[0].outputs != []


def test_a_cell_that_asks_the_kernel_to_end_is_the_last_or_an_error(runner: Runner) -> None:
    ended = runner.run(code("print('bye'); exit()"), code("2", "skip-execution"))
    assert (ended.code, ended.seen()[1]) == (0, "bye"), ended.err
    ended = runner.run(code("exit()"), code("print('on')"))
    assert ended.code == 1
    assert ended.err.startswith("wattle: the kernel was asked to end in cell 1 of 2, by exit() or quit()")
    assert "on\n" not in ended.out


NOTED = """
import threading
from ipykernel.iostream import OutStream

def flush(self, flush=OutStream.flush):
    if threading.current_thread().name == "Control":
        open("waited", "w").close()
    flush(self)

OutStream.flush = flush
"""


def test_a_kernel_that_ends_does_not_wait_for_its_thread_of_outputs_to_answer(runner: Runner) -> None:
    assert runner.run(code(NOTED)).code == 0  # that one may have ended before: it was ten seconds then
    assert not (runner.folder / "waited").exists()


@pytest.mark.long
def test_a_thread_that_does_not_end_is_killed_and_told(runner: Runner) -> None:
    ended = runner.run(code("import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()"))
    assert ended.code == 0
    told = "a thread or process of report.ipynb, or what it registered with atexit, did not end: killed"
    assert ended.err == f"wattle: {told}\n"


def test_an_interpreter_without_ipykernel_says_so(runner: Runner) -> None:
    bare = runner.folder / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o700)
    write(runner.folder / "report.ipynb", code("1"))
    ended = runner.again(f"--python={bare}")
    assert ended.code == 1
    assert "No module named ipykernel" in ended.err
    assert ended.err.endswith(
        "wattle: the kernel ended before it was ready (exit 1); what it printed says why; "
        f"if it lacks ipykernel: `{bare} -m pip install ipykernel`\n"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"), ("[]", "it is no mapping"), ("{}", "it does not say `nbformat`"),
        ('{"nbformat": 4, "cells": 3}', ""),
    ],
)  # fmt: skip
def test_what_is_no_notebook_is_refused_in_words(runner: Runner, text: str, reason: str) -> None:
    (runner.folder / "report.ipynb").write_text(text)
    ended = runner.again()
    assert ended.code == 1
    assert ended.err.startswith(f"wattle: report.ipynb is not a notebook: {reason}")
    assert "Traceback" not in ended.err


def test_an_argument_that_is_none_is_refused_with_the_form(runner: Runner) -> None:
    ended = runner.run(code("1"), words=("rate",))
    assert ended.code == 2
    assert "'rate' is not `name=value`" in ended.err


def test_a_kernel_that_is_asked_to_end_runs_what_was_registered_for_it(runner: Runner) -> None:
    ended = runner.run(code("import atexit; atexit.register(lambda: open('end', 'w').write('told'))\nNone"))
    assert ended.code == 0
    assert (runner.folder / "end").read_text() == "told"


# ---------------------------------------------------------------------------------------------------------- its kernel


def install(folder: Path, name: str, *argv: str, **env: str) -> dict[str, str]:
    """A kernel that Jupyter finds by the variables that are returned."""
    place = folder / "jupyter/kernels" / name
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": name, "language": "x", "env": env}))
    return {"JUPYTER_PATH": str(folder / "jupyter")}


def test_the_kernel_that_the_notebook_names_runs_it(runner: Runner, tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")
    env = install(tmp_path, "mine", *argv, MARK="by mine")
    show = code("import os; print(os.environ.get('MARK'))")
    assert "by mine\n" in runner.run(show, kernel="mine", **env).out
    assert "None\n" in runner.again("--kernel=python3", **env).out


def test_a_kernel_that_is_not_there_is_named_with_those_that_are(runner: Runner) -> None:
    ended = runner.run(code("1"), kernel="ir")
    assert ended.code == 1
    assert ended.err.startswith("wattle: there is no kernel `ir` here, only: python3")
    assert ended.err.endswith("install it, or name another: `--kernel python3`\n")


OTHER = """
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

class Loud(Kernel):
    implementation = "loud"
    implementation_version = "1"
    banner = ""
    language_info = {"name": "loud", "mimetype": "text/plain", "file_extension": ".txt"}

    async def do_execute(self, code, silent, store_history=True, user_expressions=None, allow_stdin=False, **_):
        if not silent:
            self.send_response(self.iopub_socket, "stream", {"name": "stdout", "text": code.upper()})
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

IPKernelApp.launch_instance(kernel_class=Loud)
"""


def test_a_notebook_in_another_language_runs_and_takes_no_parameters(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(OTHER)
    env = install(tmp_path, "loud", sys.executable, str(tmp_path / "loud.py"), "-f", "{connection_file}")
    ended = runner.run(code("hello", "parameters"), kernel="loud", WATTLE_PARAMS='{"hello": 1}', **env)
    assert (ended.code, ended.seen()) == (0, ["[1/1] hello", "HELLO", "1 of 1 cells done"]), ended.err
    refused = runner.again("rate=1", **env)
    assert refused.code == 1
    assert "only notebooks in Python take parameters (`rate`), not one in loud" in refused.err


WAITS = "import os, time\nopen('pid', 'w').write(f'{os.getpid()}\\n')\ntime.sleep(600)"


def is_gone(pid: int) -> bool:
    """Whoever inherited it may be in no hurry to bury it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def started(pid: Path) -> int:
    until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    return int(pid.read_text())


def test_a_runner_that_is_stopped_saves_what_its_cells_showed(runner: Runner) -> None:
    write(runner.folder / "report.ipynb", code("print('before')"), code(f"print('begun')\n{WAITS}"))
    process = runner.start("report.ipynb")
    kernel = started(runner.folder / "pid")
    assert process.stdout is not None
    heard = b""
    while b"begun\n" not in heard:
        heard += process.stdout.readline()
    process.terminate()  # it alone, as for tasks whose kernel is in another group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    copy = runner.attempt / "report.ipynb"
    assert err.decode() == f"wattle: stopped in cell 2 of 2\nwattle: its executed copy is {copy}\n"
    ended = Ended(143, (heard + out).decode(), err.decode(), copy)
    assert [cell.outputs[0]["text"] for cell in ended.cells()] == ["before\n", "begun\n"]
    until(lambda: is_gone(kernel))
    assert [path.name for path in runner.attempt.iterdir()] == ["report.ipynb"]


def test_where_the_copy_cannot_be_saved_nothing_is_run(runner: Runner) -> None:
    write(runner.folder / "report.ipynb", code("open('ran', 'w')"))
    (runner.folder / "file").touch()
    ended = runner.again("--to=file/report.ipynb")
    assert ended.code == 1
    assert ended.err == "wattle: the executed copy cannot be saved as file/report.ipynb: File exists\n"
    assert not (runner.folder / "ran").exists()


def test_sockets_are_where_their_names_are_not_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    write(deep / "report.ipynb", code("print('deep')"))
    env = {**os.environ, "WATTLE_OUTPUT": str(deep / "output"), "WATTLE_TASK": "t", "TMPDIR": str(deep)}
    env |= {"WATTLE_OBJECTS": str(tmp_path), "XDG_RUNTIME_DIR": str(deep)}
    done = subprocess.run([*NOTEBOOK_RUNNER, str(deep / "report.ipynb")], cwd=tmp_path, env=env, capture_output=True)
    assert (done.returncode, b"deep\n" in done.stdout) == (0, True), done.stderr


def test_a_runner_that_is_killed_takes_its_kernel_with_it(runner: Runner) -> None:
    write(runner.folder / "report.ipynb", code(WAITS))
    process = runner.start("report.ipynb")
    kernel = started(runner.folder / "pid")
    process.kill()
    process.communicate(timeout=60)
    until(lambda: is_gone(kernel))


# ---------------------------------------------------------------------------------------------------------- whole runs


def test_a_notebook_in_a_workflow_takes_params_and_inputs_and_leaves_its_copy(
    engine: EngineProcess, tmp_path: Path
) -> None:
    write(tmp_path / "report.ipynb", code("rate = 0.5", "parameters"), code("print('saw', rate, count)"))
    tasks = {
        "count": {"run": "echo count=3 >> $WATTLE_OUTPUT", "outputs": {"count": None}},
        "report": {"run": "report.ipynb", "inputs": {"count": "count/count"}},
        "send": "grep -c saw {{ report }}",
    }
    run = engine.run(tasks, params={"rate": 0.1}, working_dir=str(tmp_path), python=sys.executable)
    assert engine.ended(run)["state"] == "completed"
    task = engine.task(run, "report")
    assert "saw 0.1 3" in log(engine, run)
    (output,) = task["outputs"]
    assert (output["name"], output["kind"], Path(output["kept"]).name) == (COPY, "file", "report.ipynb")
    assert "saw 0.1 3" in Path(output["kept"]).read_text()


def log(engine: EngineProcess, run: str) -> str:
    return str(engine.raw("GET", f"runs/{run}/tasks/report/logs?format=text")[1].decode())


def test_an_edit_during_the_run_changes_nothing(engine: EngineProcess, tmp_path: Path) -> None:
    path = write(tmp_path / "report.ipynb", code("print('as', 'submitted')"))
    tasks = {"gate": "while [ ! -e go ]; do sleep 0.01; done", "report": {"run": "report.ipynb", "needs": ["gate"]}}
    run = engine.run(tasks, "edited", working_dir=str(tmp_path), python=sys.executable)
    write(path, code("print('as', 'edited')"))
    (tmp_path / "go").touch()
    assert engine.ended(run)["state"] == "completed"
    assert "as submitted" in log(engine, run)


def test_a_cancelled_notebook_leaves_no_kernel(engine: EngineProcess, tmp_path: Path) -> None:
    write(tmp_path / "report.ipynb", code(WAITS))
    run = engine.run({"report": "report.ipynb"}, "long", working_dir=str(tmp_path), python=sys.executable)
    kernel = started(tmp_path / "pid")
    engine.post(f"runs/{run}/cancel")
    assert engine.ended(run)["state"] == "cancelled"
    until(lambda: is_gone(kernel))


def test_what_is_no_notebook_is_refused_before_anything_runs(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "report.ipynb").write_text("{}")
    status, answer = engine.request(
        "POST", "runs", {"spec": {"name": "w", "tasks": {"a": "report.ipynb"}, "working_dir": str(tmp_path)}}
    )
    assert status == 400
    assert f"{tmp_path}/report.ipynb is not a notebook: it does not say `nbformat`" in json.dumps(answer)
