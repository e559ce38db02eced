"""One attempt as the keeper holds it in memory."""

from __future__ import annotations

import os
from typing import Any

from wattle_jupyter.host.pipes import Pipe
from wattle_jupyter.host.record import Line, Record

QUEUED = "queued"
RUNNING = "running"
SWEEPING = "sweeping"  # the leader ended; what it left behind is being ended
DRAINING = "draining"  # the rest of the FIFO waits for the disk
ENDED = "ended"  # reported, held until acknowledged

Facts = dict[str, Any]


class Attempt:
    """Where an attempt is in its life, and the descriptors that belong to it."""

    __slots__ = (
        "acknowledged", "adopted", "argv", "boot", "claim", "cwd", "deadline", "end", "env", "grace", "id",
        "keep_children", "kill_at", "lingering", "pid", "pidfd", "pipe", "record", "started_at", "state", "ticks",
        "timeout", "why",
    )  # fmt: skip

    def __init__(self, id: str, claim: Line) -> None:
        self.id = id
        self.claim = claim
        self.state = QUEUED
        self.argv: list[str] = []
        self.env: dict[str, str] = {}
        self.cwd = "/"
        self.timeout: float | None = claim.get("timeout")
        self.grace: float = claim.get("grace", 10.0)
        self.keep_children: bool = claim.get("keep_children", False)
        self.boot: str = claim.get("boot", "")
        self.record: Record | None = None
        self.pipe: Pipe | None = None
        self.pid = 0
        self.ticks = 0
        self.pidfd: int | None = None
        self.adopted = False  # another keeper started it: not our child
        self.started_at: float | None = None
        self.deadline: float | None = None  # monotonic
        self.kill_at: float | None = None  # monotonic
        self.why = ""
        self.end: Facts | None = None  # code, signal, why ... once the leader ended
        self.acknowledged = False
        self.lingering = False  # ended, but children that may stay write on

    @property
    def live(self) -> bool:
        """Holds a slot."""
        return self.state in (RUNNING, SWEEPING, DRAINING)

    def fact(self) -> Facts:
        """What is known, in the words of the executor contract."""
        if self.state == ENDED and self.end is not None:
            return self.end
        if self.state == QUEUED:
            return {"id": self.id, "kind": "queued", "boot_id": self.boot, "epoch": self.claim.get("epoch", 0)}
        return self.base("running")

    def base(self, kind: str) -> Facts:
        return {
            "id": self.id, "kind": kind, "boot_id": self.boot, "epoch": self.claim.get("epoch", 0),
            "pid": self.pid or None, "ticks": self.ticks or None, "started_at": self.started_at,
        }  # fmt: skip

    def write(self, line: Line) -> None:
        if self.record is not None:
            self.record.append(line)

    def release(self) -> None:
        """Close what is open; with the record goes the lock."""
        if self.record is not None:
            self.record.close()
            self.record = None
        if self.pipe is not None and not self.lingering:
            self.pipe.close()
            self.pipe = None
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
