"""The documentation: the site is built without a warning, and what it shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from documents import Block, blocks, kernels, like, run
from processes import EngineProcess

import wattle_jupyter
from wattle_jupyter import openapi, settings, spec, verbs

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *(p for p in DOCS.rglob("*.md") if not {"_build", "examples"} & set(p.parts))])
BLOCKS = {page: blocks(page, ROOT) for page in PAGES}


def of_kind(kind: str) -> list[Block]:
    return [block for found in BLOCKS.values() for block in found if block.kind == kind]


def places(found: list[Block]) -> list[object]:
    return [pytest.param(block, id=block.place) for block in found]


# ------------------------------------------------------------------------------------------------------------- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    options = ["-b", "html", "-W", "--keep-going", "-n", "-q", "-d", str(out / "trees")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(out / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


class _Sources(HTMLParser):
    """What a page makes the browser fetch, and the names of its links' targets."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("script", "img", "iframe", "source") and found.get("src"):
            self.fetched.append(str(found["src"]))
        if tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.fetched.append(str(found["href"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if found.get("id"):
            self.ids.add(str(found["id"]))


def parsed(site: Path) -> dict[Path, _Sources]:
    made = {}
    for page in site.rglob("*.html"):
        made[page] = _Sources()
        made[page].feed(page.read_text())
    return made


def test_a_page_of_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = parsed(site)
    assert (site / "index.html") in pages
    strangers = {(page.name, src) for page, found in pages.items() for src in found.fetched if "//" in src}
    assert strangers == set()


def test_every_link_within_the_site_leads_to_a_place_that_is_there(site: Path) -> None:
    pages = {page.resolve(): found for page, found in parsed(site).items()}
    dead = []
    for page, found in pages.items():
        for link in (link for link in found.links if not re.match(r"[a-z]+:|//", link)):
            path, _, name = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            there = target.exists() and (not name or target not in pages or name in pages[target].ids)
            if not there and name != "furo-main-content":
                dead.append(f"{page.relative_to(site.resolve())} → {link}")
    assert dead == []


def test_every_example_notebook_is_a_page_and_is_listed(site: Path) -> None:
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert (site / "examples" / f"{notebook.stem}.html").is_file()
        assert f"examples/{notebook.stem}" in (DOCS / "index.md").read_text()


def test_every_public_name_is_on_the_page_of_the_python_api(site: Path) -> None:
    shown = (site / "python-api.html").read_text()
    names = [name for name in wattle_jupyter.__all__ if not name.startswith("__")]
    assert [name for name in names if f'id="wattle_jupyter.{name}"' not in shown] == []


def test_every_route_has_a_place_on_a_page_of_its_group(site: Path) -> None:
    shown = "".join(page.read_text() for page in (site / "http").glob("*.html"))
    operations = [verb for path in openapi.document()["paths"].values() for verb in path.values()]
    ids = [f'id="route-{operation["operationId"].replace("_", "-")}"' for operation in operations]
    assert [name for name in ids if name not in shown] == []


# ----------------------------------------------------------------------------------------------------- what it shows


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_each_block_of_a_page_is_of_a_kind_that_the_tests_know(page: Path) -> None:
    assert [block.place for block in BLOCKS[page] if block.kind == "unknown"] == [], "name a language, or mark it"


RUNNABLE = [page for page in PAGES if any(block.kind == "cell" for block in BLOCKS[page])]


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in RUNNABLE])
def test_the_cells_of_a_page_do_what_it_says(page: Path, engine: EngineProcess, tmp_path: Path) -> None:
    """As one notebook, top to bottom; a text block right below a cell is what it prints, errors included."""
    for name in ("report.py", "train.py"):
        (tmp_path / name).write_text("print('not much')\n")
    wrong = []
    for cells in kernels([block for block in BLOCKS[page] if block.kind == "cell"]):
        for cell, (printed, ok) in zip(cells, run(cells, tmp_path, engine.store), strict=True):
            if not ok and cell.shown is None:
                wrong.append(f"{cell.place} failed:\n{printed}")
            if cell.shown is not None and not like(cell.shown, printed):
                wrong.append(f"{cell.place} says\n{cell.shown}\nbut prints\n{printed}")
    assert not wrong, "\n\n".join(wrong)


def developer_verbs() -> set[str]:
    return set(re.findall(r'^    "(\w+)": \w+,$', (ROOT / "dev.py").read_text(), re.MULTILINE))


def command_lines(block: Block) -> list[list[str]]:
    """The words of each command, without what is the shell's."""
    joined = block.body.replace("\\\n", " ")
    lines = [re.split(r"#|>|\|", line)[0] for line in joined.splitlines()]
    return [line.split() for line in lines if line.strip()]


@pytest.mark.parametrize("block", places(of_kind("terminal")))
def test_a_command_line_is_one_that_the_program_understands(block: Block) -> None:
    for words in command_lines(block):
        if words[:2] == ["python3", "dev.py"]:
            assert words[2] in developer_verbs()
        if words[0] == "wattle" and "-h" not in words:
            for some in " ".join(words).split(" wattle "):  # several may stand beside each other
                verbs.parse(some.removeprefix("wattle ").split(), "wattle")


@pytest.mark.parametrize("block", places(of_kind("data")))
def test_a_piece_of_a_file_is_one_that_is_read(block: Block) -> None:
    data = spec.from_text(block.body, f".{block.info}")
    assert isinstance(data, dict)
    if {"tasks", "workers"} & set(data):
        spec.load({"name": "shown", "working_dir": "/", **data})
    elif block.info == "toml":
        settings.load(block.body, {})


def test_the_comparison_counts_the_lines_that_it_shows() -> None:
    """A tool is a tab under the heading of each workflow; its lines are those that are not empty."""
    page = (DOCS / "comparison.md").read_text()
    rows = dict(re.findall(r"^\| ([\w-]+) \| (\d+ \| \d+ \| \d+) \|", page, re.MULTILINE))
    counted: dict[str, list[str]] = {}
    for name, tab in re.findall(r"^:::\{tab-item\} ([\w-]+)\n(.*?)^:::$", page, re.MULTILINE | re.DOTALL):
        code = re.findall(r"^```\w*\n(.*?)^```$", tab, re.MULTILINE | re.DOTALL)
        counted.setdefault(name, []).append(str(sum(bool(line.strip()) for line in "".join(code).splitlines())))
    assert {name: " | ".join(found) for name, found in counted.items()} == rows
    assert len(rows) == 6


def test_a_block_that_is_wrong_is_found(engine: EngineProcess, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nprint(1)\n```\n\n```text\n2\n```\n\n<!-- a new kernel -->\n```python\nprint(nothing)\n```\n"
    )
    first, _, second = blocks(page, tmp_path)
    assert [first.kind, first.shown, second.comment] == ["cell", "2\n", "a new kernel"]
    assert [len(cells) for cells in kernels([first, second])] == [1, 1]
    (printed, ok), (error, failed) = run([first, second], tmp_path, engine.store)
    assert (printed, ok, failed) == ("1\n", True, False)
    assert error.endswith("NameError: name 'nothing' is not defined")
    assert not like("2\n", printed)
    assert like("line … of 3\n", "line 1 of 3  \n")
    assert not like("line … of 3", "line 1\n of 3")
