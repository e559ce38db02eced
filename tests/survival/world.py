"""A machine that exists in memory only: its clock, its processes, and its calls, each of which can be somebody's last.

The keeper's own code runs on it: the files, links and locks of its store are real, the processes are not. A killed
keeper does nothing any more, not even what stands in a ``finally``, and the kernel closes what it had open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time
import types
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock

from wattle_jupyter.host import attempt, files, judge, keeper, pipes, process, record, spawn, tree
from wattle_jupyter.host.process import Proc

INIT = 1
CHANGES = ("link", "mkdir", "mkfifo", "posix_fallocate", "pwrite", "rename", "rmdir", "splice", "unlink", "write")
"""Calls at which a keeper may die."""


class Killed(BaseException):
    """What a keeper that was killed sees of its next step."""


@dataclass
class Sim:
    """A process. The first of a task leads a session of its own."""

    pid: int
    ticks: int
    parent: int
    session: int
    cookie: str
    fds: list[int] = field(default_factory=list)  # the inherited lock, and the log
    status: int | None = None  # a zombie's
    daemon: bool = False  # left behind by a task

    def look(self) -> Proc:
        state = "S" if self.status is None else "Z"
        return Proc(self.pid, self.parent, self.session, self.session, state, self.ticks)

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class World:
    """``keeper_pid`` is whose calls are counted; with ``fuse`` at n the n-th call from now kills it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.boot = uuid.uuid4().hex
        self.booted = 0.0
        self.processes: dict[int, Sim] = {}
        self.ended: dict[tuple[int, int], int] = {}  # pid, ticks → wait status of what was reaped
        self.spawned: Counter[str] = Counter()  # attempt → times
        self.on_spawn: Callable[[str], None] = lambda attempt: None
        self.fuse: int | None = None
        self.dead = False
        self.keeper_pid = 0
        self._open: set[int] = set()  # descriptors of the keeper
        self._pidfds: dict[int, tuple[int, int]] = {}
        self._next = 100

    # ------------------------------------------------------------------------------------------------ life and death

    def new_pid(self) -> int:
        self._next += 1
        return self._next

    def keeper_starts(self) -> None:
        self.keeper_pid, self.dead, self.fuse = self.new_pid(), False, None

    def keeper_dies(self) -> None:
        """Its descriptors are closed, its children go to init, which reaps."""
        self.dead = True
        for fd in self._open:
            os.close(fd)
        self._open.clear()
        self._pidfds.clear()
        for sim in list(self.processes.values()):
            if sim.parent == self.keeper_pid:
                sim.parent = INIT
                if sim.status is not None:
                    self._reaped(sim)
        self.keeper_pid = 0

    def ends(self, sim: Sim, status: int) -> None:
        """A process ends, and stays as a zombie if the keeper is its parent."""
        sim.close()
        sim.status = status
        for child in self.processes.values():
            if child.parent == sim.pid:
                child.parent = self.keeper_pid or INIT
        if sim.parent == INIT:
            self._reaped(sim)

    def _reaped(self, sim: Sim) -> None:
        assert sim.status is not None
        self.ended[sim.pid, sim.ticks] = sim.status
        del self.processes[sim.pid]

    def reboots(self) -> None:
        for sim in self.processes.values():
            sim.close()
        self.processes.clear()
        self.ended.clear()
        self.now += 60
        self.boot, self.booted, self._next = uuid.uuid4().hex, self.now, 100

    def living(self, cookie: str) -> list[Sim]:
        return [sim for sim in self.processes.values() if sim.cookie == cookie and sim.status is None]

    def step(self) -> None:
        """Before each call that changes something."""
        if self.dead:
            raise Killed
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.dead = True
                raise Killed

    # ------------------------------------------------------------------------------------------------ for the keeper

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """In place of the real machine, for all that the keeper's modules do."""
        machine, clock, table, locks = self._os(), self._time(), self._process(), self._fcntl()
        with contextlib.ExitStack() as stack:
            for module in (attempt, files, judge, keeper, pipes, record, spawn, tree):
                for name, fake in (("os", machine), ("time", clock), ("process", table), ("fcntl", locks)):
                    if isinstance(vars(module).get(name), ModuleType):
                        stack.enter_context(mock.patch.object(module, name, fake))
            yield

    def _os(self) -> Any:
        fake = _copy(os)
        for name in CHANGES:
            setattr(fake, name, self._counted(getattr(os, name)))
        fake.open = self._opening(os.open, counted=True)
        fake.close = self.close
        fake.pipe2 = self._pipe2
        fake.posix_spawn = self._posix_spawn
        fake.wait4 = self._wait4
        fake.getpid = lambda: self.keeper_pid
        fake.chdir = lambda path: None
        return fake

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            self.step()
            return call(*args, **more)

        return counted

    def _opening(self, call: Callable[..., int], *, counted: bool) -> Callable[..., int]:
        def opening(*args: Any, **more: Any) -> int:
            if self.dead or (counted and args[1] & os.O_CREAT):
                self.step()
            fd = call(*args, **more)
            self._open.add(fd)
            return fd

        return opening

    def _pipe2(self, flags: int) -> tuple[int, int]:
        pair = os.pipe2(flags)
        self._open.update(pair)
        return pair

    def close(self, fd: int) -> None:
        if fd in self._open:  # else the kernel has closed it at its death
            self._open.discard(fd)
            self._pidfds.pop(fd, None)
            os.close(fd)

    def _posix_spawn(self, program: str, argv: list[str], env: dict[str, str], **more: Any) -> int:
        self.step()
        cookie = env[process.COOKIE]
        self.on_spawn(cookie)
        self.spawned[cookie] += 1
        held = {target: fd for _, fd, target in more["file_actions"]}
        pid = self.new_pid()
        fds = [os.dup(held[target]) for target in sorted(held, reverse=True) if target == 1 or target > 2]
        self.processes[pid] = Sim(pid, self._tick(), self.keeper_pid, pid, cookie, fds)
        return pid

    def _tick(self) -> int:
        self.now += 0.01
        return int((self.now - self.booted) * 100)

    def _wait4(self, pid: int, flags: int) -> tuple[int, int, Any]:
        self.step()
        children = [sim for sim in self.processes.values() if sim.parent == self.keeper_pid]
        if not children:
            raise ChildProcessError
        for sim in children:
            if sim.status is not None:
                self._reaped(sim)
                return sim.pid, sim.status, types.SimpleNamespace(ru_maxrss=0)
        return 0, 0, None

    def _time(self) -> Any:
        fake = _copy(time)
        fake.monotonic = lambda: self.now - self.booted
        fake.time = lambda: self.now
        fake.clock_gettime = lambda clock: self.now - self.booted
        fake.sleep = self.passes
        return fake

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def _fcntl(self) -> Any:
        fake = _copy(fcntl)
        fake.flock = self._counted(fcntl.flock)
        fake.fcntl = lambda fd, command, number=0: (
            self._opening(fcntl.fcntl, counted=False)(fd, command, number)
            if command == fcntl.F_DUPFD_CLOEXEC
            else fcntl.fcntl(fd, command, number)
        )
        return fake

    def _process(self) -> Any:
        fake = _copy(process)
        fake.look = self.look
        fake.scan = lambda: [sim.look() for sim in self.processes.values() if sim.status is None]
        fake.cookie = lambda pid: self.processes[pid].cookie if pid in self.processes else ""
        fake.prints_to = lambda pid, wanted: any(
            os.path.samestat(os.fstat(fd), wanted) for fd in self.processes[pid].fds
        )
        fake.holders = self._holders
        fake.zombie_status = lambda pid: self.processes[pid].status if pid in self.processes else None
        fake.open_pidfd = self._open_pidfd
        fake.pidfd_status = lambda fd: self.ended.get(self._pidfds[fd])
        fake.group_alive = lambda pgrp: any(s.session == pgrp and s.status is None for s in self.processes.values())
        fake.offer_to_oom_killer = fake.restore_file_limit = lambda *_: None
        fake.raise_file_limit = lambda *_: None
        return fake

    def look(self, pid: int) -> Proc | None:
        return self.processes[pid].look() if pid in self.processes else None

    def _holders(self, path: str) -> list[Proc]:
        wanted = os.stat(path)
        holding = lambda sim: any(os.path.samestat(os.fstat(fd), wanted) for fd in sim.fds)  # noqa: E731
        return [sim.look() for sim in self.processes.values() if holding(sim)]

    def _open_pidfd(self, pid: int, ticks: int | None) -> int | None:
        sim = self.processes.get(pid)
        if sim is None or (ticks and sim.ticks != ticks):
            return None
        fd = os.eventfd(0)
        self._open.add(fd)
        self._pidfds[fd] = (pid, sim.ticks)
        return fd

    def kernel(self) -> Kernel:
        return Kernel(self)


