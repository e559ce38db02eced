"""The command: its exit codes, and what goes where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import EngineProcess

from wattle_jupyter import __version__, cli, verbs
from wattle_jupyter.errors import NotFound


def wattle(*words: str, store: Path, **options: object) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "WATTLE_STORE__DIR": str(store)}
    return subprocess.run(
        [sys.executable, "-m", "wattle_jupyter", *words],
        env=environ, capture_output=True, text=True, timeout=120, check=False, **options,  # type: ignore[call-overload]
    )  # fmt: skip


def test_help_and_version_need_no_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "doctor" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "wattle: no verb `rnu`; did you mean `run`?\n"),
        (["run", "x", "-p", "y"], "wattle: -p y: a parameter is given as name=value\n"),
        (["stop", "last"], "wattle stop: which task? `last/TASK` (the whole run: `wattle cancel last`)\n"),
    ],
)
def test_bad_usage_is_one_line_on_stderr_and_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr() == ("", said)


def test_an_error_is_one_line_on_stderr_and_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NotFound("no workflow `x`")

    monkeypatch.setattr(verbs, "do", fail)
    assert cli.main(["run", "x"]) == 1
    assert capsys.readouterr() == ("", "wattle: no workflow `x`\n")


@pytest.mark.parametrize(
    ("raised", "said"), [(verbs.Detached("Detached; it goes on"), "Detached; it goes on\n"), (KeyboardInterrupt(), "")]
)
def test_an_interrupt_is_code_130(
    raised: BaseException, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise raised

    monkeypatch.setattr(verbs, "do", interrupted)
    assert cli.main(["run", "x", "-w"]) == 130
    assert capsys.readouterr().out == said


def test_a_reader_that_went_away_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; from wattle_jupyter.cli import main; sys.exit(main(['-h']))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


# ------------------------------------------------------------------------------------------- against the real engine


def test_a_file_runs_to_its_end_from_a_terminal(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text("tasks:\n  a: echo hi\n  b: {run: exit 3, needs: [a]}\n")
    done = wattle("run", "hello.yaml", "-w", store=engine.store, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "✓ completed a" in done.stdout
    assert "exit 3" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("hello: failed in ")


def test_json_goes_to_a_program(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("tasks:\n  a: echo hi\n")
    done = wattle("run", "one.yaml", "-w", "--json", store=engine.store, cwd=tmp_path)
    assert json.loads(done.stdout)["state"] == "completed"


def test_ctrl_c_detaches_and_the_run_goes_on(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("tasks:\n  a: sleep 600\n")
    environ = {**os.environ, "WATTLE_STORE__DIR": str(engine.store)}
    command = [sys.executable, "-m", "wattle_jupyter", "run", "long.yaml", "-w"]
    with subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "running" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert "Detached; the run of long goes on" in process.stdout.read()
    assert json.loads(wattle("status", "last", "--json", store=engine.store).stdout)["state"] == "running"
    wattle("cancel", "last", store=engine.store)
    assert wattle("attach", "last", store=engine.store).returncode == 1


def test_what_a_program_cannot_have_is_json_as_well(engine: EngineProcess) -> None:
    done = wattle("show", "nothing", "--json", store=engine.store)
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(done.stderr)["error"] == "NotFound"


def test_an_engine_that_cannot_be_reached_is_code_3(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = wattle("ps", store=tmp_path / "file" / "store")
    assert done.returncode == 3
    assert "cannot be used" in done.stderr


def test_a_whole_run_is_followed_as_lines_of_json(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text("tasks:\n  a: echo one\n  b: {run: echo two, needs: [a]}\n")
    wattle("run", "two.yaml", store=engine.store, cwd=tmp_path)
    done = wattle("logs", "last", "-f", "--json", store=engine.store)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"task": "a", "line": "one"}, {"task": "b", "line": "two"},
    ]  # fmt: skip
    assert wattle("logs", "last", "-f", store=engine.store).stdout == "a │ one\nb │ two\n", "no colours in a pipe"


def test_ctrl_c_while_following_leaves_the_run(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("tasks:\n  a: echo begun; sleep 600\n  b: sleep 600\n")
    wattle("run", "long.yaml", store=engine.store, cwd=tmp_path)
    environ = {**os.environ, "WATTLE_STORE__DIR": str(engine.store)}
    command = [sys.executable, "-m", "wattle_jupyter", "logs", "last", "-f"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a │ begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stdout.read() == "Detached; `wattle logs last -f` follows again\n"
    assert json.loads(wattle("status", "last", "--json", store=engine.store).stdout)["state"] == "running"
    wattle("cancel", "last", store=engine.store)


def test_a_workflow_is_deleted_once_somebody_said_yes(
    engine: EngineProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.post("workflows", {"name": "old", "tasks": {"a": "true"}})
    asked: list[str] = []

    def answer(text: str, said: str) -> str:
        asked.append(text)
        return said

    def delete(said: str) -> verbs.Outcome:
        scene = verbs.Scene(write=print, store=engine.store, ask=lambda text: answer(text, said))
        return verbs.do(["delete", "old"], scene)

    assert (delete("").text, delete("n").code) == ("old stays", 1)
    assert asked[0] == "Delete the workflow old (1 task)? Its runs stay. [y/N] "
    assert delete("y").text == "old is deleted; its runs stay"
    assert wattle("delete", "old", "--yes", store=engine.store).returncode == 1
