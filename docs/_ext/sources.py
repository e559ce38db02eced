"""What lies outside of this folder: notebooks are copied into it, links that are right there lead to pages here."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

_PAGES = {
    "../CHANGELOG.md": "changelog.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "docs/": "",
    "../notebooks/": "examples/",
}


def copy_notebooks(app: Sphinx, config: Config) -> None:
    """As saved; only the lexer of their cells is named, which front ends would overwrite in the originals."""
    folder = Path(app.srcdir) / "examples"
    folder.mkdir(exist_ok=True)
    found = sorted((Path(app.srcdir).parent / "notebooks").glob("*.ipynb"))
    for path in folder.glob("*.ipynb"):
        if path.name not in {notebook.name for notebook in found}:
            path.unlink()
    for notebook in found:
        content = json.loads(notebook.read_text())
        content["metadata"]["language_info"]["pygments_lexer"] = "cell"
        for output in (output for cell in content["cells"] for output in cell.get("outputs", ())):
            output.get("data", {}).pop("application/vnd.wattle.run.v1+json", None)  # the drawing beside it is shown
        _write(folder / notebook.name, json.dumps(content))


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return  # so that Sphinx need not read it again
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)


def lead_to_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Rewrite the targets of links, which are right where the file lies, to where the page is."""
    up = "../" * docname.count("/")

    def page(found: re.Match[str]) -> str:
        for start, place in _PAGES.items():
            if found[1].startswith(start):
                return f"]({up}{place}{found[1].removeprefix(start)}"
        return found[0]

    def whole(found: re.Match[str]) -> str:
        app.env.note_dependency(str(path := Path(app.srcdir) / found[1]))
        return path.read_text()

    if not docname.startswith("examples/"):
        included = re.sub(r"```{include} (\S+)\n```", whole, source[0])
        source[0] = re.sub(r"\]\(([^)\s#]+)", page, included)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", copy_notebooks)
    app.connect("source-read", lead_to_pages)
    return {"parallel_read_safe": True}
