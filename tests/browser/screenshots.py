"""The pictures of README and documentation, taken of a real JupyterLab that runs a real workflow.

    python3 dev.py screenshots

Twice as many pixels as points, reduced to 256 colours; light and dark.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import SWITCHES
from desk import Desk
from lab import ROOT, Lab, Notebook, chromium, running
from PIL import Image
from playwright.sync_api import Browser, Locator, expect, sync_playwright
from processes import clear, environment, scratch, until

IMAGES = ROOT / "docs" / "images"
STEPS = Path(__file__).parent / "forecast" / "steps.py"
LARGEST = 300_000  # bytes
PATIENCE = 600_000  # ms
WINDOW = {"width": 1360, "height": 850}

FORECAST = """%%wattle forecast
fetch_weather: steps.py fetch weather
fetch_normals: steps.py fetch normals
clean_weather <- fetch_weather: steps.py clean weather
daily_normals <- fetch_normals: steps.py clean normals
features <- clean_weather, daily_normals: steps.py features
train_linear <- features: steps.py train linear
train_forest <- features: steps.py train forest
train_boosting <- features: steps.py train boosting
train_neural_net:
  run: steps.py train neural_net
  needs: [features]
  retries: 2
evaluate <- train_linear, train_forest, train_boosting, train_neural_net: steps.py evaluate
forecast <- evaluate: steps.py finish forecast.csv
charts <- evaluate: steps.py finish charts.html
"""
AIR = {
    "sensors": "echo 2204 sensors",
    "stations": "echo 31 stations",
    "join": {"run": "echo joined", "needs": ["sensors", "stations"]},
    "ozone": {"run": f"{sys.executable} steps.py ozone", "needs": ["join"]},
    "particles": {"run": "echo 11.4 µg/m³", "needs": ["join"]},
    "map": {"run": "echo drawn", "needs": ["ozone", "particles"]},
    "alerts": {"run": "echo none", "needs": ["ozone"]},
}
# What else a week leaves in the list of runs: name, tasks, state in which it is to be seen.
OTHERS = [
    ("nightly-etl", {"extract": "echo 18204 rows", "load <- extract": "echo loaded"}, "completed"),
    ("air-quality", AIR, "failed"),
    ("tune-forest", {"search": "sleep 600", "report <- search": "echo"}, "cancelled"),
    ("nightly-etl", {"extract": "echo 18377 rows", "load <- extract": "echo loaded"}, "completed"),
    ("render-figures", {f"figure_{n}": "echo drawn" for n in range(1, 7)}, "completed"),
]


_NO_LAUNCHER = "() => [...jupyterapp.shell.widgets('main')].find(one => one.title.label === 'Launcher')?.close()"


def prepare(lab: Lab) -> None:
    shutil.copy(STEPS, lab.notebooks / "steps.py")
    for name, tasks, state in OTHERS:
        run = lab.run(tasks, name, working_dir=str(lab.notebooks))
        if state == "cancelled":
            lab.running(run, "search")
            lab.post(f"runs/{run}/cancel")
        assert lab.ended(run, PATIENCE / 1000)["state"] == state


def keep(picture: bytes, name: str) -> None:
    """As a PNG with a palette, as many colours as fit."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    IMAGES.mkdir(exist_ok=True)
    for colours in (256, 160, 96, 64):
        small = io.BytesIO()
        image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        if small.tell() <= LARGEST:
            break
    (IMAGES / f"{name}.png").write_bytes(small.getvalue())
    print(f"{name}.png: {image.width} × {image.height}, {small.tell() // 1000} kB, {colours} colours", flush=True)


def shoot(page: Notebook, name: str) -> None:
    for theme in ("Light", "Dark"):
        page.theme(theme)
        page.page.mouse.move(WINDOW["width"] - 2, WINDOW["height"] - 2)
        page.page.wait_for_timeout(600)  # canvases and code mirrors follow the theme a moment later
        keep(page.page.screenshot(), f"{name}-{theme.lower()}")
    page.theme("Light")


def training(view: Locator, epoch: int = 30) -> None:
    """Wait until the neural net is half way, in the log that is open."""
    expect(view.locator("[data-task=train_neural_net].jp-mod-running").first).to_be_visible(timeout=PATIENCE)
    view.locator(".jp-wattle-node[data-task=train_neural_net]").click()
    expect(view.get_by_text(f"epoch {epoch:3d}/300").first).to_be_visible(timeout=PATIENCE)


def in_the_cell(lab: Lab, browser: Browser) -> None:
    path = lab.write("forecast", "%load_ext wattle_jupyter", FORECAST, "%wattle run forecast")
    notebook = Notebook(lab, browser, path, viewport=WINDOW, device_scale_factor=2)
    notebook.open()
    notebook.command("application:toggle-left-area")
    notebook.run_all()
    training(notebook.view)
    notebook.view.scroll_into_view_if_needed()
    shoot(notebook, "cell")
    lab.post(f"runs/{notebook.run}/cancel")
    notebook.close()


def at_the_desk(lab: Lab, browser: Browser) -> None:
    """The page of a run that goes on, the list beside it."""
    desk = Desk(lab, browser, "desk", viewport=WINDOW, device_scale_factor=2)
    desk.open()
    desk.show()
    desk.width(300)
    started = [sys.executable, "-m", "wattle_jupyter", "run", "forecast", "--json"]
    env = environment(lab.home, WATTLE_STORE__DIR=str(lab.store))
    said = subprocess.run(started, env=env, cwd=lab.notebooks, check=True, capture_output=True)
    run = json.loads(said.stdout)["run"]
    desk.command("wattle:open-run", run=run)
    desk.page.evaluate(_NO_LAUNCHER)
    training(desk.run_page)
    shoot(desk, "run")
    lab.post(f"runs/{run}/cancel")
    desk.close()


def at_a_failure(lab: Lab, browser: Browser) -> None:
    desk = Desk(lab, browser, "failure", viewport=WINDOW, device_scale_factor=2)
    desk.open()
    desk.show()
    desk.width(300)
    failed = lab.get("runs?status=failed")["data"][0]["id"]
    desk.command("wattle:open-run", run=failed)
    desk.page.evaluate(_NO_LAUNCHER)
    expect(desk.run_page.get_by_text("KeyError").first).to_be_visible()
    shoot(desk, "failure")
    desk.close()


def main() -> int:
    with scratch() as folder, sync_playwright() as playwright:
        lab = Lab(folder / "home", folder / "s")
        lab.patience = PATIENCE / 1000
        expect.set_options(timeout=PATIENCE)
        os.environ.update({"LOGNAME": "ada", "USER": "ada"})
        with running(lab, clear):
            until(lambda: lab.get("health")["ready"])
            prepare(lab)
            browser = playwright.chromium.launch(executable_path=chromium(), args=SWITCHES)
            in_the_cell(lab, browser)
            at_the_desk(lab, browser)
            at_a_failure(lab, browser)
            browser.close()
    return 0


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)  # it is for this process alone
    sys.exit(main())
