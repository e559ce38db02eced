"""The magics in a real IPython shell: defining, running, what is captured, what errors look like, completion."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from processes import EngineProcess

from wattle_jupyter import magic
from wattle_jupyter.errors import InvalidRequest, WattleError
from wattle_jupyter.magic import WattleCellError, capture
from wattle_jupyter.run import Run


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """IPython with our extension, in a folder of its own, on a store that nobody has made."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("WATTLE_STORE__DIR", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    InteractiveShell.clear_instance()
    found = InteractiveShell.instance()
    found.history_manager.enabled = False
    magic.load(found)
    yield found
    magic.unload(found)
    found.history_manager.end_session()
    InteractiveShell.clear_instance()


@pytest.fixture
def live(shell: Any, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The shell on the store of the running engine."""
    monkeypatch.setenv("WATTLE_STORE__DIR", str(engine.store))
    return shell


def test_help_is_there_without_an_engine(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.run_line_magic("wattle", "") is None
    assert "retry" in capsys.readouterr().out
    shell.run_line_magic("wattle", "run -h")
    assert "examples:\n  %wattle run etl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rnu etl", "%wattle: no verb `rnu`; did you mean `run`?"),
        ("run {nope}", "%wattle: `{nope}` in the line could not be worked out; define `nope`, or double the braces"),
        ("run etl -p 'x", "%wattle: no closing quotation in: run etl -p 'x"),
        (
            "cancel",
            "%wattle cancel: RUN is missing (for example: %wattle cancel last)",
        ),
    ],
)
def test_a_bad_line_is_a_usage_error_of_one_line(shell: Any, line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        shell.run_line_magic("wattle", line)
    assert str(caught.value) == message


def test_a_question_mark_shows_help_with_examples(shell: Any) -> None:
    for name in ("%wattle", "%%wattle"):
        told = shell.object_inspect(name)["docstring"]
        for example in (
            "%wattle run etl -w",
            "%%wattle etl\n",
            "%%wattle etl.clean -n fetch -o rows",
            "%wattle VERB -h",
        ):
            assert example in told


def test_json_in_the_line_is_not_taken_for_a_left_over_name() -> None:
    magic._refuse_left_over_braces('run etl -p x={"a": 1}')


def test_a_cell_that_cannot_work_is_one_block_that_points_at_its_lines(shell: Any) -> None:
    with pytest.raises(WattleCellError) as caught:
        shell.run_cell_magic("wattle", "etl", "fetch: echo hi\nclean <- fecth: echo clean\nlast <- claen: echo last\n")
    text = str(caught.value)
    assert text.startswith("etl cannot work: 2 problems\n")
    assert "\n    3 | clean <- fecth: echo clean\n      ^ " in text
    assert "\n    4 | last <- claen: echo last\n      ^ " in text
    assert "did you mean" in text
    assert caught.value._render_traceback_() == text.splitlines()


def test_at_most_no_task_at_a_time_is_refused(shell: Any) -> None:
    with pytest.raises(WattleCellError, match="max_parallel: must be"):
        shell.run_cell_magic("wattle", "etl -j 0", "a: echo\n")


def test_a_cell_without_a_name_is_a_usage_error(shell: Any) -> None:
    with pytest.raises(UsageError, match="NAME"):
        shell.run_cell_magic("wattle", "", "a: echo")


def test_without_an_engine_and_without_a_way_to_start_one_the_error_says_so(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WattleCellError, match=r"`wattle serve` ended with code 1"):
        shell.run_line_magic("wattle", "list")


# -------------------------------------------------------------------------------------------------------------- capture


def test_json_values_are_captured() -> None:
    user = {"a": 1, "b": [1, "x", None], "c": (1, 2), "unused": object()}
    assert capture({"a", "b", "c", "unknown"}, user) == {"a": 1, "b": [1, "x", None], "c": [1, 2]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Path("/x"), "pathlib.PosixPath, .*write x = str\\(x\\) first"),
        ({3}, "set, .*write x = sorted\\(x\\) first"),
        (float("nan"), "float, .*NaN and infinity are not JSON"),
        (Decimal(1), "decimal.Decimal, .*write it to a file"),
        (print, "builtin_function_or_method, .*write it to a file"),
    ],
)
def test_another_value_is_refused_with_its_type_and_the_cure(value: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        capture({"x"}, {"x": value})


# -------------------------------------------------------------------------------------------------- coming and going


def test_unloading_takes_everything_away(shell: Any) -> None:
    before = len(shell.Completer.custom_matchers)
    magic.unload(shell)
    assert len(shell.Completer.custom_matchers) == before - 1
    assert shell.find_line_magic("wattle") is None
    assert shell.find_cell_magic("wattle") is None
    magic.unload(shell)


def test_loading_twice_brings_one_completion(shell: Any) -> None:
    before = len(shell.Completer.custom_matchers)
    magic.load(shell)
    assert len(shell.Completer.custom_matchers) == before


# ------------------------------------------------------------------------------------------- against the real engine


def test_a_cell_defines_and_a_line_runs(live: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    live.user_ns["who"] = "the world"
    live.run_cell_magic("wattle", "hello", "greet: echo hello {{ who }}; pwd\nbye <- greet: echo bye\n")
    run = live.run_line_magic("wattle", "run hello -w")
    assert isinstance(run, Run)
    assert run.status == "completed"
    assert run["greet"].logs() == f"hello the world\n{tmp_path}\n"
    assert repr(run) == "<Run of hello: 2 tasks>"
    capsys.readouterr()
    live.run_line_magic("wattle", "status last")
    assert capsys.readouterr().out == (
        "hello: completed\nstate        task   reason\n✓ completed  greet\n✓ completed  bye\n"
    )


def test_a_line_may_override_what_was_captured(live: Any) -> None:
    live.user_ns["n"] = 1
    live.run_cell_magic("wattle", "count -p m=5", "a: echo {{ n }} {{ m }}\n")
    run = live.run_line_magic("wattle", "run count -w -p n=2")
    assert run.logs("a") == "2 5\n"


def test_an_interrupt_detaches_and_says_how_to_come_back(
    live: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live.run_cell_magic("wattle", "long", "a: sleep 600\n")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_follow", interrupted)
        live.run_line_magic("wattle", "run long -w")
    said = capsys.readouterr().out
    assert "Detached; the run of long goes on. Back to it: `%wattle attach " in said
    run = live.run_line_magic("wattle", "attach last")
    assert not run.status.final
    run.cancel().wait()
    assert run.status == "cancelled"


def test_what_the_server_refuses_is_a_block_without_traceback(live: Any) -> None:
    with pytest.raises(WattleError) as caught:
        live.run_line_magic("wattle", "run nothing_like_it")
    assert "nothing_like_it" in str(caught.value)
    assert isinstance(caught.value, WattleCellError)
    assert os.getcwd() not in str(caught.value)
