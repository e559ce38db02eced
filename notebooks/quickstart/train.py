"""Learn from 2012 to 2014, predict 2015, say how far off the predictions are.

The error goes to $WATTLE_OUTPUT, where the tasks that come after find it; the predictions go to a file.
"""

import os
import sys
from pathlib import Path

import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODELS = {
    "linear": make_pipeline(StandardScaler(), RidgeCV()),
    "neighbours": make_pipeline(StandardScaler(), KNeighborsRegressor(n_neighbors=25)),
    "forest": RandomForestRegressor(n_estimators=200, min_samples_leaf=20, random_state=0),
}

name, source, target = sys.argv[1:4]
table = pd.read_csv(source, parse_dates=["date"])
known, ahead = table[table.date.dt.year < 2015], table[table.date.dt.year == 2015]
features = [column for column in table.columns if column not in ("date", "tomorrow")]

print(f"{name}: learning from {len(known)} days", flush=True)
model = MODELS[name].fit(known[features], known.tomorrow)
guess = pd.Series(model.predict(ahead[features]), index=ahead.index)
error = (guess - ahead.tomorrow).abs().mean()
print(f"{name}: {error:.1f} °C off on average over {len(ahead)} days", flush=True)

pd.DataFrame({"date": ahead.date, "today": ahead.high, "tomorrow": ahead.tomorrow, "guess": guess}).to_csv(
    target, index=False
)
with Path(os.environ["WATTLE_OUTPUT"]).open("a") as outputs:
    print(f"error={error:.1f}", file=outputs)
