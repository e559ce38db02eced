"""Behind a reverse proxy that serves the server below a path, as most shared installations do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import Desk
from lab import ROOT, Lab, Notebook, expect_to_stream, running
from playwright.sync_api import Browser, WebSocket, expect
from processes import clear, environment, free_port, scratch, until

Open = Callable[..., Notebook]
PROXY = ROOT / "js" / "node_modules" / ".bin" / "configurable-http-proxy"
BASE = "/teams/data%20science/ada/"  # what has to be quoted stays quoted
TALK = "i=0; while [ ! -e go ]; do i=$((i+1)); echo line $i; sleep 0.05; done; echo done"


class ProxiedLab(Lab):
    """A JupyterLab that pages reach through JupyterHub's proxy alone."""

    base = f"{BASE}wattle/api/"
    entry = 0

    def address(self, path: str) -> str:
        return super().address(path).replace(f":{self.port}/", f":{self.entry}{BASE}")

    def pass_on(self, folder: Path) -> subprocess.Popen[bytes]:
        assert PROXY.exists(), "run `npm ci` in js/, or `python3 dev.py test`"
        self.port, self.entry = free_port(), free_port()
        options = {"ip": "127.0.0.1", "port": self.entry, "api-ip": "127.0.0.1", "api-port": free_port()}
        words = [f"--{name}={value}" for name, value in options.items()]
        # all that comes below the path goes to the server with its path; anything else is nobody's
        with (folder / "proxy.txt").open("wb") as output:
            return subprocess.Popen(
                [PROXY, *words, f"--default-target=http://127.0.0.1:{self.port}"],
                stdout=output,
                stderr=output,
                env=environment(folder / "proxy-home"),
            )


@pytest.fixture(scope="module")
def proxied_lab() -> Iterator[ProxiedLab]:
    with scratch() as folder:
        made = ProxiedLab(folder / "home", folder / "s")
        proxy = made.pass_on(folder)
        try:
            with running(made, clear, f'c.ServerApp.base_url = "{BASE}"\n'):
                until(lambda: proxy.poll() is None and made.listening())
                yield made
        finally:
            proxy.terminate()
            proxy.wait(20)
        assert "Traceback" not in made.said(), made.said()


def test_the_view_in_the_cell_is_live_through_the_proxy(proxied_lab: ProxiedLab, open_notebook: Open) -> None:
    lab = proxied_lab
    cells = ("%load_ext wattle_jupyter", f"%%wattle proxied\na: '{TALK}'\nb <- a: exit 4", "%wattle run proxied")
    sockets: list[WebSocket] = []
    asked: list[str] = []

    def prepare(notebook: Notebook) -> None:
        notebook.page.on("websocket", lambda socket: sockets.append(socket))
        notebook.page.on("request", lambda request: asked.append(request.url))

    notebook = open_notebook(lab, *cells, prepare=prepare)
    notebook.run_all()
    notebook.expect_state("a", "running")
    log = notebook.open_log("a")
    expect_to_stream(log)
    (lab.notebooks / "go").touch()
    expect(log.get_by_text("done", exact=True)).to_be_visible()
    notebook.expect_run("failed")
    notebook.view.get_by_role("button", name="Retry failed").click()
    expect(notebook.task("b")).to_contain_text("#2")
    own = f"127.0.0.1:{lab.entry}{BASE}wattle/api/"
    assert [one.url for one in sockets if "/wattle/" in one.url] == [f"ws://{own}events/ws"]
    assert {url.startswith(f"http://{own}") for url in asked if "/wattle/" in url} == {True}


def test_the_list_of_runs_and_their_pages_are_there_through_the_proxy(
    proxied_lab: ProxiedLab, browser: Browser
) -> None:
    run = proxied_lab.run({"a": "echo one; exit 3"}, "listed")
    proxied_lab.ended(run)
    desk = Desk(proxied_lab, browser, "proxied-desk")
    desk.page.goto(f"http://127.0.0.1:{proxied_lab.entry}{BASE}lab/workspaces/proxied?token={proxied_lab.token}")
    desk.ready()
    sidebar = desk.show()
    desk.see(run, "failed")
    expect(sidebar.locator(".jp-wattle-link")).to_have_text("live")
    desk.row(run).click()
    expect(desk.run_page.locator(".jp-wattle-title .jp-wattle-state")).to_have_text("failed")
    desk.run_page.locator(".jp-wattle-node[data-task=a]").click()
    expect(desk.run_page.locator(".jp-wattle-log-line")).to_have_text(re.compile("one"))
    desk.picture("proxied")
    assert desk.complained() == []
    desk.close()
