"""The local executor: the contract, with and without what only Linux can, and over deaths of keepers and servers."""

# ruff: noqa: F811, E402  (the fixture; asserts of the contract are rewritten)

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

pytest.register_assert_rewrite("executor_contract")

from executor_contract import ExecutorContract, Watcher, processes_of, spec, until
from keeper_stores import keeper_pid, kill_keeper, store  # noqa: F401  (a fixture)

from wattle_jupyter.errors import Conflict, Unavailable
from wattle_jupyter.executors import AttemptSpec, Fact
from wattle_jupyter.executors.local import LocalExecutor, Superseded
from wattle_jupyter.host import process

HERE = Path(__file__).parent
INFO = process.Kernel(frozenset({"subreaper"})).pidfd_info
needs_info = pytest.mark.skipif(not INFO, reason="this kernel does not tell the codes of processes that are not ours")


class TestLocalExecutor(ExecutorContract):
    keeper_args: Sequence[str] = ()

    def make(self, store: Path) -> LocalExecutor:
        return LocalExecutor(store, 8, keeper_args=self.keeper_args)


class TestWithoutLinuxHelp(TestLocalExecutor):
    """Older kernels: no codes of strangers, no list of children, no splice; hence an epilogue keeps the code."""

    keeper_args = ("--without", "pidfd_info,children,splice")


def local(watcher: Watcher) -> LocalExecutor:
    assert isinstance(watcher.executor, LocalExecutor)
    return watcher.executor


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


# ---------------------------------------------------------------------------------------------------- a keeper's death


class TestDeaths(TestLocalExecutor):
    __test__ = False


