"""From a task to a command and an environment; what sh makes of it is asked of sh."""

from __future__ import annotations

import json
import posixpath
import subprocess
from dataclasses import replace
from shlex import join
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wattle_jupyter import launch, spec
from wattle_jupyter.errors import Conflict, InvalidRequest
from wattle_jupyter.model import Json, Left, Workflow

NOTEBOOK = launch.NOTEBOOK_RUNNER
HOME = "--beside=/home/ada"

NASTY = [
    "two words",
    "it's",
    'say "hi"',
    "$(touch /tmp/x) `id` $HOME",
    "a;b|c&d>e",
    "-rf *",
    "",
    "ü\n2",
    "\\",
    "{{ x }}",
]


def one(run: Any, params: dict[str, Json] | None = None, head: dict[str, Any] | None = None, **task: Any) -> Workflow:
    data = {"name": "w", "working_dir": "/home/ada", "params": params or {}, **(head or {})}
    return spec.load({**data, "tasks": {"a": {"run": run, **task}}})


def _values(workflow: Workflow, outputs: dict[str, Json] | None) -> launch.Values:
    return launch.Values(workflow.params, {ref: Left("json", value) for ref, value in (outputs or {}).items()})


def argv(workflow: Workflow, outputs: dict[str, Json] | None = None, script: str | None = None) -> tuple[str, ...]:
    task = list(workflow.tasks.values())[-1]
    return launch.argv(workflow, task, _values(workflow, outputs), script)


def env(
    workflow: Workflow, base: dict[str, str] | None = None, outputs: dict[str, Json] | None = None, **names: str
) -> dict[str, str]:
    task = list(workflow.tasks.values())[-1]
    return launch.environment(workflow, task, _values(workflow, outputs), base or {}, names)


def test_a_plain_command_needs_no_shell_and_one_with_syntax_gets_it() -> None:
    assert argv(one("sort -u 'a b' c")) == ("sort", "-u", "a b", "c")
    assert argv(one("sort a | uniq > b")) == ("/bin/sh", "-c", "sort a | uniq > b")
    assert argv(one(["printf", "%s", "a|b $HOME"])) == ("printf", "%s", "a|b $HOME")


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("template", ["printf %s {{ x }}", 'printf %s "{{ x }}"', "printf %s '{{ x }}'"])
def test_a_value_stays_data_in_whatever_quotes_it_stands(template: str, value: str) -> None:
    command = argv(one(template, {"x": value}))
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == value


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
@hypothesis_settings(max_examples=40, deadline=None)
def test_any_text_is_one_argument(value: str) -> None:
    command = argv(one("printf '<%s>' {{ x }} end", {"x": value}))
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == f"<{value}><end>"


@pytest.mark.parametrize("value", NASTY)
def test_in_an_argument_list_a_value_is_put_in_as_it_is(value: str) -> None:
    assert argv(one(["printf", "x={{ x }}"], {"x": value})) == ("printf", f"x={value}")


def test_lists_become_words_and_numbers_text() -> None:
    workflow = one("printf '%s,' {{ names }} {{ n }}", {"names": ["a b", "c"], "n": 2.5})
    assert subprocess.run(argv(workflow), capture_output=True, check=True).stdout == b"a b,c,2.5,"


def test_raw_values_are_code_and_escaped_braces_are_text() -> None:
    assert argv(one("{{ cmd | raw }} \\{{ x }}", {"cmd": "ls -l | wc"}))[2] == "ls -l | wc {{ x }}"


