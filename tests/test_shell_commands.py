"""Which words of a shell command are programs: only those that are sure to be looked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wattle_jupyter import preflight, shell, spec
from wattle_jupyter.objects import Objects


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sort a | uniq -c > b", ["sort", "uniq"]),
        ("cd data && curl -sS {{ url }} -o raw.csv; echo done", ["curl"]),
        ("A=1 B='x y' prog --flag", ["prog"]),
        ("awk '{print $1 | \"sort\"}' x", ["awk"]),
        ("one\ntwo \\\n  --long\nthree", ["one", "two", "three"]),
        ("prog < in.txt > out.txt 2>&1", ["prog"]),
        ("prog >out && other >>out & third", ["prog", "other", "third"]),
        ("./tool x && bin/tool", []),
        ("$TOOL x | {{ tool }} y | *.sh", []),
        ("'my prog' x", ["my prog"]),
        ("sort x; sort y", ["sort"]),
        ("", []),
    ],
)
def test_programs_of_pipelines_and_sequences_are_known(text: str, words: list[str]) -> None:
    assert shell.commands(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "gsed x || sed x", "if nvcc; then a; fi", "which conda && conda x", "command -v jq && jq", "x() { y; }; x",
        "echo $(foo)", "(foo; bar)", "PATH=/opt/bin:$PATH foo", "export PATH=/opt; foo", ". ./env.sh; foo",
        "source activate x; foo", "eval foo", "module load gcc; gcc", "cat <<END\nfoo\nEND", "for i in a; do foo; done",
        "case x in a) foo;; esac", "foo 'never closed", "# a comment; foo", "! foo", "{ foo; }",
    ],
)  # fmt: skip
def test_where_there_is_doubt_nothing_is_said(text: str) -> None:
    assert shell.commands(text) == []


PROGRAMS = st.sampled_from(["nosuch1", "nosuch2", "true", "echo x", "A=1 nosuch3"])
JOINTS = st.sampled_from([" | ", "; ", "\n", " && true; "])


@given(st.lists(st.tuples(PROGRAMS, JOINTS), min_size=1, max_size=4))
@hypothesis_settings(max_examples=30, deadline=None)
def test_the_shell_agrees_that_they_are_missing(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + joint for word, joint in parts) + "true"
    said = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=False).stderr
    missing = {word for word in shell.commands(text) if shutil.which(word) is None}
    assert all(word in said for word in missing)


def test_a_definition_warns_of_them_and_a_run_may_be_tried(tmp_path: Path) -> None:
    tasks = {
        "a": "cat x | no-such-program",
        "b": "made | cat",
        "c": {"run": "true", "outputs": {"m": {"path": "made"}}},
    }
    workflow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": tasks})
    objects = Objects(tmp_path / "objects")
    assert [str(p) for p in preflight.warnings(workflow, "/usr/bin:/bin", objects)] == [
        "tasks.a.run: command not found: no-such-program; install it, or give its full path"
    ]
    preflight.check(workflow, "/usr/bin:/bin", objects)
