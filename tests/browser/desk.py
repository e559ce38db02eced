"""A page of JupyterLab or Notebook without a notebook: sidebar, tabs of runs, commands."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import uuid
from pathlib import Path
from typing import Any

from lab import RESULTS, SLOW, Notebook
from playwright.sync_api import Locator, expect

from wattle_jupyter.store import Store

_COLUMNS = (
    "id, workflow_id, workflow, workflow_hash, params, mode, priority, user, cause, scripts, given, total, state, "
    "reason, created_at, started_at, ended_at"
)


class Desk(Notebook):
    """A page with a workspace of its own."""

    def open(self, *, kernel: bool = False) -> Desk:
        view = f"lab/workspaces/{self.path}" if self.lab.app == "lab" else "tree"
        self.page.goto(f"http://127.0.0.1:{self.lab.port}/{view}?token={self.lab.token}")
        self.ready()
        return self

    def ready(self, *, kernel: bool = False) -> None:
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.evaluate("() => window.jupyterapp.restored.then(() => null)")

    def show(self) -> Locator:
        """The sidebar, opened."""
        self.command("wattle:open-sidebar")
        expect(self.sidebar).to_be_visible()
        return self.sidebar

    @property
    def sidebar(self) -> Locator:
        return self.page.locator(".jp-wattle-sidebar")

    @property
    def rows(self) -> Locator:
        return self.sidebar.locator(".jp-wattle-runrow[data-run]")

    def row(self, run: str) -> Locator:
        return self.sidebar.locator(f"[data-run='{run}']")

    def see(self, run: str, state: str) -> None:
        """Wait until the list says so."""
        expect(self.row(run).locator(f".jp-wattle-icon.jp-mod-{state}")).to_be_visible(timeout=SLOW)

    @property
    def run_page(self) -> Locator:
        """The page of a run that is in front."""
        return self.page.locator(".jp-wattle-page:visible")

    def width(self, pixels: int) -> None:
        """Of the sidebar, as a user drags it."""
        handle = self.page.locator("#jp-main-split-panel > .lm-SplitPanel-handle:not(.lm-mod-hidden)").first
        box, panel = handle.bounding_box(), self.page.locator("#jp-left-stack").bounding_box()
        assert box is not None
        assert panel is not None
        mouse, y = self.page.mouse, box["y"] + 200
        mouse.move(box["x"] + box["width"] / 2, y)
        mouse.down()
        mouse.move(panel["x"] + pixels, y, steps=4)
        mouse.up()

    def picture(self, name: str) -> None:
        RESULTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(RESULTS / f"{name}.png"))


def stock(folder: Path, count: int, now: float) -> None:
    """Put ``count`` runs that have ended into a store that no server owns yet, the newest a second before ``now``."""

    def insert(db: sqlite3.Connection) -> None:
        spec = {"name": "etl", "mode": "dependency", "tasks": {}}
        workflow = uuid.uuid4().hex
        db.execute(
            "INSERT INTO workflow (id, name, hash, version, spec, total, created_at, updated_at) "
            "VALUES (?,?,?,1,?,3,?,?)",
            (workflow, "etl", "h", json.dumps(spec), now, now),
        )
        marks = ",".join("?" * 17)
        db.executemany(
            f"INSERT INTO run ({_COLUMNS}) VALUES ({marks})", (_run(i, count, workflow, now) for i in range(count))
        )
        db.executemany(
            "INSERT INTO task_run (id, run, position, task, state, reason, round, failures, losses, attempts) "
            "VALUES (?,?,?,?,'completed','',0,0,0,1)",
            ((uuid.uuid4().hex, f"{i:032x}", t, f"t{t}") for i in range(count) for t in range(3)),
        )

    async def fill() -> None:
        store = await Store.open(folder)
        try:
            await store.write(insert)
        finally:
            await store.close()

    folder.mkdir(parents=True, exist_ok=True)
    # Playwright holds this thread's event loop
    thread = threading.Thread(target=lambda: asyncio.run(fill()))
    thread.start()
    thread.join()


def _run(i: int, count: int, workflow: str, now: float) -> tuple[Any, ...]:
    begin = now - (count - i)
    failed = i % 7 == 0
    name, user = ("nightly", "train-model", "etl")[i % 3], ("ada", "grace")[i % 2]
    state, reason = ("failed", "t1 failed: exit 3") if failed else ("completed", "")
    known = (f"{i:032x}", workflow, name, "h", "{}", "dependency", "normal", user, "api", "{}", "{}", 3)
    return (*known, state, reason, begin, begin, begin + 30 + i % 100)
