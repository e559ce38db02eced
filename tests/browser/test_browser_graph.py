"""The graph and the table of a run under real hands: wheel, keys, fingers, in a cell and on a page of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from desk import Desk
from lab import SLOW, Lab, Notebook
from playwright.sync_api import Browser, Locator, expect
from processes import until

Open = Callable[..., Notebook]

SHARDS = 40
FAN = {
    "split": "echo split",
    **{f"shard_{i} <- split": f"echo {i}; [ {i} -ne 7 ] || [ -e mended ]" for i in range(SHARDS)},
    "merge <- " + ", ".join(f"shard_{i}" for i in range(SHARDS)): "echo merge",
}


@pytest.fixture
def page_of(lab: Lab, browser: Browser) -> Iterator[Callable[..., Desk]]:
    """``page_of(run, **options of the page)``: a JupyterLab that shows the page of a run."""
    opened: list[Desk] = []

    def open_(run: str, **options: object) -> Desk:
        lab.forget_theme()
        desk = Desk(lab, browser, f"graph-{len(opened)}", **options)
        opened.append(desk)
        desk.open()
        desk.command("wattle:open-run", run=run)
        expect(desk.run_page.locator(".jp-wattle-head")).to_be_visible()
        return desk

    yield open_
    complaints = [text for desk in opened for text in desk.complained()]
    for desk in opened:
        desk.close()
    assert not complaints, "\n".join(complaints)


def transform(graph: Locator) -> tuple[float, float, float]:
    """x, y and scale of the picture."""
    text = graph.locator("svg.jp-wattle-svg > g").get_attribute("transform") or ""
    x, y, scale = re.findall(r"-?[\d.]+(?:e-?\d+)?", text)[:3]
    return float(x), float(y), float(scale)


def test_a_fan_is_grouped_searched_and_walked_in_its_cell_and_the_notebook_hears_nothing_of_it(
    lab: Lab, open_notebook: Open
) -> None:
    run = lab.run(FAN, "fan", working_dir=str(lab.notebooks))
    lab.ended(run)
    cell = f'%load_ext wattle_jupyter\nimport wattle_jupyter as wt\nwt.attach("{run}")'
    notebook = open_notebook(lab, cell)
    notebook.run_all()
    view, keyboard = notebook.view, notebook.page.keyboard
    graph = view.locator(".jp-wattle-graph")
    expect(graph.locator(".jp-wattle-node")).to_have_count(3)
    expect(graph.locator("[data-bundle]")).to_have_attribute(
        "aria-label", re.compile(rf"^shard_\*, {SHARDS} tasks: 1 failed")
    )
    notebook.shoot("fan")
    before = transform(graph)

    graph.hover()
    notebook.page.mouse.wheel(0, -240)  # the notebook's
    assert transform(graph) == before
    keyboard.down("Control")
    notebook.page.mouse.wheel(0, -240)
    keyboard.up("Control")
    until(lambda: transform(graph)[2] > before[2])

    notebook.task("split").focus()
    keyboard.press("0")  # twice it would restart the kernel
    keyboard.press("0")
    keyboard.press("0")
    assert transform(graph) == before
    keyboard.press("/")
    keyboard.type("shard_7")
    expect(graph.locator(".jp-wattle-find input")).to_have_value("shard_7")
    expect(graph.locator(".jp-wattle-find [role=status]")).to_have_text("1 of 1")
    assert notebook.page.locator(".jp-Cell").count() == 1
    expect(graph.locator(".jp-wattle-readout")).to_contain_text("shard_7 · failed")
    expect(graph.locator(".jp-wattle-node.jp-mod-dim")).to_have_count(2)
    notebook.shoot("fan-search")
    keyboard.press("Escape")
    keyboard.press("Enter")
    panel = view.locator(".jp-wattle-panel")
    expect(panel.locator(".jp-wattle-panel-name")).to_have_text("shard_7")
    expect(panel).to_be_focused()
    keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(graph.locator("[data-bundle]")).to_be_focused()
    keyboard.press("Escape")
    keyboard.press("ArrowRight")
    expect(notebook.task("merge")).to_be_focused()
    expect(notebook.page.locator(".jp-Dialog")).to_have_count(0)
    assert notebook.page.locator(".jp-Cell").count() == 1
    keyboard.press("Control+s")  # this one is the notebook's
    until(lambda: "shard_7" in (lab.notebooks / notebook.path).read_text())


def rests(graph: Locator) -> bool:
    """Does it stand still for a moment?"""
    before = transform(graph)
    graph.page.wait_for_timeout(200)
    return transform(graph) == before


def test_a_page_is_zoomed_by_wheel_and_fingers_and_its_table_sorted(lab: Lab, page_of: Callable[..., Desk]) -> None:
    run = lab.run(FAN, "fingers", working_dir=str(lab.notebooks))
    lab.ended(run)
    desk = page_of(run, has_touch=True)
    page, graph = desk.run_page, desk.run_page.locator(".jp-wattle-graph")
    expect(graph.locator("[data-bundle]")).to_be_visible()
    home = until(lambda: rests(graph) and transform(graph))  # it is fitted when the page has found its size
    graph.hover()
    desk.page.mouse.wheel(0, -120)
    until(lambda: transform(graph)[2] > home[2] * 1.2)
    x, y, zoomed = transform(graph)
    desk.page.mouse.wheel(30, 20)  # as a touch pad: moves
    until(lambda: transform(graph) == (x - 30, y - 20, zoomed))
    page.get_by_role("button", name="Fit").click()
    until(lambda: transform(graph) == home)

    box = graph.bounding_box()
    assert box is not None
    middle, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = desk.context.new_cdp_session(desk.page)

    def touch(kind: str, *xs: float) -> None:
        points = [{"x": at, "y": y, "id": i} for i, at in enumerate(xs)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", middle - 40)
    touch("touchStart", middle - 40, middle + 40)
    for apart in (60, 80, 100, 120):
        touch("touchMove", middle - apart, middle + apart)
    touch("touchEnd")
    until(lambda: transform(graph)[2] > home[2] * 2.5)
    desk.picture("fan-pinched")

    page.get_by_role("button", name="Table", exact=True).click()
    rows = page.locator("[role=option]")
    page.get_by_role("button", name="1 failed", exact=True).click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("shard_7")
    page.get_by_role("button", name="1 failed", exact=True).click()
    page.get_by_label("Filter tasks by name").fill("shard_1")
    expect(rows).to_have_count(11)
    page.get_by_role("button", name="Task", exact=True).click()
    page.get_by_role("button", name="Task", exact=True).click()
    expect(rows.first).to_have_attribute("data-task", "shard_19")
    desk.picture("fan-table")


def test_a_failed_task_is_retried_from_where_it_is_shown_and_the_run_deleted_and_brought_back(
    lab: Lab, page_of: Callable[..., Desk]
) -> None:
    script = "printf 'reading\\n\\033[31mValueError: no such column\\033[0m\\n'; [ -e cured ] || exit 3"
    tasks = {"load": "echo load", "clean <- load": script, "report <- clean": "echo report"}
    run = lab.run(tasks, "undo", working_dir=str(lab.notebooks))
    lab.ended(run)
    desk = page_of(run)
    desk.show()
    page = desk.run_page
    failure = page.locator(".jp-wattle-failure")
    expect(failure).to_contain_text("exit 3")
    expect(failure.get_by_text("ValueError: no such column")).to_be_visible()
    desk.picture("failure")
    failure.get_by_role("button", name="Log at the error").click()
    expect(page.locator(".jp-wattle-panel-name")).to_have_text("clean")
    expect(page.locator(".jp-wattle-log").get_by_text("ValueError: no such column")).to_be_visible()
    desk.picture("log-at-error")
    page.get_by_role("button", name="Close", exact=True).click()
    (lab.notebooks / "cured").touch()
    failure.get_by_role("button", name="Retry from here").click()
    expect(page.locator(".jp-wattle-title .jp-wattle-state")).to_have_text("completed", timeout=SLOW)
    expect(page.get_by_role("button", name="Retry failed")).to_be_disabled()
    expect(page.get_by_role("button", name="Retry failed")).to_have_attribute("title", "All its tasks completed")

    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Keep").click()
    assert lab.state(run) == "completed"
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete run").click()
    expect(page).to_contain_text("This run was deleted on the server.")
    expect(desk.row(run)).to_have_count(0)
    assert lab.request("GET", f"runs/{run}")[0] == 404
    page.get_by_role("button", name="Undo").click()
    expect(page).not_to_contain_text("This run was deleted on the server.")
    expect(desk.row(run)).to_be_visible()
    assert lab.state(run) == "completed"
