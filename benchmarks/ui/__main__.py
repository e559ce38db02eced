"""``python -m benchmarks.ui [--quick] [graph] [layout] [log]``"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from typing import Any

from benchmarks import report
from benchmarks.workshop import ROOT

from .browser import build

NAMES = ("layout", "graph", "log")
PAGE = ROOT / "docs" / "benchmarks-ui.md"


def run(names: list[str], *, quick: bool = False) -> dict[str, Any]:
    """Measure, print, and keep the figures in ``benchmarks/results``."""
    sizes = build()
    print("bundles, gzipped kB:", {name: round(size / 1000, 1) for name, size in sizes.items()}, flush=True)
    found: dict[str, Any] = {"bundles": sizes}
    for name in names or NAMES:
        found[name] = import_module(f"benchmarks.ui.{name}").run(quick=quick)
        print(f"\n{found[name]['text']}\n\nload of the machine: {found[name]['load']}", flush=True)
        if not quick:
            keep(name, found[name], sizes)
    return found


def keep(name: str, found: dict[str, Any], sizes: dict[str, int]) -> None:
    """The figures as JSON, the table in the page of the documentation."""
    report.RESULTS.mkdir(exist_ok=True)
    figures = {"rows": found["rows"], "load": found["load"], "bundles": sizes}
    (report.RESULTS / f"ui-{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    text = f"{found['text']}\n\nLoad of the machine at the end: {found['load']}."
    PAGE.write_text(report.filled(PAGE.read_text(), f"ui-{name}", text))


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.ui", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES])
    parser.add_argument("--quick", action="store_true", help="once each; nothing is kept")
    options = parser.parse_args(words)
    run(options.names, quick=options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
