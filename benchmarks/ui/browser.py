"""Chromium and the pages of the subjects, each in a browser of its own, so that memory and time are its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Error, Page, Playwright

HERE = Path(__file__).parent
BUILT = HERE / "build"
SIZE = {"width": 1200, "height": 700}
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-precise-memory-info"]


def build() -> dict[str, int]:
    """Install what the lock file says, bundle every page. Returns the gzipped sizes in bytes."""
    stamp, lock = HERE / "node_modules" / ".wattle-lock", (HERE / "package-lock.json").read_bytes()
    if not stamp.exists() or stamp.read_bytes() != lock:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE, check=True)
        stamp.write_bytes(lock)
    done = subprocess.run(["node", "build.mjs"], cwd=HERE, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("WATTLE_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        raise SystemExit("the benchmarks in the browser need Chromium on PATH: apt-get install chromium")
    return found


def page_of(subject: str, more: str = "") -> str:
    """The HTML of a subject's page; its scripts lie beside it."""
    style = f'<link rel="stylesheet" href="{subject}.css">' if (BUILT / f"{subject}.css").exists() else ""
    return (
        f'<!doctype html><meta charset="utf-8">{style}{more}<body style="margin:0">'
        f'<div id="app" style="width:{SIZE["width"]}px;height:{SIZE["height"]}px"></div>'
        f'<script src="{subject}.js"></script>'
    )


class Opened:
    """A page of a subject in a fresh browser."""

    def __init__(self, browser: Browser, page: Page) -> None:
        self.browser, self.page = browser, page
        self._line = page.context.new_cdp_session(page)
        self._line.send("HeapProfiler.enable")

    def ask(self, script: str, argument: Any = None, limit: float = 60.0) -> Any:
        """The answer of an async function in the page; ``None`` if there is none within ``limit`` seconds."""
        # from a timer: this call itself must return, however long the page will be busy
        run = "([code, given]) => { window.answer = null; setTimeout(async () => {"
        run += "try { window.answer = [await eval(code)(given)] }"
        run += "catch (e) { window.answer = [null, String(e)] } }, 0) }"
        self.page.evaluate(run, [script, argument])
        try:
            found = self.page.wait_for_function("() => window.answer", timeout=limit * 1000, polling=50).json_value()
        except Error:
            self._end()
            return None
        if len(found) > 1:
            raise RuntimeError(found[1])
        return found[0]

    def heap(self) -> float:
        """MB of JavaScript objects that are in use."""
        for _ in range(2):
            self._line.send("HeapProfiler.collectGarbage")
        return float(self._line.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

    def memory(self) -> float:
        """MB of the page's process, bitmaps and all."""
        return max(process.memory_info().rss for process in self._renderers()) / 1e6

    def _renderers(self) -> list[psutil.Process]:
        found = self.browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        return [psutil.Process(one["id"]) for one in found if one["type"] == "renderer"]

    def _end(self) -> None:
        """Of a page that computes on: the browser would wait for it before it closes."""
        for process in self._renderers():
            process.kill()


@contextmanager
def opened(playwright: Playwright, address: str, **cookies: str) -> Iterator[Opened]:
    browser = playwright.chromium.launch(executable_path=chromium(), args=SWITCHES)
    try:
        page = browser.new_page(viewport=SIZE)
        page.on("pageerror", lambda error: print("page error:", error))
        page.goto(address)
        page.wait_for_function("() => window.bench")
        yield Opened(browser, page)
    finally:
        browser.close()


def local(subject: str) -> str:
    """The address of a page that needs no server."""
    (BUILT / f"{subject}.html").write_text(page_of(subject))
    return (BUILT / f"{subject}.html").as_uri()
