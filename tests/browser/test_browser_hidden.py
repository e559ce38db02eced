"""A page that nobody looks at costs nothing, and has all it missed when somebody looks again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab import SLOW, Lab, Notebook, expect_to_stream
from playwright.sync_api import CDPSession, Page, WebSocket, expect

Open = Callable[..., Notebook]
WINDOW = 3_000  # ms that are measured
TALK = "i=0; while [ ! -e seen ]; do i=$((i+1)); echo line $i; sleep 0.02; done; echo done"

# A headless page is never hidden: it is told that it is, and what it draws or reads from then on is counted.
HIDE = """hidden => {
  const state = { hidden, visibilityState: hidden ? 'hidden' : 'visible' };
  for (const name in state) Object.defineProperty(document, name, { configurable: true, get: () => state[name] });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
COUNT = """() => {
  Object.assign(window, { changes: 0, changed: performance.now() });
  const observer = new MutationObserver(records => {
    window.changes += records.length;
    window.changed = performance.now();
  });
  for (const one of document.querySelectorAll('.jp-wattle-run, .jp-wattle-sidebar'))
    observer.observe(one, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


class Meter:
    """What a page costs: requests and frames of the socket of ours, changes of our views, time of its main thread."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.sockets: list[WebSocket] = []
        self.frames = 0
        page.on("request", lambda one: "/wattle/" in one.url and self.requests.append(one.url))
        page.on("websocket", self._opened)
        self._cdp: CDPSession = page.context.new_cdp_session(page)
        self._cdp.send("Performance.enable")

    def _opened(self, socket: WebSocket) -> None:
        if "/wattle/" in socket.url:
            self.sockets.append(socket)
            socket.on("framereceived", lambda _: self._heard())

    def _heard(self) -> None:
        self.frames += 1

    @property
    def open(self) -> int:
        return sum(not one.is_closed() for one in self.sockets)

    def busy(self) -> float:
        """ms"""
        found = {one["name"]: one["value"] for one in self._cdp.send("Performance.getMetrics")["metrics"]}
        return float(found["TaskDuration"]) * 1000

    def settle(self) -> None:
        """Wait until what came last is drawn."""
        self.page.evaluate(COUNT)
        self.page.wait_for_function("() => performance.now() - window.changed > 1500")

    def over(self) -> dict[str, Any]:
        """All that it costs for a while."""
        self.page.evaluate(COUNT)
        requests, frames, busy = len(self.requests), self.frames, self.busy()
        self.page.wait_for_timeout(WINDOW)
        return {
            "requests": len(self.requests) - requests,
            "frames": self.frames - frames,
            "changes": self.page.evaluate("() => window.changes"),
            "busy": round(self.busy() - busy),
        }


def test_a_hidden_page_has_no_connection_and_draws_nothing_then_catches_up(lab: Lab, open_notebook: Open) -> None:
    cells = ("%load_ext wattle_jupyter", f"%%wattle hidden\na: '{TALK}'\nb <- a: exit 4", "%wattle run hidden")
    meters: list[Meter] = []
    notebook = open_notebook(lab, *cells, prepare=lambda one: meters.append(Meter(one.page)))
    [meter] = meters
    notebook.run_all()
    notebook.expect_state("a", "running")
    log = notebook.open_log("a")
    expect_to_stream(log)
    notebook.command("wattle:open-sidebar")
    expect(notebook.page.locator(".jp-wattle-runrow[data-run]").first).to_be_visible()
    shown = meter.over()

    notebook.page.evaluate(HIDE, True)
    [line] = [one for one in meter.sockets if not one.is_closed()]
    line.wait_for_event("close", timeout=SLOW)
    meter.settle()
    hidden = meter.over()
    print(f"in {WINDOW} ms shown: {shown}, hidden: {hidden}")
    assert shown["frames"] > 0
    assert shown["changes"] > 0
    assert [hidden["requests"], hidden["frames"], hidden["changes"], meter.open] == [0, 0, 0, 0]

    run = notebook.run
    (lab.notebooks / "seen").touch()
    lab.ended(run)
    notebook.page.evaluate(HIDE, False)
    notebook.expect_run("failed")
    expect(log.get_by_text("done", exact=True)).to_be_visible()
    text = lab.get(f"runs/{run}/tasks/a/logs?limit=1048576")["text"]
    assert notebook.log_text() == text.splitlines()
    expect(notebook.page.locator(f"[data-run='{run}'] .jp-wattle-icon.jp-mod-failed")).to_be_visible()
    assert meter.open == 1
