"""Starting processes, on a few threads: with a busy machine a single one would starve."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable

from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import Attempt
from wattle_jupyter.host.files import Attempts
from wattle_jupyter.host.pipes import FIFO, Pipe
from wattle_jupyter.host.record import Record
from wattle_jupyter.host.trouble import passes

EPILOGUE = 'trap : HUP INT TERM; "$@"; c=$?; printf %s "$c" >"$0".tmp && mv "$0".tmp "$0"; exit $c'
"""Keeps the exit code in a file where the kernel cannot tell it to a later keeper. The task itself does not inherit the
traps, so a stop reaches it, and the shell stays to see how it ended."""

EXIT_FILE = "exit"


class Outcome:
    """What became of a spawn: ``running``, ``known`` (there is a record already), ``failed``, or ``later``: the machine
    lacks something that it may have again.

    ``why`` says what went wrong.
    """

    __slots__ = ("attempt", "kind", "pid", "why")

    def __init__(self, attempt: Attempt, kind: str, why: str = "", pid: int = 0) -> None:
        self.attempt = attempt
        self.kind = kind
        self.why = why
        self.pid = pid


class Spawner:
    """``submit`` attempts, take their ``outcomes`` after ``wake`` was called."""

    def __init__(
        self,
        attempts: Attempts,
        kernel: process.Kernel,
        wake: Callable[[], None],
        threads: int = 6,
    ) -> None:
        self.limits: tuple[int, int] | None = None  # of files, for the tasks; None: the keeper's own
        self.outcomes: deque[Outcome] = deque()
        self._attempts = attempts
        self._kernel = kernel
        self._wake = wake
        self._threads = threads
        self._started = 0
        self._todo: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def submit(self, attempt: Attempt) -> None:
        if self._started < self._threads:
            # daemon threads that live as long as the keeper: what a task leaves behind must not come to them
            threading.Thread(target=self._work, daemon=True).start()
            self._started += 1
        self._todo.put(attempt)

    def _work(self) -> None:
        while True:
            attempt = self._todo.get()
            try:
                outcome = self._spawn(attempt)
            except BaseException as error:  # noqa: BLE001  (a spawn thread must live on; the outcome carries it)
                outcome = self._failure(attempt, error, 0)
            self.outcomes.append(outcome)
            self._wake()

    def _spawn(self, attempt: Attempt) -> Outcome:
        dir_fd = self._attempts.open(attempt.id, create=True)
        child = subprocess.Popen.__new__(subprocess.Popen)
        try:
            try:
                if attempt.record is None:  # else an earlier try came that far
                    self.claim(attempt, dir_fd)
            except FileExistsError:
                return Outcome(attempt, "known")
            try:
                self.launch(attempt, dir_fd, child)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                return self._failure(attempt, error, getattr(child, "pid", 0))
        finally:
            os.close(dir_fd)
        attempt.pid = child.pid
        attempt.started_at = time.time()
        attempt.ticks = self._kernel.ticks(child.pid)
        if attempt.timeout is not None:
            attempt.deadline = time.monotonic() + attempt.timeout
        try:
            self.note_start(attempt)
            trouble = ""
        except OSError as error:  # it runs all the same: the next keeper would find it by its cookie
            trouble = f"cannot record its start: {error}"
        if self.limits is not None:
            process.restore_file_limit(child.pid, self.limits)
        process.offer_to_oom_killer(child.pid)
        return Outcome(attempt, "running", trouble, child.pid)

    def claim(self, attempt: Attempt, dir_fd: int) -> None:
        """From here on nobody else starts this attempt. FileExistsError if somebody did."""
        attempt.record = Record.publish(dir_fd, attempt.claim)

    def launch(self, attempt: Attempt, dir_fd: int, child: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(FileExistsError):  # the claim is ours: so is the FIFO, from an earlier try
            os.mkfifo(FIFO, 0o600, dir_fd=dir_fd)
        attempt.pipe = Pipe(lambda: self._attempts.open(attempt.id), splice=self._kernel.splice)
        if attempt.record is None:
            raise RuntimeError("launched without a claim")
        out = os.open(FIFO, os.O_RDWR | os.O_CLOEXEC, dir_fd=dir_fd)
        heirloom = -1
        try:
            heirloom = attempt.record.heirloom()
            child.__init__(  # type: ignore[misc]  # made before so that its pid is known when the command cannot start
                self._argv(attempt), cwd=attempt.cwd, env=attempt.env, start_new_session=True,
                stdin=self._null, stdout=out, stderr=out, pass_fds=(heirloom,),
            )  # fmt: skip
        finally:
            os.close(out)
            if heirloom >= 0:
                os.close(heirloom)
        child.returncode = 0  # the keeper reaps; Popen must not try

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

    def _failure(self, attempt: Attempt, error: BaseException, pid: int) -> Outcome:
        if passes(error) and not _wrong_place(error, attempt.cwd):
            if attempt.pipe is not None:
                attempt.pipe.close()
                attempt.pipe = None
            return Outcome(attempt, "later", str(error), pid)
        return Outcome(attempt, "failed", why_not(error, attempt.argv, attempt.cwd), pid)


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
