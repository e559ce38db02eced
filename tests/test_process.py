"""Facts about processes, with and without what only Linux tells."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import Attempt
from wattle_jupyter.host.process import Kernel, OomWatch, Proc
from wattle_jupyter.host.tree import Trees

NO_REAPER = frozenset({"subreaper"})


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    env = {"PATH": os.environ["PATH"], "WATTLE_ATTEMPT": "f" * 32}
    with subprocess.Popen(["sleep", "1000"], start_new_session=True, env=env) as child:
        yield child
        child.kill()


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=15))
def test_a_command_may_be_called_anything(name: str) -> None:
    stat = f"12 ({name}) S 1 12 13 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0".encode()
    assert process.parse_stat(stat) == Proc(12, 1, 12, 13, "S", 777)


def test_a_process_is_named_by_pid_and_ticks(sleeper: subprocess.Popen[bytes]) -> None:
    kernel = Kernel(NO_REAPER)
    ticks = kernel.ticks(sleeper.pid)
    assert ticks > 0
    assert kernel.alive(sleeper.pid, ticks)
    assert not kernel.alive(sleeper.pid, ticks + 1)
    assert process.open_pidfd(sleeper.pid, ticks + 1) is None


def test_the_clock_tells_the_ticks_of_children_as_proc_does() -> None:
    kernel, found = Kernel(NO_REAPER), []
    for _ in range(40):
        before = process.since_boot()
        child = subprocess.Popen(["sleep", "60"])
        found.append((kernel.ticks_of_child(child.pid, before), kernel.ticks(child.pid)))
        child.kill()
        child.wait()
    assert [told for told, _ in found] == [read for _, read in found]


def test_a_clock_that_differs_from_proc_is_not_believed(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(NO_REAPER)
    ticks = kernel.ticks(sleeper.pid)
    monkeypatch.setattr(process, "since_boot", lambda: 1)
    for _ in range(3):
        assert kernel.ticks_of_child(sleeper.pid, 1) == ticks


@pytest.mark.parametrize("without", [frozenset(), {"pidfd"}])
def test_a_signal_never_reaches_another_process_with_the_same_number(
    sleeper: subprocess.Popen[bytes], without: set[str]
) -> None:
    kernel = Kernel(NO_REAPER | without)
    ticks = kernel.ticks(sleeper.pid)
    assert not kernel.send(sleeper.pid, ticks + 1, signal.SIGKILL)
    assert sleeper.poll() is None
    assert kernel.send(sleeper.pid, ticks, signal.SIGTERM)
    assert sleeper.wait() == -signal.SIGTERM
    assert not kernel.send(sleeper.pid, ticks, signal.SIGTERM)


def test_neither_init_nor_the_keeper_itself_is_ever_signalled() -> None:
    kernel = Kernel(NO_REAPER)
    assert not kernel.send(1, kernel.ticks(1), 0)
    assert not kernel.send(os.getpid(), kernel.ticks(os.getpid()), 0)


def test_without_proc_a_process_is_known_by_its_number(sleeper: subprocess.Popen[bytes]) -> None:
    kernel = Kernel(NO_REAPER | {"proc"})
    assert (kernel.ticks(sleeper.pid), kernel.pidfd, kernel.pidfd_info, kernel.children) == (0, False, False, False)
    assert kernel.alive(sleeper.pid, 0)
    assert kernel.send(sleeper.pid, 0, signal.SIGTERM)
    sleeper.wait()
    assert not kernel.alive(sleeper.pid, 0)
    assert not kernel.send(sleeper.pid, 0, signal.SIGTERM)


def test_without_proc_a_stop_reaches_the_group(sleeper: subprocess.Popen[bytes]) -> None:
    trees = Trees(Kernel(NO_REAPER | {"proc"}))
    attempt = Attempt("f" * 32, {"k": "claim"})
    attempt.pid = sleeper.pid
    assert trees.signal(attempt, signal.SIGTERM) == 1
    sleeper.wait()
    assert trees.signal(attempt, signal.SIGTERM) == 0


def test_a_session_whose_number_belongs_to_another_leader_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    trees = Trees(Kernel(NO_REAPER))
    attempt = Attempt("e" * 32, {"k": "claim"})
    attempt.adopted = True
    attempt.pid, attempt.ticks = sleeper.pid, Kernel(NO_REAPER).ticks(sleeper.pid) - 1
    assert trees.members(attempt) == []
    attempt.ticks += 1
    assert [proc.pid for proc in trees.members(attempt)] == [sleeper.pid]


def test_a_cookie_is_found_and_its_leader_with_it(sleeper: subprocess.Popen[bytes]) -> None:
    assert process.cookie(sleeper.pid) == "f" * 32
    assert process.cookie(2**22 + 5) == ""
    out = os.stat(f"/proc/{sleeper.pid}/fd/1")
    leader = Trees(Kernel(NO_REAPER)).leader_by_cookie("f" * 32, out)
    assert leader is not None
    assert leader.pid == sleeper.pid
    assert Trees(Kernel(NO_REAPER)).leader_by_cookie("f" * 32, os.stat(__file__)) is None


def test_an_open_file_is_traced_to_its_holder(tmp_path: object) -> None:
    path = f"{tmp_path}/file"
    with open(path, "w") as file, subprocess.Popen(["sleep", "1000"], pass_fds=[file.fileno()]) as child:
        assert [proc.pid for proc in process.holders(path)] == [child.pid]
        child.kill()
    assert process.holders(path) == []
    assert process.holders(path + ".missing") == []


@pytest.mark.parametrize(("code", "words"), [("exit 7", (7, None)), ("kill -9 $$", (None, 9)), ("exit 0", (0, None))])
def test_how_a_process_ended_is_read_from_its_pidfd_and_while_a_zombie(code: str, words: tuple[int, int]) -> None:
    if not Kernel(NO_REAPER).pidfd_info:
        pytest.skip("this kernel does not tell")
    child = subprocess.Popen(["/bin/sh", "-c", f"read x; {code}"], stdin=subprocess.PIPE)
    fd = process.open_pidfd(child.pid, None)
    assert fd is not None
    assert not process.ended(fd)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.ended(fd)
    as_zombie = process.zombie_status(child.pid)
    child.wait()
    status = process.pidfd_status(fd)
    os.close(fd)
    assert status == as_zombie
    assert status is not None
    assert tuple(process.exit_words(status).values()) == words
    assert process.zombie_status(child.pid) is None


def test_descendants_are_found_through_any_depth() -> None:
    procs = [Proc(2, 1, 2, 2, "S", 0), Proc(3, 2, 3, 3, "S", 0), Proc(4, 3, 4, 4, "S", 0), Proc(9, 1, 9, 9, "S", 0)]
    assert process.descendants([2], procs) == {2, 3, 4}
    assert process.descendants([], procs) == set()


def test_each_kill_by_the_oom_killer_counts_once() -> None:
    kills = 5
    watch = OomWatch(lambda: kills)
    assert not watch.struck()
    kills = 7
    assert [watch.struck(), watch.struck(), watch.struck()] == [True, True, False]


def test_the_counters_of_both_kinds_of_control_groups_are_found() -> None:
    lines = ["4:memory:/a/b", "1:cpu:/", "0::/user.slice/x"]
    assert process.oom_paths(lines) == [
        "/sys/fs/cgroup/memory/a/b/memory.oom_control",
        "/sys/fs/cgroup/user.slice/x/memory.events",
    ]
    assert process.oom_kills(["low 0", "oom 3", "oom_kill 2", "oom_group_kill 0"]) == 2
    assert process.oom_kills(["nothing"]) == 0


def test_a_task_gets_back_the_file_limit_that_the_keeper_raised() -> None:
    code = """
import resource, subprocess, sys
from wattle_jupyter.host import process
limits = process.raise_file_limit(250, ceiling=300)
assert process.raise_file_limit(250) is None
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
child = subprocess.Popen(["sleep", "1000"])
process.restore_file_limit(child.pid, limits)
print(resource.prlimit(child.pid, resource.RLIMIT_NOFILE)[0], limits[0])
child.kill(); child.wait()
"""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard)),
    ).stdout  # fmt: skip
    assert out == "200 200\n"