@pytest.mark.parametrize(
    ("run", "python", "expected"),
    [
        ("train.py --n 3", "/venv/bin/python", ("/venv/bin/python", "/o/train.py", "--n", "3")),
        ("train.py --n 3", None, ("python3", "/o/train.py", "--n", "3")),
        ("src/fit.R 'a b'", None, ("Rscript", "/o/train.py", "a b")),
        ("fit.r", None, ("Rscript", "/o/train.py")),
        ("./go.sh x", None, ("bash", "/o/train.py", "x")),
        ("train.py | tee log", "/v/bin/python", ("/bin/sh", "-c", "/v/bin/python /o/train.py | tee log")),
        ("report.ipynb n=3", "/v/python", (*NOTEBOOK, "--python=/v/python", HOME, "/o/train.py", "n=3")),
        ("src/report.ipynb", None, (*NOTEBOOK, f"{HOME}/src", "/o/train.py")),
        ("report.ipynb n={{ x }}", None, ("/bin/sh", "-c", f"{join(NOTEBOOK)} {HOME} /o/train.py n='a b'")),
        ("train.py {{ x }}", None, ("/bin/sh", "-c", "python3 /o/train.py 'a b'")),
    ],
)
def test_a_script_runs_from_its_snapshot_by_its_interpreter(
    run: str, python: str | None, expected: tuple[str, ...]
) -> None:
    workflow = one(run, {"x": "a b"}, {"python": python} if python else None)
    assert argv(workflow, script="/o/train.py") == expected


def test_a_notebook_is_given_the_params_of_the_run_and_the_path_of_its_copy() -> None:
    workflow = one("report.ipynb", {"x": [1, None], "api_key": "s"}, outputs={"notebook": "out/report.ipynb"})
    assert json.loads(env(workflow)["WATTLE_PARAMS"]) == {"x": [1, None], "api_key": "s"}
    assert "--to=out/report.ipynb" in argv(workflow, script="/o/report.ipynb")
    assert "WATTLE_PARAMS" not in env(one("report.py", {"x": 1}))


def test_a_snapshot_with_an_odd_path_is_still_one_word() -> None:
    command = argv(one("go.sh | cat"), script="/o/{{ it's }} odd/go.sh")
    assert command[2] == "bash '/o/{{ it'\"'\"'s }} odd/go.sh' | cat"


def test_a_missing_value_is_named_with_its_cure() -> None:
    tasks = {"x": {"run": "true", "outputs": {"n": "rows"}}, "a": {"run": "echo {{ x.n }}", "inputs": {"i": "x/n"}}}
    workflow = spec.load({"name": "w", "working_dir": "/", "tasks": tasks})
    for ask in (argv, env):
        with pytest.raises(Conflict, match="output n of x has no value: x did not leave it in this run"):
            ask(workflow)
    needs = one("echo {{ p }}", {"p": 1})
    with pytest.raises(Conflict, match=r"param p has no value; give it one with -p p=…"):
        launch.argv(needs, needs.tasks["a"], launch.Values({}, {}), None)


def test_where_a_value_cannot_be_quoted_it_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="cannot be quoted"):
        argv(one("cat <<END\n{{ x }}\nEND\n", {"x": "$(id)"}))


# -------------------------------------------------------------------------------------------------------- environment


def test_the_secrets_of_the_server_do_not_reach_a_task() -> None:
    names = [
        "JUPYTER_TOKEN", "JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "JPY_PARENT_PID", "CONFIGPROXY_AUTH_TOKEN",
        "WATTLE_STORE__DIR", "WATTLE_ATTEMPT",
    ]  # fmt: skip
    secrets = dict.fromkeys(names, "secret")
    found = env(one("true"), {**secrets, "HOME": "/home/ada", "LANG": "C"})
    assert found == {
        "HOME": "/home/ada", "LANG": "C", "PYTHONUNBUFFERED": "1",
        "WATTLE_TASK": "a", "WATTLE_WORKFLOW_NAME": "w", "WATTLE_WORKER_NAME": "a",
    }  # fmt: skip


def test_the_names_of_the_attempt_cannot_be_overridden() -> None:
    plain = one("true")
    own = {"WATTLE_RUN": "mine", "WATTLE_TASK": "mine", "OTHER": "x"}  # a spec may not say so; twice is safer
    workflow = replace(plain, tasks={"a": replace(plain.tasks["a"], env=own)})
    found = env(workflow, WATTLE_RUN="r")
    assert (found["WATTLE_RUN"], found["WATTLE_TASK"], found["OTHER"]) == ("r", "a", "x")


