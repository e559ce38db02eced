"""``python -m benchmarks [--quick] [--long] [--minutes N] [NAME ...]``: measure, print, keep it in ``results``."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine, report
from benchmarks.workshop import ROOT, CannotRun, Options

NAMES = (
    "noop", "peers", "scale", "science", "hogs", "transitions",
    "rest", "creates", "sockets", "streams", "flood", "search", "starting", "growth", "memory",
)  # fmt: skip
LONG = ("huge", "soak")
UI = "ui"


def measure(name: str, options: Options) -> bool:
    """Did it run? What it lacks is said."""
    module = importlib.import_module(f"benchmarks.{name}")
    print(f"\n===== {name}: {module.TITLE}", flush=True)
    machine.calm(0.25, 10 if options.quick else 60)
    machine.disk_at_rest(options.folder, 0 if options.quick else 360)
    about = machine.describe(options.folder)
    began = time.monotonic()
    try:
        rows = module.run(options)
    except CannotRun as problem:
        print(f"NOT RUN {name}: {problem}", flush=True)
        return False
    print(
        f"----- {name}: {time.monotonic() - began:.0f} s, load {about['load']} before, {machine.load()} after",
        flush=True,
    )
    if not options.quick:
        look = getattr(module, "LOOK", None)
        report.save(name, module.TITLE, module.NOTE, [row.as_dict() for row in rows], about, look)
    return True


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*NAMES, *LONG, UI)))
    parser.add_argument("--quick", action="store_true", help="less of everything; nothing is kept")
    parser.add_argument("--long", action="store_true", help=f"also {', '.join(LONG)}; `growth` goes further")
    parser.add_argument("--minutes", type=float, help="that `soak` takes (10; 1 with --quick)")
    arguments = parser.parse_args(words)
    chosen = arguments.names or [*NAMES, *(LONG if arguments.long else ())]
    if unknown := set(chosen) - {*NAMES, *LONG, UI}:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join((*NAMES, *LONG, UI))}")
    os.chdir(ROOT)
    folder = Path(tempfile.mkdtemp(prefix="wattle-bench-"))
    options = Options(quick=arguments.quick, folder=folder, long=arguments.long, minutes=arguments.minutes)
    try:
        done = [measure(name, options) for name in chosen if name != UI]
        if UI in chosen:
            importlib.import_module("benchmarks.ui.__main__").run([], quick=options.quick)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not all(done))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
