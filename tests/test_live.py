"""What moves while somebody waits, where it moves, and what stays."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel
from processes import EngineProcess

from wattle_jupyter import live
from wattle_jupyter.live import Board, PlainScreen, RichScreen
from wattle_jupyter.wire import TaskRunView

pexpect = pytest.importorskip("pexpect")

WATTLE = str(Path(sys.executable).with_name("wattle"))
FLOW = """
tasks:
  fetch: sleep 0.3
  clean: {run: exit 3, needs: [fetch]}
  "odd": {run: "true", needs: [fetch]}
"""


def view(task: str, state: str, **more: Any) -> TaskRunView:
    about = {"reason": "", "attempts": 1, "started_at": None, "ended_at": None, **more}
    return {"task": task, "state": state, **about}  # type: ignore[typeddict-item]  # what is drawn, no more


def test_a_change_is_told_once() -> None:
    board = Board()
    assert board.take([view("a", "created"), view("b", "running")]) == [view("b", "running")]
    assert board.take([view("b", "running", attempts=2)]) == []
    assert [v["task"] for v in board.take([view("a", "queued"), view("b", "failed")])] == ["a", "b"]
    assert board.summary() == "1/2 done, 0 running, 1 failed"


def test_what_runs_is_listed_before_what_waits_and_what_ended_not_at_all() -> None:
    board = Board()
    board.take([
        view("q", "queued"), view("new", "running", started_at="2"), view("old", "running", started_at="1"),
        view("done", "completed"), view("later", "created"),
    ])  # fmt: skip
    assert [v["task"] for v in board.active()] == ["old", "new", "q"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_plain_screen_has_one_line_that_replaces_itself() -> None:
    out, err = Terminal(), Terminal()
    screen, board = PlainScreen(out, err), Board()
    board.take([view("a", "running")])
    screen.show(board)
    screen.line("✓ completed a")
    screen.show(board)
    screen.close()
    assert out.getvalue() == "✓ completed a\n"
    assert err.getvalue() == "0/1 done, 1 running\r\x1b[K0/1 done, 1 running\r\x1b[K"


def test_nothing_moves_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert live.screen(io.StringIO(), Terminal()) is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with live.bar() as tell:
        assert tell is None


def test_without_rich_there_is_still_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with live.bar() as tell:
        assert tell is not None
        tell([view("a", "running")])
    assert sys.stderr.getvalue() == "0/1 done, 1 running\r\x1b[K"  # type: ignore[attr-defined]


def test_a_rich_screen_takes_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, board = Terminal(), Board()
    screen = RichScreen(out, table=True)
    board.take([view("[red]x[/red]", "running"), *(view(f"t{n}", "queued") for n in range(40))])
    screen.line("[bold]as it is[/bold]")
    screen.show(board)
    screen.close()
    assert "[red]x[/red]" in out.getvalue()
    assert "[bold]as it is[/bold]" in out.getvalue()
    assert "… and 29 more" in out.getvalue()
    assert "0/41 done, 1 running" in out.getvalue()


def test_a_rich_screen_says_how_far_a_task_is_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, board = Terminal(), Board()
    far: dict[str, Any] = {"done": None, "total": None, "text": ""}
    board.take([view("x", "running", attempt="a"), view("again", "running", attempt="b"), view("q", "queued")])
    board.far.update(
        x={"attempt": "a", "fraction": 0.42, **far},
        again={"attempt": "the one before", "fraction": 0.9, **far},
        q={"attempt": "c", "fraction": 0.9, **far},
    )
    screen = RichScreen(out, table=True)
    screen.show(board)
    screen.close()
    assert "▶ running 42 %" in out.getvalue()
    assert out.getvalue().count("%") == out.getvalue().count("42 %")


def in_terminal(command: Sequence[str], engine: EngineProcess, folder: Path, columns: int) -> tuple[str, int]:
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environ = {**kept, "WATTLE_STORE__DIR": str(engine.store), "TERM": "xterm"}
    child = pexpect.spawn(command[0], list(command[1:]), env=environ, cwd=str(folder), dimensions=(24, columns))
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    return child.before.decode().replace("\r\n", "\n"), int(child.exitstatus)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_shows_a_table_and_ends_as_a_pipe_does(engine: EngineProcess, tmp_path: Path, columns: int) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)
    said, code = in_terminal([WATTLE, "run", "flow.yaml", "-w"], engine, tmp_path, columns)
    assert code == 1
    assert "3/3 done, 0 running, 1 failed" in said
    assert "✗ failed    clean" in said
    *_, hint, summary, end = said.split("\n")
    assert "what clean wrote: `wattle logs " in hint
    assert summary.startswith("flow: failed in ")
    assert end == ""


def test_a_table_of_runs_fits_into_the_terminal(engine: EngineProcess, tmp_path: Path) -> None:
    engine.ended(engine.run({"a-very-long-name-of-a-task-" + "x" * 60: "exit 3"}, "long"))
    said, code = in_terminal([WATTLE, "status", "last"], engine, tmp_path, 60)
    assert code == 0
    assert [line for line in said.split("\n")[2:] if len(line) > 60] == []
    assert "exit 3" in said


WAIT = """
import pathlib, sys, threading
from wattle_jupyter.run import attach
run = attach("last")
threading.Timer(0.5, pathlib.Path(sys.argv[1]).touch).start()
print(run.wait().status)
"""


def test_waiting_in_a_script_shows_a_bar_in_a_terminal(engine: EngineProcess, tmp_path: Path) -> None:
    go = tmp_path / "go"
    engine.run({"a": f"while [ ! -e {go} ]; do sleep 0.05; done"}, "bar")
    said, code = in_terminal([sys.executable, "-c", WAIT, str(go)], engine, tmp_path, 80)
    assert code == 0
    assert "1/1 done" in said or "0/1 done" in said
    assert said.rstrip().endswith("completed")


# ------------------------------------------------------------------------------------------------------------ notebooks


@pytest.fixture(scope="module")
def kernel(engine: EngineProcess) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATTLE_STORE__DIR", str(engine.store))
        manager, client = start_new_kernel(extra_arguments=["--IPKernelApp.log_level=40"])
        shown(client, "%load_ext wattle_jupyter\nfrom wattle_jupyter import attach, runs", person=True)
        shown(client, "%%wattle seen\na: sleep 0.2", person=True)
        yield client
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def shown(kernel: Any, code: str, *, person: bool) -> list[str]:
    """What a cell shows, in order, to a front end with or without a person at it."""
    asked, kinds = kernel.execute(code, allow_stdin=person), list[str]()
    while True:
        message = kernel.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != asked:
            continue
        if message["content"].get("execution_state") == "idle":
            return kinds
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] in ("display_data", "execute_result", "clear_output"):
            kinds.append(message["msg_type"])


RUN = "%wattle run seen -w"
LIVE = ["display_data", "clear_output", "execute_result"]


def test_a_cell_that_waits_shows_the_live_view_meanwhile_and_then_how_it_ended(kernel: Any) -> None:
    assert shown(kernel, RUN, person=True) == LIVE
    assert shown(kernel, "%wattle run seen\nattach('last').wait()", person=True) == ["execute_result"]
    shown(kernel, "%wattle run seen", person=True)
    assert shown(kernel, "await attach('last')", person=True)[-1] == "execute_result"
    assert shown(kernel, "attach('last').wait()", person=True) == ["execute_result"], "it has ended"


def test_a_notebook_that_nobody_looks_at_is_saved_with_the_end_alone(kernel: Any) -> None:
    assert shown(kernel, RUN, person=False) == ["execute_result"]
