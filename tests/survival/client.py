"""A user who goes on asking: submits, cancels, stops, retries, and watches the events. Repeats until answered."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from typing import Any
from urllib.parse import quote

from survival.machine import Machine
from survival.workload import Workload

BUSY = 3  # runs that shall go on at a time
_AWAY = (OSError, http.client.HTTPException, ValueError, KeyError)  # what a killed server looks like from outside


class User(threading.Thread):
    """Keeps the store busy until ``enough``. Every request carries a key and is repeated until it is answered."""

    def __init__(self, machine: Machine, workload: Workload, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self.enough = threading.Event()
        self.runs: dict[str, str] = {}  # key → run that it made
        self.cancelled: set[str] = set()  # runs
        self.stopped: set[tuple[str, str]] = set()  # run, task
        self.retried: set[str] = set()  # runs
        self.refused: list[str] = []
        self.quit = threading.Event()
        self._machine = machine
        self._workload = workload
        self._rng = rng

    def run(self) -> None:
        while not self.enough.is_set():
            going = self._going_on()
            if going is None:
                time.sleep(0.05)
            elif len(going) < BUSY:
                self._submit()
            else:
                self._meddle(going)
                self.enough.wait(0.15)

    def _going_on(self) -> list[str] | None:
        """Runs that have not ended; None while there is nobody to ask."""
        try:
            status, answer = self._machine.server.request("GET", "runs?status=created,queued,running&page_size=50")
            return [run["id"] for run in answer["data"]["data"]] if status == 200 else None
        except _AWAY:
            return None

    def _submit(self) -> None:
        spec = self._workload.next()
        key = f"key-{spec['name']}"
        answer = self._post("runs", {"spec": spec}, key)
        if answer:
            self.runs[key] = answer["id"]

    def _meddle(self, going: list[str]) -> None:
        choice = self._rng.random()
        run = self._rng.choice(going)
        if choice < 0.02:
            self.cancelled.add(run)
            self._post(f"runs/{run}/cancel", {}, f"cancel-{run}")
        elif choice < 0.07:
            task = f"t{self._rng.randint(0, 7)}"
            self.stopped.add((run, task))
            self._post(f"runs/{run}/tasks/{quote(task)}/stop", {}, f"stop-{run}-{task}")
        elif choice < 0.10 and self.runs:
            old = self._rng.choice(list(self.runs.values()))
            if old not in self.retried:
                self.retried.add(old)
                self._post(f"runs/{old}/retry", {}, f"retry-{old}", (409,))

    def _post(self, path: str, body: Any, key: str, fine: tuple[int, ...] = ()) -> Any:
        """``data`` of the answer, sooner or later."""
        while not self.quit.is_set():
            try:
                status, answer = self._machine.server.request("POST", path, body, {"Idempotency-Key": key})
            except _AWAY:
                time.sleep(0.02)
                continue
            if status in (200, 201):
                return answer["data"]
            if status not in (429, 503):
                if status not in fine:
                    self.refused.append(f"{path}: {status} {answer.get('message')}")
                return None
            time.sleep(0.05)
        return None


class BriefUser(User):
    """Submits one workflow, and a second one to cancel it at once."""

    def run(self) -> None:
        self._submit()
        self._submit()
        second = self.runs.get(f"key-{list(self._workload.jobs)[-1]}")
        if second and not self.quit.is_set():
            self.cancelled.add(second)
            self._post(f"runs/{second}/cancel", {}, f"cancel-{second}")


class Watcher(threading.Thread):
    """Reads the events as a browser does. ``seen`` is the newest number; ``wrong`` is what came twice or not at all."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(daemon=True)
        self.seen = 0
        self.seen_at: list[tuple[float, int]] = []  # seconds since the epoch, number
        self.wrong: list[str] = []
        self.quit = threading.Event()
        self._machine = machine

    def run(self) -> None:
        while not self.quit.is_set():
            with contextlib.suppress(*_AWAY):
                self._follow()
            time.sleep(0.02)

    def _follow(self) -> None:
        connection, response = self._machine.server.open("GET", f"events?since={self.seen}")
        try:
            if response.status != 200:
                return
            while line := response.readline():
                if line.startswith(b"id: ") and line.endswith(b"\n"):
                    self._take(int(line[4:]))
                elif line.startswith(b"data: ") and line.endswith(b"\n"):
                    json.loads(line[6:])
        finally:
            connection.close()

    def _take(self, seq: int) -> None:
        if seq != self.seen + 1:
            self.wrong.append(f"event {seq} came after {self.seen}")
        self.seen = max(self.seen, seq)
        self.seen_at.append((time.time(), seq))
