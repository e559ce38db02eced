"""What every executor must do, as tests that each executor's tests inherit."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from wattle_jupyter.errors import Conflict
from wattle_jupyter.executors import AttemptSpec, Executor, Fact
from wattle_jupyter.host import process

ENDS = ("exited", "lost", "never_started")
PATIENCE = 30.0


def spec(*argv: str, shell: str | None = None, **change: Any) -> AttemptSpec:
    values: dict[str, Any] = {
        "id": uuid.uuid4().hex, "task_run": uuid.uuid4().hex, "run": uuid.uuid4().hex, "n": 1, "round": 1, "epoch": 1,
        "argv": ("/bin/sh", "-c", shell) if shell is not None else argv, "cwd": "/",
        "env": {"PATH": os.environ["PATH"]}, "grace": 5.0,
    }  # fmt: skip
    return AttemptSpec(**values | change)


async def until(condition: Callable[[], Any], what: str = "condition") -> Any:
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        await asyncio.sleep(0.01)
    return value


def processes_of(attempt: str) -> list[int]:
    return [proc.pid for proc in process.scan() if process.cookie(proc.pid) == attempt]


class Watcher:
    """Collects the facts that an executor tells."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.facts: dict[str, list[Fact]] = {}
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async for batch in self.executor.events():
            for fact in batch:
                self.facts.setdefault(fact.id, []).append(fact)

    def seen(self, id: str, *kinds: str) -> Fact | None:
        return next((fact for fact in self.facts.get(id, ()) if fact.kind in kinds), None)

    async def running(self, id: str) -> Fact:
        return await until(lambda: self.seen(id, "running"), f"{id} to run")  # type: ignore[no-any-return]  # a Fact

    async def end(self, id: str) -> Fact:
        return await until(lambda: self.seen(id, *ENDS), f"the end of {id}")  # type: ignore[no-any-return]  # a Fact

    async def run(self, attempt: AttemptSpec) -> Fact:
        await self.executor.submit([attempt])
        return await self.end(attempt.id)

    async def stop(self) -> None:
        await asyncio.wait_for(self._task, PATIENCE)


