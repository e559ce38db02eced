"""Facts about processes. What only Linux can tell is asked for here and nowhere else; `Kernel` can switch each off."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterable

from wattle_jupyter.host.trouble import passes

COOKIE = "WATTLE_ATTEMPT"
"""Name of the environment variable by which a task's processes are found again."""

FEATURES = frozenset({"proc", "children", "pidfd", "pidfd_info", "posix_spawn", "together", "subreaper", "splice"})

Proc = namedtuple("Proc", "pid ppid pgrp session state ticks")

_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_PR_SET_CHILD_SUBREAPER = 36


def first_line(path: str) -> str:
    """First line of a small file, or ``""`` if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def boot_id() -> str:
    """Changes with each boot; ``""`` where the system does not tell."""
    return first_line("/proc/sys/kernel/random/boot_id")


def machine_id() -> str:
    return first_line("/etc/machine-id") or first_line("/var/lib/dbus/machine-id") or f"host:{socket.gethostname()}"


def since_boot() -> int:
    """Nanoseconds, those asleep as well: the clock that /proc tells the start of processes by."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else 0


def pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def parse_stat(stat: bytes) -> Proc:
    """One process from ``/proc/PID/stat``; the command's name may hold blanks and brackets."""
    pid, rest = stat.split(b" ", 1)
    word = rest.rsplit(b")", 1)[1].split()
    return Proc(int(pid), int(word[1]), int(word[2]), int(word[3]), word[0].decode(), int(word[19]))


def look(pid: int) -> Proc | None:
    """The process as it is now, a zombie included; None if there is none. OSError if one cannot look just now."""
    try:
        return parse_stat(_read(f"/proc/{pid}/stat"))
    except OSError as error:
        if passes(error):  # of us, not of it: to take it for gone would be wrong
            raise
        return None
    except (IndexError, ValueError):
        return None


