"""The graph beside React Flow and Cytoscape.js: first picture, frames while states change or it is moved, memory.

Ours works its places out. The others have no layers of their own: they are drawn once with places that are there
already, and what dagre, which the documentation of both goes to, takes for the same graph is added. Twenty times a
second at most a batch of changes comes, 500 changes a second in all.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from playwright.sync_api import Playwright, sync_playwright

from .browser import Opened, local, opened
from .table import Row, alternated, compared, load, show

SUBJECTS = ("wattle-graph", "react-flow", "cytoscape")
SIZES = (100, 500, 1000, 5000)
SEED = 42
COLUMNS = [
    *[("work", "graph"), ("subject", "subject"), ("first", "first picture ms, places given to others")],
    *[("whole", "with layout ms"), ("times", "× ours")],
    *[("fps", "frames/s, 500 changes/s"), ("p95", "frame p95 ms"), ("longest", "longest ms")],
    *[("move_fps", "frames/s, moved"), ("move_p95", "p95 ms")],
    *[("heap", "heap MB"), ("memory", "process MB")],
]


def measure(playwright: Playwright, tasks: int, seconds: float, subject: str) -> Row | None:
    with opened(playwright, local(subject)) as page:
        if subject != "wattle-graph":
            page.ask("async ([n, seed]) => window.prepare(n, seed)", [tasks, SEED])
        first = page.ask("([n, seed]) => bench.first(n, seed)", [tasks, SEED])
        if first is None:
            return None
        page.page.wait_for_timeout(500)
        live = page.ask("([rate, seconds]) => bench.live(rate, seconds)", [500, seconds], 60 + seconds)
        if live is None:
            return None
        moved = move(page)
        row = {"first": first, "fps": live["fps"], "p95": live["p95"], "longest": live["longest"]}
        return {**row, "move_fps": moved["fps"], "move_p95": moved["p95"], "heap": page.heap(), "memory": page.memory()}


def dagre(playwright: Playwright, tasks: int) -> float | None:
    """Milliseconds for the places of the same graph; ``None`` if they are not there in a minute."""
    with opened(playwright, local("layouts")) as page:
        question = "([n, seed]) => bench.layout('dagre', 'layered', n, seed, false)"
        answer = page.ask(question, [tasks, SEED])
        return None if answer is None else float(answer["ms"])


def move(page: Opened) -> Any:
    """Drag the whole graph to and fro by its corner, where no box is."""
    mouse = page.page.mouse
    mouse.move(5, 5)
    page.page.evaluate("() => bench.countFrames()")
    mouse.down()
    for x in (400, 100, 500):
        mouse.move(x, x / 2, steps=20)
    mouse.up()
    return page.page.evaluate("() => bench.framesCounted()")


def run(*, quick: bool = False) -> dict[str, Any]:
    times, seconds = (1, 2.0) if quick else (3, 4.0)
    rows: list[Row] = []
    with sync_playwright() as playwright:
        for tasks in SIZES:
            found = alternated(SUBJECTS, times, partial(measure, playwright, tasks, seconds))
            placing = dagre(playwright, tasks)
            for subject, row in found.items():
                own = subject == "wattle-graph"
                if row:
                    row["whole"] = row["first"] if own else None if placing is None else row["first"] + placing
            rows += compared(f"{tasks:,} tasks", found, "whole", "–")
    return {"rows": rows, "load": load(), "text": show("Graph", COLUMNS, rows)}
