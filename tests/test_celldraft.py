"""``%%wattle etl.clean`` in a real IPython shell, against the real engine: defined, run, replaced, renamed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel
from processes import EngineProcess

from wattle_jupyter import magic
from wattle_jupyter.errors import WattleError
from wattle_jupyter.magic import WattleCellError
from wattle_jupyter.notebook import notebook


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: EngineProcess) -> Iterator[Any]:
    """IPython with our extension in a folder of its own, on the store of the running engine."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("WATTLE_STORE__DIR", str(engine.store))
    monkeypatch.chdir(tmp_path)
    main = sys.modules["__main__"]
    InteractiveShell.clear_instance()
    found = InteractiveShell.instance()
    found.history_manager.enabled = False
    magic.load(found)
    notebook().drafts.clear()
    yield found
    magic.unload(found)
    notebook().drafts.clear()
    found.history_manager.end_session()
    InteractiveShell.clear_instance()
    sys.modules["__main__"] = main


def ran(shell: Any, code: str, cell: str | None = None) -> None:
    """Run a cell as a front end does that knows its cells by ids. Raises what it raised."""
    found = shell.run_cell(code, cell_id=cell)
    found.raise_error()


def tasks(name: str) -> list[str]:
    return [entry.name for entry in notebook().drafts[name]]


