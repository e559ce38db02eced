"""Completion in a real IPython completer, with jedi beside it, and in a kernel's answer to `complete_request`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel
from processes import EngineProcess

from wattle_jupyter import completion, magic, shapes
from wattle_jupyter.completion import Completion
from wattle_jupyter.notebook import notebook


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """IPython with our extension, in a folder of its own, on a store that nobody has made."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("WATTLE_STORE__DIR", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    InteractiveShell.clear_instance()
    found = InteractiveShell.instance()
    found.history_manager.enabled = False
    found.Completer.use_jedi = True
    magic.load(found)
    notebook().drafts.clear()
    yield found
    magic.unload(found)
    notebook().drafts.clear()
    found.history_manager.end_session()
    InteractiveShell.clear_instance()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that knows two workflows and a run."""
    tasks = {"fetch": {"run": "true", "outputs": {"rows": None, "page": "page.html"}}, "clean": {"run": "true"}}
    engine = completion._Engine
    monkeypatch.setattr(engine, "workflows", lambda self: ["etl", "train"])
    monkeypatch.setattr(engine, "runs", lambda self: ["last", "0a1b2c3d"])
    monkeypatch.setattr(engine, "tasks_of_run", lambda self, run: ["fetch", "clean"] if run == "last" else [])
    spec = {"tasks": tasks, "params": {"lr": 1, "n": 2}}
    monkeypatch.setattr(engine, "spec", lambda self, name: spec if name == "etl" else {})


def complete(shell: Any, text: str) -> list[str]:
    """The last word as each completion would leave it."""
    with provisionalcompleter():
        found = list(shell.Completer.completions(text, len(text)))
    return sorted((text[: one.start] + one.text).split("\n")[-1].rstrip().split(" ")[-1] for one in found)


def test_verbs_and_options_are_completed(shell: Any) -> None:
    assert complete(shell, "%wattle retr") == ["retry"]
    assert complete(shell, "r = %wattle ru") == ["run"]
    assert complete(shell, "%wattle run etl --mode p") == ["parallel"]
    assert {"--mode", "--wait"} <= set(complete(shell, "%wattle run --"))


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("%wattle run e", ["etl"]),
        ("%wattle logs 0a", ["0a1b2c3d"]),
        ("%wattle logs last/", ["last/clean", "last/fetch"]),
        ("%wattle stop last/f", ["last/fetch"]),
        ("%wattle retry last/c", ["last/clean"]),
        ("%wattle run etl -p l", ["lr="]),
        ("%wattle show etl/", ["etl/clean", "etl/fetch"]),
        ("%%wattle tr", ["train"]),
        ("%%wattle etl --mo", ["--mode"]),
        ("%%wattle etl -p n", ["n="]),
        ("%%wattle etl.x -n f", ["fetch"]),
        ("%%wattle etl.fetch -n ", ["clean"]),
        ("%%wattle etl.x -n fetch c", ["clean"]),
        ("%%wattle etl.x -n fetch,c", ["fetch,clean"]),
        ("%%wattle etl.x -i big", ["big_frame"]),
        ("%%wattle etl.x -i x=fetch/", ["x=fetch/page", "x=fetch/rows"]),
        ("%%wattle etl.x -p l", ["limit", "lr"]),
        ("%%wattle etl.x --ret", ["--retries", "--retry-backoff", "--retry-delay", "--retry-max-delay"]),
        ("%%wattle etl.x --priority h", ["high"]),
    ],
)
def test_names_in_lines_are_completed(shell: Any, line: str, found: list[str]) -> None:
    shell.user_ns.update(big_frame={1}, big_function=print, limit=3)
    assert complete(shell, line) == found


CELL = """%%wattle etl
params: {lr: 0.1}
fetch:
  run: curl
  outputs: [raw, page: page.html]
