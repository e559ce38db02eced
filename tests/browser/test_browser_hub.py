"""A page of JupyterLab behind a JupyterHub: logged in by its form, under its base URL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hubs import PASSWORD, Hub, Member, running
from lab import Cell, Lab, Notebook
from playwright.sync_api import Browser, expect

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

Open = Callable[..., Notebook]

WATCHED = """%%wattle watched
first: |
  echo the first line
  while [ ! -e gate ]; do sleep 0.05; done
  echo the last line
second <- first: echo second
"""


class HubLab(Lab):
    """JupyterLab of a member of the hub."""

    def __init__(self, member: Member) -> None:
        super().__init__(member.home, member.store)
        self.member, self.port = member, member.hub.port

    @property
    def notebooks(self) -> Path:
        return self.home

    def write(self, name: str, *cells: Cell) -> str:
        path = super().write(name, *cells)
        if self.member.uid is not None:
            shutil.chown(self.home / path, self.member.uid, self.member.uid)
        return path

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.member.hub.base}user/{self.member.name}/lab/tree/{path}"


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running("ada", "bob") as made:
        made.start_servers()
        yield made


def log_in(notebook: Notebook, name: str) -> None:
    page = notebook.page
    page.goto(notebook.lab.address(notebook.path))
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("#login_submit").click()
    notebook.ready()


def test_a_page_behind_a_hub_shows_a_run_live_and_only_its_own_users(hub: Hub, browser: Browser) -> None:
    ada, bob = hub.members
    lab = HubLab(ada)
    notebook = Notebook(lab, browser, lab.write("live", "%load_ext wattle_jupyter", WATCHED, "%wattle run watched"))
    try:
        log_in(notebook, "ada")
        notebook.run_all()
        notebook.expect_state("first", "running")
        log = notebook.open_log("first")
        expect(log.get_by_text("the first line", exact=True)).to_be_visible()
        notebook.shoot("hub-running")
        (ada.home / "gate").touch()
        expect(log.get_by_text("the last line", exact=True)).to_be_visible()
        notebook.expect_run("completed")
        assert [run["user"] for run in ada.get("runs")["data"]] == ["ada"]

        notebook.command("wattle:open-sidebar")
        expect(notebook.page.locator(".jp-wattle-sidebar .jp-wattle-runrow[data-run]")).to_have_count(1)
        other = notebook.page.request.get(f"http://127.0.0.1:{hub.port}{bob.base}runs", max_redirects=0)
        assert other.status == 403
        notebook.shoot("hub-ended")
        assert notebook.complained() == []
    finally:
        notebook.close()