def test_the_environment_of_the_kernel_is_that_of_the_task() -> None:
    workflow = one("true", head={"python": "/home/ada/venv/bin/python"})
    found = env(workflow, {"PATH": "/usr/bin:/home/ada/venv/bin:/bin"})
    assert found["PATH"] == "/home/ada/venv/bin:/usr/bin:/bin"


def test_the_bin_of_an_interpreter_goes_first() -> None:
    assert launch.python_environment("/usr/bin/python3", "/bin") == {"PATH": "/usr/bin:/bin"}
    assert launch.python_environment("python3", "/bin") == {}


def test_a_tasks_own_environment_wins_and_may_name_values() -> None:
    workflow = one("true", {"n": 3}, {"env": {"A": "w", "B": "w"}}, env={"B": "{{ n }} it's $HOME"})
    found = env(workflow, {"A": "server"})
    assert (found["A"], found["B"]) == ("w", "3 it's $HOME")


@pytest.mark.parametrize(
    ("base", "own", "path"),
    [
        ({}, {}, "/home/ada/proj/src"),
        ({"PYTHONPATH": "/lib/x"}, {}, "/home/ada/proj/src:/lib/x"),
        ({"PYTHONPATH": "/lib/x"}, {"PYTHONPATH": "/mine"}, "/home/ada/proj/src:/mine"),
    ],
)
def test_a_snapshotted_script_still_imports_its_neighbours(
    base: dict[str, str], own: dict[str, str], path: str
) -> None:
    assert env(one("src/train.py", working_dir="proj", env=own), base)["PYTHONPATH"] == path


def test_only_python_scripts_change_the_import_path() -> None:
    assert "PYTHONPATH" not in env(one("go.sh"))
    assert "PYTHONPATH" not in env(one("python train.py"))


@pytest.mark.parametrize(("value", "text"), [("a b", "a b"), (3, "3"), ([1, "x"], '[1, "x"]'), (None, "null")])
def test_inputs_are_variables_text_as_it_is_and_all_else_json(value: Json, text: str) -> None:
    tasks = {"x": {"run": "true", "outputs": {"n": "rows"}}, "a": {"run": "true", "inputs": {"rows": "x/n"}}}
    workflow = spec.load({"name": "w", "working_dir": "/", "tasks": tasks})
    assert env(workflow, outputs={"x/n": value})["WATTLE_INPUT_ROWS"] == text


@pytest.mark.parametrize(
    ("own", "folder"),
    [(None, "/home/ada"), ("data", "/home/ada/data"), ("../bob/./x", "/home/bob/x"), ("/srv", "/srv")],
)
def test_a_task_runs_in_its_folder_seen_from_that_of_the_workflow(own: str | None, folder: str) -> None:
    workflow = one("true", **({"working_dir": own} if own else {}))
    assert launch.working_dir(workflow, workflow.tasks["a"]) == folder


def test_an_object_is_the_path_of_its_file() -> None:
    tasks = {"x": {"run": "true", "outputs": ["m"]}, "a": {"run": "use {{ x }}", "inputs": {"model": "x/m"}}}
    workflow = spec.load({"name": "w", "working_dir": "/", "tasks": tasks})
    values = launch.Values({}, {"x/m": Left("object", "ab" * 32)}, "/store/objects")
    path = f"/store/objects/ab/{'ab' * 32}"
    assert launch.argv(workflow, workflow.tasks["a"], values, None) == ("/bin/sh", "-c", f"use {path}")
    assert launch.environment(workflow, workflow.tasks["a"], values, {}, {})["WATTLE_INPUT_MODEL"] == path


# ---------------------------------------------------------------------------------------------------- calls of Python

HASH = "ab" * 32


def calling(head: dict[str, Any] | None = None, **task: Any) -> Workflow:
    made = {"call": {"object": HASH, "params": ["n"]}, "inputs": {"rows": "x/n"}, "outputs": {"result": None}, **task}
    tasks = {"x": {"run": "true", "outputs": {"n": None}}, "a": made}
    return spec.load(
        {"name": "w", "working_dir": "/home/ada", "params": {"n": 3, "m": 4}, "tasks": tasks, **(head or {})}
    )