def _read(path: str) -> bytes:
    """A file of /proc. No file object: that would cost twice as much."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, 65536)
        while len(data) > 1024 and (part := os.read(fd, 65536)):  # what is shorter came whole
            data += part
    finally:
        os.close(fd)
    return data


def zombie_status(pid: int) -> int | None:
    """Wait status of a process that nobody reaped yet (last field of its stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            word = file.read().rsplit(b")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return int(word[-1]) if word[0] == b"Z" else None


def scan() -> list[Proc]:
    """All processes that can be seen, zombies left out."""
    found = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [proc for proc in found if proc is not None and proc.state not in "ZX"]


def cookie(pid: int) -> str:
    """Id of the attempt in whose environment the process was started; ``""`` if none or not ours to read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            env = b"\0" + file.read()
    except OSError as error:
        if passes(error):
            raise
        return ""
    _, mark, rest = env.partition(b"\0" + COOKIE.encode() + b"=")
    return rest.split(b"\0", 1)[0].decode("ascii", "replace") if mark else ""


def holders(path: str) -> list[Proc]:
    """Processes other than this one that have the file at ``path`` open."""
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    return [proc for proc in scan() if proc.pid != os.getpid() and _has_open(proc.pid, wanted)]


def prints_to(pid: int, wanted: os.stat_result) -> bool:
    """Is this file the standard output or error of a process?"""
    for number in (1, 2):
        try:
            seen = os.stat(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue  # closed, not ours, or gone
        if os.path.samestat(seen, wanted):
            return True
    return False


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return any(_is_same(entry, wanted) for entry in entries)
    except OSError:
        return False  # not ours, or gone


def _is_same(entry: os.DirEntry[str], wanted: os.stat_result) -> bool:
    try:
        seen = entry.stat()
    except OSError:
        return False  # closed meanwhile
    return (seen.st_ino, seen.st_dev) == (wanted.st_ino, wanted.st_dev)


def descendants(seeds: Iterable[int], procs: Iterable[Proc]) -> set[int]:
    """``seeds`` and everything below them."""
    below: dict[int, list[int]] = {}
    for proc in procs:
        below.setdefault(proc.ppid, []).append(proc.pid)
    tree: set[int] = set()
    todo = list(seeds)
    while todo:
        pid = todo.pop()
        if pid not in tree:
            tree.add(pid)
            todo.extend(below.get(pid, ()))
    return tree


def exit_words(status: int) -> dict[str, int | None]:
    """A wait status as ``code`` or ``signal``."""
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "signal": None} if code >= 0 else {"code": None, "signal": -code}


def pidfd_status(fd: int) -> int | None:
    """Wait status of any process, child or not, from its pidfd; None before it was reaped or on an old kernel."""
    import fcntl  # noqa: PLC0415  (not on every platform)

    info = bytearray(struct.pack("<Q", _PIDFD_INFO_EXIT) + bytes(56))
    try:
        fcntl.ioctl(fd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    return int(struct.unpack_from("<i", info, 60)[0]) if struct.unpack_from("<Q", info)[0] & _PIDFD_INFO_EXIT else None


def open_pidfd(pid: int, ticks: int | None) -> int | None:
    """A pidfd of exactly this process, or None if it is gone or the platform has none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        proc = look(pid)
    except OSError:
        os.close(fd)
        raise
    if proc is None or (ticks and proc.ticks != ticks):
        os.close(fd)
        return None
    return fd


def ended(fd: int) -> bool:
    """Has the process behind this pidfd ended?"""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _probe_pidfd_info() -> bool:
    """Can this kernel tell how a process ended that somebody else reaped? (Linux 6.15 can)"""
    pid = os.fork()
    if pid == 0:
        os._exit(37)
    fd = open_pidfd(pid, None)
    os.waitpid(pid, 0)
    if fd is None:
        return False
    status = pidfd_status(fd)
    os.close(fd)
    return status == 37 << 8


def _has_setsid() -> bool:
    """Can ``posix_spawn`` start a session here?"""
    try:
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", ":"], {}, setsid=True)
    except (NotImplementedError, AttributeError, OSError):
        return False
    os.waitpid(pid, 0)
    return True


def _become_subreaper() -> bool:
    import ctypes  # noqa: PLC0415  (slow to import, used once)

    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class Kernel:
    """What this system can do, probed once. Names in ``without`` count as missing, so that tests see the fallbacks."""

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        linux = sys.platform == "linux"
        self.proc = linux and "proc" not in without
        self.pidfd = self.proc and "pidfd" not in without and hasattr(os, "pidfd_open")
        self.pidfd_info = self.pidfd and "pidfd_info" not in without and _probe_pidfd_info()
        self.posix_spawn = linux and "posix_spawn" not in without and _has_setsid()
        self.together = self.posix_spawn and "together" not in without
        self.splice = "splice" not in without and hasattr(os, "splice")
        self.children = self.proc and "children" not in without and os.path.exists(_children_path())
        self.subreaper = linux and "subreaper" not in without and _become_subreaper()
        self.boot = boot_id()
        self.machine = machine_id()
        self.namespace = pid_namespace()
        self._tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        self._clock_agrees = False  # with /proc: seen once, as it need not in a sandbox or under a faked clock

    def ticks(self, pid: int) -> int:
        """Start of a process in clock ticks since boot: with the pid it names one process for ever."""
        proc = look(pid) if self.proc else None
        return proc.ticks if proc else 0

    def ticks_of_child(self, pid: int, before: int) -> int:
        """The same of a child that was started since the clock showed ``before`` (:func:`since_boot`).

        Most are born within one tick, which the clock then knows: a look into /proc takes 35 µs."""
        tick, sure = before // self._tick, before // self._tick == since_boot() // self._tick
        if sure and self._clock_agrees:
            return tick
        found = self.ticks(pid)
        if sure and found:
            self._clock_agrees = found == tick
        return found

    def alive(self, pid: int, ticks: int) -> bool:
        """Does exactly this process run? A zombie does not."""
        if self.proc:
            proc = look(pid)
            return proc is not None and (proc.ticks == ticks or not ticks) and proc.state not in "ZX"
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def own_children(self) -> list[int]:
        """Processes that came to us because their parent ended (children of this process' main thread)."""
        if not self.subreaper:
            return []
        if self.children:
            try:
                return [int(word) for word in _read(_children_path()).split()]
            except OSError:
                pass
        return [proc.pid for proc in scan() if proc.ppid == os.getpid()] if self.proc else []

    def send(self, pid: int, ticks: int, number: int) -> bool:
        """Signal exactly this process; False if it is gone."""
        if pid <= 1 or pid == os.getpid():
            return False
        fd = open_pidfd(pid, ticks) if self.pidfd else None
        try:
            if fd is not None:
                signal.pidfd_send_signal(fd, number)
            elif self.proc and not self.alive(pid, ticks):
                return False
            else:
                os.kill(pid, number)
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.EPERM):
                raise
            return False
        finally:
            if fd is not None:
                os.close(fd)
        return True


def _children_path() -> str:
    return f"/proc/self/task/{os.getpid()}/children"


def group_alive(pgrp: int) -> bool:
    try:
        os.killpg(pgrp, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def raise_file_limit(needed: int, ceiling: int = 65536) -> tuple[int, int] | None:
    """Let this process open ``needed`` files. Returns the limits as they were, for :func:`restore_file_limit`; None if
    they do already: as long as possible nothing is raised, for children inherit it until it is restored."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    wish = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wish), hard))
    return soft, hard


def restore_file_limit(pid: int, limits: tuple[int, int]) -> None:
    if hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError):  # already gone, or it changed its user
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def offer_to_oom_killer(pid: int, score: int = 300) -> None:
    """Let the kernel take the task before it takes the keeper or the server."""
    try:
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, str(score).encode())
    except OSError:
        pass  # already gone, or a sandbox forbids it: a nicety only
    finally:
        os.close(fd)


class OomWatch:
    """Tells whether the OOM killer struck in our own control group since it was asked last."""

    def __init__(self, counter: Callable[[], int] | None = None) -> None:
        self._counter = counter or _oom_counter()
        self._seen = self._counter()

    def struck(self) -> bool:
        """True once for each kill."""
        if self._counter() <= self._seen:
            return False
        self._seen += 1
        return True


def _oom_counter() -> Callable[[], int]:
    paths = oom_paths(_lines("/proc/self/cgroup"))
    path = next((path for path in paths if any("oom_kill " in line for line in _lines(path))), None)
    return (lambda: 0) if path is None else (lambda: oom_kills(_lines(path)))


def oom_paths(cgroup: list[str]) -> list[str]:
    """Files that may count kills, from the lines of ``/proc/self/cgroup``."""
    paths = []
    for line in cgroup:
        _, controllers, path = line.split(":", 2)
        path = path.rstrip("/")
        if controllers == "":
            paths.append(f"/sys/fs/cgroup{path}/memory.events")
        elif "memory" in controllers.split(","):
            paths.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    return paths


def oom_kills(lines: list[str]) -> int:
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
