"""All processes of an attempt: its session, their descendants, and strangers that left both but carry its cookie."""

from __future__ import annotations

import os
from collections.abc import Container

from wattle_jupyter.host import process
from wattle_jupyter.host.attempt import Attempt
from wattle_jupyter.host.process import Kernel, Proc


class Trees:
    """Finds and signals whole trees. Whose a stranger is, is looked up once per process.

    ``leaders`` are the pids of living leaders, each in a session of its own.
    """

    def __init__(self, kernel: Kernel, leaders: Container[int] = ()) -> None:
        self._kernel = kernel
        self._leaders = leaders
        self._cookies: dict[tuple[int, int], str] = {}

    def nothing_left(self, attempt: Attempt) -> bool:
        """The cheap look at a leader's end: no group, and nobody of it came to us. False means: look closer."""
        if attempt.adopted or not self._kernel.subreaper or process.group_alive(attempt.pid):
            return False
        came = (process.look(pid) for pid in self._kernel.own_children() if pid not in self._leaders)
        return not any(proc.session == attempt.pid or self._cookie(proc) == attempt.id for proc in came if proc)

    def members(self, attempt: Attempt) -> list[Proc]:
        """Every living process of the attempt, its leader included."""
        if not self._kernel.proc:
            return []
        procs = process.scan()
        # our own children are searched only among those that came to us; others' can be anywhere
        near = not attempt.adopted and self._kernel.subreaper
        strangers = set(self._kernel.own_children()) if near else {proc.pid for proc in procs}
        marked = [proc for proc in procs if proc.pid in strangers and self._cookie(proc) == attempt.id]
        seeds = {proc.pid for proc in marked}
        if attempt.pid and self._session_is_ours(attempt, marked):
            seeds.update(proc.pid for proc in procs if proc.session == attempt.pid)
        tree = process.descendants(seeds, procs)
        self._forget_all_but(procs)
        return [proc for proc in procs if proc.pid in tree]

    def _session_is_ours(self, attempt: Attempt, marked: list[Proc]) -> bool:
        """Numbers of ended processes are used again: a session counts while its leader or a marked member lives."""
        leader = process.look(attempt.pid)
        if leader is not None:
            return bool(leader.ticks == attempt.ticks)
        return not attempt.adopted or any(proc.session == attempt.pid for proc in marked)

    def _cookie(self, proc: Proc) -> str:
        key = (proc.pid, proc.ticks)
        known = self._cookies.get(key)
        if known is None:
            known = process.cookie(proc.pid)
            if known:  # between fork and exec there is none yet
                self._cookies[key] = known
        return known

    def _forget_all_but(self, procs: list[Proc]) -> None:
        if len(self._cookies) > 2 * len(procs) + 100:
            living = {(proc.pid, proc.ticks) for proc in procs}
            self._cookies = {key: value for key, value in self._cookies.items() if key in living}

    def signal(self, attempt: Attempt, *numbers: int) -> int:
        """Send these signals to the whole tree. Returns how many processes there were."""
        if not self._kernel.proc:
            return self._signal_group(attempt, numbers)
        members = self.members(attempt)
        for proc in members:
            for number in numbers:
                self._kernel.send(proc.pid, proc.ticks, number)
        return len(members)

    def _signal_group(self, attempt: Attempt, numbers: tuple[int, ...]) -> int:
        try:
            for number in numbers:
                os.killpg(attempt.pid, number)
        except (ProcessLookupError, PermissionError):
            return 0
        return 1

    def leader_by_cookie(self, attempt: str, fifo: os.stat_result) -> Proc | None:
        """The session leader that carries the attempt's cookie and still prints to its log.

        What a leader that ended left behind may lead a session too (``setsid``, ``daemon(3)``) and must not be taken
        for it: its end would be taken for the task's. Such a process gives up the log, by custom. A leader that gave
        it up is not found; its attempt counts as lost.
        """
        if not self._kernel.proc:
            return None
        found = (p for p in process.scan() if p.pid == p.session and process.cookie(p.pid) == attempt)
        return next((p for p in found if process.prints_to(p.pid, fifo)), None)
