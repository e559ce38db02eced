"""The keeper: parent and reaper of all tasks of a store on one host. It outlives the servers that talk to it.

One thread does everything; others only help to start processes while the machine is busy. A server says what it wishes;
the record on disk decides whether an attempt may start.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import DRAINING, ENDED, QUEUED, RUNNING, SWEEPING, Attempt, Facts
from wattle_jupyter.host.desk import Desk
from wattle_jupyter.host.files import Attempts, Journal, KeeperLock, checked_id
from wattle_jupyter.host.judge import UNASKED, Judge, exited
from wattle_jupyter.host.pipes import Pipe, Pump, unwritable
from wattle_jupyter.host.process import Kernel, OomWatch
from wattle_jupyter.host.record import HEIRLOOM, Line, Record
from wattle_jupyter.host.spawn import Outcome, Spawner
from wattle_jupyter.host.timers import Timers
from wattle_jupyter.host.tree import Trees
from wattle_jupyter.host.trouble import Trouble

_SWEEP_GRACE = 2.0  # seconds from SIGTERM to SIGKILL for what a task left behind
_SWEEP_LIMIT = 30.0  # then a process that cannot be killed is left
_FILES = HEIRLOOM + 64  # open without any task, and the numbers that tasks inherit
_FILES_PER_SLOT = 4
_OWN_FILES = 44  # of the keeper itself, with some to look into /proc
_LOOK = 5.0  # seconds until children are looked after though no signal told of an end
_RETRY = 0.5  # seconds until what the machine refused is tried again
_AT_ONCE = 8  # starts between two looks at all else
_SOON = 0.008  # seconds that ends wait for company while there is more to start
_BRIEF = 0.01  # seconds: of an attempt that ends within them, only its end is told
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Keeper:
    """``run`` returns when nothing went on and nobody was connected for ``idle`` seconds."""

    def __init__(self, store: str, lock: KeeperLock, listener: socket.socket, kernel: Kernel, idle: float) -> None:
        self.kernel = kernel
        self.journal = Journal(store)
        self.held: dict[str, Attempt] = {}
        self.slots = 1
        self.trouble = Trouble()
        self._idle = idle
        self._idle_since = time.monotonic()
        self._lock = lock
        self._attempts = Attempts(store)
        self._queue: deque[Attempt] = deque()
        self._live: set[str] = set()
        self._unrecorded: set[str] = set()  # ended, and the disk did not take a line of it
        self._by_pid: dict[int, Attempt] = {}
        self._fresh: dict[str, tuple[float, Attempt]] = {}  # started, nobody was told yet → when that is to be
        self._tell_at = 0.0  # when the server is told what ended
        self._rest_until = 0.0  # monotonic: nothing is started before
        self._outbox: list[Facts] = []
        self._selector = selectors.DefaultSelector()
        self._timers = Timers()
        self._oom = OomWatch()
        self._trees = Trees(kernel, self._by_pid)
        self.judge = Judge(self._attempts, kernel, self._trees)
        self._pump = Pump(self._selector, self.journal.write)
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)
        self._spawner = Spawner(self._attempts, kernel)
        self.desk = Desk(self, lock, listener, self._selector)

    # ----------------------------------------------------------------------------------------------------- the loop

    def run(self) -> None:
        self._catch_signals()
        while not self._bored():
            ready = self._selector.select(self._pause())
            for key, _ in ready:
                self._guard(key.data)
            if not ready and self._live:
                self._guard(self.reap)
            self._guard(self._tick)

    def _catch_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        # handlers, not SIG_IGN: tasks would inherit that. A server that a script started in the background brings some
        # along: its shell ignored SIGINT and SIGQUIT
        ignored = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
        for number in {signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, *ignored}:
            signal.signal(number, lambda *_: None)

    def _guard(self, step: Callable[[], None]) -> None:
        """An error in one step must not take the keeper, hence all tasks' results, with it."""
        try:
            step()
        except Exception:  # noqa: BLE001
            self.journal.write(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + traceback.format_exc())
            time.sleep(0.05)

    def _pause(self) -> float | None:
        times = [at for at in (self._timers.next_at(), self._pump.next_at()) if at is not None]
        if self._live:
            times.append(time.monotonic() + _LOOK)
        if self._queue and len(self._live) < self.slots:
            times.append(self._rest_until)
        if self._fresh:
            times.append(next(iter(self._fresh.values()))[0])
        if self._outbox:
            times.append(self._tell_at)
        if not self._busy():
            times.append(self._idle_since + self._idle)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _bored(self) -> bool:
        if self._busy():
            self._idle_since = time.monotonic()
        return time.monotonic() - self._idle_since >= self._idle

    def _busy(self) -> bool:
        """Would something be lost if this keeper ended now?

        What is only held until it is acknowledged stands in the records: the next keeper tells it from there.
        """
        if self.desk.owned or self._queue or self._live or any(a.lingering for a in self.held.values()):
            return True
        return bool(self._unrecorded) and self._lock.in_place()

    def _tick(self) -> None:
        now = time.monotonic()
        for name, id in self._timers.due(now):
            if id in self.held:
                self._due(name, self.held[id])
        self._pump.tend(now)
        self._fill()
        self._tell(time.monotonic())
        if self._pump.trouble:
            self.trouble.set("logs", self._pump.trouble)
        else:
            self.trouble.over("logs")
        if self.trouble.news():
            self.desk.tell_trouble(self.trouble.text)

    def _due(self, name: str, attempt: Attempt) -> None:
        """What the machine refuses (``EMFILE`` at a look into /proc) is not forgotten."""
        try:
            getattr(self, f"_{name}_due")(attempt)
        except OSError:
            self._timers.set((name, attempt.id), time.monotonic() + _RETRY)
            raise

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake
            os.write(self._wake_out, b"s")

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_in, 65536)
        self.reap()

    # ------------------------------------------------------------------------------------------------------- start

    def allow(self, slots: int) -> None:
        """So many attempts may run at a time; fewer where this process may not open the files that they take."""
        self._spawner.limits = process.raise_file_limit(_FILES + _FILES_PER_SLOT * slots) or self._spawner.limits
        may_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room = slots if may_open == resource.RLIM_INFINITY else (may_open - _OWN_FILES) // _FILES_PER_SLOT
        self.slots = max(1, min(slots, room))
        if self.slots < slots:
            why = f"a process may open {may_open} files here (ulimit -n)"
            self.journal.write(f"{self.slots} tasks run at a time, not {slots}: {why}")

    def enqueue(self, spec: dict[str, Any], env: dict[str, str]) -> None:
        """Start this attempt as soon as a slot is free, unless it is known. ``env`` is what its own is added to."""
        id = checked_id(spec["id"])
        if id in self.held:
            return
        exit_file = spec.get("exit_file")
        claim = {
            "k": "claim", "v": 1, "attempt": id, "task_run": spec["task_run"], "run": spec["run"], "n": spec["n"],
            "round": spec["round"], "epoch": spec["epoch"], "timeout": spec["timeout"], "grace": spec["grace"],
            "keep_children": spec["keep_children"], "boot": self.kernel.boot, "machine": self.kernel.machine,
            "pidns": self.kernel.namespace, "at": time.time(),
            "exit_file": not self.kernel.pidfd_info if exit_file is None else exit_file,
        }  # fmt: skip
        attempt = Attempt(id, claim)
        attempt.argv, attempt.cwd = list(spec["argv"]), spec["cwd"]
        attempt.env = {**env, **spec["env"], process.COOKIE: id}
        self.held[id] = attempt
        self._queue.append(attempt)

    def _fill(self) -> None:
        """Start what may start, a few at a time: ends and messages must not wait for a crowd."""
        batch: list[Attempt] = []
        while len(batch) < _AT_ONCE and self._may_start():
            attempt = self._queue.popleft()
            self._live.add(attempt.id)
            batch.append(attempt)
        later = []
        for outcome in self._spawner.start_all(batch):
            if outcome.kind == "running":
                if outcome.why:
                    self.journal.write(f"attempt {outcome.attempt.id}: {outcome.why}")
                self._started(outcome.attempt)
            elif outcome.kind == "later":
                later.append(outcome)
            else:
                self._guard(partial(self._not_started, outcome))  # the others of the batch run, whatever is wrong here
        for outcome in reversed(later):  # back to the front of the queue
            self._put_off(outcome.attempt, outcome.why)

    def _may_start(self) -> bool:
        return bool(self._queue) and len(self._live) < self.slots and time.monotonic() >= self._rest_until

    def _put_off(self, attempt: Attempt, why: str) -> None:
        """The machine lacks what a start takes: room, memory, numbers for files. No task fails for that."""
        attempt.state = QUEUED
        self._live.discard(attempt.id)
        self._queue.appendleft(attempt)
        self._rest_until = time.monotonic() + _RETRY
        self.trouble.set(attempt.id, f"tasks cannot be started, and wait: {why}")

    def _started(self, attempt: Attempt) -> None:
        attempt.state = RUNNING
        self.trouble.over(attempt.id)
        attempt.argv, attempt.env = [], {}
        self._by_pid[attempt.pid] = attempt
        if attempt.deadline is not None:
            self._timers.set(("deadline", attempt.id), attempt.deadline)
        self._fresh[attempt.id] = (time.monotonic() + _BRIEF, attempt)

    def _tell(self, now: float) -> None:
        """What is news to the server. It has to know at once what ended if nothing waits to be started here."""
        while self._fresh and (first := next(iter(self._fresh.values())))[0] <= now:
            self._lasts(first[1])
        if self._outbox and (not self._queue or now >= self._tell_at):
            self.desk.tell(self._outbox)
            self._outbox = []

    def _lasts(self, attempt: Attempt) -> None:
        """This one did not end at once: all that can be spared for those that do is done now."""
        del self._fresh[attempt.id]
        process.offer_to_oom_killer(attempt.pid)
        if attempt.pipe is not None:  # of one that ends, it is emptied then
            self._pump.add(attempt.pipe)
        self._report(attempt.fact())

    def _report(self, fact: Facts) -> None:
        if not self._outbox:
            self._tell_at = time.monotonic() + _SOON
        self._outbox.append(fact)

    def _not_started(self, outcome: Outcome) -> None:
        attempt = outcome.attempt
        if outcome.kind == "known":
            self._live.discard(attempt.id)
            del self.held[attempt.id]
            attempt.release()
            try:
                fact = self.inspect(attempt.id, "", None)
            except OSError as error:
                if self.held.setdefault(attempt.id, attempt) is attempt:  # else it is taken up
                    self._put_off(attempt, error.strerror or str(error))
                raise
            self.trouble.over(attempt.id)
            if attempt.id not in self.held or self.held[attempt.id].state != ENDED:  # else it was told just now
                self._report(fact)
            return
        self._note(attempt, {"k": "never_started", "why": outcome.why})
        self._settle(attempt, attempt.base("never_started") | {"why": outcome.why})

    # --------------------------------------------------------------------------------------------------------- end

    def reap(self) -> None:
        """Take the exits of all children that ended."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            attempt = self._by_pid.pop(pid, None)
            if attempt is not None:
                self._leader_ended(attempt, status, usage.ru_maxrss)

    def _leader_ended(self, attempt: Attempt, status: int, maxrss: int) -> None:
        self._by_pid.pop(attempt.pid, None)
        end = exited(attempt, status)
        if end["signal"] == signal.SIGKILL and not attempt.why and self._oom.struck():
            end["why"] = "killed by the OOM killer"
        # the child is born in the keeper's memory: a smaller peak than the keeper's own cannot be seen
        if maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            end["peak_rss"] = maxrss * _MAXRSS_UNIT
        self._ended(attempt, end)

    def _ended(self, attempt: Attempt, end: Facts) -> None:
        if attempt.pidfd is not None:
            self._selector.unregister(attempt.pidfd)
        for name in ("deadline", "kill", "watch"):
            self._timers.cancel((name, attempt.id))
        attempt.end = end
        attempt.state = SWEEPING
        if end["kind"] == "exited":
            self._note(attempt, {"k": "exit"} | {k: end[k] for k in ("code", "signal", "why", "ended_at", "peak_rss")})
        self._due("sweep", attempt)

    def _sweep_due(self, attempt: Attempt) -> None:
        """End what the leader left behind, then go on."""
        now = time.monotonic()
        if attempt.keep_children or self._trees.nothing_left(attempt) or not self._press(attempt, now):
            self._drain_due(attempt)
        else:
            self._timers.set(("sweep", attempt.id), now + 0.02)

    def _press(self, attempt: Attempt, now: float) -> bool:
        """SIGTERM first, SIGKILL after a short grace. False when nobody is left, or nobody who can be killed."""
        if attempt.kill_at is None:
            attempt.kill_at = now + min(_SWEEP_GRACE, attempt.grace)
            return self._trees.signal(attempt, signal.SIGTERM, signal.SIGCONT) > 0
        if now < attempt.kill_at:
            return bool(self._trees.members(attempt))
        return self._trees.signal(attempt, signal.SIGKILL) > 0 and now < attempt.kill_at + _SWEEP_LIMIT

    def _drain_due(self, attempt: Attempt) -> None:
        attempt.state = DRAINING
        pipe = attempt.pipe
        if pipe is not None:
            self._pump.remove(pipe)
            try:
                pipe.drain(time.time())
            except OSError as error:
                self.journal.write(f"attempt {attempt.id}: log not writable, trying again: {error}")
                self.trouble.set(attempt.id, unwritable(error))
                self._timers.set(("drain", attempt.id), time.monotonic() + 0.5)
                return
        assert attempt.end is not None
        if attempt.end["kind"] == "lost" and not self._locked(attempt):
            self._timers.set(("drain", attempt.id), time.monotonic() + 0.05)
            return
        self._swept(attempt, attempt.end)

    def _locked(self, attempt: Attempt) -> bool:
        """The third witness of a loss: nobody of the task holds the record any longer. Who does is ended."""
        if attempt.keep_children or attempt.record is None or attempt.record.lock():
            return True
        path = os.path.join(self._attempts.directory(attempt.id), "record")
        for proc in process.holders(path):
            self.kernel.send(proc.pid, proc.ticks, signal.SIGKILL)
        return False

    def _swept(self, attempt: Attempt, end: Facts) -> None:
        pipe = attempt.pipe
        end["log_size"] = pipe.size if pipe is not None else 0
        first = pipe.first if pipe is not None else None
        if end["kind"] == "lost":
            self._note(attempt, {"k": "lost", "why": end["why"], "log_size": end["log_size"], "first": first})
        else:
            self._note(attempt, {"k": "swept", "log_size": end["log_size"], "first": first})
        if attempt.keep_children and pipe is not None and attempt.pid and process.group_alive(attempt.pid):
            attempt.lingering = True
            self._pump.add(pipe)
            self._timers.set(("linger", attempt.id), time.monotonic() + 1.0)
        self._settle(attempt, end)

    def _settle(self, attempt: Attempt, end: Facts) -> None:
        self.trouble.over(attempt.id)
        attempt.end = end
        attempt.state = ENDED
        self._fresh.pop(attempt.id, None)  # its end says when it started
        attempt.release()
        if attempt.pid and not attempt.adopted and not attempt.keep_children:
            self._spawner.spare(attempt.id)
        self._live.discard(attempt.id)
        self._report(end)

    def _linger_due(self, attempt: Attempt) -> None:
        """Children that may stay still write to the log."""
        if process.group_alive(attempt.pid):
            self._timers.set(("linger", attempt.id), time.monotonic() + 1.0)
            return
        attempt.lingering = False
        if attempt.pipe is not None:
            self._pump.remove(attempt.pipe)
            attempt.pipe.drain(time.time())
        attempt.release()
        if attempt.acknowledged:
            del self.held[attempt.id]

    def _note(self, attempt: Attempt, line: Line) -> None:
        """Write to the record. Its first 4 KiB are reserved, so a full disk does not reach this."""
        try:
            attempt.write(line)
        except OSError as error:
            self._unrecorded.add(attempt.id)
            self.journal.write(f"attempt {attempt.id}: cannot record {line['k']}: {error}")

    # -------------------------------------------------------------------------------------------------------- stop

    def stop(self, id: str, how: str, grace: float) -> None:
        """End the whole tree of an attempt. An exit that was there first stays what it was."""
        self.reap()
        attempt = self.held.get(id)
        if attempt is None:
            return
        if attempt.state == QUEUED:
            self._queue.remove(attempt)
            if not self._call_off(attempt):
                self._not_started(Outcome(attempt, "known"))
                self.stop(id, how, grace)
        elif attempt.state == RUNNING:
            self._stop(attempt, "stopped", how, grace)

    def _call_off(self, attempt: Attempt) -> bool:
        """It was never started; False if a keeper before this one did, and died before it said so.

        Only this one can start it now: the disk need not take it at once.
        """
        why = "stopped"
        if attempt.record is not None:  # put off after its claim
            self._note(attempt, {"k": "never_started", "why": why})
        else:
            try:
                self.judge.entomb(attempt.id, "", why)
            except FileExistsError:
                return False
            except OSError as error:
                self.journal.write(f"attempt {attempt.id}: no tombstone: {error}")
        self._settle(attempt, attempt.base("never_started") | {"why": why})
        return True

    def _stop(self, attempt: Attempt, why: str, how: str, grace: float) -> None:
        if attempt.adopted and not self.kernel.alive(attempt.pid, attempt.ticks):
            self._watch_due(attempt)
            return
        now = time.monotonic()
        kill_at = now if how == "kill" else now + grace
        if attempt.why and attempt.kill_at is not None and kill_at >= attempt.kill_at:
            return  # it is being stopped, and no later than that
        attempt.why = attempt.why or why
        attempt.kill_at = kill_at
        self._note(attempt, {"k": "stop", "why": attempt.why, "kill_at": kill_at})
        if how == "kill":
            self._kill_due(attempt)
        else:
            self._timers.set(("kill", attempt.id), kill_at)
            # a stopped process takes a SIGTERM only when it goes on
            self._trees.signal(attempt, signal.SIGTERM, signal.SIGCONT)

    def _deadline_due(self, attempt: Attempt) -> None:
        self.reap()
        if attempt.state == RUNNING:
            self._stop(attempt, "timed out", "stop", attempt.grace)

    def _kill_due(self, attempt: Attempt) -> None:
        if attempt.state == RUNNING:
            self._timers.set(("kill", attempt.id), time.monotonic() + 0.1)
            self._trees.signal(attempt, signal.SIGKILL)

    # ----------------------------------------------------------------------------------------------------- judging

    def inspect(self, id: str, row_boot: str, seen: Any = UNASKED) -> Facts:
        """The truth about an attempt. One that another keeper started is taken up."""
        known = self.held.get(checked_id(id))
        if known is not None:
            return known.fact()
        verdict = self.judge.judge(id, row_boot, seen)
        if not isinstance(verdict, Attempt):
            return verdict
        self._adopt(verdict)
        return verdict.fact()

    def _adopt(self, attempt: Attempt) -> None:
        try:
            attempt.pipe = Pipe(lambda: self._attempts.open(attempt.id), splice=self.kernel.splice)
        except FileNotFoundError:
            attempt.pipe = None  # its keeper died before it made one
        except OSError:  # it is judged again when somebody asks again
            attempt.release()
            raise
        self.held[attempt.id] = attempt
        self._live.add(attempt.id)
        if attempt.state == SWEEPING:
            self._due("sweep", attempt)
        elif attempt.state == DRAINING:
            self._due("drain", attempt)
        else:
            self._watch(attempt)

    def _watch(self, attempt: Attempt) -> None:
        if attempt.pipe is not None:
            self._pump.add(attempt.pipe)
        if attempt.why and attempt.kill_at is not None:
            self._timers.set(("kill", attempt.id), attempt.kill_at)
        elif attempt.deadline is not None:
            self._timers.set(("deadline", attempt.id), attempt.deadline)
        self._timers.set(("watch", attempt.id), time.monotonic())  # unless its pidfd tells, if there can be one now
        attempt.pidfd = process.open_pidfd(attempt.pid, attempt.ticks) if self.kernel.pidfd else None
        if attempt.pidfd is not None:
            self._selector.register(attempt.pidfd, selectors.EVENT_READ, lambda: self._watch_due(attempt))
            self._timers.cancel(("watch", attempt.id))

    def _watch_due(self, attempt: Attempt) -> None:
        """Has an adopted leader ended, and how?"""
        if attempt.state != RUNNING:
            return
        if self.kernel.alive(attempt.pid, attempt.ticks):
            self._timers.set(("watch", attempt.id), time.monotonic() + 0.1)
            return
        status = self.judge.last_words(attempt)
        if status is None:
            status = self.judge.last_words(attempt)  # reaped between two looks
        if status is not None:
            self._ended(attempt, exited(attempt, status))
        elif attempt.why and attempt.kill_at is not None:
            # nobody kept the code, but it is known that and by whom it was ended
            number = signal.SIGKILL if time.monotonic() >= attempt.kill_at else signal.SIGTERM
            self._ended(attempt, exited(attempt, int(number)))
        else:
            self._ended(attempt, attempt.base("lost") | {"why": "how it ended cannot be known here", "ended_at": None})

    # -------------------------------------------------------------------------------------------------- forgetting

    def acknowledge(self, ids: list[str]) -> None:
        for id in ids:
            attempt = self.held.get(id)
            if attempt is not None and attempt.state == ENDED:
                attempt.acknowledged = True
                self._unrecorded.discard(id)
                if not attempt.lingering:
                    del self.held[id]

    def forget(self, id: str) -> str:
        """Delete an ended attempt's directory. Returns why not, or ``""``."""
        attempt = self.held.get(checked_id(id))
        if attempt is not None and (attempt.state != ENDED or attempt.lingering):
            return "it has not ended"
        try:
            dir_fd = self._attempts.open(id)
        except FileNotFoundError:
            return ""
        try:
            why = _in_use(dir_fd)
        finally:
            os.close(dir_fd)
        if not why:
            self._attempts.remove(id)
            self.held.pop(id, None)
        return why


def _in_use(dir_fd: int) -> str:
    try:
        record = Record.open(dir_fd)
    except FileNotFoundError:
        return ""
    try:
        if record.find("start") and not (record.find("exit") or record.find("lost")):
            return "it was not judged yet"
        return "" if record.lock() else "its processes still run"
    finally:
        record.close()
