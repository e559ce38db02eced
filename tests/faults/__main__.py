"""``python -m faults [NAME ...]``: the long form of all faults or of these, with figures; exit code 1 if anything did
not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from faults.catalog import FAULTS, Fault


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py faults", description="Make things go wrong; print what held.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(FAULTS)}")
    parser.add_argument("--short", action="store_true", help="as in the suite")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in FAULTS]:
        parser.error(f"no fault {unknown[0]!r}; there are: {', '.join(FAULTS)}")
    broken = []
    for name in arguments.names or FAULTS:
        if not shown(name, FAULTS[name], short=arguments.short):
            broken.append(name)
    print(f"\n{'BROKEN: ' + ', '.join(broken) if broken else 'all held'}")
    return int(bool(broken))


def shown(name: str, fault: Fault, *, short: bool) -> bool:
    """Make it, print what came of it. False if something did not hold."""
    print(f"\n{name}: {fault.says}", flush=True)
    if reason := fault.cannot():
        print(f"  NOT MADE: {reason}", flush=True)
        return True
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wf-") as folder:
        figures = (fault.short if short else fault.long)(Path(folder))
    for line in lines(figures):
        print(f"  {line}", flush=True)
    print(f"  {time.monotonic() - began:.0f} s: {len(figures.wrong) or 'nothing'} wrong", flush=True)
    for what in figures.wrong[:20]:
        print(f"    {what}", flush=True)
    return not figures.wrong


def lines(figures: Any) -> list[str]:
    """Every figure but what is wrong."""
    shown = []
    for one in fields(figures):
        value = getattr(figures, one.name)
        if one.name == "wrong":
            continue
        if isinstance(value, set):
            shown += [f"said: {text}" for text in sorted(value)]
        else:
            text = f"{value:.2f}" if isinstance(value, float) else value
            shown.append(f"{one.name.replace('_', ' '):<18}{text}")
    return shown


if __name__ == "__main__":
    sys.exit(main())
