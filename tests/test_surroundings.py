"""How a task is started, shown without the secrets in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import EngineProcess

from wattle_jupyter import spec, surroundings, tables
from wattle_jupyter.client import Client
from wattle_jupyter.errors import NotFound
from wattle_jupyter.interpreters import activated
from wattle_jupyter.model import Left
from wattle_jupyter.run import attach
from wattle_jupyter.surroundings import MASK, Shown, is_secret
from wattle_jupyter.wire import TaskEnvironment


@pytest.mark.parametrize(
    "name",
    ["TOKEN", "GITHUB_TOKEN", "aws_secret_access_key", "AWS_ACCESS_KEY_ID", "apiKey", "DB_PASSWORD", "PGPASSWORD",
     "MY-SECRET", "GH_PAT", "hftoken", "BASIC_AUTH"],
)  # fmt: skip
def test_a_name_that_looks_secret_is_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PATH", "MONKEY", "KEYBOARD", "AUTHOR", "patience", "HOME", "n_rows", "X", "turkey"])
def test_a_name_that_holds_such_letters_by_chance_is_not(name: str) -> None:
    assert not is_secret(name)


def described(task: dict[str, Any], outputs: dict[str, Left] | None = None, **head: Any) -> TaskEnvironment:
    tasks = {"up": {"run": "true", "outputs": {"n": None, "token": None}}, "a": {"needs": ["up"], **task}}
    workflow = spec.load({"name": "w", "working_dir": "/home/ada", "tasks": tasks, **head})
    values = Shown(workflow.params, outputs or {}, "/o")
    base = {"PATH": "/bin", "HOME": "/home/ada", "JUPYTER_TOKEN": "abc", "LANG": "C"}
    names = {"WATTLE_RUN": "r"}
    return surroundings.describe(workflow, workflow.tasks["a"], values, script=None, base=base, names=names)


def variables(found: TaskEnvironment) -> dict[str, str]:
    return {v["name"]: v["value"] for v in found["variables"]}


def test_only_what_is_not_inherited_is_shown_and_what_was_taken_away_is_named() -> None:
    found = described({"run": "sort x", "env": {"LANG": "de", "A": "1"}}, python="/v/bin/python")
    assert variables(found) == {
        "A": "1", "LANG": "de", "PATH": "/v/bin:/bin", "PYTHONUNBUFFERED": "1", "WATTLE_RUN": "r", "WATTLE_TASK": "a",
        "WATTLE_WORKER_NAME": "a", "WATTLE_WORKFLOW_NAME": "w",
    }  # fmt: skip
    assert {v["name"] for v in found["variables"] if v["source"] == "spec"} == {"A", "LANG"}
    assert (found["argv"], found["cwd"], found["removed"]) == (["sort", "x"], "/home/ada", ["JUPYTER_TOKEN"])


def test_no_secret_is_shown_wherever_it_stands() -> None:
    task = {
        "run": "curl -H {{ api_token }} -u {{ up.token }} https://ada:hunter2@example.org {{ n }}",
        "env": {"DB_PASSWORD": "hunter2", "URL": "postgres://ada:hunter2@db/x"},
        "inputs": {"token": "up/token"},
    }
    outputs = {"up/token": Left("json", "hunter2")}
    found = described(task, outputs, params={"api_token": "hunter2", "n": 3})
    assert "hunter2" not in str(found)
    assert found["argv"][2] == f"curl -H '{MASK}' -u '{MASK}' https://{MASK}@example.org 3"
    assert {v["name"] for v in found["variables"] if v["secret"]} == {"DB_PASSWORD", "URL", "WATTLE_INPUT_TOKEN"}


def test_what_is_not_known_yet_stands_as_it_is_written() -> None:
    found = described({"run": "echo {{ up.n }}", "inputs": {"x": "up/n"}})
    assert found["argv"] == ["/bin/sh", "-c", "echo '{{ up.n }}'"]
    assert found["missing"] == ["up.n"]
    assert "not yet known  up.n" in tables.environment(found)


# ------------------------------------------------------------------------------------------------------- interpreters


def made(prefix: Path, marker: str) -> str:
    (prefix / "bin").mkdir(parents=True)
    (prefix / marker).touch() if marker == "pyvenv.cfg" else (prefix / marker).mkdir()
    return str(prefix / "bin" / "python")


def test_a_virtual_environment_takes_the_place_of_the_servers(tmp_path: Path) -> None:
    python = made(tmp_path / "outer" / "inner", "pyvenv.cfg")  # one in another
    base = {"VIRTUAL_ENV": str(tmp_path / "outer"), "VIRTUAL_ENV_PROMPT": "x", "PYTHONHOME": "/usr", "A": "1"}
    assert activated(python, base) == {"A": "1", "VIRTUAL_ENV": str(tmp_path / "outer" / "inner")}


@pytest.mark.parametrize(("folder", "name"), [("miniconda/envs/bio", "bio"), ("miniconda", "base")])
def test_an_environment_of_conda_takes_the_place_of_the_servers(tmp_path: Path, folder: str, name: str) -> None:
    python = made(tmp_path / folder, "conda-meta")
    base = {"CONDA_PREFIX": "/other", "CONDA_SHLVL": "1", "CONDA_EXE": "/c/bin/conda", "VIRTUAL_ENV": "/v"}
    assert activated(python, base) == {
        "CONDA_EXE": "/c/bin/conda", "CONDA_PREFIX": str(tmp_path / folder), "CONDA_DEFAULT_ENV": name,
    }  # fmt: skip


def test_the_systems_interpreter_is_in_no_environment(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    assert activated(str(tmp_path / "bin" / "python"), {"VIRTUAL_ENV": "/v", "A": "1"}) == {"A": "1"}


def test_an_interpreter_by_name_changes_nothing() -> None:
    assert activated("python3", {"VIRTUAL_ENV": "/v"}) == {"VIRTUAL_ENV": "/v"}


# ------------------------------------------------------------------------------------------- against the real engine


def test_a_task_can_be_asked_how_it_was_started_and_how_it_would_be(engine: EngineProcess) -> None:
    client = Client(engine.store, start=False)
    form = {"name": "env", "working_dir": "/", "tasks": {"a": {"run": "env", "env": {"MY_KEY": "hunter2", "B": "2"}}}}
    client.define(form)
    before = client.environment("env", "a")
    run = attach(client.submit("env")["id"], client=client).wait()
    after = run["a"].environment()
    said = dict(line.split("=", 1) for line in str(run.logs("a")).splitlines() if "=" in line)
    shown = {v["name"]: v["value"] for v in after["variables"]}
    assert shown.pop("MY_KEY") == MASK
    assert shown == {name: said[name] for name in shown}
    assert (before["argv"], before["cwd"]) == (after["argv"], after["cwd"]) == (["env"], "/")
    assert variables(before)["WATTLE_RUN"] == "<known at the start>"
    assert "set by the workflow:\n  B=2\n  MY_KEY=•••\n" in repr(after)


def test_what_is_not_there_has_no_environment(engine: EngineProcess) -> None:
    client = Client(engine.store, start=False)
    client.define({"name": "one", "tasks": {"a": "true"}})
    for name, task in (("one", "b"), ("none", "a"), ("last", "zz")):
        with pytest.raises(NotFound):
            client.environment(name, task)
