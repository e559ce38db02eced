"""From an attempt's FIFO to its log: quiet ones every 20 ms, noisy ones at once, nothing lost when the disk is full."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import selectors
import struct
import termios
import time
from collections.abc import Callable

FIFO = "fifo"
LOG = "log"
TIMES = "times"

POINT = struct.Struct("<dQ")
"""One entry of the time index: seconds since the epoch, size of the log then."""

_TICK = 0.02
_BREATH = 0.002  # after a noisy step: a pipe of 1 MiB may be full long before a tick is over, and its writer waits
_RETRY = 0.5  # after a full disk or an I/O error
_POINT_GAP = 0.1
_NOISY = 32 << 10
_MOST = 1 << 20
_NONBLOCK = 2  # SPLICE_F_NONBLOCK


class Pipe:
    """The FIFO and the log of one attempt. The FIFO is held open, so no writer ever sees a broken pipe; the log is
    made with its first byte.

    ``fresh`` is the attempt's directory, open, if nothing can have been written yet.
    """

    def __init__(self, open_dir: Callable[[], int], *, splice: bool = True, fresh: int = -1) -> None:
        self._open_dir = open_dir
        self._splice = splice
        self._unwritten = b""
        self._times = -1
        self._noisy = False
        self._pending: tuple[float, int] | None = None
        self._points = b""  # that are not in the file yet
        self._last = 0.0
        self.first: tuple[float, int] | None = None
        self.size = 0
        dir_fd = fresh if fresh >= 0 else open_dir()
        self.fifo = self.log = -1
        try:
            self.fifo = os.open(FIFO, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)
            if fresh < 0:
                with contextlib.suppress(FileNotFoundError):
                    self._open_log(dir_fd, 0)
        except BaseException:
            self.close()
            raise
        finally:
            if fresh < 0:
                os.close(dir_fd)
        if self.size:
            self._resume()

    def _open_log(self, dir_fd: int, create: int) -> None:
        # no O_APPEND: splice refuses it. The keeper is the only writer.
        self.log = os.open(LOG, os.O_WRONLY | create | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=dir_fd)
        self.size = os.lseek(self.log, 0, os.SEEK_END)

    def _resume(self) -> None:
        """Another keeper wrote the log so far."""
        self.first = (os.fstat(self.log).st_mtime, self.size)
        self._last = self.first[0]

    def move(self, now: float) -> int:
        """Move what is there, at most 1 MiB. Returns how many bytes; OSError if the log cannot be written."""
        try:
            count = self._move()
        except BlockingIOError:
            return 0
        if count:
            self.size += count
            self._note(now)
            if count >= _NOISY and not self._noisy:
                self._grow()
        return count

    def _move(self) -> int:
        if self.log < 0:  # before anything is taken out of the FIFO: this process may be killed at any moment
            if not _waiting(self.fifo):
                return 0
            self._create_log()
        if self._splice and not self._unwritten:
            try:
                return os.splice(self.fifo, self.log, _MOST, flags=_NONBLOCK)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):
                    raise
                self._splice = False  # this file system cannot
        if not self._unwritten:
            self._unwritten = os.read(self.fifo, _MOST)
        count = os.write(self.log, self._unwritten)
        self._unwritten = self._unwritten[count:]
        return count

    def _create_log(self) -> None:
        if self._deleted():
            self.log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            return
        dir_fd = self._open_dir()
        try:
            self._open_log(dir_fd, os.O_CREAT)
        finally:
            os.close(dir_fd)

    def _deleted(self) -> bool:
        """Did somebody delete the attempt's folder? Nobody can read its log then, and its task must not wait for room
        in it. A folder that was only moved comes back, maybe."""
        return os.fstat(self.fifo).st_nlink == 0

    def _grow(self) -> None:
        self._noisy = True
        with contextlib.suppress(OSError, AttributeError):  # over the user's allowance, or not Linux: slower only
            fcntl.fcntl(self.fifo, fcntl.F_SETPIPE_SZ, _MOST)

    def drain(self, now: float) -> int:
        """Move all that is there when nobody writes any longer; a writer nobody knows of cannot hold this up."""
        total = 0
        while total <= 2 * _MOST:
            count = self.move(now)
            total += count
            if not count and not self._unwritten:
                break
        self.flush_times()
        return total

    # ------------------------------------------------------------------------------------------------ time index

    def _note(self, now: float) -> None:
        """The first point is kept in memory and goes to the record; a file is made only when there is a second one."""
        if self.first is None:
            self.first = (now, self.size)
            self._last = now
        elif now - self._last >= _POINT_GAP:
            self._settle()
            self._pending = (now, self.size)
            self.flush_times()
        else:
            # too soon after the last point: bytes of this time are known with the next point or at the end
            self._pending = (now, self.size)

    def _settle(self) -> None:
        """Make a point of what pends."""
        if self._pending is None or self.first is None:
            return
        (when, size), self._pending = self._pending, None
        if self._times < 0 and not self._points and when - self.first[0] < _POINT_GAP:
            self.first = (self.first[0], size)
            return
        self._points += POINT.pack(when, size)
        self._last = when

    def flush_times(self) -> None:
        self._settle()
        if not self._points:
            return
        if self._times < 0:
            self._points = self._open_times(self._points)
        os.write(self._times, self._points)  # two points at a time of a log that grows all the time
        self._points = b""

    def _open_times(self, data: bytes) -> bytes:
        if self._deleted():
            self._times = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            return data
        dir_fd = self._open_dir()
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._times = os.open(TIMES, flags, 0o600, dir_fd=dir_fd)
        finally:
            os.close(dir_fd)
        if os.fstat(self._times).st_size == 0 and self.first is not None:
            data = POINT.pack(*self.first) + data
        return data

    def close(self) -> None:
        for name in ("fifo", "log", "_times"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)


def _waiting(fifo: int) -> int:
    """Bytes that can be read."""
    (count,) = struct.unpack("i", fcntl.ioctl(fifo, termios.FIONREAD, bytes(4)))
    return int(count)


def unwritable(error: OSError) -> str:
    return f"logs cannot be written, and tasks that write wait: {error.strerror}"


class Pump:
    """Moves bytes for all pipes. Its own selector is nested in the keeper's, and taken out of it between ticks."""

    def __init__(self, outer: selectors.BaseSelector, complain: Callable[[str], None]) -> None:
        self._outer = outer
        self._complain = complain
        self._inner = selectors.DefaultSelector()
        self._armed = False
        self._noisy = False  # was the last step
        self._rearm_at = 0.0
        self._sick: dict[Pipe, float] = {}  # → when to try again
        self._why = ""

    def add(self, pipe: Pipe) -> None:
        self._inner.register(pipe.fifo, selectors.EVENT_READ, pipe)
        self._arm()

    def remove(self, pipe: Pipe) -> None:
        if self._sick.pop(pipe, None) is None and pipe.fifo in self._inner.get_map():
            self._inner.unregister(pipe.fifo)
        if not self._inner.get_map():
            self._disarm()

    @property
    def trouble(self) -> str:
        """Why a log cannot be written just now, or ``""``."""
        return self._why if self._sick else ""

    def next_at(self) -> float | None:
        """When (monotonic) :meth:`tend` must be called next, if at all."""
        times = list(self._sick.values())
        if not self._armed and self._inner.get_map():
            times.append(self._rearm_at)
        return min(times, default=None)

    def tend(self, now: float) -> None:
        for pipe in [pipe for pipe, at in self._sick.items() if at <= now]:
            del self._sick[pipe]
            self._inner.register(pipe.fifo, selectors.EVENT_READ, pipe)
            self._move(pipe, time.time())  # what was read already makes the FIFO readable no more
        if not self._armed and now >= self._rearm_at and self._inner.get_map():
            self._arm()

    def step(self) -> None:
        """Something is readable: move it, then rest for a tick unless somebody is noisy."""
        noisy = False
        wall = time.time()
        for key, _ in self._inner.select(0):
            noisy |= self._move(key.data, wall) >= _NOISY
        if not noisy:
            self._disarm()
            self._rearm_at = time.monotonic() + (_BREATH if self._noisy else _TICK)
        self._noisy = noisy

    def _move(self, pipe: Pipe, wall: float) -> int:
        try:
            return pipe.move(wall)
        except OSError as error:
            # the bytes stay in the pipe; its writer waits
            self._complain(f"log not writable, trying again every {_RETRY} s: {error}")
            self._inner.unregister(pipe.fifo)
            self._sick[pipe] = time.monotonic() + _RETRY
            self._why = unwritable(error)
            return 0

    def _arm(self) -> None:
        if not self._armed:
            self._outer.register(self._inner.fileno(), selectors.EVENT_READ, self.step)
            self._armed = True

    def _disarm(self) -> None:
        if self._armed:
            self._outer.unregister(self._inner.fileno())
            self._armed = False
