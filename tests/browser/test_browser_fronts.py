"""The same view where there is no JupyterLab extension: Notebook 7, anywidget, and through the kernel alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from lab import Lab, Notebook, expect_to_stream
from playwright.sync_api import Response, WebSocket, expect

Open = Callable[..., Notebook]
API = re.compile(r"/wattle/api/")
SOCKET = re.compile(r"/wattle/api/events/ws")


def cells(name: str) -> tuple[str, str, str]:
    command = f"i=0; while [ ! -e go-{name} ]; do i=$((i+1)); echo line $i; sleep 0.05; done; echo done"
    return "%load_ext wattle_jupyter", f"%%wattle {name}\na: '{command}'\nb <- a: exit 4", f"%wattle run {name}"


def watch_to_the_end(notebook: Notebook, name: str) -> None:
    """A log that streams, a failure, a retry: what every front end must show."""
    notebook.expect_state("a", "running")
    log = notebook.open_log("a")
    expect_to_stream(log)
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


def refuse(notebook: Notebook) -> None:
    """As a server without our extension."""
    notebook.page.route_web_socket(SOCKET, lambda line: line.close())
    notebook.page.route(API, lambda route: route.fulfill(status=404, body="{}"))


def abort(notebook: Notebook) -> None:
    """As a proxy or a browser extension that lets nothing through."""
    notebook.page.route_web_socket(SOCKET, lambda line: line.close())
    notebook.page.route(API, lambda route: route.abort())


def forbid(notebook: Notebook) -> None:
    """As a page whose policy allows connections to Jupyter's own API alone."""
    site = f"127.0.0.1:{notebook.lab.port}"
    own = " ".join(f"http://{site}/{path}/" for path in ("api", "lab", "static", "lsp", "files"))
    notebook.page.add_init_script(f"({_POLICY})({f'connect-src {own} ws://{site}/api/ blob: data:'!r})")


_POLICY = """policy => {
  const add = () => {
    if (document.head === null) return false;
    const meta = document.createElement('meta');
    document.head.append(Object.assign(meta, { httpEquiv: 'Content-Security-Policy', content: policy }));
    return true;
  };
  if (!add()) new MutationObserver((_, own) => add() && own.disconnect()).observe(document, { childList: true });
}"""


@pytest.mark.parametrize("block", [refuse, abort, forbid])
def test_where_the_direct_way_is_blocked_events_and_logs_come_through_the_kernel(
    bare_lab: Lab, open_notebook: Open, block: Callable[[Notebook], None]
) -> None:
    name = f"relay-{block.__name__}"
    sockets: list[WebSocket] = []
    answered: list[Response] = []

    def prepare(notebook: Notebook) -> None:
        block(notebook)
        notebook.page.on("websocket", lambda socket: sockets.append(socket))
        notebook.page.on("response", lambda response: answered.append(response))
        notebook.tolerate("wattle/api|WebSocket|ERR_FAILED|Content Security Policy")

    notebook = open_notebook(bare_lab, *cells(name), prepare=prepare)
    notebook.run_all()
    watch_to_the_end(notebook, name)
    assert not [one.url for one in sockets if SOCKET.search(one.url) and not one.is_closed()]
    assert not [one.url for one in answered if API.search(one.url) and one.ok]
