"""What is seen on the disk before anything runs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from wattle_jupyter import preflight, spec
from wattle_jupyter.errors import SpecError, StoreUnavailable
from wattle_jupyter.model import Workflow
from wattle_jupyter.objects import Objects

PATH = "/usr/bin:/bin"


def workflow(folder: Path, tasks: dict[str, Any], **head: Any) -> Workflow:
    return spec.load({"name": "w", "working_dir": str(folder), "tasks": tasks, **head})


def problems(found: Workflow) -> list[str]:
    return [str(p) for p in preflight.problems(found, PATH, Objects(Path("/nowhere")))]


def test_what_is_all_there_has_no_problems(tmp_path: Path) -> None:
    (tmp_path / "go.sh").write_text("true")
    (tmp_path / "sub").mkdir()
    tasks = {"a": {"run": "go.sh 1"}, "b": {"run": ["sort", "x"]}, "c": {"run": "ls | wc", "working_dir": "sub"}}
    assert problems(workflow(tmp_path, tasks)) == []
    preflight.check(workflow(tmp_path, tasks), PATH, Objects(tmp_path / "objects"))


def test_a_program_is_looked_up_once_however_many_tasks_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(preflight.shutil, "which", lambda word, path: asked.append(word))
    tasks = {name: {"run": ["nosuch-command", name]} for name in "abc"}
    assert len(problems(workflow(tmp_path, tasks))) == 3
    assert asked == ["nosuch-command"]


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    tasks = {
        "a": {"run": "nosuch-command --x"},
        "b": {"run": "gone.py"},
        "c": {"run": "true", "working_dir": "nowhere"},
        "d": {"run": ["also-no-such"]},
    }
    with pytest.raises(SpecError) as caught:
        preflight.check(workflow(tmp_path, tasks), PATH, Objects(tmp_path / "objects"))
    assert [(p.path, p.reason) for p in caught.value.problems] == [
        ("tasks.a.run", "command not found: nosuch-command"),
        ("tasks.b.run", f"no script {tmp_path}/gone.py"),
        ("tasks.c.working_dir", f"no folder {tmp_path}/nowhere"),
        ("tasks.d.run", "command not found: also-no-such"),
    ]
    assert all(p.cure for p in caught.value.problems)


def test_a_folder_that_is_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (found,) = problems(workflow(tmp_path, {"a": {"run": "true", "working_dir": "file"}}))
    assert found == f"tasks.a.working_dir: no folder {tmp_path}/file; create it, or correct working_dir"


def test_a_missing_interpreter_is_told_once(tmp_path: Path) -> None:
    found = problems(workflow(tmp_path, {"a": {"run": "true"}}, python="/no/such/python"))
    assert found == ["python: no interpreter /no/such/python; define the workflow again in a kernel that exists"]


def test_commands_are_looked_for_where_the_task_will_look(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "mytool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to("/bin/true")
    tasks = {"a": {"run": ["mytool"]}}
    (missing,) = problems(workflow(tmp_path, tasks))
    assert missing == "tasks.a.run: command not found: mytool; install it, or give its full path"
    assert problems(workflow(tmp_path, {"a": {"run": ["mytool"], "env": {"PATH": str(tmp_path / "bin")}}})) == []
    assert problems(workflow(tmp_path, tasks, python=str(tmp_path / "bin" / "python"))) == []


def test_what_an_earlier_task_makes_or_a_value_names_is_not_looked_for(tmp_path: Path) -> None:
    tasks = {
        "make": {"run": "cc -o x", "outputs": {"prog": "./prog"}},
        "use": {"run": ["./prog"], "needs": ["make"]},
        "any": {"run": ["{{ tool }}"]},
    }
    found = problems(workflow(tmp_path, tasks, params={"tool": "x"}))
    assert [f for f in found if "make" not in f] == []


# -------------------------------------------------------------------------------------------------------- snapshots


def test_a_snapshot_stays_as_it_was_whatever_becomes_of_the_script(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("print(1)")
    found = workflow(tmp_path, {"a": {"run": "train.py"}, "b": {"run": "train.py --again"}, "c": {"run": "true"}})
    copies = preflight.snapshot_scripts(found, tmp_path / "objects")
    script.write_text("print(2)")
    assert set(copies) == {"a", "b"}
    assert copies["a"] == copies["b"]
    assert Path(copies["a"]).read_text() == "print(1)"
    assert Path(copies["a"]).name == "train.py"
    assert stat.S_IMODE(Path(copies["a"]).stat().st_mode) == 0o600
    script.unlink()
    assert Path(copies["a"]).read_text() == "print(1)"


def test_equal_scripts_are_kept_once_and_changed_ones_anew(tmp_path: Path) -> None:
    found = workflow(tmp_path, {"a": {"run": "train.py"}})
    paths = []
    for text in ("one", "two", "one"):
        (tmp_path / "train.py").write_text(text)
        paths.append(preflight.snapshot_scripts(found, tmp_path / "objects")["a"])
    assert paths[0] == paths[2] != paths[1]
    assert sorted(p.read_text() for p in (tmp_path / "objects").rglob("train.py")) == ["one", "two"]
    assert [p for p in (tmp_path / "objects").rglob("*") if p.is_file() and p.name != "train.py"] == []


def test_a_script_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "memory.py").symlink_to("/proc/self/mem")  # a regular file whose reading fails, also for root
    found = workflow(tmp_path, {"a": {"run": "memory.py"}})
    with pytest.raises(SpecError, match=r"memory\.py cannot be read: Input/output error"):
        preflight.snapshot_scripts(found, tmp_path / "objects")


def test_a_script_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "MAX_SCRIPT", 100)
    (tmp_path / "a.sh").write_text("x" * 101)
    with pytest.raises(SpecError, match="is larger than 64 MiB; keep data out of scripts"):
        preflight.snapshot_scripts(workflow(tmp_path, {"a": {"run": "a.sh"}}), tmp_path / "objects")


def test_a_copy_that_cannot_be_kept_is_the_stores_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("true")
    (tmp_path / "objects").write_text("in the way")
    with pytest.raises(StoreUnavailable, match=r"a copy of .*a\.sh cannot be kept in .*: Not a directory"):
        preflight.snapshot_scripts(workflow(tmp_path, {"a": {"run": "a.sh"}}), tmp_path / "objects")


def test_a_file_is_published_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        preflight.publish(tmp_path / "d" / "x", b"content")
    assert list((tmp_path / "d").iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ params


def test_given_params_take_the_place_of_the_workflows(tmp_path: Path) -> None:
    found = workflow(tmp_path, {"a": {"run": "echo {{ x }} {{ y }}"}}, params={"x": 1, "y": [1]})
    assert preflight.params(found, {"x": None}) == {"x": None, "y": [1]}


def test_all_unknown_params_are_told_with_those_that_there_are(tmp_path: Path) -> None:
    found = workflow(tmp_path, {"a": {"run": "true"}}, params={"x": 1})
    with pytest.raises(SpecError) as caught:
        preflight.params(found, {"z": 1, "q": 2})
    assert [str(p) for p in caught.value.problems] == [
        "params.z: w has no param z; it has: x",
        "params.q: w has no param q; it has: x",
    ]


def test_code_that_the_store_does_not_have_is_a_problem(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")
    with objects.writer() as writer:
        writer.write(b"code")
        there = writer.publish()
    tasks = {"a": {"call": {"object": there}}, "b": {"call": {"object": "0" * 64}}}
    assert [str(p) for p in preflight.problems(workflow(tmp_path, tasks), os.environ["PATH"], objects)] == [
        "tasks.b.call.object: the store has no object 000000000000…; "
        "define the task again in the kernel that has its code"
    ]


def test_python_for_code_must_be_there(tmp_path: Path) -> None:
    tasks = {"a": {"call": {"object": "0" * 64}}}
    nowhere = problems_of(workflow(tmp_path, tasks), "/nowhere")
    assert nowhere[1:] == ["tasks.a.run: command not found: python3; install it, or give its full path"]
    gone = problems_of(workflow(tmp_path, tasks, python="/gone/bin/python"), "/nowhere")
    assert gone[1:] == ["python: no interpreter /gone/bin/python; define the workflow again in a kernel that exists"]


def problems_of(found: Workflow, path: str) -> list[str]:
    return [str(p) for p in preflight.problems(found, path, Objects("/nowhere"))]


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"x": ' + "[" * 200_000, b"\xff"], ids=["empty", "list", "deep", "bytes"]
)
def test_a_file_that_is_no_notebook_is_a_problem_whatever_it_holds(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / "n.ipynb").write_bytes(content.encode() if isinstance(content, str) else content)
    (found,) = problems(workflow(tmp_path, {"a": "n.ipynb"}))
    assert found.startswith(f"tasks.a.run: {tmp_path}/n.ipynb is not a notebook: ")
