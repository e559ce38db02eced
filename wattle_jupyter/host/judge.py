"""What became of an attempt, from what is on disk and what still runs. Only the holder of the keeper's lock may ask."""

from __future__ import annotations

import os
import time
from typing import Any

from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import DRAINING, RUNNING, SWEEPING, Attempt, Facts
from wattle_jupyter.host.files import Attempts
from wattle_jupyter.host.pipes import FIFO
from wattle_jupyter.host.process import Kernel
from wattle_jupyter.host.record import Record
from wattle_jupyter.host.spawn import EXIT_FILE
from wattle_jupyter.host.tree import Trees

UNASKED = object()
"""In place of a wait status: the server was not yet asked what it saw."""

GONE = "gone"
"""Kind of an answer that asks back: the process is gone without a code; has the server seen one?"""

_JUMP = 1.0  # seconds
_PATIENCE = 1.0  # a child of a dead keeper may be between fork and exec: it holds the lock and shows no cookie


class Judge:
    """Each verdict is for good: what was judged can not start later."""

    def __init__(self, attempts: Attempts, kernel: Kernel, trees: Trees) -> None:
        self._attempts = attempts
        self._kernel = kernel
        self._trees = trees

    def judge(self, id: str, row_boot: str, seen: Any = UNASKED) -> Facts | Attempt:
        """A fact, or an attempt to take up: running, or ended with its sweep still to do.

        ``seen`` is the wait status that the server has from its own pidfd, None if it has none.
        """
        dir_fd = self._attempts.open(id, create=True)
        try:
            try:
                record = Record.open(dir_fd)
            except FileNotFoundError:
                return self.entomb(id, row_boot)
        finally:
            os.close(dir_fd)
        verdict: Facts | Attempt | None = None
        try:
            verdict = settled(id, record)
            if verdict is None:
                attempt = Attempt(id, record.find("claim") or {"k": "claim"})
                attempt.record = record
                attempt.adopted = True
                verdict = self._unsettled(attempt, seen)
            return verdict
        finally:
            if not isinstance(verdict, Attempt):  # with an open record its lock would stay, for the next judgement too
                record.close()

    def entomb(self, id: str, row_boot: str, why: str = "") -> Facts:
        """Nobody has a claim: take its place, so that nobody can start this attempt any more."""
        today = row_boot in ("", self._kernel.boot)
        kind = "never_started" if today or why else "lost"
        reason = why or ("" if today else "the machine was started anew, and the record is gone")
        line = {"k": "tombstone", "verdict": kind, "why": reason, "at": time.time()}
        dir_fd = self._attempts.open(id, create=True)
        try:
            Record.publish(dir_fd, line).close()
        finally:
            os.close(dir_fd)
        return _plain(id, kind, row_boot, reason)

    def _unsettled(self, attempt: Attempt, seen: Any) -> Facts | Attempt:
        foreign = self._foreign(attempt)
        if foreign:
            return attempt.base("unreachable") | {"why": foreign}
        record = attempt.record
        assert record is not None
        start, end, stop = record.find("start"), record.find("exit"), record.find("stop")
        if start is not None:
            attempt.pid, attempt.ticks = start["pid"], start["ticks"]
            attempt.started_at, attempt.deadline = start["started_at"], start["deadline"]
        if stop is not None:
            attempt.why, attempt.kill_at = stop["why"], stop["kill_at"]
        rebooted = attempt.boot != self._kernel.boot
        if end is not None:
            return self._take_up(attempt, _ended(attempt, end), rebooted)
        if not rebooted and start is None and self._find_started(attempt):
            return attempt
        if not rebooted and start is not None and self._kernel.alive(attempt.pid, attempt.ticks):
            attempt.state = RUNNING
            return attempt
        return self._without_process(attempt, seen if start is not None else None, rebooted)

    def _foreign(self, attempt: Attempt) -> str:
        """Why this host cannot tell, or ``""``."""
        claim, record = attempt.claim, attempt.record
        assert record is not None
        if claim.get("machine", self._kernel.machine) != self._kernel.machine:
            return "it was started on another machine"
        elsewhere = claim.get("pidns", self._kernel.namespace) != self._kernel.namespace
        if elsewhere and attempt.boot == self._kernel.boot and not record.lock():
            return "it runs in another container"
        return ""

    def _find_started(self, attempt: Attempt) -> bool:
        """A keeper died after its claim and before its start line: is there a process?"""
        record = attempt.record
        assert record is not None
        try:
            fifo = os.stat(os.path.join(self._attempts.directory(attempt.id), FIFO))
        except FileNotFoundError:
            return False  # made before the process is
        patience = time.monotonic() + _PATIENCE
        while True:
            leader = self._trees.leader_by_cookie(attempt.id, fifo)
            if leader is not None:
                self._write_start(attempt, leader)
                return True
            if record.lock() or time.monotonic() > patience:
                return False
            time.sleep(0.02)

    def _write_start(self, attempt: Attempt, leader: process.Proc) -> None:
        age = max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - leader.ticks / os.sysconf("SC_CLK_TCK"))
        attempt.pid, attempt.ticks, attempt.state = leader.pid, leader.ticks, RUNNING
        attempt.started_at = time.time() - age
        if attempt.timeout is not None:
            attempt.deadline = time.monotonic() - age + attempt.timeout
        attempt.write(
            {
                "k": "start",
                "pid": leader.pid,
                "ticks": leader.ticks,
                "started_at": attempt.started_at,
                "deadline": attempt.deadline,
                "boot": self._kernel.boot,
                "machine": self._kernel.machine,
                "pidns": self._kernel.namespace,
            }
        )

    def _without_process(self, attempt: Attempt, seen: Any, rebooted: bool) -> Facts | Attempt:
        status = self.last_words(attempt)
        if status is None and isinstance(seen, int):
            status = seen
        if status is not None:
            end = exited(attempt, status)
            attempt.write({"k": "exit"} | {key: end[key] for key in ("code", "signal", "why", "ended_at", "peak_rss")})
            return self._take_up(attempt, end, rebooted)
        if seen is UNASKED:
            return attempt.base(GONE)
        why = "the machine was started anew" if rebooted else "it vanished while nobody watched"
        return self._take_up(attempt, attempt.base("lost") | {"why": why, "ended_at": None}, rebooted)

    def last_words(self, attempt: Attempt) -> int | None:
        """Wait status of an ended process that is not our child, where somebody kept it."""
        if attempt.pidfd is not None and self._kernel.pidfd_info:
            status = process.pidfd_status(attempt.pidfd)
            if status is not None:
                return status
        code = process.first_line(os.path.join(self._attempts.directory(attempt.id), EXIT_FILE))
        if code.isdigit():
            return int(code) << 8
        proc = process.look(attempt.pid) if attempt.pid and self._kernel.proc else None
        return process.zombie_status(attempt.pid) if proc is not None and proc.ticks == attempt.ticks else None

    def _take_up(self, attempt: Attempt, end: Facts, rebooted: bool) -> Attempt:
        attempt.end = end
        attempt.state = SWEEPING
        if rebooted:
            attempt.state, attempt.pid = DRAINING, 0  # its numbers belong to others now
        return attempt


