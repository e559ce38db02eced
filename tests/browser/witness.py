"""What a long session is judged by: the console, the memory of the pages, what they show, what is left running."""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from lab import Lab
from playwright.sync_api import ConsoleMessage, Locator, Page
from processes import until

AFTERWARDS = 20.0  # s after the pages are connected again in which they may still speak of the outage

# reset: the request was under way when the server died
_REFUSED = r"Failed to load resource: net::ERR_CONNECTION_(?:REFUSED|RESET)"
_SOCKET = r"WebSocket connection to 'ws://[^'?]*{}(\?[^']*)?' failed: .*"

# What pages must say while a server is dead, and at no other time. Each is a whole message, with the path it is about.
DEAD_SERVER = {
    "a request of JupyterLab is refused": _REFUSED
    + r" \(/(api/(contents|kernels|sessions|terminals|kernelspecs|me)|lab/api/(settings|workspaces)|lsp/status)\b.*\)",
    "a request of Wattle is refused": _REFUSED + r" \(/wattle/api/(runs|info|health|workflows)\b.*\)",
    "the socket of Wattle is refused": _SOCKET.format(r"/wattle/api/events/ws"),
    "the socket of a kernel is refused": _SOCKET.format(r"/api/kernels/[-0-9a-f]+/channels"),
    "the socket of the events of Jupyter is refused": _SOCKET.format(r"/api/events/subscribe"),
    "a kernel of the dead server is unknown to the next": r"Failed to load resource: the server responded with a "
    r"status of 404 \(Not Found\) \(/api/(kernels|sessions)/.*\)",
}


@dataclass
class Complaint:
    at: float
    text: str


@dataclass
class Console:
    """The errors in the consoles of pages. What is not to be expected just then is a fault."""

    heard: list[Complaint] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.heard.append(Complaint(time.monotonic(), f"page error: {error}")))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        url = urlsplit(message.location.get("url", ""))
        where = f" ({url.path})" if message.text.startswith("Failed to load resource") else ""
        self.heard.append(Complaint(time.monotonic(), f"{message.text}{where}"))

    @contextmanager
    def outage(self) -> Iterator[None]:
        """From the death of the server until the pages are connected again."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.outages.append((begin, time.monotonic() + AFTERWARDS))

    def expected(self) -> Counter[str]:
        return Counter(name for one in self.heard if (name := self._kind(one)))

    def faults(self) -> list[str]:
        return [one.text for one in self.heard if self._kind(one) is None]

    def _kind(self, complaint: Complaint) -> str | None:
        if not any(begin <= complaint.at <= end for begin, end in self.outages):
            return None
        kinds = (name for name, pattern in DEAD_SERVER.items() if re.fullmatch(pattern, complaint.text, re.S))
        return next(kinds, None)


class Heap:
    """The JavaScript heap of a page after its garbage was collected, in MB, over time."""

    def __init__(self, page: Page) -> None:
        self.line = page.context.new_cdp_session(page)
        self.line.send("HeapProfiler.enable")
        self.samples: list[tuple[float, float, int]] = []

    def sample(self) -> float:
        for _ in range(2):
            self.line.send("HeapProfiler.collectGarbage")
        used = float(self.line.send("Runtime.getHeapUsage")["usedSize"]) / 1e6
        nodes = int(self.line.send("Memory.getDOMCounters")["nodes"])
        self.samples.append((time.monotonic(), used, nodes))
        return used

    def slope(self) -> float:
        """MB per minute over the second half: a page loads lazily what it needs for the first time."""
        late = self.samples[len(self.samples) // 2 :]
        if len(late) < 3:
            return 0.0
        times = [at / 60 for at, _, _ in late]
        return statistics.linear_regression(times, [used for _, used, _ in late]).slope

    def largest(self) -> float:
        return max(used for _, used, _ in self.samples)


# The states that a view of a run shows, whichever form it has: all of its boxes, or its list read from top to end.
_READ = """async root => {
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const STATES = ['created', 'queued', 'waiting', 'running', 'completed', 'failed', 'cancelled', 'skipped'];
  const state = one => STATES.find(name => one.classList.contains(`jp-mod-${name}`));
  const tasks = {};
  const note = rows => rows.forEach(row => (tasks[row.dataset.task] = state(row)));
  note(root.querySelectorAll('.jp-wattle-node[data-task]'));
  // tasks that are alike share a box: the table has them all
  const grouped = root.querySelector('.jp-wattle-graph [data-bundle], .jp-wattle-graph canvas') !== null;
  const [graph, table] = ['Graph', 'Table'].map(name => root.querySelector(`button[aria-label=${name}]`));
  const turns = grouped && root.querySelector('.jp-wattle-list-rows') === null;
  if (turns) { table?.click(); await frame(); await frame(); }
  const list = root.querySelector('.jp-wattle-list-rows');
  if (list !== null) {
    for (let top = 0; ; top += Math.max(26, list.clientHeight - 52)) {
      list.scrollTop = top;
      await frame();
      note(list.querySelectorAll('[data-task]'));
      if (top + list.clientHeight >= list.scrollHeight) break;
    }
  }
  if (turns) graph?.click();
  const title = root.querySelector('.jp-wattle-title .jp-wattle-state');
  return { state: title === null ? null : state(title), tasks };
}"""


def disagreement(lab: Lab, view: Locator, run: str) -> str | None:
    """How what the page shows of a run that has ended differs from what the API says, once it has had its time."""
    truth = lab.get(f"runs/{run}")
    wanted = {"state": truth["state"], "tasks": {one["task"]: one["state"] for one in truth["tasks"]}}
    shown: dict[str, Any] = {}

    def same() -> bool:
        shown.update(view.evaluate(_READ))
        return shown == wanted

    try:
        until(same, 60)
    except AssertionError:
        wrong = {name: (shown["tasks"].get(name), state) for name, state in wanted["tasks"].items()}
        wrong = {name: both for name, both in wrong.items() if both[0] != both[1]}
        states = f"page {shown['state']}, API {wanted['state']}; tasks {dict(list(wrong.items())[:5])}"
        return f"run {run[:8]} of {truth['workflow']}: {states}"
    return None


def processes_of(home: Path) -> list[psutil.Process]:
    """Whatever runs with this folder in its command line or its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(str(home) in word for word in words):
            found.append(process)
    return found
