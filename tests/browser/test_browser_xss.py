"""Texts that are attacks, in every place where text is shown: none runs, none calls home.

Names come from a store and a notebook that no server of ours wrote: what the API refuses is here all the same.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk
from hostile import ALL, PAYLOADS, outputs, stock
from lab import SLOW, Lab, Notebook, running
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from processes import clear, environment, scratch, until

pytestmark = pytest.mark.timeout(420)

OURS = ".jp-wattle-output, .jp-wattle-sidebar, .jp-wattle-page"
# what no view of ours contains, whatever it shows
FOREIGN = r"""ours => [...document.querySelectorAll(ours)].flatMap(
  root => [...root.querySelectorAll('*')]
).filter(one =>
  /^(script|iframe|object|embed|link|style|img|image|video|audio|form|base|meta|marquee|foreignobject|math|template)$/i
    .test(one.localName) ||
  [...one.attributes].some(a => /^on/i.test(a.name) ||
    (/^(xlink:)?href$|^src/.test(a.name) && /^\s*(javascript|data|vbscript):/i.test(a.value)))
).map(one => one.outerHTML.slice(0, 200))"""
# the same text where a careless view would put it
MUTANT = """selector => {
  const shown = [...document.querySelectorAll(selector)].slice(0, 200);
  const texts = shown.map(one => one.textContent + ' ' + (one.title ?? ''));
  const box = document.body.appendChild(document.createElement('div'));
  box.innerHTML = texts.join('<hr>').replace(/<(meta|base)/gi, '<i');  // those would take the page away
  return texts.length;
}"""


class Alarm:
    """Hears of everything that an attack may do: marks, dialogs, requests."""

    def __init__(self, context: BrowserContext) -> None:
        self.heard: list[str] = []
        self._context = context
        context.route(
            re.compile(r"^\w+://canary\.example"), lambda route: (self.heard.append(route.request.url), route.abort())
        )
        context.on("dialog", lambda dialog: (self.heard.append(dialog.message), dialog.dismiss()))

    def rang(self) -> list[str]:
        """What happened since the last question."""
        for page in self._context.pages:  # what runs in a frame marks the page around it
            if page.evaluate("() => { const was = window.__pwned; delete window.__pwned; return was }"):
                self.heard.append(page.url)
        found, self.heard = self.heard, []
        return found

    def silent(self, page: Page) -> None:
        """Nothing has run, and nothing is there that might."""
        page.evaluate("() => new Promise(done => setTimeout(done, 300))")  # what loads gets its time
        assert self.rang() == []
        assert page.evaluate(FOREIGN, OURS) == []

    def rings_for(self, page: Page, *sinks: str) -> None:
        """The attacks do reach these places, and would be noticed if one of them took text for HTML."""
        for sink in sinks:
            assert page.evaluate(MUTANT, sink), f"nothing is shown in {sink}"
            print(f"the alarm is to ring for {sink}")  # pytest shows the last one if it does not
            until(self.rang)
            page.evaluate("() => document.body.lastElementChild.remove()")
            page.evaluate("() => new Promise(done => setTimeout(done, 200))")
            self.rang()


@pytest.fixture(scope="module")
def hostile() -> Iterator[Lab]:
    """A JupyterLab on a store full of attacks."""
    with scratch() as folder:
        lab = Lab(folder / "home", folder / "s")
        stock(lab.store)
        with running(lab, clear):
            yield lab


def see_task(root: Locator, n: int) -> None:
    """Open the panel of the nth task that failed, with command, outputs and log."""
    root.locator(".jp-wattle-failure-task").nth(n).click()
    panel = root.locator(".jp-wattle-panel")
    expect(panel.locator(".jp-wattle-panel-name")).to_have_text(PAYLOADS[n])
    expect(panel.locator(".jp-wattle-outputs dt").first).to_contain_text(PAYLOADS[n])
    expect(panel.locator(".jp-wattle-log-line").first).to_be_visible()


def test_the_sidebar_and_the_page_of_a_run_take_nothing_for_html(hostile: Lab, browser: Browser) -> None:
    desk = Desk(hostile, browser, "xss")
    alarm = Alarm(desk.context)
    try:
        desk.open()
        desk.show()
        expect(desk.row(ALL)).to_contain_text(PAYLOADS[0])
        for top in range(0, 5000, 700):
            desk.sidebar.locator(".jp-wattle-runs").evaluate("(box, top) => (box.scrollTop = top)", top)
            alarm.silent(desk.page)
        alarm.rings_for(desk.page, ".jp-wattle-runrow", ".jp-wattle-runrow-name", ".jp-wattle-runrow-user")
        desk.sidebar.get_by_role("searchbox").fill(PAYLOADS[0])
        desk.sidebar.get_by_role("tab", name="Workflows").click()
        expect(desk.sidebar.locator(".jp-wattle-workflowrow").first).to_be_visible()
        alarm.silent(desk.page)
        desk.picture("xss-sidebar")
        alarm.rings_for(desk.page, ".jp-wattle-workflowrow")

        desk.command("wattle:open-run", run=ALL)
        expect(desk.run_page.locator(".jp-wattle-workflow")).to_have_text(PAYLOADS[0], timeout=SLOW)
        desk.width(320)
        expect(desk.run_page.locator(".jp-wattle-failure-log").first).to_contain_text("ERROR")
        alarm.silent(desk.page)
        alarm.rings_for(desk.page, ".jp-wattle-failures", ".jp-wattle-failure-log")
        for n in range(2):
            see_task(desk.run_page, n)
            alarm.silent(desk.page)
            if n < 1:
                desk.run_page.get_by_role("button", name="Close", exact=True).click()
        desk.picture("xss-page")
        alarm.rings_for(
            desk.page, ".jp-wattle-page .jp-wattle-workflow", ".jp-wattle-head .jp-wattle-reason", ".jp-wattle-about",
            ".jp-wattle-panel-name", ".jp-wattle-command",
            ".jp-wattle-panel .jp-wattle-reason", ".jp-wattle-outputs dt", ".jp-wattle-outputs dd",
            ".jp-wattle-log-line",
        )  # fmt: skip
    finally:
        desk.close()


def test_what_the_server_refuses_is_told_as_text(hostile: Lab, browser: Browser) -> None:
    desk = Desk(hostile, browser, "xss-told")
    alarm = Alarm(desk.context)
    try:
        desk.open()
        desk.show()
        for payload in PAYLOADS[:30:3]:
            desk.command("wattle:open-run", run=payload)
            desk.page.evaluate(_START, payload)
            alarm.silent(desk.page)
            desk.page.keyboard.press("Escape")
        desk.picture("xss-told")
    finally:
        desk.close()


_START = "name => void window.jupyterapp.commands.execute('wattle:start-workflow', { workflow: name }).catch(() => 0)"


@pytest.mark.parametrize(
    "trusted", [pytest.param(False, id="stranger", marks=pytest.mark.long), pytest.param(True, id="trusted")]
)
def test_a_saved_notebook_full_of_attacks_is_shown_as_text(hostile: Lab, browser: Browser, trusted: bool) -> None:
    attacks = list(outputs())
    names = [f"show({n})" for n in range(len(attacks))]
    path = hostile.write(f"hostile-{trusted}", *((name, [one]) for name, one in zip(names, attacks, strict=True)))
    notebook = Notebook(hostile, browser, path)
    alarm = Alarm(notebook.context)
    try:
        notebook.open(kernel=False)
        if trusted:
            notebook.page.evaluate(_TRUST)
        seen = 0
        for n in range(len(attacks)):
            cell = notebook.page.locator(f".jp-Cell[data-windowed-list-index='{n}']")
            notebook.page.evaluate(_SCROLL, n)
            expect(cell.locator(".jp-wattle-run")).to_be_visible()
            seen += 1
            if n % 6 == 0:
                alarm.silent(notebook.page)
        assert seen == len(PAYLOADS) + 1
        expect(notebook.view.locator(".jp-wattle-workflow")).to_have_text(PAYLOADS[0])  # the run that the store knows
        see_task(notebook.view, 0)
        alarm.silent(notebook.page)
        notebook.shoot(f"xss-notebook-{trusted}")
        alarm.rings_for(notebook.page, ".jp-wattle-workflow", ".jp-wattle-reason", ".jp-wattle-log-line")
    finally:
        notebook.close()


_PANEL = "[...window.jupyterapp.shell.widgets('main')].find(w => w.sessionContext)"
_TRUST = f"() => {{ for (const cell of {_PANEL}.content.model.cells) cell.trusted = true; }}"
_SCROLL = f"n => {_PANEL}.content.scrollToItem(n)"

CELLS = (
    "import wattle_jupyter as w\nw.runs(limit=200)",
    f"run = w.attach({ALL!r})\nrun",
    "run.tasks",
    "%load_ext wattle_jupyter",
    "%wattle list",
    f"%wattle show {ALL[:8]}",
    f"%wattle status {ALL[:8]}",
    f"%wattle logs {ALL[:8]}",
    f"%wattle graph {ALL[:8]}",
    "%%wattle <img src=x onerror=window.__pwned=1>\na: x",
    "%%wattle w\n<img src=x onerror=window.__pwned=1>: x\na <- <svg/onload=window.__pwned=1>: x",
    "%wattle show <script>window.__pwned=1</script>",
)


def test_a_page_that_nbconvert_made_of_attacks_runs_none(hostile: Lab, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.ipynb").write_text((hostile.notebooks / hostile.write("nbconvert", *CELLS)).read_text())
    command = ["nbconvert", "--to", "html", "--execute", "--allow-errors", "page.ipynb"]
    env = environment(hostile.home, WATTLE_STORE__DIR=str(hostile.store))
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, env=env, capture_output=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    context = browser.new_context()
    context.route(re.compile("^https?:"), lambda route: route.abort())  # what nbconvert's own page asks for
    alarm = Alarm(context)
    page = context.new_page()
    try:
        page.goto((tmp_path / "page.html").as_uri(), wait_until="domcontentloaded")
        alarm.silent(page)
        shown = page.locator(".jp-OutputArea-output").all_text_contents()
        assert sum(PAYLOADS[0] in text for text in shown) >= 6, shown
        assert page.locator(".jp-OutputArea-output :is(script, iframe, img:not([src^='data:image/svg']))").count() == 0
        alarm.rings_for(page, ".jp-OutputArea-output td")
    finally:
        context.close()