def exited(attempt: Attempt, status: int) -> Facts:
    words = process.exit_words(status)
    return attempt.base("exited") | words | {"why": attempt.why, "ended_at": _now(attempt), "peak_rss": None}


def _now(attempt: Attempt) -> float:
    """By the clock that no one sets, if somebody set the other one while it ran: it must not end before its start."""
    now = time.time()
    if not attempt.started_at or not attempt.ticks or not hasattr(time, "CLOCK_BOOTTIME"):
        return now
    lived = time.clock_gettime(time.CLOCK_BOOTTIME) - attempt.ticks / os.sysconf("SC_CLK_TCK")
    return now if abs(attempt.started_at + lived - now) < _JUMP else attempt.started_at + lived


def _ended(attempt: Attempt, line: Facts) -> Facts:
    return attempt.base("exited") | {key: value for key, value in line.items() if key != "k"}


def settled(id: str, record: Record) -> Facts | None:
    """The verdict that a record holds already."""
    grave = record.find("tombstone")
    claim = record.find("claim") or {}
    if grave is not None:
        return _plain(id, grave["verdict"], "", grave["why"])
    never = record.find("never_started")
    if never is not None:
        return _plain(id, "never_started", claim.get("boot", ""), never["why"], claim.get("epoch", 0))
    end, swept, lost = record.find("exit"), record.find("swept"), record.find("lost")
    if lost is None and (end is None or swept is None):
        return None
    attempt = Attempt(id, claim)
    start = record.find("start") or {}
    attempt.pid, attempt.ticks = start.get("pid", 0), start.get("ticks", 0)
    attempt.started_at = start.get("started_at")
    if lost is not None:
        return attempt.base("lost") | {"why": lost["why"], "log_size": lost["log_size"]}
    assert end is not None
    assert swept is not None
    return _ended(attempt, end) | {"log_size": swept["log_size"]}


def _plain(id: str, kind: str, boot: str, why: str, epoch: int = 0) -> Facts:
    return {"id": id, "kind": kind, "boot_id": boot, "why": why, "epoch": epoch}