@contextlib.contextmanager
def orphans_come_here() -> Iterator[None]:
    """Where nobody reaps orphans their codes stay readable; a keeper started in here leaves its own to us."""
    prctl = ctypes.CDLL(None).prctl
    prctl(36, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(36, 0, 0, 0, 0)


def reaped(pid: int | None) -> bool:
    assert pid is not None
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False  # it is still the keeper's


def play(store: Path, scene, keeper_args: Sequence[str] = (), script: Path | None = None) -> None:
    contract = TestDeaths()
    contract.keeper_args = keeper_args
    contract.play(store, scene)


@pytest.mark.parametrize("without", [pytest.param("", marks=needs_info), "pidfd_info", "pidfd", "children,splice"])
@pytest.mark.parametrize("idle_server", [False, True])
def test_codes_and_output_survive_the_keeper(store: Path, without: str, idle_server: bool) -> None:
    """Some tasks end while there is no keeper, the others under the next one."""
    if not INFO and "info" not in without:
        pytest.skip("needs the kernel's help")

    async def scene(watcher: Watcher) -> None:
        executor = local(watcher)
        go = store / "go"
        wait = f"while [ ! -e {go} ]; do sleep 0.02; done"
        late = [spec(shell=f"echo a; {wait}; echo b; exit {n}") for n in range(1, 4)]
        await executor.submit(late)
        for attempt in late:
            await watcher.running(attempt.id)
        first = executor.keeper_pid
        if "splice" in without:  # what such a keeper has in hand just then is lost with it
            await until(lambda: all(log(a.id) == b"a\n" for a in late), "all have written")
        if idle_server:
            go.touch()  # they end at about the time of the kill
        kill(first)
        await until(lambda: executor.keeper_pid != first and executor.hosts()[0].state == "up", "another keeper")
        go.touch()
        ends = [await watcher.end(attempt.id) for attempt in late]
        assert [(end.kind, end.code) for end in ends] == [("exited", 1), ("exited", 2), ("exited", 3)]
        assert [log(a.id) for a in late] == [b"a\nb\n"] * 3
        assert [end.log_size for end in ends] == [4, 4, 4]

    def log(attempt: str) -> bytes:
        path = store / "attempts" / attempt / "log"
        return path.read_bytes() if path.exists() else b""

    play(store, scene, ("--without", without) if without else ())


@needs_info
def test_a_code_that_only_the_server_saw_is_kept(store: Path) -> None:
    async def scene(watcher: Watcher) -> None:
        executor = local(watcher)
        attempt = spec(shell="echo here; exec sleep 1000")
        await executor.submit([attempt])
        running = await watcher.running(attempt.id)
        log = store / "attempts" / attempt.id / "log"
        await until(lambda: log.exists() and log.read_bytes())
        kill(executor.keeper_pid)
        kill(running.pid)
        end = await watcher.end(attempt.id)
        assert (end.kind, end.signal) == ("exited", 9)

    play(store, scene)


def test_an_adopted_task_can_be_stopped_and_keeps_its_deadline(store: Path) -> None:
    async def scene(watcher: Watcher) -> None:
        executor = local(watcher)
        stopped = spec(shell="trap '' TERM; setsid sleep 1000 & while :; do sleep 1000; done")
        timed = spec("sleep", "1000", timeout=1.5)
        await executor.submit([stopped, timed])
        await watcher.running(stopped.id)
        await watcher.running(timed.id)
        await until(lambda: len(processes_of(stopped.id)) >= 3)
        first = executor.keeper_pid
        kill(first)
        await until(lambda: executor.keeper_pid != first)
        await executor.signal(stopped.id, "stop", 0.2)
        end = await watcher.end(stopped.id)
        assert (end.kind, end.signal, end.why) == ("exited", 9, "stopped")
        assert processes_of(stopped.id) == []
        assert (await watcher.end(timed.id)).why == "timed out"

    play(store, scene)


def test_a_stop_said_while_the_keeper_is_dead_is_not_forgotten(store: Path) -> None:
    async def scene(watcher: Watcher) -> None:
        executor = local(watcher)
        busy = [spec("sleep", "1000") for _ in range(8)]
        queued = spec("/bin/true")
        await executor.submit([*busy, queued])
        for attempt in busy:
            await watcher.running(attempt.id)
        kill(executor.keeper_pid)
        for attempt in [*busy, queued]:
            await executor.signal(attempt.id, "stop", 0.5)
        ends = [await watcher.end(attempt.id) for attempt in busy]
        assert {(end.kind, end.why) for end in ends} == {("exited", "stopped")}
        end = await watcher.end(queued.id)
        assert (end.kind, end.why) == ("never_started", "stopped")

    play(store, scene)


def test_what_was_queued_when_the_keeper_died_runs_once(store: Path, tmp_path: Path) -> None:
    async def scene(watcher: Watcher) -> None:
        executor = local(watcher)
        attempts = [spec(shell=f"echo x >> {tmp_path}/{n}; sleep 0.05") for n in range(60)]
        await executor.submit(attempts)
        for _ in range(3):
            await until(lambda: executor.hosts()[0].state == "up")
            await asyncio.sleep(0.05)
            kill(executor.keeper_pid)
            dead = executor.keeper_pid
            await until(lambda dead=dead: executor.keeper_pid != dead)
        ends = [await watcher.end(attempt.id) for attempt in attempts]
        for n, end in enumerate(ends):
            ran = (tmp_path / str(n)).read_text() if (tmp_path / str(n)).exists() else ""
            # a claim whose keeper died before the exec cannot be told from one whose task ended at once
            assert ran == "x\n" if end.kind == "exited" else end.kind == "lost" and ran in ("", "x\n")
            assert end.kind == "lost" or end.code == 0
        assert sum(end.kind == "lost" for end in ends) <= 3 * 8

    play(store, scene)


def test_what_is_submitted_before_a_new_keeper_obeys_waits_and_runs_once(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(watcher: Watcher) -> None:
        executor = local(watcher)
        attempt = spec(shell=f"echo x >> {tmp_path}/ran")
        greet, states = executor._greet, []

        async def greet_and_submit() -> dict[str, object]:
            hello = await greet()
            await executor.submit([attempt])
            return hello

        monkeypatch.setattr(executor, "_greet", greet_and_submit)
        monkeypatch.setattr(executor, "_set_state", lambda state, reason="": states.append((state, reason)))
        kill(executor.keeper_pid)
        assert (await watcher.end(attempt.id)).code == 0
        assert (tmp_path / "ran").read_text() == "x\n"
        assert [state for state, _ in states if state == "down"] == [], states

    play(store, scene)


def test_what_an_earlier_server_queued_is_settled_when_the_keeper_dies_before_its_start(store: Path) -> None:
    async def main() -> None:
        busy, waiting = spec("sleep", "1000"), spec("true")
        old = LocalExecutor(store, 1)
        await old.start(0)
        await old.submit([busy, waiting])
        watcher = Watcher(old)
        await watcher.running(busy.id)
        await old.close()
        new = LocalExecutor(store, 1)
        await new.start(1)
        watcher = Watcher(new)
        facts = {fact.id: fact.kind for fact in await new.inspect({busy.id: "", waiting.id: ""})}
        assert facts == {busy.id: "running", waiting.id: "queued"}
        kill(new.keeper_pid)
        assert (await watcher.end(waiting.id)).kind == "never_started"  # only the old server knew its command
        assert watcher.seen(busy.id, "lost", "exited") is None
        await new.signal(busy.id, "kill", 0.0)
        await watcher.end(busy.id)
        await new.close()

    asyncio.run(main())


def test_both_dead_while_a_task_goes_on_loses_nothing(store: Path) -> None:
    async def main() -> None:
        attempts = [spec(shell=f"echo a; while [ ! -e {store}/go ]; do sleep 0.02; done; echo b; exit 7") for _ in "ab"]
        contract = TestDeaths()
        async with contract.watched(store) as watcher:
            await watcher.executor.submit(attempts)
            for attempt in attempts:
                await watcher.running(attempt.id)
        kill_keeper(store)
        async with contract.watched(store, 1) as watcher:
            rows = {attempt.id: process.boot_id() for attempt in attempts}
            facts = await watcher.executor.inspect(rows)
            assert [fact.kind for fact in facts] == ["running", "running"]
            (store / "go").touch()
            for attempt in attempts:
                end = await watcher.end(attempt.id)
                assert (end.kind, end.code) == ("exited", 7)
                assert contract.log(store, attempt.id) == b"a\nb\n"

    asyncio.run(main())


@pytest.mark.parametrize(("exit_file", "kind", "code"), [(True, "exited", 9), (False, "lost", None)])
def test_a_task_that_ends_while_nobody_is_there(store: Path, exit_file: bool, kind: str, code: int | None) -> None:
    async def main() -> None:
        go = f"while [ ! -e {store}/go ]; do sleep 0.02; done"
        attempt = spec(shell=f"{go}; (setsid sleep 1000 &); exit 9", exit_file=exit_file)
        contract = TestDeaths()
        with orphans_come_here():
            async with contract.watched(store) as watcher:
                await watcher.executor.submit([attempt])
                pid = (await watcher.running(attempt.id)).pid
            kill_keeper(store)
            (store / "go").touch()
            await until(lambda: reaped(pid), "the end of the orphan")
            await until(lambda: reaped(keeper_pid(store)), "the end of the keeper")
        async with contract.watched(store, 1) as watcher:
            await watcher.executor.inspect({attempt.id: process.boot_id()})
            end = await watcher.end(attempt.id)
            assert (end.kind, end.code) == (kind, code)
            assert processes_of(attempt.id) == []
            (again,) = await watcher.executor.inspect({attempt.id: process.boot_id()})
            assert (again.kind, again.code) == (kind, code)

    asyncio.run(main())


# ---------------------------------------------------------------------------------- keepers that die at one exact step

MUTANT = """
import os, signal, sys
sys.path.insert(0, {root!r})
from wattle_jupyter.host import daemon, spawn
def die(*_):
    open({flag!r}, "x").close()
    os.kill(os.getpid(), signal.SIGKILL)
if not os.path.exists({flag!r}):
    {change}
sys.exit(daemon.main(sys.argv[1:]))
"""


def end_after_death(store: Path, change: str, attempt: AttemptSpec) -> list[Fact]:
    """All facts of an attempt whose first keeper dies at the step that ``change`` sets; the next one is healthy."""
    script = store / "mutant.py"
    script.write_text(MUTANT.format(root=str(HERE.parent), flag=str(store / "died"), change=change))
    facts: list[Fact] = []

    async def main() -> None:
        executor = LocalExecutor(store, 8, keeper_script=script)
        await executor.start(0)
        watcher = Watcher(executor)
        await watcher.run(attempt)
        facts.extend(watcher.facts[attempt.id])
        await executor.close()
        await watcher.stop()

    asyncio.run(main())
    assert (store / "died").exists()
    return facts


def test_a_claim_without_a_process_is_lost(store: Path, tmp_path: Path) -> None:
    facts = end_after_death(store, "spawn.Spawner.launch = die", spec(shell=f"touch {tmp_path}/ran"))
    assert [(fact.kind, fact.why) for fact in facts] == [("lost", "it vanished while nobody watched")]
    assert not (tmp_path / "ran").exists()


def test_a_process_without_its_start_line_is_found_by_its_cookie(store: Path) -> None:
    attempt = spec(shell="echo a; sleep 1.5; echo b; exit 8", timeout=60.0)
    facts = end_after_death(store, "spawn.Spawner.note_start = die", attempt)
    assert [(fact.kind, fact.code) for fact in facts] == [("running", None), ("exited", 8)]
    assert (store / "attempts" / attempt.id / "log").read_bytes() == b"a\nb\n"


def test_a_process_that_hides_its_cookie_is_found_by_the_lock_and_ended(store: Path, tmp_path: Path) -> None:
    attempt = spec(shell=f"exec env -i /bin/sh -c 'echo $$ > {tmp_path}/pid; exec sleep 1000'", exit_file=False)
    change = f"""
    def die_later(*_):
        while not os.path.exists({str(tmp_path / "pid")!r}) or not open({str(tmp_path / "pid")!r}).read().strip(): pass
        die()
    spawn.Spawner.note_start = die_later
"""
    facts = end_after_death(store, change, attempt)
    assert facts[-1].kind == "lost"
    proc = process.look(int((tmp_path / "pid").read_text()))
    assert proc is None or proc.state == "Z"


def test_what_was_in_the_hand_of_a_dead_keeper_runs_once(store: Path, tmp_path: Path) -> None:
    attempt = spec(shell=f"echo x >> {tmp_path}/ran")
    facts = end_after_death(store, "spawn.Spawner.claim = die", attempt)
    assert [fact.kind for fact in facts if fact.kind != "running"] == ["exited"]
    assert (tmp_path / "ran").read_text() == "x\n"


def test_an_end_whose_sweep_was_not_done_is_swept_by_the_next_keeper(store: Path) -> None:
    attempt = spec(shell="(setsid sleep 1000 &); echo x; exit 5", exit_file=False)
    change = "from wattle_jupyter.host import keeper; keeper.Keeper._sweep_due = die"
    facts = end_after_death(store, change, attempt)
    assert (facts[-1].kind, facts[-1].code, facts[-1].log_size) == ("exited", 5, 2)
    assert processes_of(attempt.id) == []


# -------------------------------------------------------------------------------------------------------- who commands


def test_a_newer_server_takes_over_and_the_older_one_is_told(store: Path) -> None:
    async def main() -> None:
        old, new = LocalExecutor(store, 2), LocalExecutor(store, 2)
        await old.start(0)
        attempt = spec("sleep", "1000")
        await old.submit([attempt])
        await new.start(1)
        (fact,) = await new.inspect({attempt.id: ""})
        assert fact.kind in ("running", "queued")  # what the old server said was taken before
        await until(lambda: old.hosts()[0].state == "down")
        assert "a newer server owns the store" in old.hosts()[0].reason
        with pytest.raises(Unavailable, match="newer server"):
            await old.inspect({attempt.id: ""})
        await new.signal(attempt.id, "kill", 0.0)
        await old.close()
        await new.close()

    asyncio.run(main())


def test_a_server_with_an_old_epoch_is_refused(store: Path) -> None:
    async def main() -> None:
        new, old = LocalExecutor(store, 2), LocalExecutor(store, 2)
        await new.start(10)
        await old._open()
        await old._greet()
        with pytest.raises(Superseded):
            await old._ask({"op": "own", "owner": "0" * 32, "epoch": 10, "slots": 1}, "owned")
        await old.close()
        await new.close()

    asyncio.run(main())


def test_a_message_that_nobody_can_make_anything_of_is_told_and_not_taken_for_silence(
    store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        executor = LocalExecutor(store, 2)
        await executor.start(0)
        monkeypatch.setattr(executor, "_take", lambda facts: facts[0]["gone"])
        await executor.submit([spec("true")])
        await until(lambda: executor.hosts()[0].state == "down")
        assert "a fault of its own, KeyError('gone')" in executor.hosts()[0].reason
        with pytest.raises(Unavailable):
            await executor.inspect({"0" * 32: ""})
        await executor.close()

    asyncio.run(main())
    assert "local executor stopped by a fault of its own" in caplog.text


def test_a_keeper_that_cannot_start_is_reported_with_its_reason(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("import sys; sys.exit('the reason')")

    async def main() -> None:
        executor = LocalExecutor(tmp_path / "store", 2, start_timeout=0.3, keeper_script=script)
        with pytest.raises(Unavailable, match=r"cannot be reached: the reason; see keeper\.log"):
            await executor.start(0)
        assert executor.hosts()[0].state == "down"
        await executor.close()

    asyncio.run(main())


def test_a_keeper_that_was_roused_is_the_one_that_start_finds(store: Path, tmp_path: Path) -> None:
    script, starts = tmp_path / "counted.py", tmp_path / "starts"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(HERE.parent)!r}); from wattle_jupyter.host import daemon\n"
        f"open({str(starts)!r}, 'a').write('started\\n'); sys.exit(daemon.main(sys.argv[1:]))"
    )

    async def main() -> None:
        executor = LocalExecutor(store, 2, keeper_script=script)
        executor.rouse()
        while not (store / "keeper.sock").exists():  # nobody has asked for it yet
            await asyncio.sleep(0.01)
        assert await executor.start(0) == 1
        assert executor.hosts()[0].state == "up"
        await executor.close()

    asyncio.run(main())
    assert starts.read_text() == "started\n"


def test_what_was_roused_and_is_not_wanted_goes_with_its_executor(store: Path, tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("import sys; sys.exit('the reason')")

    async def main() -> None:
        executor = LocalExecutor(store, 2, keeper_script=script)
        executor.rouse()
        await asyncio.sleep(0)
        await executor.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_path_too_long_for_a_socket_works(store: Path) -> None:
    deep = store / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    contract = TestDeaths()
    try:
        end, log = contract.run_one(deep, spec("/bin/echo", "hi"))
        assert (end.code, log) == (0, b"hi\n")
    finally:
        kill(keeper_pid(deep))


def test_closing_leaves_no_thread_and_no_descriptor(store: Path) -> None:
    async def scene(watcher: Watcher) -> None:
        for _ in range(3):
            await watcher.run(spec("/bin/true"))

    threads = set(threading.enumerate())
    play(store, scene)
    before = sorted(os.listdir("/proc/self/fd"))
    play(store, scene)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert set(threading.enumerate()) <= threads


def test_the_loop_stays_free_while_tasks_run(store: Path) -> None:
    """A wedged loop would let the executor's own events starve; here nothing blocks it, whatever the machine's load."""

    async def scene(watcher: Watcher) -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 1.0
        await watcher.executor.submit([spec("/bin/true") for _ in range(50)])
        await until(lambda: len([1 for facts in watcher.facts.values() if facts[-1].kind == "exited"]) == 50)

    play(store, scene)


def test_much_that_is_forgotten_holds_up_nobody_else(store: Path) -> None:
    async def scene(watcher: Watcher) -> None:
        executor = watcher.executor
        busy = [spec(shell="exec sleep 1000") for _ in range(2)]
        await executor.submit(busy)
        for attempt in busy:
            await watcher.running(attempt.id)
        old = [uuid.uuid4().hex for _ in range(200)]
        for id in old:
            (store / "attempts" / id).mkdir()
        forgetting = asyncio.create_task(executor.forget([busy[0].id, *old, busy[1].id]))
        await asyncio.sleep(0)  # it has asked the keeper
        await executor.inspect({busy[0].id: ""})
        assert not forgetting.done()
        with pytest.raises(Conflict, match=f"{busy[0].id}.*{busy[1].id}"):
            await forgetting
        assert {entry.name for entry in (store / "attempts").iterdir()} == {attempt.id for attempt in busy}
        for attempt in busy:
            await executor.signal(attempt.id, "kill", 0.0)
            await watcher.end(attempt.id)

    play(store, scene)


def test_the_keeper_survives_its_server(store: Path) -> None:
    """A real second process is the server and is killed."""
    attempt = spec(shell="sleep 0.3; echo done")
    code = f"""
import asyncio, os, sys
sys.path[:0] = [{str(HERE.parent)!r}]
from pathlib import Path
from wattle_jupyter.executors import AttemptSpec
from wattle_jupyter.executors.local import LocalExecutor
async def main():
    executor = LocalExecutor(Path({str(store)!r}), 2)
    await executor.start(0)
    await executor.submit([{attempt!r}])
    async for facts in executor.events():
        if facts[0].kind == "running":
            print("running", flush=True)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"running\n"
        server.kill()

    async def scene(watcher: Watcher) -> None:
        assert (await watcher.end(attempt.id)).code == 0
        assert (store / "attempts" / attempt.id / "log").read_bytes() == b"done\n"

    started = time.monotonic()
    play(store, scene)
    assert time.monotonic() >= started
