"""Refuse tables in which hours are missing, unless a file lists them as known. Exit code 3: gaps, 4: no table."""

import sys
from pathlib import Path

import pandas as pd

known = Path(sys.argv[1])
listed = pd.to_datetime(known.read_text().splitlines() if known.exists() else [])
incomplete = False

for table in map(Path, sys.argv[2:]):
    if not table.exists():
        print(f"there is no {table}", file=sys.stderr)
        sys.exit(4)
    found = pd.to_datetime(pd.read_csv(table).date)
    every = pd.date_range(found.min(), found.max(), freq="h")
    gaps = every.difference(found).difference(listed)
    print(f"{table.stem}: {len(found)} of {len(every)} hours", flush=True)
    for gap in gaps:
        print(f"{table.stem}: nothing was measured at {gap:%Y-%m-%d %H:%M}", file=sys.stderr)
        incomplete = True

sys.exit(3 if incomplete else 0)
