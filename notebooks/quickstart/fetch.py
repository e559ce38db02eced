"""Fetch four years of weather in Seattle. The data come with the package vega_datasets, so no network is needed."""

import sys
from pathlib import Path

from vega_datasets import local_data

target = Path(sys.argv[1])
target.parent.mkdir(exist_ok=True)

weather = local_data.seattle_weather()
weather.to_csv(target, index=False)
print(f"{len(weather)} days, {weather.date.min():%Y-%m-%d} to {weather.date.max():%Y-%m-%d}")
