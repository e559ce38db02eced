"""The widget in a page that is neither JupyterLab nor Notebook, as in editors and hosted notebooks: all of it comes
through the kernel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from lab import RESULTS, SLOW, expect_to_stream
from playwright.sync_api import Browser, Page, expect
from processes import EngineProcess
from widgethost import WidgetHost, hosting

from wattle_jupyter.client import Client
from wattle_jupyter.widget import RunView

TALK = "i=0; while [ ! -e go ]; do i=$((i+1)); echo line $i; sleep 0.05; done; echo done"


@pytest.fixture
def host() -> Iterator[WidgetHost]:
    with hosting() as made:
        yield made


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 900, "height": 700})
    page = context.new_page()
    page.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.screenshot(path=str(RESULTS / "end-widget-host.png"))
    context.close()
    assert complaints == []


def expect_state(page: Page, task: str, state: str) -> None:
    expect(page.locator(f"[data-task={task}]")).to_have_class(re.compile(rf"\bjp-mod-{state}\b"))


def test_a_page_that_knows_no_jupyter_shows_graph_log_and_actions(
    make_engine: Callable[..., EngineProcess], host: WidgetHost, page: Page
) -> None:
    RESULTS.mkdir(exist_ok=True)
    engine = make_engine().launch()
    work = engine.home
    tasks = {"talk": TALK, "b": {"run": "exit 4", "needs": ["talk"]}, "c": {"run": "echo c", "needs": ["b"]}}
    run = engine.run(tasks, "hosted", working_dir=str(work))
    view = RunView(Client(engine.store, start=False), run=run, store=engine.get("info")["store"], saved={})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(host.address)
    expect_state(page, "talk", "running")
    page.locator("[data-task=talk]").click()
    log = page.locator(".jp-wattle-log")
    expect_to_stream(log)

    page.reload()  # the same model: the run is found again by its id
    expect_state(page, "talk", "running")
    page.locator("[data-task=talk]").click()

    engine.end()
    expect(page.locator(".jp-wattle-link")).to_have_text(re.compile("reconnecting|offline"))
    engine.launch()
    expect(page.locator(".jp-wattle-link")).to_have_text("live")

    (work / "go").touch()
    expect(log.get_by_text("done", exact=True)).to_be_visible()
    expect_state(page, "b", "failed")
    page.get_by_role("button", name="Retry failed").click()
    expect(page.locator("[data-task=b]")).to_contain_text("#2")
    expect_state(page, "c", "skipped")
    assert [one["n"] for one in engine.task(run, "b")["history"]] == [1, 2]
    assert {url for url in asked if not url.startswith("blob:")} == {host.address}
    view.close()
