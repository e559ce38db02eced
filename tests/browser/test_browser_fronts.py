"""The same view where there is no JupyterLab extension: Notebook 7, anywidget, and through the kernel alone."""

from __future__ import annotations

import re
from collections.abc import Callable

from lab import Lab, Notebook
from playwright.sync_api import Route, WebSocket, expect

Open = Callable[..., Notebook]


def cells(name: str) -> tuple[str, str, str]:
    command = f"i=0; while [ ! -e go-{name} ]; do i=$((i+1)); echo line $i; sleep 0.05; done; echo done"
    return "%load_ext wattle_jupyter", f"%%wattle {name}\na: '{command}'\nb <- a: exit 4", f"%wattle run {name}"


def watch_to_the_end(notebook: Notebook, name: str) -> None:
    """A log that streams, a failure, a retry: what every front end must show."""
    notebook.expect_state("a", "running")
    log = notebook.open_log("a")
    expect(log.get_by_text("line 5", exact=True)).to_be_visible()
    notebook.shoot(f"{name}-running")
    (notebook.lab.notebooks / f"go-{name}").touch()
    expect(log.get_by_text("done", exact=True)).to_be_visible()
    notebook.expect_run("failed")
    notebook.view.get_by_role("button", name="Retry failed").click()
    expect(notebook.task("b")).to_contain_text("#2")
    notebook.expect_run("failed")
    notebook.shoot(name)


def test_notebook_7_shows_the_same_view(notebook_app: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(notebook_app, *cells("seven"))
    notebook.run_all()
    watch_to_the_end(notebook, "seven")


def test_without_the_extension_the_widget_draws_and_speaks_to_the_server(bare_lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(bare_lab, *cells("widget"))
    sockets: list[WebSocket] = []
    notebook.page.on("websocket", lambda socket: sockets.append(socket))
    notebook.run_all()
    watch_to_the_end(notebook, "widget")
    assert notebook.page.locator(".jp-wattle-output").count() == 0
    assert [one.url for one in sockets if "/wattle/api/events/ws" in one.url]


def test_without_a_way_to_the_server_events_and_logs_come_through_the_kernel(
    bare_lab: Lab, open_notebook: Open
) -> None:
    notebook = open_notebook(bare_lab, *cells("relay"))
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=404, body="{}")

    notebook.page.route(re.compile(r"/wattle/api/"), refuse)
    sockets: list[WebSocket] = []
    notebook.page.on("websocket", lambda socket: sockets.append(socket))
    notebook.tolerate("404")
    notebook.run_all()
    watch_to_the_end(notebook, "relay")
    assert [url.rpartition("/")[2] for url in asked] == ["health"]
    assert not [one.url for one in sockets if "/wattle/api/events/ws" in one.url]
