"""A notebook from somewhere, opened: it shows what it holds, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hostile
from lab import Lab, Notebook
from playwright.sync_api import Request, WebSocket, expect

Open = Callable[..., Notebook]

MAY_SAY = ('{"type":"since"', '{"type":"subscribe"', '{"type":"unsubscribe"', '{"type":"watch"')
DISTRUST = "The notebook is not trusted: run the cell or trust the notebook first"


class Ear:
    """Hears what a page asks of the server's part of this extension to change, from its first moment on."""

    def __init__(self, notebook: Notebook) -> None:
        self.changes: list[str] = []
        self.asked = 0
        notebook.page.on("request", self._request)
        notebook.page.on("websocket", self._socket)

    def _request(self, request: Request) -> None:
        if "/wattle/" in request.url:
            self.asked += 1
            if request.method not in ("GET", "HEAD"):
                self.changes.append(f"{request.method} {request.url}")

    def _socket(self, socket: WebSocket) -> None:
        if "/wattle/" in socket.url:
            socket.on("framesent", self._frame)

    def _frame(self, payload: str | bytes) -> None:
        self.asked += 1
        if not str(payload).replace(" ", "").startswith(MAY_SAY):
            self.changes.append(str(payload))


def going_on(lab: Lab) -> tuple[str, dict[str, Any]]:
    """A run that goes on, and an output that shows it, as a stranger who knows its id would write it."""
    run = lab.run({"first": {"run": "echo hello; exec sleep 600"}, "second": {"run": "true", "needs": ["first"]}})
    lab.running(run, "first")
    saved = {
        "version": 1,
        "workflow": "w",
        "state": None,
        "tasks": [{"task": task, "state": None, "reason": ""} for task in ("first", "second")],
        "edges": [{"src": "first", "dst": "second", "kind": "order"}],
    }
    data = {"text/plain": "w", "application/vnd.wattle.run.v1+json": saved}
    return run, {"output_type": "display_data", "data": data, "metadata": {"wattle": {"run": run}}}


def test_an_untrusted_notebook_changes_nothing_when_it_is_opened_and_looked_at(lab: Lab, open_notebook: Open) -> None:
    run, output = going_on(lab)
    attacks = list(hostile.outputs())
    chosen = [attacks[n] for n in (0, 12, 24, 31, 36, 60)]
    path = lab.write("untrusted", *((f"show({n})", [one]) for n, one in enumerate([*chosen, output])))
    before = lab.get("audit?limit=1000")
    notebook = open_notebook(lab, path=lab.write("empty"), kernel=False)
    notebook.tolerate("")  # the pictures that the attacks ask for
    ear = Ear(notebook)
    notebook.path = path
    notebook.open()
    notebook.page.evaluate(_TO_THE_END)
    notebook.expect_state("first", "running")
    log = notebook.open_log("first")
    expect(log.get_by_text("hello", exact=True)).to_be_visible()
    for name in ("Cancel", "Stop"):
        button = notebook.view.get_by_role("button", name=name, exact=True).first
        expect(button).to_be_disabled()
        expect(button).to_have_attribute("title", DISTRUST)
        button.click(force=True)
    for key in ("Enter", "ArrowDown", "Escape"):
        notebook.view.press(key)
    notebook.shoot("untrusted-running")
    assert ear.asked > 2
    assert ear.changes == []
    assert lab.state(run) == "running"
    assert lab.get("audit?limit=1000") == before

    notebook.page.evaluate(_TRUST)  # as the user does who knows where it is from
    notebook.view.get_by_role("button", name="Cancel", exact=True).click()
    notebook.view.get_by_role("alertdialog").get_by_role("button").first.click()
    notebook.expect_run("cancelled")
    assert [change for change in ear.changes if change.endswith(f"runs/{run}/cancel")]


_PANEL = "[...window.jupyterapp.shell.widgets('main')].find(w => w.sessionContext)"
_TO_THE_END = f"() => {_PANEL}.content.scrollToItem({_PANEL}.content.widgets.length - 1).then(() => null)"
_TRUST = f"() => {{ for (const cell of {_PANEL}.content.model.cells) cell.trusted = true; }}"
