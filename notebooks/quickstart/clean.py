"""Turn the weather of each day into what was known in the evening, and what to predict from it: tomorrow's high."""

import sys

import numpy as np
import pandas as pd

source, target = sys.argv[1:3]
days = pd.read_csv(source, parse_dates=["date"])
assert days.date.diff().dropna().eq(pd.Timedelta(days=1)).all(), "a day is missing"

turn = 2 * np.pi * days.date.dt.day_of_year / 365.25
table = pd.DataFrame(
    {
        "date": days.date,
        "high": days.temp_max,
        "low": days.temp_min,
        "rain": np.log1p(days.precipitation),
        "wind": days.wind,
        "season_sin": np.sin(turn),
        "season_cos": np.cos(turn),
        "high_yesterday": days.temp_max.shift(1),
        "high_week": days.temp_max.rolling(7).mean(),
        "tomorrow": days.temp_max.shift(-1),
    }
).dropna()
table.to_csv(target, index=False)
print(f"{len(days)} days in, {len(table)} rows out")
print(f"columns: {', '.join(table.columns)}")
