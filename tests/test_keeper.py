"""The keeper alone: who may start one, who may speak to it, how its pipes and its clock work."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keeper_stores import keeper_pid, store  # noqa: F401  (a fixture)

from wattle_jupyter.executors.local import KEEPER
from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import ENDED, Attempt
from wattle_jupyter.host.files import Attempts, Journal, KeeperLock
from wattle_jupyter.host.keeper import Keeper
from wattle_jupyter.host.pipes import POINT, Pipe, Pump
from wattle_jupyter.host.protocol import PROTOCOL, Address, Lines, encode, is_own_user, listen
from wattle_jupyter.host.record import Record
from wattle_jupyter.host.spawn import Spawner
from wattle_jupyter.host.timers import Timers

# ruff: noqa: F811


def start_keeper(store: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(KEEPER), str(store), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


class Caller:
    """A bare connection to the keeper."""

    def __init__(self, store: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(store / "keeper.sock"))
        self.file = self.sock.makefile("rb")

    def say(self, **message: Any) -> None:
        self.sock.sendall(encode(message))

    def hear(self) -> dict[str, Any] | None:
        line = self.file.readline()
        return json.loads(line) if line else None

    def own(self, epoch: int, owner: str) -> dict[str, Any] | None:
        self.say(op="hello", protocol=PROTOCOL)
        self.hear()
        self.say(op="own", epoch=epoch, owner=owner, slots=4)
        return self.hear()

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@contextlib.contextmanager
def caller(store: Path) -> Iterator[Caller]:
    one = Caller(store)
    try:
        yield one
    finally:
        one.close()


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------------- one per store


def test_a_second_keeper_is_refused_by_the_lock(store: Path) -> None:
    assert start_keeper(store).returncode == 0
    second = start_keeper(store)
    assert (second.returncode, second.stderr) == (75, "taken: another keeper of this store lives\n")


def test_the_socket_is_private_and_the_keeper_has_its_own_session(store: Path) -> None:
    start_keeper(store)
    assert (store / "keeper.sock").stat().st_mode & 0o777 == 0o600
    with caller(store) as one:
        one.say(op="hello", protocol=PROTOCOL)
        hello = one.hear()
        assert hello is not None
        assert process.look(hello["pid"]).session == hello["pid"]  # type: ignore[union-attr]  # it lives
        assert (hello["protocol"], hello["boot_id"]) == (PROTOCOL, process.boot_id())
        assert one.own(1, "a") == {"op": "owned", "facts": []}


def test_an_idle_keeper_ends_by_itself_but_not_while_a_server_is_there(store: Path) -> None:
    start_keeper(store, "--idle", "1")
    with caller(store) as one:
        one.own(1, "a")
        pid = keeper_pid(store)
        ticks = process.look(pid).ticks  # type: ignore[union-attr]  # it lives
        time.sleep(0.5)
        one.say(op="inspect", n=1, rows={})
        assert one.hear() == {"op": "inspected", "n": 1, "facts": []}
    wait_for(lambda: not process.Kernel(frozenset({"subreaper"})).alive(pid, ticks))


def start(one: Caller, shell: str) -> str:
    id = uuid.uuid4().hex
    spec = {
        "id": id, "task_run": "t", "run": "r", "n": 1, "round": 1, "epoch": 1, "argv": ["/bin/sh", "-c", shell],
        "cwd": "/", "env": {"PATH": os.defpath}, "timeout": None, "grace": 1.0, "keep_children": False,
    }  # fmt: skip
    one.say(op="start", specs=[spec])
    return id


def alive(pid: int) -> bool:
    proc = process.look(pid)
    return proc is not None and proc.state not in "ZX"


def test_a_keeper_whose_facts_nobody_acknowledges_ends_and_the_next_one_tells_them(store: Path) -> None:
    start_keeper(store, "--idle", "1")
    pid = keeper_pid(store)
    with caller(store) as one:
        one.own(1, "a")
        id = start(one, "exit 7")
        while (one.hear() or {})["facts"][-1]["kind"] != "exited":
            pass
    wait_for(lambda: not alive(pid))
    start_keeper(store, "--idle", "1")
    with caller(store) as two:
        two.own(2, "b")
        two.say(op="inspect", n=1, rows={id: process.boot_id()})
        (fact,) = (two.hear() or {})["facts"]
        assert (fact["kind"], fact["code"]) == ("exited", 7)


def test_a_keeper_goes_on_while_a_task_runs_and_ends_when_its_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    start_keeper(folder, "--idle", "1")
    pid = keeper_pid(folder)
    with caller(folder) as one:
        one.own(1, "a")
        start(one, f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
        assert (one.hear() or {})["facts"][0]["kind"] == "running"
    shutil.rmtree(folder)
    time.sleep(0.5)
    assert alive(pid)
    (tmp_path / "go").touch()
    wait_for(lambda: not alive(pid))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "head -c 300000 /dev/zero"),  # more than the pipe takes, and no log yet
        ("echo early", "sleep 0.3; echo late"),  # a log, but no index of its times
    ],
)
def test_a_task_that_prints_into_a_deleted_folder_is_not_held_up_and_neither_is_the_end_of_its_keeper(
    tmp_path: Path, before: str, after: str
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    start_keeper(folder, "--idle", "1")
    pid = keeper_pid(folder)
    with caller(folder) as one:
        one.own(1, "a")
        waits = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
        id = start(one, f"{before or ':'}; {waits}; {after}; touch {tmp_path}/done")
        assert (one.hear() or {})["facts"][0]["kind"] == "running"
        wait_for(lambda: not before or (folder / "attempts" / id / "log").exists())
    shutil.rmtree(folder)
    (tmp_path / "go").touch()
    wait_for((tmp_path / "done").exists)
    wait_for(lambda: not alive(pid))


def test_a_folder_that_is_only_moved_gets_its_log_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    start_keeper(folder, "--idle", "1")
    with caller(folder) as one:
        one.own(1, "a")
        id = start(one, f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo kept")
        assert (one.hear() or {})["facts"][0]["kind"] == "running"
        moved = folder / "attempts" / "elsewhere"
        (folder / "attempts" / id).rename(moved)
        (tmp_path / "go").touch()
        journal = folder / "keeper.log"
        wait_for(lambda: journal.exists() and "trying again" in journal.read_text())
        moved.rename(folder / "attempts" / id)
        while (one.hear() or {}).get("op") != "facts":
            pass
        wait_for((folder / "attempts" / id / "log").exists)
        assert (folder / "attempts" / id / "log").read_text() == "kept\n"


def test_an_end_that_the_disk_did_not_take_is_held_until_it_is_told(tmp_path: Path) -> None:
    with listen(str(tmp_path)) as listener:
        keeper = Keeper(str(tmp_path), KeeperLock(str(tmp_path)), listener, process.Kernel(process.FEATURES), 0.0)
    assert not keeper._busy()
    keeper.held["0" * 32] = attempt = Attempt("0" * 32, {"k": "claim"})
    attempt.state, attempt.record = ENDED, Record(os.open("/dev/full", os.O_RDWR), [], 0)
    keeper._note(attempt, {"k": "exit"})
    assert keeper._busy()
    keeper.acknowledge([attempt.id])
    assert not keeper._busy()
    attempt.release()


def test_signals_of_a_terminal_do_not_end_a_keeper(store: Path) -> None:
    start_keeper(store)
    with caller(store) as one:
        one.own(1, "a")
        for number in (1, 2, 15, 13):
            os.kill(keeper_pid(store), number)
        one.say(op="inspect", n=1, rows={})
        assert one.hear() is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the store is missing"),
        (("s", "--idle"), "an option lacks its value"),
        (("s", "--fast", "1"), "unknown option --fast"),
        (("s", "--without", "luck"), "unknown features ['luck']"),
    ],
)
def test_wrong_arguments_are_explained(arguments: tuple[str, ...], words: str) -> None:
    run = subprocess.run([sys.executable, str(KEEPER), *arguments], capture_output=True, text=True, timeout=30)
    assert run.returncode == 2
    assert words in run.stderr


def test_a_store_that_is_not_there_is_reported(tmp_path: Path) -> None:
    run = start_keeper(tmp_path / "missing")
    assert run.returncode == 1
    assert "the keeper cannot start: [Errno 2] No such file or directory" in run.stderr


# ------------------------------------------------------------------------------------------------------- who may speak


def test_an_old_protocol_is_refused_with_the_cure(store: Path) -> None:
    start_keeper(store)
    with caller(store) as one:
        one.say(op="hello", protocol=PROTOCOL - 1)
        answer = one.hear()
        assert answer is not None
        assert answer["op"] == "refused"
        assert f"speaks protocol {PROTOCOL}, the server {PROTOCOL - 1}" in answer["message"]
        assert "upgrade wattle-jupyter in the server's environment" in answer["message"]
        assert one.hear() is None


def test_only_the_newest_owner_is_obeyed(store: Path) -> None:
    start_keeper(store)
    with caller(store) as first, caller(store) as second, caller(store) as third:
        assert first.own(5, "b") == {"op": "owned", "facts": []}
        assert second.own(5, "a") == {"op": "superseded", "epoch": 5}
        assert second.hear() is None
        assert third.own(6, "a") == {"op": "owned", "facts": []}
        assert first.hear() == {"op": "superseded", "epoch": 6}
        assert first.hear() is None
    assert KeeperLock(str(store)).read() == (6, "a")


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[1]\n", b'{"op": "own", "epoch": 1}\n', b'{"op": "start", "specs": []}\n', b"\xff\n"]
)
def test_whoever_does_not_introduce_itself_is_shown_out(store: Path, line: bytes) -> None:
    start_keeper(store)
    with caller(store) as one:
        one.sock.sendall(line)
        answer = one.hear()
        assert answer is not None
        assert answer["op"] == "error"
        assert one.hear() is None


def test_an_id_that_is_no_id_reaches_no_path(store: Path) -> None:
    start_keeper(store)
    with caller(store) as one:
        one.own(1, "a")
        one.say(op="inspect", n=7, rows={"../../etc": ""})
        answer = one.hear()
        assert answer is not None
        assert (answer["op"], answer["n"]) == ("error", 7)
        assert "not an attempt id (32 hex digits): '../../etc'" in answer["message"]
    (store / "keeper.log").unlink()  # it complained there too, as it should


def test_a_foreign_user_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = socket.socketpair()
    with left, right:
        assert is_own_user(left)
        uid = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
        assert not is_own_user(left)


@given(st.lists(st.dictionaries(st.text(), st.integers())), st.data())
def test_messages_survive_any_cut_of_the_stream(messages: list[dict[str, int]], data: st.DataObject) -> None:
    stream = b"".join(encode(message) for message in messages)
    lines, found = Lines(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += list(lines.feed(stream[:cut]))
        stream = stream[cut:]
    assert found == messages


def test_a_long_path_has_a_short_address(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with listen(str(deep)) as listener, socket.socket(socket.AF_UNIX) as client:
        address = Address(str(deep))
        client.connect(address.path)
        address.close()
        assert len(address.path) <= 107
        listener.accept()[0].close()


# ----------------------------------------------------------------------------------------------- clock, journal, owner


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.floats(0, 100))))
def test_timers_keep_the_last_word_per_key(changes: list[tuple[str, float | None]]) -> None:
    timers, wanted = Timers(), {}
    for name, at in changes:
        if at is None:
            timers.cancel((name, ""))
            wanted.pop(name, None)
        else:
            timers.set((name, ""), at)
            wanted[name] = at
    assert timers.next_at() == min(wanted.values(), default=None)
    due = [name for name, _ in timers.due(50.0)]
    assert sorted(due) == sorted(name for name, at in wanted.items() if at <= 50.0)
    assert [wanted[name] for name in due] == sorted(wanted[name] for name in due)
    assert list(timers.due(50.0)) == []


def test_the_journal_is_bounded(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), limit=100)
    for n in range(50):
        journal.write(f"line {n}")
    text = (tmp_path / "keeper.log").read_text()
    assert len(text) < 120
    assert text.endswith("line 49\n")
    Journal(str(tmp_path / "missing")).write("nowhere to go, no error")


def test_the_newest_owner_is_remembered_and_junk_is_none(tmp_path: Path) -> None:
    lock = KeeperLock(str(tmp_path))
    assert lock.read() == (0, "")
    lock.write(12, "uuid")
    assert KeeperLock(str(tmp_path)).read() == (12, "uuid")
    (tmp_path / "keeper.lock").write_text("[]")
    assert lock.read() == (0, "")


# --------------------------------------------------------------------------------------------------------------- pipes


@pytest.fixture
def make_pipe(tmp_path: Path) -> Iterator[Callable[..., Pipe]]:
    os.mkfifo(tmp_path / "fifo")
    pipes: list[Pipe] = []

    def make(**options: Any) -> Pipe:
        pipes.append(Pipe(lambda: os.open(tmp_path, os.O_RDONLY), **options))
        return pipes[-1]

    yield make
    for pipe in pipes:
        pipe.close()


def points(path: Path) -> list[tuple[float, int]]:
    return list(struct.iter_unpack(POINT.format, path.read_bytes())) if path.exists() else []


@pytest.mark.parametrize("splice", [True, False])
def test_bytes_go_from_the_fifo_to_the_log(tmp_path: Path, make_pipe: Callable[..., Pipe], splice: bool) -> None:
    pipe = make_pipe(splice=splice)
    os.write(pipe.fifo, b"a\0\xff")
    assert pipe.move(1.0) == 3
    assert pipe.move(1.0) == 0
    os.write(pipe.fifo, b"b")
    assert pipe.drain(1.0) == 1
    assert (tmp_path / "log").read_bytes() == b"a\0\xffb"


@pytest.mark.parametrize("splice", [True, False])
def test_nothing_is_taken_out_of_the_fifo_before_there_is_a_log(
    tmp_path: Path, make_pipe: Callable[..., Pipe], splice: bool
) -> None:
    """A keeper that is killed, or cannot make the log, has lost nothing."""
    pipe = make_pipe(splice=splice)
    os.write(pipe.fifo, b"first")
    (tmp_path / "log").symlink_to("/nowhere")
    with pytest.raises(OSError, match="symbolic links"):
        pipe.move(1.0)
    (tmp_path / "log").unlink()
    next_one = make_pipe(splice=splice)
    assert next_one.move(1.0) == 5
    assert (tmp_path / "log").read_bytes() == b"first"


def test_a_new_keeper_goes_on_where_the_log_ends(tmp_path: Path, make_pipe: Callable[..., Pipe]) -> None:
    (tmp_path / "log").write_bytes(b"before")
    pipe = make_pipe()
    os.write(pipe.fifo, b" after")
    pipe.drain(1.0)
    assert ((tmp_path / "log").read_bytes(), pipe.size) == (b"before after", 12)


def test_the_time_index_appears_with_the_second_point(tmp_path: Path, make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe()
    for at in (10.0, 10.05, 10.09):
        os.write(pipe.fifo, b"x")
        pipe.move(at)
    pipe.flush_times()
    assert (points(tmp_path / "times"), pipe.first) == ([], (10.0, 3))
    os.write(pipe.fifo, b"y")
    pipe.move(10.2)
    assert points(tmp_path / "times") == [(10.0, 3), (10.2, 4)]


@given(steps=st.lists(st.tuples(st.floats(0.001, 0.3), st.integers(1, 50)), min_size=1, max_size=30))
def test_the_time_index_grows_and_ends_at_the_size_of_the_log(steps: list[tuple[float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.mkfifo(f"{folder}/fifo")
        pipe = Pipe(lambda: os.open(folder, os.O_RDONLY))
        now = 1000.0
        for pause, count in steps:
            now += pause
            os.write(pipe.fifo, bytes(count))
            pipe.move(now)
        pipe.drain(now)
        found = points(Path(folder) / "times") or [pipe.first]
        pipe.close()
    assert found[-1][1] == sum(count for _, count in steps)
    assert found == sorted(set(found))


@pytest.mark.parametrize("splice", [True, False])
def test_a_full_disk_loses_nothing(
    tmp_path: Path, make_pipe: Callable[..., Pipe], monkeypatch: pytest.MonkeyPatch, splice: bool
) -> None:
    pipe = make_pipe(splice=splice)
    complaints: list[str] = []
    with selectors.DefaultSelector() as outer:
        pump = Pump(outer, complaints.append)
        os.write(pipe.fifo, b"first, ")
        pipe.move(time.time())
        pump.add(pipe)
        os.write(pipe.fifo, b"kept")

        def full(*_: Any, **__: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "splice" if splice else "write", full)
            pump.step()
        assert "No space left on device" in complaints[0]
        assert pump.next_at() is not None
        pump.step()
        assert (tmp_path / "log").read_bytes() == b"first, "
        pump.tend(time.monotonic() + 1.0)
        pump.step()
        assert (tmp_path / "log").read_bytes() == b"first, kept"
        pump.remove(pipe)
        pump._inner.close()


def test_what_comes_later_is_not_dated_back(tmp_path: Path, make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe()
    for now, text in [(10.0, b"old"), (10.05, b"older"), (20.0, b"new")]:
        os.write(pipe.fifo, text)
        pipe.move(now)
    points = list(POINT.iter_unpack((tmp_path / "times").read_bytes()))
    assert points == [(10.0, 8), (20.0, 11)]


def test_a_quiet_pipe_rests_between_ticks(make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe()
    with selectors.DefaultSelector() as outer:
        pump = Pump(outer, pytest.fail)
        pump.add(pipe)
        os.write(pipe.fifo, b"x")
        assert [key.data for key, _ in outer.select(5)] == [pump.step]
        pump.step()
        os.write(pipe.fifo, b"y")
        assert outer.select(0) == []
        at = pump.next_at()
        assert at is not None
        pump.tend(at)
        assert [key.data for key, _ in outer.select(5)] == [pump.step]
        pump.remove(pipe)
        pump._inner.close()


def test_a_noisy_pipe_is_not_left_alone_for_a_whole_tick(
    make_pipe: Callable[..., Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = make_pipe()
    with selectors.DefaultSelector() as outer:
        pump = Pump(outer, pytest.fail)
        pump.add(pipe)
        monkeypatch.setattr(time, "monotonic", lambda: 100.0)
        rests = []
        for count in (40_000, 10, 10):
            os.write(pipe.fifo, b"x" * count)
            pump.step()
            rests.append(pump.next_at())
        monkeypatch.undo()
        assert rests == [None, pytest.approx(100.002), pytest.approx(100.02)]
        pump.remove(pipe)
        pump._inner.close()


def test_a_task_whose_start_the_disk_does_not_take_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Spawner, attempt: Attempt) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Spawner, "note_start", broken)
    spawner = Spawner(Attempts(str(tmp_path)), process.Kernel(process.FEATURES))
    attempt = Attempt(uuid.uuid4().hex, {"k": "claim"})
    attempt.argv, attempt.cwd = ["/bin/sh", "-c", "exit 0"], str(tmp_path)
    outcome = spawner.start(attempt)
    assert (outcome.kind, outcome.why) == ("running", "cannot record its start: [Errno 5] Input/output error")
    assert os.waitpid(attempt.pid, 0)[1] == 0
    attempt.release()
