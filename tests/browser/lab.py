"""A real JupyterLab (or Notebook) and a page of Chromium that shows a notebook of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page, expect
from processes import ServerProcess, free_port, until

import wattle_jupyter

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "test-results"
AXE = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"
BUILT = Path(wattle_jupyter.__file__).parent / "labextension"
EXTENSION = "wattle-jupyter"
OURS = re.compile(rf"{EXTENSION}|blob:")  # where our code is in a page: the extension's files, the widget's module
SLOW = 60_000  # ms; the machine may be busy

Cell = str | tuple[str, list[dict[str, Any]]]

# What the front ends themselves say on a page without any extension.
NOISE = re.compile(
    r"reading 'schema'|debugger state|favicon|Failed to load resource.*(translation|\.map)|api/kernels/[-0-9a-f]+\b"
    r"|\[anywidget\] Failed to initialize model"  # after 2 s; who needs the widget misses it
)


def chromium() -> str:
    """The browser to test with."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("WATTLE_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    assert found, "no Chromium on PATH: apt-get install chromium, or set WATTLE_CHROMIUM"
    return found


class Lab(ServerProcess):
    """``jupyter lab`` or ``jupyter notebook`` with folders, a store, a port and a token of its own."""

    app = "lab"
    patience = 60.0  # s for a server to come up

    @property
    def notebooks(self) -> Path:
        return self.home / "notebooks"

    @property
    def settings(self) -> Path:
        return self.home / "settings" / "@jupyterlab" / "apputils-extension"

    def launch(self, wait: bool = True, config: str = "", **more: str) -> Lab:
        self.notebooks.mkdir(parents=True, exist_ok=True)
        self.settings.mkdir(parents=True, exist_ok=True)
        (self.settings / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false", "checkForUpdates": false}'
        )
        (self.home / "server.py").write_text(_CONFIG.format(home=str(self.home), port=self._own_port()) + config)
        module = {"lab": "jupyterlab", "notebook": "notebook"}[self.app]
        more = {"WATTLE_STORE__DIR": str(self.store), "JUPYTER_PATH": str(self._extensions()), **more}
        self.start(["-m", module, "--config", str(self.home / "server.py")], **more)
        if wait:
            try:
                until(self._ready, self.patience)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.said()}") from None
        return self

    def _own_port(self) -> int:
        self.port = self.port or free_port()
        return self.port

    def _extensions(self) -> Path:
        """A data path with the extension as it was built last: an installed copy may be older."""
        share = self.home / "share"
        link = share / "labextensions" / EXTENSION
        if BUILT.exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(BUILT)
        return share

    def disable_extension(self) -> None:
        """As ``jupyter labextension disable`` does; before :meth:`launch`."""
        folder = self.home / "config" / "labconfig"
        folder.mkdir(parents=True)
        (folder / "page_config.json").write_text(json.dumps({"disabledExtensions": {EXTENSION: True}}))

    def kill(self) -> None:
        """End the server, and nothing else, as a crash does."""
        self.end(signal.SIGKILL)

    def forget_theme(self) -> None:
        """A theme that a test chose is a setting of the user."""
        (self.settings / "themes.jupyterlab-settings").unlink(missing_ok=True)

    def write(self, name: str, *cells: Cell) -> str:
        """A notebook of code cells, each a source or a source with its outputs. Returns its path for the server."""
        pairs = [(cell, []) if isinstance(cell, str) else cell for cell in cells]
        document = {
            "cells": [_cell(i, source, outputs) for i, (source, outputs) in enumerate(pairs)],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (self.notebooks / f"{name}.ipynb").write_text(json.dumps(document))
        return f"{name}.ipynb"

    def read(self, path: str) -> Any:
        return json.loads((self.notebooks / path).read_text())

    def address(self, path: str) -> str:
        view = f"lab/workspaces/{Path(path).stem}/tree" if self.app == "lab" else "notebooks"
        return f"http://127.0.0.1:{self.port}/{view}/{quote(path)}?token={self.token}"

    def said(self) -> str:
        """What the server wrote, without the tracebacks that go through no file of ours: pages are closed and kernels
        ended while they are talked to, and neither Jupyter nor its kernels take that quietly."""
        block = r"(?s)Traceback \(most recent call last\).*?(?=\n\[[A-Z] |\Z)"
        return re.sub(block, lambda found: found[0] if "wattle_jupyter/" in found[0] else "", super().said())


def _cell(index: int, source: str, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    ident, count = f"cell-{index}", index + 1 if outputs else None
    return {
        "cell_type": "code",
        "id": ident,
        "metadata": {},
        "source": source,
        "execution_count": count,
        "outputs": outputs,
    }


_CONFIG = """
c.ServerApp.allow_root = True
c.ServerApp.open_browser = False
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = {port}
c.ServerApp.port_retries = 0
c.ServerApp.root_dir = "{home}/notebooks"
c.IdentityProvider.token = "secret"
c.LabApp.expose_app_in_browser = True
c.LabApp.workspaces_dir = "{home}/workspaces"
c.LabApp.user_settings_dir = "{home}/settings"
c.JupyterNotebookApp.expose_app_in_browser = True
c.JupyterNotebookApp.user_settings_dir = "{home}/settings"
"""


def end_kernels(pids: set[int]) -> None:
    """Kernels of a server that was killed end by themselves, but not at once."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if any("ipykernel" in word for word in process.cmdline()):
                process.kill()


class Notebook:
    """A notebook in a page of the browser."""

    def __init__(self, lab: Lab, browser: Browser, path: str, **options: Any) -> None:
        self.lab, self.path = lab, path
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SLOW)
        self.complaints: list[str] = []
        self.tolerated: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", self._page_error)

        # JupyterLab's own word about a lost server is modal
        dialog = self.page.locator("dialog.jp-Dialog[aria-label^='Server Connection Error']")
        self.page.add_locator_handler(dialog, _close)

    def _page_error(self, error: Error) -> None:
        """One that went through no line of ours is JupyterLab's own: shown with the output of a test that fails."""
        if OURS.search(error.stack or EXTENSION):
            self.complaints.append(f"page error: {error}\n{error.stack}")
        else:
            print(f"page error of JupyterLab: {error}\n{error.stack}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def tolerate(self, pattern: str) -> None:
        """This test provokes such messages."""
        self.tolerated.append(pattern)

    def complained(self) -> list[str]:
        return [
            text
            for text in self.complaints
            if not NOISE.search(text) and not any(re.search(pattern, text) for pattern in self.tolerated)
        ]

    def open(self, *, kernel: bool = True) -> Notebook:
        self.page.goto(self.lab.address(self.path))
        self.ready(kernel=kernel)
        return self

    def ready(self, *, kernel: bool = True) -> None:
        """Wait until the front end has drawn the notebook, and until its kernel is idle."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.wait_for_function(f"() => {_PANEL}")
        if kernel:
            self.page.wait_for_function(f"() => {_PANEL}?.sessionContext.session?.kernel?.status === 'idle'")

    def run_all(self) -> None:
        """Run every cell; returns when the kernel has answered them and the notebook has done with it.

        JupyterLab scrolls to the cell afterwards, in its own time, and then gives it the keys.
        """
        self.command("notebook:run-all-cells")
        self.page.evaluate(
            f"async () => {{ await {_PANEL}.content._isScrolling?.promise.catch(() => null);"
            " await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0))); }"
        )

    def command(self, name: str, **arguments: Any) -> None:
        script = "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)"
        self.page.evaluate(script, [name, arguments])

    def save(self) -> Any:
        """Save it; what the file holds now."""
        self.command("docmanager:save")
        return self.lab.read(self.path)

    def restart_kernel(self) -> None:
        self.page.evaluate(f"() => {_PANEL}.sessionContext.session.kernel.restart()")
        self.ready()

    def theme(self, name: str) -> None:
        self.command("apputils:change-theme", theme=f"JupyterLab {name}")
        light = "true" if name == "Light" else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

    @property
    def view(self) -> Locator:
        return self.page.locator(".jp-wattle-run").last

    def task(self, name: str) -> Locator:
        return self.view.locator(f"[data-task={json.dumps(name)}]")

    def expect_state(self, name: str, state: str) -> None:
        expect(self.task(name)).to_have_class(re.compile(rf"\bjp-mod-{state}\b"), timeout=SLOW)

    def expect_run(self, word: str) -> None:
        """The state of the run as its header says it."""
        expect(self.view.locator(".jp-wattle-title .jp-wattle-state")).to_have_text(word, timeout=SLOW)

    @property
    def run(self) -> str:
        """Id of the run that the notebook shows last."""
        found = self.page.evaluate(_RUN)
        assert found, "no output with a run"
        return str(found)

    def open_log(self, task: str) -> Locator:
        self.task(task).click()
        panel = self.view.locator(".jp-wattle-panel")
        expect(panel.locator(".jp-wattle-panel-name")).to_have_text(task)
        return panel.locator(".jp-wattle-log")

    def log_text(self) -> list[str]:
        """All lines of the log that is open, read as a person does: by scrolling from its top to its end."""
        return list(self.page.evaluate(_READ_LOG))

    def serious(self, selector: str) -> list[str]:
        """What axe finds there that matters."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("selector => axe.run(selector)", selector)
        return [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:240]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def shoot(self, name: str) -> None:
        RESULTS.mkdir(exist_ok=True)
        self.view.scroll_into_view_if_needed()
        self.page.screenshot(path=str(RESULTS / f"{name}.png"))

    def close(self) -> None:
        self.context.close()


def expect_to_stream(log: Locator) -> None:
    """Wait until the end of a log has come into sight, and then a newer one. How far it is depends on the machine."""
    newest = log.locator(".jp-wattle-log-line").last
    expect(newest).to_have_text(re.compile(r"line \d+"), timeout=SLOW)
    expect(newest).not_to_have_text(newest.text_content() or "", timeout=SLOW)


def _close(dialog: Locator) -> None:
    with contextlib.suppress(Error):  # it goes by itself when the server is back
        dialog.get_by_role("button").last.click(timeout=2_000)


_PANEL = "[...window.jupyterapp.shell.widgets('main')].find(w => w.sessionContext)"

_RUN = f"""() => {{
  const cells = [...{_PANEL}.content.model.cells].filter(cell => cell.type === 'code');
  const outputs = cells.flatMap(cell => cell.outputs.toJSON());
  return outputs.map(one => one.metadata?.wattle?.run).filter(Boolean).at(-1);
}}"""

_READ_LOG = """async () => {
  const box = [...document.querySelectorAll('.jp-wattle-log-lines')].at(-1);
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const lines = new Map();
  const read = () => {
    const rows = [...box.querySelectorAll('.jp-wattle-log-line')];
    const first = Number(rows[0]?.dataset.line);
    if (lines.size ? !lines.has(first) : first !== 0) return false;  // what was scrolled to is not drawn yet
    for (const row of rows) lines.set(Number(row.dataset.line), row.textContent.replace(/\\n$/, ''));
    return true;
  };
  for (let top = 0; ; top += 180) {
    const patience = performance.now() + 10000;
    do {
      box.scrollTop = top;
      await frame();
    } while (!read() && performance.now() < patience);
    if (top + box.clientHeight >= box.scrollHeight) break;
  }
  return [...lines].sort((a, b) => a[0] - b[0]).map(([, text]) => text);
}"""


@contextlib.contextmanager
def running(lab: Lab, clear: Callable[[Path], None], config: str = "") -> Iterator[Lab]:
    """The server until the end of the block, and nothing of it after that."""
    kernels: set[int] = set()
    try:
        lab.launch(config=config)
        yield lab
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            kernels = {child.pid for child in psutil.Process(lab.pid).children(recursive=True)}
        lab.end()
        end_kernels(kernels)
        clear(lab.store)
