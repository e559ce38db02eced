"""A real ``jupyter server`` with the extension to which things are done, and what is asked of it meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import ServerProcess, environment, until

from wattle_jupyter.host import process

PATIENCE = 5.0
"""Seconds in which everything must be answered, and in which work must go on once its cause of trouble is gone."""


class Patient(ServerProcess):
    """Started below ``prefix`` (``strace …``, ``prlimit …``), which may become its parent."""

    def __init__(self, home: Path, store: Path, prefix: Sequence[str] = ()) -> None:
        super().__init__(home, store)
        self.prefix = list(prefix)

    def start(self, command: list[str], **more: str) -> None:
        self.home.mkdir(exist_ok=True)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.home, start_new_session=True,
                env=environment(self.home, **more),
            )  # fmt: skip

    @property
    def server_pid(self) -> int:
        """Of the server itself, below its prefix."""
        pid = self.process.pid
        while self.prefix and b"jupyter_server" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return pid

    def end_all(self) -> None:
        """The server and whatever it was started below."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def launch_here(self, **more: str) -> Patient:
        """Until it works, however little room there is."""
        self.launch(wait=False, **more)
        until(self.works, 90)
        return self

    def works(self) -> bool:
        """Has it its store, and nothing to complain of?"""
        if not self.listening():
            return False
        status, answer = self.request("GET", "info")
        return status == 200 and answer["data"]["trouble"] is None

    def reasons(self) -> list[str]:
        """What health says is wrong."""
        return [str(reason) for reason in self.get("health")["reasons"]]


@dataclass
class Seen:
    """Answers to what was asked all the time."""

    asked: int = 0
    slowest: float = 0.0
    reasons: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


class Prober(threading.Thread):
    """Asks for the health and for the runs, as a page does. An answer that is late, or none of the API, is wrong."""

    def __init__(self, server: ServerProcess, pause: float = 0.1) -> None:
        super().__init__(daemon=True)
        self.seen = Seen()
        self._server = server
        self._pause = pause
        self._quit = threading.Event()

    def run(self) -> None:
        while not self._quit.wait(self._pause):
            for path in ("health", "runs?page_size=5"):
                self._ask(path)

    def _ask(self, path: str) -> None:
        began = time.monotonic()
        try:
            status, answer = self._server.request("GET", path)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.seen.wrong.append(f"{path}: {error!r} after {time.monotonic() - began:.1f} s")
            return
        took = time.monotonic() - began
        self.seen.asked += 1
        self.seen.slowest = max(self.seen.slowest, took)
        if status not in (200, 503):
            self.seen.wrong.append(f"{path}: {status} {answer}")
        if took > PATIENCE:
            self.seen.wrong.append(f"{path}: answered after {took:.1f} s")
        self.seen.reasons.update(reasons_in(status, answer))

    def __enter__(self) -> Seen:
        self.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._quit.set()
        self.join(60)


def reasons_in(status: int, answer: dict[str, Any]) -> Iterator[str]:
    if status == 503:
        yield str(answer["message"])
    elif "reasons" in answer["data"]:
        yield from answer["data"]["reasons"]


def left_over(store: Path, work: Path) -> list[str]:
    """Processes of tasks, by cookie or by folder, that still run."""
    ids = set(os.listdir(store / "attempts")) if (store / "attempts").exists() else set()
    return [_words(p.pid) for p in process.scan() if process.cookie(p.pid) in ids or _folder(p.pid) == str(work)]


def _words(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _folder(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    return ""
