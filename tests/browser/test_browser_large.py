"""A thousand real processes in one run, watched in the page all the time."""

from __future__ import annotations

import json
import re
import statistics
import threading
import time
from collections.abc import Callable

import pytest
from lab import RESULTS, Lab, Notebook
from playwright.sync_api import expect

Open = Callable[..., Notebook]

LAYERS, WIDTH = 20, 50
LONGEST_TASK = 100  # ms of the page's main thread
SLOWEST_P95 = 0.050  # s

DEFINE = f"""
from wattle_jupyter import client
tasks = {{}}
for layer in range({LAYERS}):
    for i in range({WIDTH}):
        needs = [f"t{{layer - 1}}_{{(i + k) % {WIDTH}}}" for k in (0, 7)] if layer else []
        tasks[f"t{{layer}}_{{i}}"] = {{"run": ["echo", f"{{layer}} {{i}}"], "needs": needs}}
client.find().define({{"name": "thousand", "tasks": tasks}});
"""

# Which script took the time: a page of JupyterLab has much that is not ours.
WATCH_PAGE = """() => {
  window.longTasks = [];
  window.longScripts = [];
  const tasks = list => window.longTasks.push(...list.getEntries().map(entry => Math.round(entry.duration)));
  const frames = list => window.longScripts.push(...list.getEntries().flatMap(frame =>
    frame.scripts.map(one => [Math.round(one.duration), one.sourceURL.split('/').pop().split('?')[0], one.invoker])));
  new PerformanceObserver(tasks).observe({ entryTypes: ['longtask'] });
  new PerformanceObserver(frames).observe({ type: 'long-animation-frame' });
}"""

SEE_ALL = """async () => {
  const list = document.querySelector('.jp-wattle-list-rows');
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const states = new Map();
  for (let top = 0; ; top += list.clientHeight) {
    list.scrollTop = top;
    await frame();
    for (const row of list.querySelectorAll('[role=option]')) {
      states.set(row.dataset.task, row.querySelector('.jp-wattle-list-word').textContent);
    }
    if (top + list.clientHeight >= list.scrollHeight) break;
  }
  return Object.fromEntries(states);
}"""


class Asker(threading.Thread):
    """Asks the API as another client would, and notes how long each answer takes."""

    def __init__(self, lab: Lab, run: str) -> None:
        super().__init__(daemon=True)
        self.lab, self.run_id = lab, run
        self.took: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        paths = ["runs?page_size=20", f"runs/{self.run_id}/tasks/t0_0", "info", "workflows"]
        while not self.over.wait(0.05):
            begin = time.perf_counter()
            self.lab.get(paths[len(self.took) % len(paths)])
            self.took.append(time.perf_counter() - begin)

    def p95(self) -> float:
        return statistics.quantiles(self.took, n=20)[-1]


def watch_a_thousand(lab: Lab, open_notebook: Open) -> tuple[list[int], float]:
    """Run it in a page; the long tasks of the page in ms and the 95th percentile of the API's answers in s."""
    notebook = open_notebook(lab, "%load_ext wattle_jupyter", DEFINE, "%wattle run thousand")
    notebook.command("notebook:run-cell-and-select-next")
    notebook.command("notebook:run-cell-and-select-next")
    notebook.page.evaluate(WATCH_PAGE)
    notebook.command("notebook:run-cell")
    expect(notebook.view).to_be_visible()
    asker = Asker(lab, notebook.run)
    asker.start()
    expect(notebook.view.locator(".jp-wattle-counts")).to_have_text(
        re.compile(r"^1,000 of 1,000 tasks$"), timeout=120_000
    )
    asker.over.set()
    asker.join()
    notebook.expect_run("completed")
    long_tasks = notebook.page.evaluate("window.longTasks")
    states = notebook.page.evaluate(SEE_ALL)
    assert len(states) == LAYERS * WIDTH
    assert set(states.values()) == {"completed"}
    # tasks that are alike share a box; on demand each has its own
    expect(notebook.view.locator("[data-bundle]")).to_have_count(LAYERS)
    notebook.shoot("thousand-grouped")
    notebook.view.get_by_role("button", name="Group").click()
    expect(notebook.view.locator("canvas[role=img]")).to_be_visible()
    notebook.shoot("thousand")
    figures = {
        "long tasks of the page in ms": long_tasks,
        "API p95 in ms": round(asker.p95() * 1000, 1),
        "API answers": len(asker.took),
        "scripts in long frames": notebook.page.evaluate("window.longScripts"),
    }
    (RESULTS / "thousand.json").write_text(json.dumps(figures, indent=1))
    print(figures)
    return long_tasks, asker.p95()


def test_a_thousand_tasks_complete_and_every_final_state_is_shown(lab: Lab, open_notebook: Open) -> None:
    watch_a_thousand(lab, open_notebook)


@pytest.mark.long
def test_page_and_api_stay_quick_while_a_thousand_tasks_run(own_lab: Lab, open_notebook: Open) -> None:
    long_tasks, p95 = watch_a_thousand(own_lab, open_notebook)
    assert max(long_tasks, default=0) <= LONGEST_TASK
    assert p95 < SLOWEST_P95
