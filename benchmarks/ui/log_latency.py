"""How soon a written line is seen, and any part of a log of 1 GB: ``python -m benchmarks.ui.log_latency``.

The whole way, on one machine: process, FIFO, keeper, file, server, WebSocket, page, and the frame after it was drawn.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Playwright, sync_playwright

from .browser import Opened, build
from .log import server, subject_page
from .table import load

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from processes import ServerProcess, until

RATE = 1_000  # lines a second
SECONDS = 20
SIZE = 1_000_000_000  # bytes
LINE = 100
HIT = "the needle"

# Each line says when it was written, in ms since 1970.
WRITER = f"""
import sys, time
begin, n = time.monotonic(), 0
while n < {RATE * SECONDS}:
    due = int((time.monotonic() - begin) * {RATE}) + 1
    now = time.time() * 1000
    sys.stdout.write("".join(f"{{i}} {{now:.1f}} epoch {{i // 1000}} loss 0.123\\n" for i in range(n, due)))
    sys.stdout.flush()
    n = max(n, due)
    time.sleep(0.005)
"""

# Notes, after each frame was painted, how old its new lines are.
WATCH = """() => {
  const ages = (window.ages = []);
  let newest = -1;
  const look = () => {
    const lines = [...document.querySelectorAll('.jp-wattle-log-line')];
    const rows = lines.map(row => row.textContent.split(' ').map(Number));
    const fresh = rows.filter(([n]) => n > newest);
    newest = Math.max(newest, ...fresh.map(([n]) => n));
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      const now = performance.timeOrigin + performance.now();
      for (const [, at] of fresh) ages.push(now - at);
    };
    if (fresh.length > 0) port2.postMessage(null);
    requestAnimationFrame(look);
  };
  look();
}"""

# From a movement of the bar to the frame in which a line near there is seen.
GO = """async ([share, from, to]) => {
  const box = document.querySelector('.jp-wattle-log-lines');
  const begin = performance.now();
  box.scrollTop = share * box.scrollHeight;
  const there = () => [...document.querySelectorAll('.jp-wattle-log-line')].some(row => {
    const n = parseInt(row.textContent, 10);
    return n >= from && n <= to;
  });
  while (!there()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - begin;
}"""


def latency(playwright: Playwright, made: ServerProcess) -> dict[str, float]:
    """Milliseconds from the write of a line to the frame that shows it."""
    script = made.home.parent / "stamp.py"
    script.write_text(WRITER)
    run_ = made.run({"write": f"{sys.executable} {script}"}, "stamp")
    until(lambda: made.task(run_, "write")["attempt"])
    with subject_page(playwright, made, "wattle-log") as page:
        page.ask("([run, last, n]) => bench.open(run, last, n)", [run_, "", 0])
        page.page.wait_for_timeout(1000)  # what was written before the page was there is not meant
        page.page.evaluate(WATCH)
        made.ended(run_)
        ages = sorted(page.page.evaluate("() => window.ages")[100:])
        cuts = statistics.quantiles(ages, n=20)
        return {"lines seen": len(ages), "p50": cuts[9], "p95": cuts[18], "longest": ages[-1], "heap MB": page.heap()}


def huge(made: ServerProcess) -> tuple[str, int]:
    """A run whose task has a log of 1 GB, and how many lines that is. Each begins with its number."""
    run_ = made.run({"write": "echo"}, "huge")
    made.ended(run_)
    path = made.store / "attempts" / made.task(run_, "write")["attempt"] / "log"
    path.unlink()
    with path.open("wb") as log:
        for start in itertools.count(0, 50_000):
            if start * LINE >= SIZE:
                log.write(b"0 " + HIT.encode() + b"\n")
                return run_, start
            log.write(b"".join(b"%-98d.\n" % i for i in range(start + 1, start + 50_001)))
    raise AssertionError


def parts(playwright: Playwright, made: ServerProcess, run_: str, count: int) -> dict[str, float]:
    """Milliseconds until a part of the log is seen."""
    with subject_page(playwright, made, "wattle-log") as page:
        found = {"end": page.ask("([run, last, n]) => bench.open(run, last, n)", [run_, HIT, 0])}
        until(lambda: "counting" not in page.page.inner_text(".jp-wattle-log-bar [role=status]"))
        for name, share in [("middle", 0.5), ("a quarter", 0.25), ("beginning", 0.0)]:
            at = share * count
            found[name] = page.ask(GO, [share, at - count / 50, at + count / 50])
        found["line 7,654,321"] = typed(page, ":", "7654321", "Enter", ".jp-mod-picked")
        found["a hit, from the middle"] = typed(page, "/", HIT, "", ".jp-mod-found")
        page.page.keyboard.press("Escape")
        found["heap MB"] = page.heap()
        return found


WAIT = """shows => {
  window.typedAt = window.seenAt = null;
  const typed = () => { window.typedAt = performance.now(); };
  addEventListener('keydown', typed, { capture: true });
  addEventListener('input', typed, { capture: true });
  const look = () => {
    if (window.typedAt !== null && document.querySelector(shows)) window.seenAt = performance.now();
    else requestAnimationFrame(look);
  };
  look();
}"""


def typed(page: Opened, key: str, text: str, last: str, shows: str) -> float:
    """From the last key to the line."""
    page.page.focus(".jp-wattle-log-lines")
    page.page.keyboard.press(key)
    if last:
        page.page.keyboard.insert_text(text)
    page.page.evaluate(WAIT, f".jp-wattle-log-line{shows}")
    if last:
        page.page.keyboard.press(last)
    else:
        page.page.keyboard.insert_text(text)
    page.page.wait_for_function("() => window.seenAt !== null")
    return float(page.page.evaluate("() => window.seenAt - window.typedAt"))


def run(*, quick: bool = False) -> dict[str, Any]:
    times = 1 if quick else 3
    with server() as made, sync_playwright() as playwright:
        fresh = [latency(playwright, made) for _ in range(times)]
        run_, count = huge(made)
        opened = [parts(playwright, made, run_, count) for _ in range(times)]
    medians = [
        {key: round(statistics.median(one[key] for one in many), 1) for key in many[0]} for many in (fresh, opened)
    ]
    return {"write to pixel, ms, at 1,000 lines/s": medians[0], "a log of 1 GB, ms": medians[1], "load": load()}


if __name__ == "__main__":
    build()
    print(json.dumps(run(quick="--quick" in sys.argv), indent=1))
