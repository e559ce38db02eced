"""Processes that are born side by side, by the C library without the interpreter's lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wattle_jupyter.host.birth import Births


@pytest.fixture(scope="module")
def library() -> Births:
    return Births(3)


@pytest.fixture
def run(library: Births, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """A shell command → its exit code and what it printed."""

    def run(command: str, cwd: Path = tmp_path, **env: str) -> tuple[int, str]:
        said = tmp_path / "said"
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        pid = library.spawn("/bin/sh", ["sh", "-c", command], env, {1: out, 2: out}, str(cwd))
        os.close(out)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.read_text()

    return run


def test_it_gets_its_words_its_environment_and_its_folder(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert run('echo "$A|$B"; pwd; exit 3', A="", B="ä=\n1") == (3, f"|ä=\n1\n{tmp_path}\n")


def test_its_folder_is_its_own_and_not_that_of_its_parent(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    before = Path.cwd()
    (tmp_path / "there").mkdir()
    assert run("pwd", tmp_path / "there")[1] == f"{tmp_path / 'there'}\n"
    assert Path.cwd() == before


def test_it_leads_a_session_of_its_own(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run("echo $$; cut -d' ' -f6 /proc/$$/stat")
    leader, session = said.split()
    assert (code, leader) == (0, session)


def test_it_inherits_no_file_but_those_it_was_given(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    kept = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    found = {int(name) for name in run("ls /proc/$$/fd")[1].split()}
    os.close(kept)
    assert kept > 2
    assert kept not in found - {0, 1, 2}


def test_a_file_comes_under_the_number_that_was_asked_for(library: Births, tmp_path: Path) -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = library.spawn("/bin/sh", ["sh", "-c", "echo heard >&9"], {}, {9: write}, str(tmp_path))
    os.close(write)
    assert os.waitpid(pid, 0)[1] == 0
    with os.fdopen(read) as pipe:
        assert pipe.read() == "heard\n"


@pytest.mark.parametrize(
    ("program", "cwd", "error"),
    [
        ("/no/such", "/", FileNotFoundError),
        ("/etc/passwd", "/", PermissionError),
        ("/bin/true", "/no/such/folder", FileNotFoundError),
        ("/bin/true", "/etc/passwd", NotADirectoryError),
        ("/bin/true\0x", "/", ValueError),
        ("/bin/true", "/\0", ValueError),
    ],
)
def test_what_cannot_be_started_is_told_as_os_posix_spawn_tells_it(
    library: Births, program: str, cwd: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        library.spawn(program, ["x"], {}, {}, cwd)


@pytest.mark.parametrize("env", [{"": "x"}, {"a=b": "x"}, {"a": "\0"}, {"a\0": "x"}], ids=repr)
def test_an_environment_that_cannot_be_is_refused(library: Births, env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"illegal environment variable name|embedded null byte"):
        library.spawn("/bin/true", ["true"], env, {}, "/")


def test_words_that_are_no_unicode_reach_it_as_they_were(run: Callable[..., tuple[int, str]]) -> None:
    assert run('printf %s "$A" | od -An -tx1', A=os.fsdecode(b"\xff\xc3"))[1].split() == ["ff", "c3"]


def test_too_long_an_environment_is_an_error_and_no_crash(library: Births) -> None:
    with pytest.raises(OSError, match="Argument list too long"):
        library.spawn("/bin/true", ["true"], {"A": "x" * (1 << 20)}, {}, "/")


def test_works_are_done_at_the_same_time(library: Births) -> None:
    together = threading.Barrier(4, timeout=20)
    passed: list[int] = []

    def work() -> None:
        together.wait()  # none gets past it before all of them are there
        passed.append(threading.get_ident())

    library.together([work] * 4)
    assert len(set(passed)) == 4


def test_more_works_than_hands_are_all_done_before_it_returns(library: Births) -> None:
    done: list[int] = []
    for size in (1, 2, 20):
        done.clear()
        library.together([lambda n=n: done.append(n) for n in range(size)])  # type: ignore[misc]
        assert sorted(done) == list(range(size))


def test_where_the_c_library_lacks_a_call_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattle_jupyter.host.birth._NEEDED", ("posix_spawn", "no_such_call_in_any_library"))
    with pytest.raises(OSError, match="no_such_call_in_any_library"):
        Births(3)