def test_python_is_run_by_the_interpreter_of_its_kernel() -> None:
    assert argv(calling({"python": "/venv/bin/python"})) == ("/venv/bin/python", launch.RUNNER)
    assert argv(calling())[0] == "python3"
    assert posixpath.basename(launch.RUNNER) == "task.py"


@pytest.mark.parametrize(
    ("left", "kind", "text"),
    [
        (Left("json", "a b"), "text", "a b"),
        (Left("json", [1]), "json", "[1]"),
        (Left("file", "/x.csv"), "file", "/x.csv"),
        (Left("object", HASH, 9), "object", f"/s/objects/ab/{HASH}"),
    ],
)
def test_the_runner_is_told_what_to_call_and_of_which_kind_inputs_are(left: Left, kind: str, text: str) -> None:
    workflow = calling()
    values = launch.Values(workflow.params, {"x/n": left}, "/s/objects")
    found = launch.environment(workflow, workflow.tasks["a"], values, {}, {})
    assert json.loads(found["WATTLE_CALL"]) == {
        "object": f"/s/objects/ab/{HASH}", "params": {"n": 3}, "results": ["result"],
    }  # fmt: skip
    assert (json.loads(found["WATTLE_INPUTS"]), found["WATTLE_INPUT_ROWS"]) == ({"rows": kind}, text)


@pytest.mark.parametrize(("own", "path"), [(None, None), ("data", "/home/ada:/lib/x")])
def test_a_call_in_another_folder_finds_modules_beside_the_notebook(own: str | None, path: str | None) -> None:
    workflow = calling(inputs={}, **({"working_dir": own} if own else {}))
    assert env(workflow, {"PYTHONPATH": "/lib/x"})["PYTHONPATH"] == (path or "/lib/x")


LIMIT = "and Linux takes 131,071 at most"


@pytest.mark.parametrize(
    ("workflow", "outputs", "words"),
    [
        (one("echo {{ x }}", {"x": "é" * 70_000}), {}, "the command of a has 140,007 bytes"),
        (one(["echo", "y" * 131_072]), {}, "argument 1 of the command of a has 131,072 bytes"),
        (one("true", env={"BIG": "y" * 131_070}), {}, "the variable BIG of a has 131,074 bytes"),
    ],
)
def test_what_no_program_can_be_started_with_is_named_with_its_size(
    workflow: Workflow, outputs: dict[str, Json], words: str
) -> None:
    with pytest.raises(InvalidRequest) as told:
        launch.check_sizes(workflow.tasks["a"], argv(workflow, outputs), env(workflow, outputs=outputs))
    assert str(told.value).startswith(f"{words}, {LIMIT}; ")
    assert not launch.is_plain(workflow, workflow.tasks["a"])


def test_an_input_that_is_too_long_for_a_variable_is_named_with_the_cure() -> None:
    tasks = {
        "rows": {"run": "true", "outputs": ["all"]},
        "b": {"run": "true", "inputs": {"x": "rows/all"}},
    }
    workflow = spec.load({"name": "w", "working_dir": "/", "tasks": tasks})
    with pytest.raises(
        InvalidRequest, match=r"^the input x \(rows/all\) of b has 200,017 bytes, and .*leave it as a file"
    ):
        launch.check_sizes(workflow.tasks["b"], [], env(workflow, outputs={"rows/all": "y" * 200_002}))


@pytest.mark.parametrize("more", [0, 1])
def test_the_longest_that_is_let_through_is_the_longest_that_starts(more: int) -> None:
    workflow = one(["/bin/true", "y" * (launch.LONGEST + more)])
    if more:
        with pytest.raises(InvalidRequest):
            launch.check_sizes(workflow.tasks["a"], argv(workflow), {})
        with pytest.raises(OSError, match="too long"):
            subprocess.run(argv(workflow), check=True)
    else:
        launch.check_sizes(workflow.tasks["a"], argv(workflow), {})
        subprocess.run(argv(workflow), check=True)