class Kernel:
    """What :class:`wattle_jupyter.host.process.Kernel` tells, of this world."""

    proc = pidfd = pidfd_info = splice = children = subreaper = posix_spawn = True
    together = False
    machine, namespace = "one", "pid:[1]"

    def __init__(self, world: World) -> None:
        self._world = world
        self.boot = world.boot

    def ticks(self, pid: int) -> int:
        proc = self._world.look(pid)
        return proc.ticks if proc else 0

    def ticks_of_child(self, pid: int, before: int) -> int:
        return self.ticks(pid)

    def alive(self, pid: int, ticks: int) -> bool:
        proc = self._world.look(pid)
        return proc is not None and proc.ticks == ticks and proc.state not in "ZX"

    def own_children(self) -> list[int]:
        return [sim.pid for sim in self._world.processes.values() if sim.parent == self._world.keeper_pid]

    def send(self, pid: int, ticks: int, number: int) -> bool:
        """Nobody here is deaf: SIGTERM and SIGKILL end a process."""
        self._world.step()
        if not self.alive(pid, ticks):
            return False
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._world.ends(self._world.processes[pid], int(number))
        return True


def _copy(module: ModuleType) -> Any:
    return types.SimpleNamespace(**vars(module))


def write(fd: int, data: bytes) -> bool:
    """A task writes to its FIFO; False if that is full."""
    try:
        return os.write(fd, data) == len(data)
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise
        return False