class ExecutorContract:
    """Subclasses say how their executor is made and where its logs are."""

    def make(self, store: Path) -> Executor:
        raise NotImplementedError

    def log(self, store: Path, attempt: str) -> bytes:
        path = store / "attempts" / attempt / "log"
        return path.read_bytes() if path.exists() else b""  # made with the first byte

    @asynccontextmanager
    async def watched(self, store: Path, epoch: int = 0) -> AsyncIterator[Watcher]:
        executor = self.make(store)
        await executor.start(epoch)
        watcher = Watcher(executor)
        try:
            yield watcher
        finally:
            await executor.close()
            await watcher.stop()

    def play(self, store: Path, scene: Callable[[Watcher], Awaitable[None]]) -> None:
        async def main() -> None:
            async with self.watched(store) as watcher:
                await scene(watcher)

        asyncio.run(main())

    def run_all(self, store: Path, attempts: list[AttemptSpec]) -> list[Fact]:
        ends: list[Fact] = []

        async def scene(watcher: Watcher) -> None:
            await watcher.executor.submit(attempts)
            ends.extend([await watcher.end(attempt.id) for attempt in attempts])

        self.play(store, scene)
        return ends

    def run_one(self, store: Path, attempt: AttemptSpec) -> tuple[Fact, bytes]:
        (end,) = self.run_all(store, [attempt])
        return end, self.log(store, attempt.id) if end.kind == "exited" else b""

    # ------------------------------------------------------------------------------------------------- start and end

    def test_every_exit_code_is_told(self, store: Path) -> None:
        codes = [0, 1, 2, 3, 64, 126, 127, 128, 129, 137, 143, 254, 255]
        ends = self.run_all(store, [spec(shell=f"exit {code}", exit_file=False) for code in codes])
        assert [(end.kind, end.code, end.signal, end.why) for end in ends] == [("exited", c, None, "") for c in codes]

    def test_every_deadly_signal_is_told(self, store: Path) -> None:
        quiet = {signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
        numbers = sorted(set(signal.Signals) - quiet - {signal.SIGURG, signal.SIGWINCH})
        # a new session is no place to die of a terminal's signals, hence sent by the shell to itself
        ends = self.run_all(store, [spec(shell=f"ulimit -c 0; kill -{int(n)} $$", exit_file=False) for n in numbers])
        assert [(end.kind, end.code, end.signal) for end in ends] == [("exited", None, int(n)) for n in numbers]

    def test_running_is_told_before_the_end_with_pid_and_time(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            attempt = spec("sleep", "0.2")
            before = time.time()
            end = await watcher.run(attempt)
            assert [fact.kind for fact in watcher.facts[attempt.id]] == ["running", "exited"]
            running = watcher.facts[attempt.id][0]
            assert running.pid == end.pid
            assert running.pid is not None
            assert before <= end.started_at <= end.ended_at <= time.time()  # type: ignore[operator]  # both set
            assert end.boot_id == process.boot_id()

        self.play(store, scene)

    def test_the_end_of_a_task_that_ends_at_once_tells_its_start_as_well(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            before = time.time()
            end = await watcher.run(spec("/bin/true"))
            assert end.pid is not None
            assert before <= end.started_at <= end.ended_at <= time.time()  # type: ignore[operator]  # both set

        self.play(store, scene)

    def test_a_task_runs_in_its_directory_with_exactly_its_environment(self, store: Path, tmp_path: Path) -> None:
        attempt = spec(sys.executable, "-S", "-c", "import os; print(sorted(os.environ.items())); print(os.getcwd())",
                       cwd=str(tmp_path), env={"A": "ä b", "EMPTY": ""}, exit_file=False)  # fmt: skip
        end, log = self.run_one(store, attempt)
        assert end.code == 0
        names, cwd = log.decode().splitlines()
        env = dict(eval(names)) | {"LC_CTYPE": "C.UTF-8"}  # Python sets that one itself
        assert env == {"A": "ä b", "EMPTY": "", "WATTLE_ATTEMPT": attempt.id, "LC_CTYPE": "C.UTF-8"}
        assert cwd == str(tmp_path)

    def test_a_task_starts_with_default_signals_and_the_usual_file_limit(self, store: Path) -> None:
        before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as in whatever a script starts in the background
        code = """
import resource, signal
print([s.name for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN and s.name[3:] not in ("PIPE", "XFSZ")])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
while resource.getrlimit(resource.RLIMIT_NOFILE) != USUAL: pass
""".replace("USUAL", repr(resource.getrlimit(resource.RLIMIT_NOFILE)))
        try:
            end, log = self.run_one(store, spec(sys.executable, "-S", "-c", code, timeout=10.0))
        finally:
            signal.signal(signal.SIGQUIT, before)
        assert (end.code, log) == (0, b"[]\nset()\n")

    def test_200_short_tasks_each_run_once(self, store: Path, tmp_path: Path) -> None:
        attempts = [spec(shell=f"echo x >> {tmp_path}/{n}; exit {n % 7}", exit_file=False) for n in range(200)]
        ends = self.run_all(store, attempts)
        assert [end.code for end in ends] == [n % 7 for n in range(200)]
        assert all((tmp_path / str(n)).read_text() == "x\n" for n in range(200))

    def test_an_attempt_submitted_again_is_ignored(self, store: Path, tmp_path: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            attempt = spec(shell=f"echo x >> {tmp_path}/ran")
            await watcher.executor.submit([attempt])
            await watcher.executor.submit([attempt])
            await watcher.end(attempt.id)
            await watcher.executor.acknowledge([attempt.id])
            await watcher.executor.submit([attempt])  # known from its record alone
            await until(lambda: len([f for f in watcher.facts[attempt.id] if f.kind == "exited"]) == 2)
            assert (tmp_path / "ran").read_text() == "x\n"

        self.play(store, scene)

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"argv": ("wattle-no-such-command",)}, "no such command: wattle-no-such-command"),
            ({"cwd": "/no/such/folder"}, "the working directory /no/such/folder does not exist"),
            ({"argv": ("/proc/self/status",)}, "/proc/self/status may not be executed (permission denied)"),
            ({"argv": ("/bin/echo", "x" * 3_000_000)}, "cannot start /bin/echo: Argument list too long"),
            ({"argv": ("/bin/echo", "a\0b")}, "cannot start /bin/echo: embedded null byte"),
        ],
    )
    def test_what_cannot_start_says_why(self, store: Path, change: dict[str, Any], why: str) -> None:
        end, _ = self.run_one(store, spec(exit_file=False, **{"argv": ("/bin/true",)} | change))
        assert (end.kind, end.why) == ("never_started", why)

    def test_a_script_whose_interpreter_is_missing_says_so(self, store: Path, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        end, _ = self.run_one(store, spec(str(script), exit_file=False))
        assert end.why == f"cannot start {script}: the interpreter named in its first line does not exist"

    # ---------------------------------------------------------------------------------------------------------- logs

    @pytest.mark.parametrize(
        ("command", "log"),
        [
            ("printf 'no newline'", b"no newline"),
            (r"printf 'a\000\377\r\nb'", b"a\0\xff\r\nb"),
            ("echo 1; echo 2 >&2; echo 3", b"1\n2\n3\n"),
            ("echo a; echo b > /dev/stderr; echo c", b"a\nb\nc\n"),
            ("echo a; echo b | tee /dev/stderr; echo c", b"a\nb\nb\nc\n"),
            ("echo a; dd if=/dev/zero bs=1 count=2 of=/dev/stdout 2>/dev/null; echo b", b"a\n\0\0b\n"),
            (":", b""),
        ],
    )
    def test_the_log_holds_every_byte_in_order(self, store: Path, command: str, log: bytes) -> None:
        end, found = self.run_one(store, spec(shell=command))
        assert (found, end.log_size) == (log, len(log))

    def test_a_noisy_task_loses_nothing(self, store: Path) -> None:
        size = 50 << 20
        code = f"import os\nfor n in range({size >> 16}): os.write(1, b'%15d\\n' % n * 4096)"
        end, log = self.run_one(store, spec(sys.executable, "-S", "-c", code))
        assert (end.code, end.log_size) == (0, size)
        assert log == b"".join(b"%15d\n" % n * 4096 for n in range(size >> 16))

    # ---------------------------------------------------------------------------------------------------------- stop

    @pytest.mark.parametrize(
        "command",
        [
            "sleep 1000",
            "trap '' TERM; while :; do sleep 1000; done",
            "setsid sleep 1000 & sleep 1000",
            "(setsid sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000' &) ; sleep 1000",
            "kill -STOP $$",
        ],
    )
    def test_a_stop_leaves_no_process(self, store: Path, command: str) -> None:
        async def scene(watcher: Watcher) -> None:
            attempt = spec(shell=command)
            await watcher.executor.submit([attempt])
            await watcher.running(attempt.id)
            wanted = command.count("sleep 1000")
            await until(lambda: len(processes_of(attempt.id)) >= max(1, wanted), "the whole tree")
            await watcher.executor.signal(attempt.id, "stop", 0.2)
            end = await watcher.end(attempt.id)
            assert (end.kind, end.why) == ("exited", "stopped")
            assert processes_of(attempt.id) == []

        self.play(store, scene)

    def test_a_kill_does_not_wait(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            attempt = spec(shell="trap '' TERM; echo ready; while :; do sleep 1000; done")
            await watcher.executor.submit([attempt])
            await until(lambda: watcher.seen(attempt.id, "running") and self.log(store, attempt.id))
            await watcher.executor.signal(attempt.id, "kill", 1000.0)
            end = await watcher.end(attempt.id)
            assert (end.signal, end.why) == (9, "stopped")

        self.play(store, scene)

    def test_a_task_that_handles_its_stop_may_say_its_own_code(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            attempt = spec(shell="trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", exit_file=False)
            await watcher.executor.submit([attempt])
            await until(lambda: watcher.seen(attempt.id, "running") and self.log(store, attempt.id))
            await watcher.executor.signal(attempt.id, "stop", 20.0)
            end = await watcher.end(attempt.id)
            assert (end.code, end.why) == (5, "stopped")

        self.play(store, scene)

    def test_what_a_task_leaves_behind_ends_with_it(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            attempt = spec(shell="setsid sleep 1000 & (sleep 1000 &) ; exit 4", exit_file=False)
            end = await watcher.run(attempt)
            assert (end.code, end.why) == (4, "")
            assert processes_of(attempt.id) == []

        self.play(store, scene)

    def test_children_that_may_stay_do(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            attempt = spec(shell="(sleep 0.5; echo later) & exit 4", keep_children=True, exit_file=False)
            end = await watcher.run(attempt)
            assert end.code == 4
            await until(lambda: self.log(store, attempt.id) == b"later\n", "output of the child")

        self.play(store, scene)

    def test_a_queued_attempt_that_is_stopped_never_starts(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            slots = sum(host.slots for host in watcher.executor.hosts())
            busy = [spec("sleep", "1000") for _ in range(slots)]
            attempt = spec("/bin/true")
            await watcher.executor.submit([*busy, attempt])
            await watcher.executor.signal(attempt.id, "stop", 1.0)
            end = await watcher.end(attempt.id)
            assert (end.kind, end.why) == ("never_started", "stopped")
            for other in busy:
                await watcher.executor.signal(other.id, "kill", 0.0)
            for other in busy:
                await watcher.end(other.id)

        self.play(store, scene)

    def test_an_exit_that_was_first_beats_the_stop(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            attempt = spec(shell="exit 3", exit_file=False)
            await watcher.run(attempt)
            await watcher.executor.signal(attempt.id, "kill", 0.0)
            (fact,) = await watcher.executor.inspect({attempt.id: process.boot_id()})
            assert (fact.kind, fact.code, fact.why) == ("exited", 3, "")

        self.play(store, scene)

    def test_a_timeout_ends_a_task_also_while_no_server_is_there(self, store: Path) -> None:
        attempt = spec(shell="trap '' TERM; while :; do sleep 1000; done", timeout=0.3, grace=0.2, exit_file=False)

        async def main() -> None:
            async with self.watched(store) as watcher:
                await watcher.executor.submit([attempt])
                await watcher.running(attempt.id)
            await until(lambda: not processes_of(attempt.id), "the time-out")
            async with self.watched(store, 1) as watcher:
                end = await watcher.end(attempt.id)
                assert (end.kind, end.signal, end.why) == ("exited", 9, "timed out")

        asyncio.run(main())

    # ------------------------------------------------------------------------------------------------ over reconnects

    def test_an_end_is_told_again_until_it_is_acknowledged(self, store: Path) -> None:
        async def main() -> None:
            attempt = spec(shell="exit 6", exit_file=False)
            async with self.watched(store) as watcher:
                await watcher.run(attempt)
            async with self.watched(store, 1) as watcher:
                assert (await watcher.end(attempt.id)).code == 6
                await watcher.executor.acknowledge([attempt.id])
            async with self.watched(store, 2) as watcher:
                other = spec("/bin/true")
                await watcher.run(other)
                assert attempt.id not in watcher.facts

        asyncio.run(main())

    def test_each_start_gets_a_higher_epoch(self, store: Path) -> None:
        async def main() -> None:
            epochs = []
            for known in (0, 0, 41, 0):
                executor = self.make(store)
                epochs.append(await executor.start(known))
                await executor.close()
            assert epochs == [1, 2, 42, 43]

        asyncio.run(main())

    def test_an_unknown_attempt_is_judged_and_can_not_start_later(self, store: Path, tmp_path: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            today, other = (spec(shell=f"touch {tmp_path}/ran") for _ in range(2))
            facts = await watcher.executor.inspect({today.id: process.boot_id(), other.id: "another boot"})
            assert {fact.id: fact.kind for fact in facts} == {today.id: "never_started", other.id: "lost"}
            await watcher.executor.submit([today, other])
            assert (await watcher.end(today.id)).kind == "never_started"
            assert (await watcher.end(other.id)).kind == "lost"
            assert not (tmp_path / "ran").exists()

        self.play(store, scene)

    def test_what_is_forgotten_is_deleted_and_what_runs_is_not(self, store: Path) -> None:
        async def scene(watcher: Watcher) -> None:
            done, busy = spec("/bin/echo", "x"), spec("sleep", "1000")
            await watcher.run(done)
            await watcher.executor.submit([busy])
            await watcher.running(busy.id)
            with pytest.raises(Conflict, match=f"{busy.id}.*has not ended"):
                await watcher.executor.forget([done.id, busy.id])
            assert not (store / "attempts" / done.id).exists()
            assert (store / "attempts" / busy.id).exists()
            await watcher.executor.forget([done.id])
            await watcher.executor.signal(busy.id, "kill", 0.0)
            await watcher.end(busy.id)

        self.play(store, scene)
