"""How the keeper starts a process: what it looks up, what it uses again, what it leaves undone until it is needed."""

from __future__ import annotations

import math
import os
import resource
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest

from wattle_jupyter.executors import AttemptSpec
from wattle_jupyter.executors.local import _start
from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import Attempt
from wattle_jupyter.host.birth import Births
from wattle_jupyter.host.files import Attempts
from wattle_jupyter.host.pipes import FIFO, Pipe
from wattle_jupyter.host.record import HEIRLOOM, parse
from wattle_jupyter.host.spawn import Outcome, Spawner


class Busy(Spawner):
    """As on a machine where births are slow."""

    def start(self, attempt: Attempt, births: Births | None = None) -> Outcome:
        return super().start(attempt, births or Births(2))

    def _births_if_busy(self) -> Births | None:
        self._busy_until = math.inf
        return super()._births_if_busy()


@pytest.fixture(params=["posix_spawn", "popen", "together"])
def spawner(tmp_path: Path, request: pytest.FixtureRequest) -> Spawner:
    kernel = process.Kernel(process.FEATURES if request.param == "popen" else frozenset())
    return (Busy if request.param == "together" else Spawner)(Attempts(str(tmp_path)), kernel)


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(str(tmp_path))


def attempt(folder: Path, *argv: str, **env: str) -> Attempt:
    made = Attempt(uuid.uuid4().hex, {"k": "claim"})
    made.argv, made.cwd, made.env = list(argv), str(folder), env
    return made


def script(path: Path, text: str, mode: int = 0o755) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_a_command_is_looked_up_in_the_path_of_the_task(spawner: Spawner, tmp_path: Path) -> None:
    script(tmp_path / "own" / "true", "#!/bin/sh\nexit 7\n")
    one = attempt(tmp_path, "true", PATH=f"{tmp_path}/nowhere:{tmp_path}/own:/bin")
    assert spawner.start(one).kind == "running"
    assert os.waitstatus_to_exitcode(os.waitpid(one.pid, 0)[1]) == 7
    one.release()


def test_what_may_not_be_executed_is_passed_over_for_what_comes_later_in_the_path(
    spawner: Spawner, tmp_path: Path
) -> None:
    script(tmp_path / "own" / "true", "#!/bin/sh\nexit 7\n", mode=0o644)
    one = attempt(tmp_path, "true", PATH=f"{tmp_path}/own:/bin")
    assert spawner.start(one).kind == "running"
    assert os.waitpid(one.pid, 0)[1] == 0
    one.release()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("nosuchprogram", "no such command: nosuchprogram"),
        ("./absent", "no such command: ./absent"),
        ("plain", "plain may not be executed (permission denied)"),
        ("./lost", "cannot start ./lost: the interpreter named in its first line does not exist"),
        ("/nul\0byte", "cannot start /nul\0byte: embedded null byte"),
    ],
)
def test_what_cannot_be_started_is_told_in_words_and_leaves_no_child(
    spawner: Spawner, tmp_path: Path, command: str, why: str
) -> None:
    script(tmp_path / "plain", "no program", mode=0o644)
    script(tmp_path / "lost", "#!/no/such/interpreter\n")
    one = attempt(tmp_path, command, PATH=f"{tmp_path}:/bin")
    others = set(psutil.Process().children())  # of other tests of this process
    outcome = spawner.start(one)
    assert (outcome.kind, outcome.why) == ("failed", why)
    assert os.getcwd() == "/" or isinstance(spawner, Busy) or not spawner._kernel.posix_spawn
    assert set(psutil.Process().children()) <= others
    one.release()


def test_a_task_inherits_the_lock_of_its_record_and_no_other_file(spawner: Spawner, tmp_path: Path) -> None:
    ours = {int(name) for name in os.listdir("/proc/self/fd")}
    of_pytest = {n for n in ours if os.path.exists(f"/proc/self/fd/{n}") and os.get_inheritable(n)}
    one = attempt(tmp_path, "/bin/sh", "-c", f"ls /proc/self/fd > {tmp_path}/open")
    assert spawner.start(one).kind == "running"
    assert os.waitpid(one.pid, 0)[1] == 0
    numbers = sorted(map(int, (tmp_path / "open").read_text().split()))
    assert numbers[:3] == [0, 1, 2]
    assert set(numbers) - of_pytest - {0, 1, 2, 3} == {500}  # 3 is the folder that ls reads
    one.release()


def test_those_that_are_started_together_are_told_in_their_order_each_with_its_own_fate(
    spawner: Spawner, tmp_path: Path
) -> None:
    ends = [attempt(tmp_path, "/bin/sh", "-c", f"exit {n}") for n in range(12)]
    twin = Attempt(ends[3].id, {"k": "claim"})
    twin.argv, twin.cwd = ["/bin/true"], str(tmp_path)
    spawner.start(ends[3])
    batch = [*ends[:3], twin, attempt(tmp_path, "nosuchprogram", PATH="/bin"), *ends[4:]]
    outcomes = spawner.start_all(batch)
    assert [outcome.attempt for outcome in outcomes] == batch
    assert [outcome.kind for outcome in outcomes] == ["running"] * 3 + ["known", "failed"] + ["running"] * 8
    assert [os.waitstatus_to_exitcode(os.waitpid(one.pid, 0)[1]) for one in ends] == list(range(12))
    for one in (*ends, *batch):
        one.release()


