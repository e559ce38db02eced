"""Fetch a year of hourly temperatures of one city. The "station" is busy the first two times that a task asks.

The data come with the package vega_datasets, so no network is needed; what a real station would do is played here.
"""

import os
import sys
from pathlib import Path

from vega_datasets import local_data

city, target = sys.argv[1], Path(sys.argv[2])
target.parent.mkdir(exist_ok=True)

# WATTLE_TASK_RUN is the same in every attempt of a task in one run, so it can tell a second attempt from a first
asked = target.with_name(f"{os.environ['WATTLE_TASK_RUN']}.asked")
times = len(asked.read_text()) + 1 if asked.exists() else 1
asked.write_text("?" * times)
if times < 3:
    sys.exit(f"{city}: the station is busy (asked {times} time{'s' if times > 1 else ''})")
asked.unlink()

table = {"seattle": local_data.seattle_temps, "san-francisco": local_data.sf_temps}[city]()
table[["date", "temp"]].to_csv(target, index=False)
print(f"{city}: {len(table)} hours")
