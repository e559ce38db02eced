"""Measures the views in Chromium and takes their pictures: `python js/tests/bench/run.py OUTPUT_FOLDER`.

Prints for graphs of 100 to 5,000 tasks, grouped and with a box for each task, how long the first drawing took, and the
frames per second and the longest task of the main thread during 500 changes of state per second. Fails if with up to
1,000 tasks there were fewer than 30 frames a second or a task took over 100 ms.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

JS = Path(__file__).parents[2]
LIGHT = "--jp-layout-color0:#fff;--jp-layout-color1:#fff;--jp-layout-color2:#eee;--jp-border-color0:#bdbdbd;--jp-border-color1:#bdbdbd;--jp-border-color2:#e0e0e0;--jp-ui-font-color2:rgba(0,0,0,.54);"  # noqa: E501
DARK = "--jp-layout-color0:#111;--jp-layout-color1:#212121;--jp-layout-color2:#424242;--jp-border-color0:#616161;--jp-border-color1:#616161;--jp-border-color2:#424242;--jp-ui-font-color2:rgba(255,255,255,.7);--jp-content-font-color1:rgba(255,255,255,1);--jp-brand-color1:#2196f3;--jp-error-color1:#d32f2f;"  # noqa: E501
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def build(out: Path) -> str:
    """The page's address."""
    entry = str(JS / "tests/bench/page.tsx")
    options = [
        "--bundle",
        "--format=iife",
        "--jsx=automatic",
        "--jsx-import-source=preact",
        f"--outfile={out / 'page.js'}",
    ]
    subprocess.run([JS / "node_modules/.bin/esbuild", entry, *options], check=True, cwd=JS, capture_output=True)
    (out / "page.html").write_text(
        '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css"><body style="margin:12px">'
        '<div id="root"></div><script src="page.js"></script>'
    )
    return (out / "page.html").as_uri()


def pictures(page: Page, out: Path) -> None:
    for theme, colours in (("light", LIGHT), ("dark", DARK)):
        for width in (1200, 480, 240):
            page.set_viewport_size({"width": width + 24, "height": 760})
            dark = theme == "dark"
            page.evaluate(
                "([c, dark]) => { document.documentElement.style.cssText = c; document.body.style.background = dark ? '#111' : '#fff';"
                " document.body.dataset.jpThemeLight = String(!dark); window.show('quickstart'); }",
                [colours, dark],
            )
            page.wait_for_selector("[data-task=train_linear]")
            page.screenshot(path=out / f"{theme}-{width}.png")
            page.click("[data-task=train_linear]")
            page.wait_for_selector(".jp-wattle-log-line")
            page.wait_for_timeout(150)
            page.screenshot(path=out / f"{theme}-{width}-log.png")


def measure(page: Page, layers: int, width: int, grouped: bool) -> dict[str, float]:
    page.set_viewport_size({"width": 1200, "height": 800})
    return page.evaluate(
        """async ([layers, width, grouped]) => {
          const start = performance.now();
          const feed = window.show('layered', layers, width);
          while (!document.querySelector('.jp-wattle-node, .jp-wattle-canvas')) await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          const first = performance.now() - start;
          const group = [...document.querySelectorAll('button')].find(one => one.textContent === 'Group');
          if (!grouped && group) {
            group.click();
            const there = () => document.querySelectorAll('.jp-wattle-node').length >= layers * width;
            while (!there() && !document.querySelector('.jp-wattle-canvas')) await new Promise(requestAnimationFrame);
          }
          await new Promise(done => setTimeout(done, 500));
          return { tasks: layers * width, grouped, first_ms: Math.round(first), ...await window.storm(feed, 500, 5) };
        }""",
        [layers, width, grouped],
    )


def main(out: Path) -> int:
    out.mkdir(parents=True, exist_ok=True)
    address = build(out)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        page = browser.new_page()
        page.on("pageerror", lambda error: print("page error:", error))
        page.goto(address)
        pictures(page, out)
        sizes = ((10, 10), (15, 20), (20, 25), (20, 50), (50, 100))
        results = [measure(page, *size, grouped) for size in sizes for grouped in (True, False)]
        page.screenshot(path=out / "large.png")
        browser.close()
    for result in results:
        print(json.dumps(result))
    kept = [result for result in results if result["tasks"] <= 1_000]
    return int(any(result["longest"] > 100 or result["frames"] < 30 for result in kept))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