def test_each_of_those_that_are_started_together_begins_in_its_own_folder(spawner: Spawner, tmp_path: Path) -> None:
    batch = []
    for name in "abcdef":
        script(tmp_path / name / "tool", f"#!/bin/sh\npwd > {tmp_path}/from_{name}\n")
        batch.append(attempt(tmp_path / name, "tool", PATH=".:/bin"))
    assert {outcome.kind for outcome in spawner.start_all(batch)} == {"running"}
    for name, one in zip("abcdef", batch, strict=True):
        assert os.waitpid(one.pid, 0)[1] == 0
        assert (tmp_path / f"from_{name}").read_text() == f"{tmp_path / name}\n"
        one.release()


def test_slow_births_have_the_next_ones_started_side_by_side_and_only_for_a_while(tmp_path: Path) -> None:
    spawner = Spawner(Attempts(str(tmp_path)), process.Kernel())
    now, slow, quick = time.monotonic() + 1000, 0.004, 0.0005
    for seconds in (slow, quick, quick, slow, quick, quick):  # a few by themselves mean nothing
        spawner._took(seconds, now)
        assert spawner._births_if_busy() is None
    spawner._took(slow, now)
    spawner._took(slow, now)
    assert spawner._births_if_busy() is not None
    spawner._busy_until = time.monotonic()
    assert spawner._births_if_busy() is None
    spawner._took(slow, now)  # one that is looked at meanwhile: it still is
    assert spawner._births_if_busy() is not None


@pytest.mark.parametrize("lack", ["ctypes", "call", "threads"])
def test_where_side_by_side_cannot_be_had_all_are_started_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    if lack == "ctypes":
        monkeypatch.setitem(sys.modules, "wattle_jupyter.host.birth", None)
    elif lack == "call":
        monkeypatch.setattr("wattle_jupyter.host.birth._NEEDED", ("no_such_call",))
    else:
        monkeypatch.setattr(threading.Thread, "start", no_more)
    spawner = Spawner(Attempts(str(tmp_path)), process.Kernel())
    spawner._busy_until = math.inf
    batch = [attempt(tmp_path, "/bin/true") for _ in range(3)]
    assert [outcome.kind for outcome in spawner.start_all(batch)] == ["running"] * 3
    for one in batch:
        assert os.waitpid(one.pid, 0)[1] == 0
        one.release()


def test_a_start_takes_the_pipe_of_an_attempt_that_ended(spawner: Spawner, tmp_path: Path) -> None:
    first, second = attempt(tmp_path, "/bin/true"), attempt(tmp_path, "/bin/true")
    spawner.start(first)
    os.waitpid(first.pid, 0)
    first.release()
    spawner.spare(first.id)
    before = os.stat(tmp_path / "attempts" / first.id / FIFO).st_ino
    spawner.start(second)
    os.waitpid(second.pid, 0)
    second.release()
    assert os.stat(tmp_path / "attempts" / second.id / FIFO).st_ino == before
    assert not (tmp_path / "attempts" / first.id / FIFO).exists()


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY])
def test_a_pipe_that_somebody_holds_is_left_alone(attempts: Attempts, tmp_path: Path, flags: int) -> None:
    old, new = uuid.uuid4().hex, uuid.uuid4().hex
    os.close(attempts.open(old, create=True))
    path = tmp_path / "attempts" / old / FIFO
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    held = os.open(path, flags)
    os.close(both)
    target = attempts.open(new, create=True)
    assert not attempts.take_fifo(old, FIFO, target)
    os.close(held)
    assert attempts.take_fifo(old, FIFO, target)
    assert not attempts.take_fifo(old, FIFO, target)  # gone from there
    os.close(target)


def test_a_log_is_made_with_its_first_byte(attempts: Attempts, tmp_path: Path) -> None:
    folder = attempts.open("a" * 32, create=True)
    os.mkfifo(FIFO, dir_fd=folder)
    pipe = Pipe(lambda: attempts.open("a" * 32), fresh=folder)
    os.close(folder)
    log = tmp_path / "attempts" / ("a" * 32) / "log"
    assert pipe.drain(1.0) == 0
    assert not log.exists()
    os.write(pipe.fifo, b"here")
    assert pipe.drain(2.0) == 4
    assert log.read_bytes() == b"here"
    pipe.close()


def test_what_environments_have_in_common_travels_once() -> None:
    def spec(**env: str) -> AttemptSpec:
        return AttemptSpec(id="i", task_run="t", run="r", n=1, round=0, epoch=1, argv=("x",), cwd="/", env=env)

    message = _start([spec(A="1", B="2"), spec(A="1", B="3", C="4"), spec(A="1", B="2", C="5")])
    assert message["env"] == {"A": "1"}
    assert [form["env"] for form in message["specs"]] == [{"B": "2"}, {"B": "3", "C": "4"}, {"B": "2", "C": "5"}]
    assert _start([])["specs"] == []


def test_a_task_writes_into_its_own_pipe_whatever_numbers_the_files_of_the_keeper_have(
    spawner: Spawner, tmp_path: Path
) -> None:
    """Among many tasks one of those files has the very number by which tasks inherit the lock."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], HEIRLOOM + 64), limits[1]))
    below: list[int] = []
    try:
        while not below or below[-1] < HEIRLOOM - 8:
            below.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(12):  # the next free number rises past that one
            below.append(os.open(os.devnull, os.O_RDONLY))
            one = attempt(tmp_path, "/bin/sh", "-c", "echo to the log")
            assert spawner.start(one).kind == "running"
            assert os.waitpid(one.pid, 0)[1] == 0
            assert one.pipe is not None
            assert one.pipe.drain(time.time()) == len("to the log\n")
            assert one.record is not None
            assert [line["k"] for line in parse(os.pread(one.record.fd, 65536, 0))[0]] == ["claim", "start"]
            one.release()
    finally:
        for number in below:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