def test_a_cell_is_a_task_and_is_not_executed_here(live: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ran(live, "import math\nSTOP = {'b'}\ndef keep(words):\n    return [w for w in words if w not in STOP]")
    ran(live, "%%wattle etl0.load -o words\nwords = ['a', 'b', 'c']\nprint('loading')")
    ran(live, "limit = 2")
    capsys.readouterr()
    ran(live, "%%wattle etl0.count -n load -i limit -p base=10\nlen(keep(words)[:limit]) + math.floor(base)")
    assert capsys.readouterr().out == (
        "captured: keep (function), math (module), STOP (set, 1 item), limit (int, 2, as it is now), "
        "words (load/words), base (param)\n"
        "etl0: 2 tasks\n  • load\n  • count ← load\n"
    )
    assert "words" not in live.user_ns
    run = live.run_line_magic("wattle", "run etl0 -w")
    assert run.status == "completed"
    assert run["load"].logs() == "loading\n"
    assert run["count"].result() == 12
    assert live.run_line_magic("wattle", "run etl0 -w -p base=0")["count"].result() == 2


def test_a_failing_cell_shows_its_traceback_with_its_lines(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(live, "def deep(x):\n    return 1 / x")
    ran(live, "%%wattle etl1.bad --retries 0 -e NO_COLOR=1\nx = 0\ndeep(x)  # here\n")
    run = live.run_line_magic("wattle", "run etl1 -w")
    assert run["bad"].reason == "exit 1"
    log = run["bad"].logs()
    assert "deep(x)  # here" in log
    assert "return 1 / x" in log
    assert "ZeroDivisionError: division by zero" in log
    assert "wattle_jupyter" not in log


def test_a_cell_that_runs_again_replaces_its_task_and_takes_an_old_name_away(live: Any) -> None:
    ran(live, "%%wattle etl2.first\n1", "a")
    ran(live, "%%wattle etl2.second -n first\nfirst + 1", "b")
    ran(live, "%%wattle etl2.second -n first\nfirst + 2", "b")
    assert tasks("etl2") == ["first", "second"]
    ran(live, "%%wattle etl2.renamed -n first\nfirst + 3", "b")
    assert tasks("etl2") == ["first", "renamed"]
    assert live.run_line_magic("wattle", "run etl2 -w")["renamed"].result() == 4
    ran(live, "%%wattle other.renamed\n3", "b")
    assert tasks("etl2") == ["first"]


def test_a_cell_that_is_refused_leaves_what_it_made_before(live: Any) -> None:
    ran(live, "%%wattle kept.text\n1", "a")
    ran(live, "%%wattle kept.tidy -n text\ntext", "b")
    for wrong in ("%%wattle kept.other\nnobody_knows_it", "%%wattle kept.text -n tidy\ntidy"):
        with pytest.raises(WattleError):
            ran(live, wrong, "a")
        assert tasks("kept") == ["text", "tidy"]
    assert live.run_line_magic("wattle", "run kept -w")["tidy"].result() == 1


def test_a_mistake_is_pointed_at_and_leaves_no_task(live: Any) -> None:
    live.user_ns["table"] = [1, 2, 3]
    with pytest.raises(WattleCellError) as caught:
        ran(live, "%%wattle etl3.clean -o rows\n\nrows = tabel + table\n")
    assert str(caught.value) == (
        "etl3.clean cannot work: 2 problems\n"
        "\n    3 | rows = tabel + table\n"
        "      ^ `tabel` is not defined, neither here nor in this kernel; did you mean `table`?\n"
        "\n    3 | rows = tabel + table\n"
        "      ^ `table` is a list (3 items) of this kernel; add `-i table` to send a snapshot, "
        "or `-n load` if the task load makes it"
    )
    assert "etl3" not in notebook().drafts or tasks("etl3") == []


def test_a_field_that_makes_no_sense_leaves_no_task(live: Any) -> None:
    ran(live, "%%wattle etl4.a\n1")
    with pytest.raises(WattleCellError, match="retries: must be at least 0"):
        ran(live, "%%wattle etl4.b --retries -1\n2")
    with pytest.raises(WattleCellError, match="'1b' is not a name"):
        ran(live, "%%wattle etl4.1b\n2")
    assert tasks("etl4") == ["a"]


def test_a_stored_workflow_is_joined_and_that_is_said(
    live: Any, engine: EngineProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"working_dir": os.getcwd(), "python": sys.executable, "params": {"n": 3}}
    task = {"run": "echo rows=7 >> $WATTLE_OUTPUT", "outputs": {"rows": None}}
    engine.post("workflows", {"name": "old", **spec, "tasks": {"fetch": task}})
    ran(live, "%%wattle old.clean -n fetch\nint(rows) + n")
    assert "old is the stored workflow, with fetch; this task joins it\n" in capsys.readouterr().out
    assert live.run_line_magic("wattle", "run old -w")["clean"].result() == 10
    ran(live, "%%wattle old.last -n clean\nclean")
    assert "stored workflow" not in capsys.readouterr().out


def test_a_failed_try_to_join_is_none(live: Any, engine: EngineProcess, capsys: pytest.CaptureFixture[str]) -> None:
    engine.post("workflows", {"name": "was_there", "working_dir": "/", "tasks": {"fetch": "true"}})
    with pytest.raises(WattleCellError):
        ran(live, "%%wattle was_there.clean\nnobody_knows_it")
    ran(live, "%%wattle was_there.clean\n1")
    assert "was_there is the stored workflow" in capsys.readouterr().out


def test_builtins_that_ipython_replaces_are_the_plain_ones_in_a_task(live: Any) -> None:
    ran(live, "def reader(name):\n    return open(name).read()")
    Path("x.txt").write_text("hello")
    ran(live, "%%wattle etl7.read\nimport sys\n(reader('x.txt'), open('x.txt').read(), 'IPython' in sys.modules)")
    assert live.run_line_magic("wattle", "run etl7 -w")["read"].result() == ("hello", "hello", False)


def test_a_param_that_the_workflow_says_otherwise_is_a_problem(live: Any) -> None:
    ran(live, "%%wattle etl8.a -p n=1\nn")
    with pytest.raises(Exception, match="n"):
        ran(live, "%%wattle etl8.b -p n=2\nn")


def test_two_tasks_in_a_circle_are_told_with_arrows(live: Any) -> None:
    ran(live, "%%wattle etl9.a\n1", "one")
    ran(live, "%%wattle etl9.b -n a\na", "two")
    with pytest.raises(Exception, match="wait for each other"):
        ran(live, "%%wattle etl9.a -n b\nb", "one")


def test_a_notebooks_kernel_shows_the_drawing_and_runs_the_cell(tmp_path: Path, engine: EngineProcess) -> None:
    environment = {**os.environ, "WATTLE_STORE__DIR": str(engine.store), "IPYTHONDIR": str(tmp_path / "ipython")}
    manager, client = start_new_kernel(kernel_name="python3", env=environment, cwd=str(tmp_path))
    said: list[dict[str, Any]] = []

    def execute(code: str) -> dict[str, Any]:
        def note(message: dict[str, Any]) -> None:
            said.append({"type": message["msg_type"], **message["content"]})

        return dict(client.execute_interactive(code, timeout=90, output_hook=note)["content"])

    try:
        assert execute("%load_ext wattle_jupyter")["status"] == "ok"
        assert execute("class Row:\n    n = 4\nrows = [Row()]")["status"] == "ok"
        assert (
            execute("%%wattle nb.total -i rows\nimport asyncio\nawait asyncio.sleep(0)\ndisplay(1)\nrows[0].n")[
                "status"
            ]
            == "ok"
        )
        assert [one["data"] for one in said if one["type"] == "display_data"][-1].keys() >= {"image/svg+xml"}
        execute("r = %wattle run nb -w\nprint(r['total'].result())")
        assert [one["text"] for one in said if one["type"] == "stream"][-1] == "4\n"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
