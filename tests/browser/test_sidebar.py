"""The list of all runs, live, and the tabs of runs, in a real JupyterLab whose store has ten thousand of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest
from desk import Desk, stock
from lab import Lab, running
from playwright.sync_api import Browser, Route, WebSocket, WebSocketRoute, expect
from processes import clear, scratch

MANY = 10_000
API = re.compile(r"/wattle/api/")
SOCKET = re.compile(r"/wattle/api/events/ws")
LIST = re.compile(r"/wattle/api/(runs\?|info|workflows)")
OpenDesk = Callable[..., Desk]


@pytest.fixture(scope="module")
def full_lab() -> Iterator[Lab]:
    with scratch() as folder:
        made = Lab(folder / "home", folder / "s")
        stock(made.store, MANY, time.time())
        with running(made, clear):
            yield made
        assert "Traceback" not in made.said(), made.said()


@pytest.fixture
def open_desk(request: pytest.FixtureRequest, browser: Browser) -> Iterator[OpenDesk]:
    """``open_desk(lab, prepare)``: a page with a workspace of its own; ``prepare`` sees it before it loads.

    At the end no page may have reported an error that the test did not say it provokes.
    """
    opened: list[Desk] = []

    def open_(lab: Lab, prepare: Callable[[Desk], None] = lambda _: None) -> Desk:
        name = re.sub(r"\W", "-", f"{request.node.name}-{len(opened)}")[-60:]
        lab.forget_theme()
        desk = Desk(lab, browser, name)
        opened.append(desk)
        prepare(desk)
        return desk.open()

    yield open_
    complaints = [text for desk in opened for text in desk.complained()]
    for desk in opened:
        desk.picture(f"end-{desk.path}")
        desk.close()
    assert not complaints, "\n".join(complaints)


def start(lab: Lab, name: str) -> str:
    """A run whose first task waits for the file ``go-name`` and whose second one fails."""
    tasks = {"a": f"echo begin; while [ ! -e go-{name} ]; do sleep 0.05; done", "b <- a": "exit 3"}
    return lab.run(tasks, name, working_dir=str(lab.notebooks))


def go(lab: Lab, name: str) -> None:
    (lab.notebooks / f"go-{name}").touch()


def test_runs_come_and_change_by_themselves_over_one_socket(full_lab: Lab, open_desk: OpenDesk) -> None:
    sockets: list[WebSocket] = []
    desk = open_desk(full_lab, lambda new: new.page.on("websocket", lambda one: sockets.append(one)))
    run = start(full_lab, "live")
    expect(desk.page.locator(".jp-wattle-tab[data-wattle-running='1']")).to_be_visible()
    desk.show()
    desk.see(run, "running")
    desk.picture("sidebar")
    desk.row(run).click()
    expect(desk.run_page.locator(".jp-wattle-node")).to_have_count(2)
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(request.url))
    go(full_lab, "live")
    desk.see(run, "failed")
    expect(desk.run_page.locator(".jp-wattle-title .jp-wattle-state")).to_have_text("failed")
    expect(desk.row(run)).to_contain_text("b failed")
    expect(desk.page.locator(".jp-wattle-tab[data-wattle-running]")).to_have_count(0)
    assert len([one for one in sockets if SOCKET.search(one.url)]) == 1
    assert not [url for url in asked if LIST.search(url)]


def test_ten_thousand_runs_are_searched_and_scrolled_and_only_what_is_seen_is_read(
    full_lab: Lab, open_desk: OpenDesk
) -> None:
    desk = open_desk(full_lab)
    pages: list[str] = []
    desk.page.on("request", lambda request: pages.extend(re.findall(r"runs\?page=(\d+)&page_size=100", request.url)))
    sidebar = desk.show()
    desk.row(f"{MANY - 1:032x}").wait_for()
    desk.width(240)
    desk.picture("many-240")
    box = sidebar.locator(".jp-wattle-runs")
    box.evaluate("box => { box.scrollTop = box.scrollHeight / 2 }")
    desk.row(f"{MANY // 2:032x}").wait_for()
    box.evaluate("box => { box.scrollTop = box.scrollHeight }")
    desk.row(f"{0:032x}").wait_for()
    assert desk.rows.count() < 60
    assert len(pages) <= 8, pages
    print("median and longest frame of a ride through the whole list, ms:", desk.page.evaluate(RIDE))
    count = sidebar.get_by_role("tab", name="Runs").locator(".jp-wattle-count")
    old_failures = range(0, MANY, 7)
    sidebar.get_by_role("searchbox").fill("train")
    expect(count).to_have_text(f"{len([i for i in range(MANY) if i % 3 == 1]):,}")
    sidebar.get_by_role("button", name="Failed").click()
    expect(count).to_have_text(f"{len([i for i in old_failures if i % 3 == 1]):,}")
    expect(desk.rows.first).to_contain_text("train-model")
    expect(desk.rows.first).to_contain_text("t1 failed: exit 3")
    sidebar.get_by_role("searchbox").fill("no such thing")
    expect(sidebar.get_by_text("No run is like that.")).to_be_visible()
    sidebar.get_by_role("button", name="Show all").click()
    expect(count).not_to_have_text("0")
    expect(sidebar.get_by_role("searchbox")).to_have_value("")


# From the first run to the last one in two seconds.
RIDE = """async () => {
  const box = document.querySelector('.jp-wattle-runs');
  const times = [];
  const begin = performance.now();
  for (let last = begin; last - begin < 2000; ) {
    box.scrollTop = box.scrollHeight * (last - begin) / 2000;
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - last);
    last = performance.now();
  }
  times.sort((a, b) => a - b);
  return [times[Math.floor(times.length / 2)], times.at(-1)].map(Math.round);
}"""


def test_keys_and_the_menu_of_a_row_open_cancel_and_retry(full_lab: Lab, open_desk: OpenDesk) -> None:
    desk = open_desk(full_lab)
    first, second = start(full_lab, "keys-one"), start(full_lab, "keys-two")
    keys = desk.page.keyboard
    dialog = desk.page.get_by_role("dialog")
    expect(desk.page.locator(".jp-LauncherCard").first).to_be_visible()  # it takes the focus when the page has loaded
    keys.press("Control+Alt+w")
    desk.see(second, "running")
    runs = desk.sidebar.locator(".jp-wattle-runs")
    expect(runs).to_be_focused()
    keys.press("Home")
    keys.press("ArrowDown")
    expect(desk.row(first)).to_have_attribute("aria-selected", "true")
    keys.press("Delete")
    expect(dialog).to_contain_text("Cancel this run of keys-one?")
    desk.picture("cancel-asks-in-lab")
    keys.press("Escape")
    expect(dialog).to_have_count(0)
    assert full_lab.state(first) == "running"
    expect(runs).to_be_focused()
    keys.press("Shift+F10")
    menu = desk.page.locator(".lm-Menu")
    expect(menu.locator("[data-command='wattle:retry-run']")).to_have_class(re.compile("lm-mod-disabled"))
    desk.picture("menu")
    menu.locator("[data-command='wattle:cancel-run']").click()
    dialog.get_by_role("button", name="Cancel run").click()
    desk.see(first, "cancelled")
    go(full_lab, "keys-one")
    runs.focus()
    keys.press("r")
    desk.see(first, "failed")
    runs.focus()
    keys.press("Home")
    keys.press("Enter")
    expect(desk.run_page.locator(".jp-wattle-title")).to_contain_text("keys-two")
    go(full_lab, "keys-two")
    desk.see(second, "failed")


def test_a_workflow_is_run_from_the_list_and_its_tab_comes_back_after_a_reload(
    full_lab: Lab, open_desk: OpenDesk
) -> None:
    full_lab.post("workflows", {"name": "listed", "tasks": {"a": "echo one", "b": {"run": "echo two", "needs": ["a"]}}})
    desk = open_desk(full_lab)
    desk.command("launcher:create")
    desk.page.locator(".jp-LauncherCard", has_text="Workflow Runs").click()
    sidebar = desk.sidebar
    sidebar.get_by_role("tab", name="Workflows").click()
    listed = sidebar.get_by_role("listitem").filter(has_text="listed")
    expect(listed).to_contain_text("never run")
    sidebar.get_by_role("button", name="Run listed").click()
    page = desk.run_page
    expect(page.locator(".jp-wattle-title .jp-wattle-state")).to_have_text("completed")
    expect(listed).to_contain_text("completed")
    page.locator(".jp-wattle-node[data-task=b]").click()
    expect(page.locator(".jp-wattle-log-line")).to_have_text("two\n")
    graph = page.locator(".jp-wattle-graph")
    before = graph.evaluate("box => box.clientHeight")
    page.get_by_role("separator").focus()
    desk.page.keyboard.press("ArrowUp")
    desk.page.keyboard.press("ArrowUp")
    desk.page.wait_for_function("([box, before]) => box.clientHeight < before", arg=[graph.element_handle(), before])
    desk.picture("page-log")
    sidebar.get_by_role("tab", name="Runs").click()
    sidebar.get_by_role("button", name="Completed").click()
    kept = re.compile(r"/lab/api/workspaces/")
    with desk.page.expect_response(lambda one: bool(kept.search(one.url)) and one.request.method == "PUT"):
        desk.command("application:toggle-right-area")  # the layout is kept a second after its last change
    desk.page.reload()
    desk.ready()
    expect(desk.run_page.locator(".jp-wattle-title")).to_contain_text("listed")
    expect(sidebar.get_by_role("button", name="Completed")).to_have_attribute("aria-pressed", "true")


def answer(status: int, body: object) -> Callable[[Route], None]:
    return lambda route: route.fulfill(status=status, json=body)


STARTING = "the engine is starting; ask again in a moment"


def test_what_is_wrong_is_said_with_the_cure(full_lab: Lab, open_desk: OpenDesk) -> None:
    def without_server(desk: Desk) -> None:
        desk.tolerate(r"wattle/api")
        desk.page.route_web_socket(SOCKET, lambda socket: None)  # opens, and says nothing
        desk.page.route(API, answer(404, {}))

    desk = open_desk(full_lab, without_server)
    sidebar = desk.show()
    said = sidebar.get_by_role("alert")
    expect(said).to_contain_text("This server has no Wattle")
    expect(said).to_contain_text("jupyter server extension enable wattle_jupyter")
    desk.picture("problem-404")
    assert desk.serious(".jp-wattle-sidebar") == []
    again = sidebar.get_by_role("button", name="Check again")
    desk.page.route(API, answer(403, {"success": False, "error": "Forbidden", "message": "not allowed"}))
    again.click()
    expect(said).to_contain_text("You may not see the runs")
    desk.page.route(API, answer(503, {"success": False, "error": "Unavailable", "message": STARTING}))
    again.click()
    expect(said).to_contain_text("The engine is not ready")
    expect(said).to_contain_text(STARTING)
    desk.page.unroute(API)
    again.click()
    desk.row(f"{MANY - 1:032x}").wait_for()


def test_an_empty_store_teaches_other_versions_are_hinted_at_and_a_lost_connection_is_shown(
    full_lab: Lab, open_desk: OpenDesk
) -> None:
    lines: list[WebSocketRoute] = []
    away = False

    def relay(line: WebSocketRoute) -> None:
        lines.append(line)
        if away:
            line.close()
        else:
            line.connect_to_server()

    info = {**full_lab.get("info"), "version": "9.9.9"}
    page = {"page": 1, "page_size": 100, "total": 0, "total_pages": 1, "has_next": False, "has_prev": False}
    empty = answer(200, {"success": True, "data": {"data": [], "pagination": page}})

    def prepare(desk: Desk) -> None:
        desk.page.route_web_socket(SOCKET, relay)
        desk.page.route(re.compile(r"/wattle/api/info"), answer(200, {"success": True, "data": info}))
        desk.page.route(LIST, lambda route: route.fallback() if "info" in route.request.url else empty(route))

    desk = open_desk(full_lab, prepare)
    sidebar = desk.show()
    expect(sidebar.get_by_text("No runs yet")).to_be_visible()
    expect(sidebar.locator("pre")).to_contain_text(["%load_ext", "%%wattle hello", "%wattle run hello"])
    banner = sidebar.locator(".jp-wattle-banner")
    expect(banner).to_contain_text("the server 9.9.9")
    desk.picture("first-steps")
    banner.get_by_role("button").click()
    expect(banner).to_have_count(0)
    away = True
    lines[-1].close()
    expect(sidebar.locator(".jp-wattle-link")).to_have_text("reconnecting")
    run = start(full_lab, "away")
    go(full_lab, "away")
    full_lab.ended(run)
    away = False
    desk.see(run, "failed")  # what happened meanwhile came as events
    expect(sidebar.locator(".jp-wattle-link")).to_have_text("live")


def test_nothing_serious_keeps_anybody_out_in_light_and_dark(full_lab: Lab, open_desk: OpenDesk) -> None:
    run = full_lab.run({"a": "seq 5; exit 3", "b": {"run": "echo b", "needs": ["a"]}}, "access")
    full_lab.ended(run)
    desk = open_desk(full_lab)
    desk.show()
    desk.see(run, "failed")
    desk.row(run).click()
    page = desk.run_page
    for theme in ("Light", "Dark"):
        desk.theme(theme)
        expect(page.locator(".jp-wattle-failure-log")).to_be_visible()
        desk.picture(f"both-{theme.lower()}")
        assert desk.serious(".jp-wattle-sidebar") + desk.serious(".jp-wattle-page") == []
        page.locator(".jp-wattle-node[data-task=a]").click()
        expect(page.locator(".jp-wattle-log-line").first).to_be_visible()
        desk.sidebar.get_by_role("tab", name="Workflows").click()
        assert desk.serious(".jp-wattle-sidebar") + desk.serious(".jp-wattle-page") == []
        page.get_by_role("button", name="Close").click()
        desk.sidebar.get_by_role("tab", name="Runs").click()


def test_notebook_7_has_the_runs_beside_its_files(notebook_app: Lab, open_desk: OpenDesk) -> None:
    desk = open_desk(notebook_app)
    run = start(notebook_app, "seven")
    desk.page.get_by_role("tab", name="Wattle").click()
    desk.see(run, "running")
    desk.picture("notebook7-tree")
    desk.row(run).click()
    expect(desk.run_page.locator(".jp-wattle-title")).to_contain_text("seven")
    go(notebook_app, "seven")
    expect(desk.run_page.locator(".jp-wattle-title .jp-wattle-state")).to_have_text("failed")
    desk.page.goto(f"http://127.0.0.1:{notebook_app.port}/tree?wattle-run={run}")
    expect(desk.run_page.locator(".jp-wattle-title")).to_contain_text("seven")
    desk.picture("notebook7-page")


def test_the_palette_has_the_commands_and_runs_them(full_lab: Lab, open_desk: OpenDesk) -> None:
    desk = open_desk(full_lab)
    expect(desk.page.locator(".jp-LauncherCard").first).to_be_visible()  # it takes the focus when the page has loaded
    desk.command("apputils:activate-command-palette")
    palette = desk.page.locator("#command-palette")
    palette.get_by_role("searchbox").or_(palette.locator("input")).first.fill("wattle")
    listed = palette.locator(".lm-CommandPalette-itemLabel")
    for label in ("Open Run", "Refresh Workflow Runs", "Run Workflow…", "Workflow Runs"):
        expect(listed.get_by_text(label, exact=True)).to_be_visible()
    for label in ("Cancel Run", "Retry Failed Tasks"):  # no run is chosen
        expect(listed.get_by_text(label, exact=True)).to_be_hidden()
    desk.picture("palette")
    listed.get_by_text("Workflow Runs", exact=True).click()
    expect(desk.sidebar).to_be_visible()


def test_settings_hold_from_the_first_moment(full_lab: Lab, open_desk: OpenDesk) -> None:
    own = full_lab.home / "settings" / "wattle-jupyter" / "plugin.jupyterlab-settings"
    own.parent.mkdir(parents=True, exist_ok=True)
    chosen = {"side": "right", "badge": False, "pageSize": 20, "confirmCancel": False}
    own.write_text(json.dumps(chosen))
    pages: list[str] = []
    try:
        run = start(full_lab, "settings")
        size = re.compile(r"runs\?page=1&page_size=(\d+)&sort_by=created_at")
        desk = open_desk(
            full_lab, lambda new: new.page.on("request", lambda request: pages.extend(size.findall(request.url)))
        )
        sidebar = desk.show()
        desk.see(run, "running")
        expect(desk.page.locator("#jp-right-stack .jp-wattle-sidebar")).to_be_visible()
        expect(desk.page.locator(".jp-wattle-tab[data-wattle-running]")).to_have_count(0)
        assert "20" in pages
        desk.row(run).click(button="right")
        desk.page.locator(".lm-Menu [data-command='wattle:cancel-run']").click()
        desk.see(run, "cancelled")  # without a question
        expect(sidebar.locator(".jp-wattle-link")).to_have_text("live")
    finally:
        own.unlink()
        go(full_lab, "settings")
