"""The log view beside xterm.js, both over a real Jupyter server: opening 100 MB, growing logs, memory, search.

Ours opens at the end and reads what is in sight; xterm.js gets all bytes, with its usual scrollback of 1,000 lines and
with one that holds what was written.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import Playwright, sync_playwright

from .browser import BUILT, Opened, opened, page_of
from .table import Row, alternated, compared, load, show

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from processes import ServerProcess, clear, until

LINE = 100  # bytes
LINES = 1_000_000
LARGE_SCROLLBACK = 10_000_000
RATES = (1_000, 10_000, 100_000)
SECONDS = 5
SUBJECTS = ("wattle-log", "xterm", "xterm, all lines kept")
OPEN_COLUMNS = [
    *[("subject", "subject"), ("first", "100 MB opened ms"), ("times", "× ours"), ("search", "one hit found ms")],
    *[("heap", "heap MB"), ("memory", "process MB")],
]
GROW_COLUMNS = [
    *[("work", "log"), ("subject", "subject"), ("fps", "frames/s"), ("p95", "frame p95 ms")],
    *[("longest", "longest ms")],
    *[("behind", "last line shown after its end, ms"), ("heap", "heap MB"), ("memory", "process MB")],
]

SEEN = """async last => {
  const begin = performance.now();
  while (!bench.shows(last)) await new Promise(requestAnimationFrame);
  return performance.now() - begin;
}"""

# A line of a fixed size with colours, as programs write them; the number is what is waited for.
WRITER = """
import sys, time
count, rate = int(sys.argv[1]), float(sys.argv[2])
def line(n):
    word = "32mINFO " if n % 13 else "33mWARN " if n % 97 else "1;31mERROR"
    number = f"\\033[90m{n:08d}\\033[0m \\033[{word}\\033[0m"
    return f"{number} epoch {n // 1000} loss \\033[36m{1000 / (n + 1):.4f}\\033[0m ".ljust(99, ".") + "\\n"
begin, n = time.monotonic(), 0
while n < count:
    due = count if rate == 0 else min(count, int((time.monotonic() - begin) * rate) + 1)
    due = min(due, n + 10_000)
    sys.stdout.write("".join(map(line, range(n, due))))
    sys.stdout.flush()
    n = due
    if rate:
        time.sleep(0.01)
"""


@contextmanager
def server() -> Iterator[ServerProcess]:
    """A Jupyter server that serves the pages of the subjects as files of its own."""
    with tempfile.TemporaryDirectory(prefix="wt-") as name:
        folder = Path(name)
        made = ServerProcess(folder / "home", folder / "s")
        try:
            made.launch(config=f"c.ServerApp.extra_static_paths = [{str(BUILT)!r}]\n")
            (folder / "write.py").write_text(WRITER)
            config = json.dumps({"baseUrl": "/", "token": made.token})
            config = f'<script id="jupyter-config-data" type="application/json">{config}</script>'
            for subject in ("wattle-log", "xterm"):
                (BUILT / f"{subject}.html").write_text(page_of(subject, config))
            yield made
        finally:
            made.end()
            clear(made.store)


def write(made: ServerProcess, count: int, rate: int) -> str:
    return made.run({"write": f"{sys.executable} {made.home.parent / 'write.py'} {count} {rate}"}, "write")


@contextmanager
def subject_page(playwright: Playwright, made: ServerProcess, subject: str) -> Iterator[Opened]:
    address = f"http://127.0.0.1:{made.port}/static/{subject.partition(',')[0]}.html?token={made.token}"
    with opened(playwright, address) as page:
        yield page


def open_large(playwright: Playwright, made: ServerProcess, run_: str, subject: str) -> Row | None:
    scrollback = LARGE_SCROLLBACK if "," in subject else 1_000
    with subject_page(playwright, made, subject) as page:
        last = f"{LINES - 1:08d}"
        first = page.ask("([run, last, n]) => bench.open(run, last, n)", [run_, last, scrollback], 180)
        if first is None:
            return None
        page.page.wait_for_timeout(1000)
        row = {"first": first, "heap": page.heap(), "memory": page.memory()}
        return {**row, "search": search(page, f"{LINES // 2:08d}")}


def search(page: Opened, text: str) -> float | None:
    """From the question until the hit is in sight; ``None`` if it is not found."""
    return page.ask("async text => bench.search(text)", text, 120)


def grow(playwright: Playwright, made: ServerProcess, rate: int, subject: str) -> Row | None:
    scrollback = LARGE_SCROLLBACK if "," in subject else 1_000
    count = rate * SECONDS
    with subject_page(playwright, made, subject) as page:
        run_ = write(made, count, rate)
        until(lambda: made.task(run_, "write")["attempt"])
        page.ask("([run, last, n]) => bench.open(run, last, n)", [run_, "", scrollback])
        page.page.evaluate("() => bench.countFrames()")
        made.ended(run_)
        behind = page.ask(SEEN, f"{count - 1:08d}", 120)
        frames = page.page.evaluate("() => bench.framesCounted()")
        if behind is None:
            return None
        row = {"fps": frames["fps"], "p95": frames["p95"], "longest": frames["longest"]}
        return {**row, "behind": behind, "heap": page.heap(), "memory": page.memory()}


def run(*, quick: bool = False) -> dict[str, Any]:
    times = 1 if quick else 3
    growing: list[Row] = []
    with server() as made, sync_playwright() as playwright:
        run_ = write(made, LINES, 0)
        made.ended(run_)
        found = alternated(SUBJECTS, times, partial(open_large, playwright, made, run_))
        opening = compared("100 MB", found, "first", "none in 180 s")
        for rate in RATES:
            found = alternated(SUBJECTS, times, partial(grow, playwright, made, rate))
            growing += compared(f"{rate:,} lines/s", found, "p95")
    tables = [show("A log of 100 MB", OPEN_COLUMNS, opening), show("A log that grows for 5 s", GROW_COLUMNS, growing)]
    return {"rows": opening + growing, "load": load(), "text": "\n\n".join(tables)}
