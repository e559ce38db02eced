"""The file of the Wattle Scheduler and its routes, unchanged but for the base path."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import EngineProcess, until

SCRIPTS = {
    "extract.py": "open('rows.csv', 'w').write('a\\nb\\n'); print('extracted')",
    "clean.py": (
        "import os\nprint('level', os.environ['LEVEL'], flush=True)\n"
        "text = open(os.environ['WATTLE_INPUT_ROWS']).read()\nopen('clean.csv', 'w').write(text.upper())"
    ),
    "train.py": (
        "import os, time\nprint(open(os.environ['WATTLE_INPUT_DATA']).read(), end='', flush=True)\n"
        "while os.path.exists('hold'): time.sleep(0.02)"
    ),
    "plot.py": "import os; print(os.environ['WATTLE_WORKER_NAME'], os.environ['WATTLE_WORKFLOW_NAME'])",
}


def definition(folder: Path) -> dict[str, Any]:
    """The example of the Wattle Scheduler, its scripts real ones."""
    return {
        "name": "dag_test", "working_dir": str(folder), "workers": [
            {"name": "extract", "command": "python", "args": ["extract.py"], "outputs": {"rows": "rows.csv"}},
            {"name": "clean", "command": "python", "args": ["clean.py"], "env_vars": {"LEVEL": "2"},
             "inputs": {"rows": "extract/rows"}, "outputs": {"clean": "clean.csv"}},
            {"name": "train", "command": "python", "args": ["train.py"], "inputs": {"data": "clean/clean"}},
            {"name": "plot", "command": "python", "args": ["plot.py"], "inputs": {"data": "clean/clean"}},
        ],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def api(make_engine: Callable[..., EngineProcess], folder: Path) -> EngineProcess:
    engine = make_engine()
    # `python` of the example is the one that runs the tests
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    engine.launch(PATH=path)
    assert engine.request("POST", "workflows", definition(folder))[0] == 201
    return engine


def statuses(api: EngineProcess) -> dict[str, str]:
    return {w["name"]: w["status"] for w in api.get("workflows/dag_test/workers")["data"]}


def listed(api: EngineProcess, status: str) -> list[str]:
    query = f"page=1&page_size=20&status={status}&sort_by=created_at&order=desc"
    return [w["name"] for w in api.get(f"workflows?{query}")["data"]]


def sse(content: bytes) -> list[dict[str, str]]:
    frames = [block for block in content.decode().split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in frame.splitlines()) for frame in frames]


def test_the_file_is_taken_unchanged_and_its_workers_wait(api: EngineProcess, folder: Path) -> None:
    assert api.get("workflows/dag_test")["status"] == "created"
    assert api.get("workflows/dag_test")["warnings"] == []
    assert statuses(api) == dict.fromkeys(["extract", "clean", "train", "plot"], "created")
    assert listed(api, "created") == ["dag_test"]
    assert listed(api, "running") == []
    page = api.get("workflows?page=1&page_size=20&status=created&sort_by=created_at&order=desc")
    assert page["pagination"] == {
        "page": 1, "page_size": 20, "total": 1, "total_pages": 1, "has_next": False, "has_prev": False,
    }  # fmt: skip
    clean = api.get("workers/dag_test/clean")
    assert clean == {
        "name": "clean", "workflow": "dag_test", "command": "python", "args": ["clean.py"],
        "working_dir": str(folder), "env_vars": {"LEVEL": "2"}, "inputs": {"rows": "extract/rows"},
        "outputs": {"clean": "clean.csv"}, "status": "created", "reason": "", "run": None, "attempt": None,
        "exit_code": None, "started_at": None, "ended_at": None,
    }  # fmt: skip


def test_a_run_goes_from_created_over_running_to_completed(api: EngineProcess, folder: Path) -> None:
    (folder / "hold").touch()
    run = api.post("workflows/dag_test/start")
    expected = {"extract": "completed", "clean": "completed", "train": "running", "plot": "completed"}
    until(lambda: statuses(api) == expected)
    assert listed(api, "running") == ["dag_test"]
    assert api.get("workflows/dag_test")["latest_run"] == run["id"]
    (folder / "hold").unlink()
    assert api.ended(run["id"])["state"] == "completed"
    assert set(statuses(api).values()) == {"completed"}
    assert listed(api, "completed") == ["dag_test"]
    assert api.get("workers/dag_test/clean/logs")["text"] == "level 2\n"
    assert api.get("workers/dag_test/train/logs")["text"] == "A\nB\n"
    assert api.get("workers/dag_test/plot/logs")["text"] == "plot dag_test\n"
    assert api.get("workers/dag_test/plot")["exit_code"] == 0


def test_a_worker_is_stopped_alone(api: EngineProcess, folder: Path) -> None:
    (folder / "hold").touch()
    run = api.post("workflows/dag_test/start")["id"]
    api.running(run, "train")
    api.post("workers/dag_test/train/stop")
    ended = api.ended(run)
    assert statuses(api) == {"extract": "completed", "clean": "completed", "train": "cancelled", "plot": "completed"}
    assert ended["state"] == "cancelled"
    assert api.get("workers/dag_test/train")["reason"].startswith("stopped by ")


def test_a_worker_is_started_alone_on_what_others_left(api: EngineProcess, folder: Path) -> None:
    api.ended(api.post("workflows/dag_test/start")["id"])
    (folder / "clean.csv").write_text("EDITED\n")
    run = api.post("workers/dag_test/train/start")
    assert run["workflow"] == "dag_test"
    ended = api.ended(run["id"])
    assert {t["task"]: t["state"] for t in ended["tasks"]} == {
        "extract": "skipped", "clean": "skipped", "train": "completed", "plot": "skipped",
    }  # fmt: skip
    assert ended["state"] == "completed"
    assert api.get("workers/dag_test/train/logs")["text"] == "EDITED\n"


def test_a_log_is_streamed_while_it_is_written_and_ends(api: EngineProcess, folder: Path) -> None:
    (folder / "hold").touch()
    run = api.post("workflows/dag_test/start")["id"]
    api.running(run, "train")
    connection, response = api.open("GET", "workers/dag_test/train/logs/stream")
    with contextlib.closing(connection):
        assert response.headers["Content-Type"].startswith("text/event-stream")
        first = b""
        while b"\n\n" not in first:
            first += response.read1(4096)
        (folder / "hold").unlink()
        frames = sse(first + response.read())
    logs = [f for f in frames if f["event"] == "log"]
    assert "".join(json.loads(f["data"])["text"] for f in logs) == "A\nB\n"
    assert logs[-1]["id"] == "4"
    assert frames[-1]["event"] == "end"


def test_a_finished_log_is_streamed_at_once(api: EngineProcess) -> None:
    api.ended(api.post("workflows/dag_test/start")["id"])
    status, content, _ = api.raw("GET", "workers/dag_test/clean/logs/stream")
    frames = sse(content)
    assert status == 200
    assert [(f["event"], f.get("id")) for f in frames] == [("log", "8"), ("end", None)]
    assert json.loads(frames[0]["data"]) == {"text": "level 2\n"}


def test_a_worker_that_others_need_is_not_deleted(api: EngineProcess) -> None:
    status, answer = api.request("DELETE", "workers/dag_test/clean")
    assert (status, answer["error"]) == (409, "Conflict")
    assert answer["message"] == "train, plot of dag_test need clean; delete them first, or define dag_test anew"


def test_a_worker_is_deleted_from_the_definition_and_stays_in_old_runs(api: EngineProcess) -> None:
    run = api.post("workflows/dag_test/start")["id"]
    api.ended(run)
    status, answer = api.request("DELETE", "workers/dag_test/plot")
    assert status == 200
    assert answer["data"]["version"] == 2
    assert list(statuses(api)) == ["extract", "clean", "train"]
    assert api.request("GET", "workers/dag_test/plot")[0] == 404
    assert api.task(run, "plot")["state"] == "completed"


def test_the_last_worker_is_not_deleted(api: EngineProcess) -> None:
    api.post("workflows", {"name": "one", "tasks": {"a": "true"}})
    status, answer = api.request("DELETE", "workers/one/a")
    assert status == 409
    assert answer["message"] == "a is the last worker of one; delete the workflow instead"


def test_a_failed_worker_cancels_what_goes_on_as_that_format_says(api: EngineProcess, folder: Path) -> None:
    (folder / "hold").touch()
    (folder / "plot.py").write_text("import sys; sys.exit(3)")
    run = api.post("workflows/dag_test/start")["id"]
    ended = api.ended(run)
    states = {t["task"]: (t["state"], t["reason"]) for t in ended["tasks"]}
    assert ended["state"] == "failed"
    assert states["plot"] == ("failed", "exit 3")
    assert states["train"][0] == "cancelled"


def test_a_worker_that_never_ran_has_no_log(api: EngineProcess) -> None:
    status, answer = api.request("GET", "workers/dag_test/clean/logs")
    assert (status, answer["message"]) == (404, "worker clean of dag_test was never run")
    status, answer = api.request("GET", "workers/dag_test/claen")
    assert (status, answer["message"]) == (404, "workflow dag_test has no worker 'claen'; did you mean 'clean'?")
