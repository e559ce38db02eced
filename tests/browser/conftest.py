"""A browser, and pages of a JupyterLab that the tests share; each test opens a notebook of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import RESULTS, Cell, Lab, Notebook, chromium, running
from playwright.sync_api import Browser, expect, sync_playwright
from processes import clear, scratch

expect.set_options(timeout=30_000)  # ms; a test waits for what must come, however busy the machine is
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one module: while Playwright is open, no other test of this process could run an event loop."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=SWITCHES)
        yield opened
        opened.close()


@contextlib.contextmanager
def _server(app: str, prepare: Callable[[Lab], None] = lambda _: None) -> Iterator[Lab]:
    with scratch() as folder:
        made = Lab(folder / "home", folder / "s")
        made.app = app
        prepare(made)
        with running(made, clear):
            yield made
        assert "Traceback" not in made.said(), made.said()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A JupyterLab that no test may kill."""
    with _server("lab") as made:
        yield made


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    """A JupyterLab that the test may kill."""
    with _server("lab") as made:
        yield made


@pytest.fixture(scope="module")
def bare_lab() -> Iterator[Lab]:
    """A JupyterLab that has the server extension, but not the one for the page."""
    with _server("lab", Lab.disable_extension) as made:
        yield made


@pytest.fixture
def notebook_app() -> Iterator[Lab]:
    """``jupyter notebook``."""
    with _server("notebook") as made:
        yield made


@pytest.fixture
def open_notebook(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Callable[..., Notebook]]:
    """``open_notebook(lab, *cells, **options of the page)``: a notebook of this test, opened, its kernel ready.

    ``prepare`` sees it before it loads. At the end no page may have reported an error that the test did not say it
    provokes.
    """
    opened: list[Notebook] = []

    def open_(
        lab: Lab,
        *cells: Cell,
        path: str | None = None,
        kernel: bool = True,
        prepare: Callable[[Notebook], None] = lambda _: None,
        **options: Any,
    ) -> Notebook:
        name = f"{request.node.name}-{len(opened)}"[-60:]
        notebook = Notebook(lab, browser, path or lab.write(re.sub(r"\W", "_", name), *cells), **options)
        opened.append(notebook)
        lab.forget_theme()
        prepare(notebook)
        return notebook.open(kernel=kernel)

    yield open_
    complaints = [text for notebook in opened for text in notebook.complained()]
    for notebook in opened:
        with contextlib.suppress(Exception):  # the page may have crashed: its picture is a courtesy
            RESULTS.mkdir(exist_ok=True)
            notebook.page.screenshot(path=str(RESULTS / f"end-{notebook.path.removesuffix('.ipynb')}.png"))
        notebook.close()
    assert not complaints, "\n".join(complaints)


# The plugin's fixtures of these names run an event loop in this process, which Playwright's own forbids.


@pytest.fixture(autouse=True)
def jp_asyncio_loop() -> None:
    pass


@pytest.fixture(autouse=True)
def jp_server_cleanup() -> None:
    pass
