"""Starting processes by ``posix_spawn``, where the system has all of it.

One after the other while the machine is quiet, for threads cost more than they gain then; side by side while it is
busy, when a birth is mostly waiting for its turn.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import Attempt
from wattle_jupyter.host.files import Attempts
from wattle_jupyter.host.pipes import FIFO, Pipe
from wattle_jupyter.host.record import HEIRLOOM, Record
from wattle_jupyter.host.trouble import passes

if TYPE_CHECKING:
    from wattle_jupyter.host.birth import Births

EPILOGUE = 'trap : HUP INT TERM; "$@"; c=$?; printf %s "$c" >"$0".tmp && mv "$0".tmp "$0"; exit $c'
"""Keeps the exit code in a file where the kernel cannot tell it to a later keeper. The task itself does not inherit the
traps, so a stop reaches it, and the shell stays to see how it ended."""

EXIT_FILE = "exit"


_SPARE = 64  # FIFOs of ended attempts that are kept for the next ones
_SLOW = 0.003  # seconds that a birth takes on a busy machine: mostly more there, one in a thousand on a quiet one
_BUSY = 0.5  # seconds for which it is taken to be busy then
_HANDS = 7  # threads beside the keeper's own


class Outcome:
    """What became of a spawn: ``running``, ``known`` (there is a record already), ``failed``, or ``later``: the machine
    lacks something that it may have again.

    ``why`` says what went wrong.
    """

    __slots__ = ("attempt", "kind", "why")

    def __init__(self, attempt: Attempt, kind: str, why: str = "") -> None:
        self.attempt = attempt
        self.kind = kind
        self.why = why


class Spawner:
    """``start`` an attempt, or some with ``start_all``."""

    def __init__(self, attempts: Attempts, kernel: process.Kernel) -> None:
        self.limits: tuple[int, int] | None = None  # of files, for the tasks; None: the keeper's own
        self._attempts = attempts
        self._kernel = kernel
        self._spare: deque[str] = deque(maxlen=_SPARE)  # ended attempts whose FIFO may be used again
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._slowness = 0.0  # of the last births
        self._busy_until = 0.0  # monotonic
        self._births: Births | None = None
        self._births_tried = not kernel.together

    def start_all(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        """Start these, at the same time if that is quicker. Their outcomes, in this order."""
        births = self._births_if_busy() if len(attempts) > 1 else None
        if births is None:
            return [self.start(attempt) for attempt in attempts]
        outcomes: dict[str, Outcome] = {}

        def start(attempt: Attempt) -> None:
            outcomes[attempt.id] = self.start(attempt, births)

        births.together([partial(start, attempt) for attempt in attempts])
        return [outcomes[attempt.id] for attempt in attempts]

    def _births_if_busy(self) -> Births | None:
        if time.monotonic() >= self._busy_until:
            return None
        if not self._births_tried:
            self._births_tried = True
            # where it cannot be had, a Python without ctypes for one, processes are born one by one
            with contextlib.suppress(ImportError, OSError, RuntimeError):
                from wattle_jupyter.host.birth import Births  # noqa: PLC0415  most keepers never need it

                self._births = Births(_HANDS)
        return self._births

    def start(self, attempt: Attempt, births: Births | None = None) -> Outcome:
        """Claim, start and record. Raises nothing: the outcome says what went wrong."""
        try:
            return self._start(attempt, births)
        except Exception as error:  # noqa: BLE001  (the attempt fails by it, not the keeper)
            if not passes(error) or _wrong_place(error, attempt.cwd):
                return Outcome(attempt, "failed", why_not(error, attempt.argv, attempt.cwd))
            if attempt.pipe is not None:
                attempt.pipe.close()
                attempt.pipe = None
            return Outcome(attempt, "later", getattr(error, "strerror", None) or str(error))

    def _start(self, attempt: Attempt, births: Births | None) -> Outcome:
        dir_fd = self._attempts.open(attempt.id, create=True)
        try:
            try:
                if attempt.record is None:  # else an earlier try came that far
                    self.claim(attempt, dir_fd)
            except FileExistsError:
                return Outcome(attempt, "known")
            before = process.since_boot()
            attempt.pid = self.launch(attempt, dir_fd, births)
        finally:
            os.close(dir_fd)
        attempt.started_at = time.time()
        with contextlib.suppress(OSError):  # from here on nothing may fail: it runs
            attempt.ticks = self._kernel.ticks_of_child(attempt.pid, before)
        if attempt.timeout is not None:
            attempt.deadline = time.monotonic() + attempt.timeout
        try:
            self.note_start(attempt)
            trouble = ""
        except OSError as error:  # it runs all the same: the next keeper would find it by its cookie
            trouble = f"cannot record its start: {error}"
        if self.limits is not None:
            process.restore_file_limit(attempt.pid, self.limits)
        return Outcome(attempt, "running", trouble)

    def claim(self, attempt: Attempt, dir_fd: int) -> None:
        """From here on nobody else starts this attempt. FileExistsError if somebody did."""
        attempt.record = Record.publish(dir_fd, attempt.claim)

    def launch(self, attempt: Attempt, dir_fd: int, births: Births | None) -> int:
        """The pid of the new process. OSError or ValueError if it cannot be started."""
        if attempt.record is None:
            raise RuntimeError("launched without a claim")
        self._make_fifo(dir_fd)
        attempt.pipe = Pipe(lambda: self._attempts.open(attempt.id), splice=self._kernel.splice, fresh=dir_fd)
        out = os.open(FIFO, os.O_RDWR | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            if not self._kernel.posix_spawn:
                return self._by_popen(self._argv(attempt), attempt, attempt.record.fd, out)
            return self._by_posix_spawn(self._argv(attempt), attempt, attempt.record.fd, out, births)
        finally:
            os.close(out)

    def _by_posix_spawn(self, argv: list[str], attempt: Attempt, record: int, out: int, births: Births | None) -> int:
        files = {
            0: self._null,
            1: out,
            2: out,
            # with it goes the lock. The last of all: `out` itself may have this number here
            self._heirloom(): record,
        }
        spawn = births.spawn if births is not None else self._spawn_alone
        problem: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        for program in _programs(argv[0], attempt.env, attempt.cwd):
            began = time.monotonic()
            try:
                return spawn(program, argv, attempt.env, files, attempt.cwd)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PermissionError as error:
                problem = error
            finally:
                ended = time.monotonic()
                if births is None:  # side by side they take longer: that says nothing
                    self._took(ended - began, ended)
        raise problem

    def _took(self, seconds: float, now: float) -> None:
        """Two slow ones among a few: the machine is busy."""
        self._slowness = 0.75 * self._slowness + (seconds > _SLOW)
        if self._slowness >= 1.5:
            self._busy_until = now + _BUSY

    @staticmethod
    def _spawn_alone(
        program: str, argv: Sequence[str], env: Mapping[str, str], files: Mapping[int, int], cwd: str
    ) -> int:
        """While no other thread starts anything: the folder in which a process begins is the keeper's own here."""
        os.chdir(cwd)
        try:
            actions = [(os.POSIX_SPAWN_DUP2, here, there) for there, here in files.items()]
            return os.posix_spawn(program, list(argv), env, file_actions=actions, setsid=True)
        finally:
            os.chdir("/")

    def _by_popen(self, argv: list[str], attempt: Attempt, record: int, out: int) -> int:
        heirloom = fcntl.fcntl(record, fcntl.F_DUPFD_CLOEXEC, self._heirloom())
        try:
            child = subprocess.Popen(
                argv, cwd=attempt.cwd, env=attempt.env, start_new_session=True,
                stdin=self._null, stdout=out, stderr=out, pass_fds=(heirloom,),
            )  # fmt: skip
        finally:
            os.close(heirloom)
        child.returncode = 0  # the keeper reaps; Popen must not try
        return child.pid

    @staticmethod
    def _heirloom() -> int:
        return min(HEIRLOOM, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1)

    def _make_fifo(self, dir_fd: int) -> None:
        """One that an ended attempt left, for a new one is among the dearest things of a start."""
        with contextlib.suppress(IndexError):  # no more of them
            while not self._attempts.take_fifo(self._spare.popleft(), FIFO, dir_fd):
                pass
            return
        with contextlib.suppress(FileExistsError):  # the claim is ours: so is the FIFO, from an earlier try
            os.mkfifo(FIFO, 0o600, dir_fd=dir_fd)

    def spare(self, attempt: str) -> None:
        """The FIFO of this attempt is not needed any longer."""
        self._spare.append(attempt)

    def note_start(self, attempt: Attempt) -> None:
        attempt.write(
            {
                "k": "start",
                "pid": attempt.pid,
                "ticks": attempt.ticks,
                "started_at": attempt.started_at,
                "deadline": attempt.deadline,
                "boot": self._kernel.boot,
                "machine": self._kernel.machine,
                "pidns": self._kernel.namespace,
            }
        )

    def _argv(self, attempt: Attempt) -> list[str]:
        if not attempt.claim.get("exit_file"):
            return attempt.argv
        return ["/bin/sh", "-c", EPILOGUE, os.path.join(self._attempts.directory(attempt.id), EXIT_FILE), *attempt.argv]


def _programs(command: str, env: Mapping[str, str], cwd: str) -> Iterator[str]:
    """What ``command`` may mean, by the task's own PATH."""
    if "/" in command:
        yield command
        return
    for folder in os.get_exec_path(env):
        path = os.path.join(folder, command)
        if os.path.exists(os.path.join(cwd, path)):
            yield path


def why_not(error: BaseException, argv: list[str], cwd: str) -> str:
    """Why a process could not be started, in words for people."""
    place = _wrong_place(error, cwd)
    if place:
        return place
    command = argv[0] if argv else ""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        if "/" in command and os.path.exists(os.path.join(cwd, command)):
            return f"cannot start {command}: the interpreter named in its first line does not exist"
        return f"no such command: {command}"
    if isinstance(error, PermissionError):
        return f"{command} may not be executed (permission denied)"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot start {command}: {error.strerror}"
    return f"cannot start {command}: {error}"


def _wrong_place(error: BaseException, cwd: str) -> str:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not os.path.isdir(cwd):
        return f"the working directory {cwd} does not exist"
    if isinstance(error, PermissionError) and not os.access(cwd, os.X_OK):
        return f"the working directory {cwd} may not be entered (permission denied)"
    return ""
