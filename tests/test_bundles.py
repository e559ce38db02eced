"""How much a page has to load: the widget travels with every output that shows it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import wattle_jupyter

PACKAGE = Path(wattle_jupyter.__file__).parent
BUILT = pytest.mark.skipif(
    not (PACKAGE / "static" / "widget.js").exists() or not (PACKAGE / "labextension" / "static").exists(),
    reason="the front end is not built: python3 dev.py lab builds it",
)


def compressed(*files: Path) -> int:
    assert files
    return sum(len(gzip.compress(file.read_bytes(), 9)) for file in files)


@BUILT
def test_the_widget_stays_under_60_kb() -> None:
    assert compressed(*(PACKAGE / "static").glob("widget.*")) <= 60_000


@BUILT
def test_the_extension_stays_under_120_kb() -> None:
    assert compressed(*(PACKAGE / "labextension" / "static").glob("*.js")) <= 120_000
