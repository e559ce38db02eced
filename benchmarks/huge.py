"""100,000 tasks: minutes, hence only if asked for."""

from __future__ import annotations

from benchmarks import scale
from benchmarks.pairing import Row
from benchmarks.workshop import Options

TITLE = "100,000 tasks in one run"
NOTE = scale.NOTE


def run(options: Options) -> list[Row]:
    return scale.measured(options, (1_000, 10_000 if options.quick else 100_000))