clean <- fetch:
"""


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CELL + "  retr", ["retries:", "retry_backoff:", "retry_delay:", "retry_max_delay:"]),
        (CELL + "  priority: n", ["normal"]),
        (CELL + "  needs: [fetch, f", ["fetch"]),
        (CELL + "  needs:\n    - f", ["fetch"]),
        (CELL + "  inputs: {x: fetch/r", ["fetch/rows"]),
        (CELL + "  inputs:\n    x: fetch/r", ["fetch/rows"]),
        (CELL + "report <- c", ["clean"]),
        (CELL + "report <- clean, f", ["fetch"]),
        (CELL + "on_fail", ["on_failure:"]),
        (CELL + "mode: d", ["dependency"]),
        (CELL + "train: train.py --lr {{ l", ["limit", "lr"]),
        (CELL + "train: train.py {{ fetch.", ["fetch.page", "fetch.rows"]),
    ],
)
def test_what_is_inside_a_cell_of_commands_is_completed(shell: Any, text: str, found: list[str]) -> None:
    shell.user_ns.update(limit=3, lonely={1})
    assert [word for word in complete(shell, text) if not word.startswith("%")] == found


def test_a_field_that_is_there_is_not_offered_again() -> None:
    found = Completion(dict).candidates(f"{CELL}  timeout: 5m\n  tim".split("\n"))
    assert found == ("tim", [])


def test_a_task_of_a_new_workflow_is_completed_from_the_cell_alone(shell: Any) -> None:
    text = "%%wattle new\nfetch:\n  run: curl\n  outputs: [raw, page]\nclean <- f"
    assert complete(shell, text) == ["fetch"]
    assert complete(shell, text[:-8] + "show: echo {{ fetch.") == ["fetch.page", "fetch.raw"]


def test_the_body_of_a_cell_task_is_python_as_ever(shell: Any) -> None:
    shell.user_ns["numbers"] = [1]
    assert "append" in complete_ends(shell, "%%wattle etl.clean -i numbers\nnumbers.app")
    assert Completion(dict).candidates(["%%wattle etl.clean", "  retr"]) is None


def complete_ends(shell: Any, text: str) -> set[str]:
    with provisionalcompleter():
        return {one.text for one in shell.Completer.completions(text, len(text))} | {
            one.text.split(".")[-1] for one in shell.Completer.completions(text, len(text))
        }


def test_files_of_workflows_are_completed(shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    (folder / "flows").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name in ("etl.wattle.yaml", "flows/train.json", "notes.txt", ".hidden.yaml"):
        (folder / name).write_text("")
    assert complete(shell, "%wattle create ") == ["etl.wattle.yaml", "flows/"]
    assert complete(shell, "%wattle run flows/t") == ["flows/train.json"]


def test_other_lines_are_left_alone(shell: Any) -> None:
    found = Completion(dict)
    assert found.candidates(["%who re"]) is None
    assert found.candidates(["x = re"]) is None
    assert found.candidates(["%%time", "re"]) is None


def test_completion_without_an_engine_is_silent_and_starts_none(
    shell: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Completion(dict).candidates(["%wattle cancel "])
    assert found is not None
    assert found.words == []
    assert not (tmp_path / "store").exists()
    assert capsys.readouterr() == ("", "")


def test_an_engine_that_does_not_answer_makes_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = completion._Engine()
    engine.PATIENCE = 0.01

    def slow(client: object) -> list[str]:
        time.sleep(0.2)
        return ["late"]

    assert engine._ask("x", slow, ["nothing"]) == ["nothing"]
    deadline = time.monotonic() + 10
    while engine._ask("x", slow, ["nothing"]) != ["late"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_fields_offered_are_the_fields_there_are() -> None:
    assert set(completion.TASK_FIELDS) == set(shapes.TaskShape.model_fields) - {"call"}  # not to be typed
    assert set(completion.HEAD_FIELDS) == set(shapes.HeadShape.model_fields)


def test_names_of_a_real_engine_are_completed(
    shell: Any, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTLE_STORE__DIR", str(engine.store))
    monkeypatch.setattr(completion._Engine, "PATIENCE", 30.0)
    engine.post("workflows", {"name": "real", "params": {"speed": 1}, "tasks": {"first": "true", "second": "true"}})
    assert complete(shell, "%wattle run rea") == ["real"]
    assert complete(shell, "%wattle run real -p sp") == ["speed="]
    assert complete(shell, "%%wattle real.third -n f") == ["first"]


def test_a_kernel_answers_with_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTLE_STORE__DIR", str(tmp_path / "store"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute_interactive("%load_ext wattle_jupyter\nbig = [1]", timeout=60)
        for text, expected in {
            CELL + "  timeo": "timeout: ",
            "%wattle sta": "status",
            "%%wattle etl.x -i b": "big",
            "%%wattle new\na: x\nb <- ": "a",
        }.items():
            answer = client.complete(text, len(text), reply=True, timeout=60)["content"]
            assert expected in answer["matches"], text
            start = text[: answer["cursor_start"]]
            assert start + expected == text[: len(start)] + expected
            assert text.startswith(start)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
