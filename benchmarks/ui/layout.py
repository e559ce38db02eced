"""The layout beside ELK (layered) and dagre: time, crossings, edges under boxes, length of edges, room.

Boxes and distances are the same for all, everything else is each one's default; each is judged by its own bends. The
seeds are not those that ours was built with.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from playwright.sync_api import Playwright, sync_playwright

from .browser import local, opened
from .table import Row, alternated, compared, load, medians, show

ENGINES = ("wattle", "elk", "dagre")
SHAPES = ("layered", "random", "fans", "tree")
SEEDS = (404, 505, 606)
LIMIT = 60.0  # s
JUDGED = 500  # tasks: beyond, counting crossings takes longer than anything else here
COLUMNS = [
    *[("work", "graph"), ("subject", "layout"), ("ms", "ms"), ("times", "× ours"), ("crossings", "crossings")],
    *[("under", "edges under boxes"), ("length", "edges, 1,000 px"), ("megapixels", "room, megapixels")],
]


def measure(playwright: Playwright, shape: str, tasks: int, seeds: tuple[int, ...], engine: str) -> Row | None:
    """The second of two layouts of each graph: the first one warms the engine's code up."""
    with opened(playwright, local("layouts")) as page:
        ask = "([engine, shape, n, seed, judge]) => bench.layout(engine, shape, n, seed, judge)"
        rows = []
        for seed in seeds:
            if page.ask(ask, [engine, shape, min(tasks, 100), seed + 1, False], LIMIT) is None:
                return None
            try:
                row = page.ask(ask, [engine, shape, tasks, seed, tasks <= JUDGED], LIMIT)
            except RuntimeError:  # the stack of dagre or ELK overflows
                return None
            if row is None:
                return None
            rows.append(row)
        return medians(rows)


def run(*, quick: bool = False) -> dict[str, Any]:
    rows: list[Row] = []
    seeds = SEEDS[:1] if quick else SEEDS
    cases = [(n, shape) for n in (100, 500) for shape in SHAPES] + [(1000, "layered"), (5000, "layered")]
    with sync_playwright() as playwright:
        for n, shape in cases:
            asked = seeds if n <= 1000 else seeds[:1]
            found = alternated(ENGINES, 1, partial(measure, playwright, shape, n, asked))
            rows += compared(f"{n:,} tasks, {shape}", found, "ms", f"none in {LIMIT:.0f} s")
    return {"rows": rows, "load": load(), "text": show("Layout", COLUMNS, rows)}
