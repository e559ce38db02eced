"""Everywhere and for everybody: themes, high contrast, forced colours, small screens, little motion, axe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from desk import Desk
from lab import Lab, Notebook
from playwright.sync_api import Browser, Page, expect

Open = Callable[..., Notebook]

LOAD = "%load_ext wattle_jupyter"
THEMES = ("Light", "Dark", "Dark High Contrast")


def workflow(name: str) -> str:
    """States of every kind, a log in colours."""
    return rf"""%%wattle {name}
load: printf '\033[1;31mred\033[0m \033[33myellow\033[0m plain\n'
fails <- load: |
  printf 'Traceback\n\033[31mValueError\033[0m: no\n'; exit 3
skipped <- fails: echo never
goes <- load: 'echo on; while [ ! -e go-{name} ]; do sleep 0.1; done'
waits <- goes: echo waited
"""


def dress(page: Notebook, name: str) -> None:
    """Change the theme and wait until its style sheet is there."""
    colour = "() => getComputedStyle(document.body).getPropertyValue('--jp-layout-color1')"
    before = page.page.evaluate(colour)
    current = page.page.evaluate("() => document.body.dataset.jpThemeName")
    page.theme(name)
    if current != f"JupyterLab {name}":
        page.page.wait_for_function(f"before => ({colour})() !== before", arg=before)


def overflows(page: Page, selector: str) -> list[str]:
    """Parts that stand out of their frame to the side."""
    found = page.evaluate(
        """selector => [...document.querySelectorAll(selector)].flatMap(root => {
          const frame = root.getBoundingClientRect();
          const scrolls = one => one.closest('.jp-wattle-log-lines, .jp-wattle-graph, .jp-wattle-failure-log') !== null;
          const ends = one => one !== root &&
            (getComputedStyle(one).textOverflow === 'ellipsis' || ends(one.parentElement));
          return [...root.querySelectorAll('button, input, p, span, strong, code')].filter(one => {
            const box = one.getBoundingClientRect();
            const out = box.right > frame.right + 1 || box.left < frame.left - 1;
            return box.width > 0 && out && !scrolls(one) && !ends(one.parentElement);
          }).map(one => one.outerHTML.slice(0, 120));
        })""",
        selector,
    )
    return list(found)


def test_nothing_serious_keeps_anybody_out_of_a_cell_in_any_theme(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(lab, LOAD, workflow("everyone"), "%wattle run everyone")
    notebook.run_all()
    notebook.expect_state("fails", "failed")
    notebook.expect_state("goes", "running")
    view = notebook.view
    for theme in THEMES:
        dress(notebook, theme)
        name = theme.lower().replace(" ", "-")
        expect(view.locator(".jp-wattle-failure-log")).to_contain_text("ValueError")
        found = notebook.serious(".jp-wattle-run")
        notebook.shoot(f"access-cell-{name}")
        view.get_by_role("button", name="Cancel", exact=True).click()
        found += notebook.serious(".jp-wattle-head")
        view.get_by_role("button", name="Keep").click()
        view.get_by_role("button", name="Table", exact=True).click()
        found += notebook.serious(".jp-wattle-list")
        notebook.shoot(f"access-table-{name}")
        view.get_by_role("button", name="Graph", exact=True).click()
        view.locator(".jp-wattle-graph").hover()
        view.get_by_role("button", name="Find a task").click()
        notebook.page.keyboard.type("a")
        found += notebook.serious(".jp-wattle-graph")
        notebook.page.keyboard.press("Escape")
        log = notebook.open_log("load")
        expect(log.get_by_text("plain")).to_be_visible()
        found += notebook.serious(".jp-wattle-panel")
        notebook.shoot(f"access-log-{name}")
        view.get_by_role("button", name="Close", exact=True).click()
        assert found == [], theme
    (lab.notebooks / "go-everyone").touch()
    notebook.expect_run("failed")


def test_forced_colours_and_little_motion_are_heeded(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook(
        lab, LOAD, workflow("calm"), "%wattle run calm", forced_colors="active", reduced_motion="reduce"
    )
    notebook.run_all()
    notebook.expect_state("goes", "running")
    moving = """() => document.getAnimations().filter(
      one => one.effect?.target?.closest('.jp-wattle-run') && one.playState === 'running').length"""
    assert notebook.page.evaluate(moving) == 0
    notebook.shoot("access-forced")
    ink = "one => getComputedStyle(one).fill"
    named = notebook.task("load").locator(".jp-wattle-name").evaluate(ink)
    assert named == notebook.page.evaluate(
        "() => { const one = document.body.appendChild(document.createElement('i'));"
        " one.style.color = 'CanvasText'; const is = getComputedStyle(one).color; one.remove(); return is; }"
    )
    notebook.page.emulate_media(reduced_motion="no-preference", forced_colors="none")
    assert notebook.page.evaluate(moving) > 0  # the check has teeth
    (lab.notebooks / "go-calm").touch()
    notebook.expect_run("failed")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_a_phone_shows_all_of_a_run(lab: Lab, browser: Browser, theme: str) -> None:
    source = {"load": "echo load", "a_task_with_quite_a_long_name_indeed <- load": "echo oh; exit 3"}
    run = lab.run(source, f"phone-{theme}", params={})
    lab.ended(run)
    lab.forget_theme()
    desk = Desk(lab, browser, f"phone-{theme}", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    try:
        desk.open()
        desk.command("application:toggle-left-area")
        desk.command("application:toggle-mode")  # one document at a time, as on any small screen
        dress(desk, theme)
        desk.command("wattle:open-run", run=run)
        page = desk.run_page
        expect(page.locator("[role=option]")).to_have_count(2)
        expect(page.locator(".jp-wattle-failure-log")).to_contain_text("oh")
        expect(page.get_by_role("button", name="Delete")).to_be_enabled()  # what can be done, can be done here
        desk.picture(f"access-phone-{theme.lower()}")
        assert overflows(desk.page, ".jp-wattle-page") == []
        page.locator("[role=option]").last.click()
        expect(page.locator(".jp-wattle-log-line").first).to_be_visible()
        desk.picture(f"access-phone-log-{theme.lower()}")
        assert overflows(desk.page, ".jp-wattle-page") == []
        assert desk.serious(".jp-wattle-page") == []
        assert desk.complained() == []
    finally:
        desk.close()


def test_a_sidebar_of_240_pixels_and_a_narrow_page_cut_nothing_off(lab: Lab, browser: Browser) -> None:
    run = lab.run({"load": "echo load", "fails <- load": "echo oh; exit 3"}, "narrow")
    lab.ended(run)
    desk = Desk(lab, browser, "narrow", viewport={"width": 520, "height": 900})
    try:
        desk.open()
        desk.show()
        desk.width(240)
        desk.see(run, "failed")
        desk.row(run).click()
        expect(desk.run_page.locator("[role=option]").first).to_be_visible()
        for theme in THEMES:
            dress(desk, theme)
            desk.picture(f"access-narrow-{theme.lower().replace(' ', '-')}")
            assert overflows(desk.page, ".jp-wattle-sidebar, .jp-wattle-page") == []
            assert desk.serious(".jp-wattle-sidebar") + desk.serious(".jp-wattle-page") == []
        assert desk.complained() == []
    finally:
        desk.close()
