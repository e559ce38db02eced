"""The steps of the workflow in the pictures: how warm will tomorrow be in Seattle? Data, models, logs are real."""

import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path("data")
PACE = 0.5  # s for an epoch, so that there is time to look
BLUE, DIM, GREEN, RED, YELLOW, PLAIN = "\033[34m", "\033[2m", "\033[32m", "\033[1;31m", "\033[33m", "\033[0m"


def say(text: str, level: str = f"{BLUE}INFO{PLAIN} ") -> None:
    print(f"{DIM}{time.strftime('%H:%M:%S')}{PLAIN} {level} {text}", flush=True)


def fetch(what: str) -> None:
    from vega_datasets import local_data  # noqa: PLC0415  a step imports what it needs

    table = {"weather": local_data.seattle_weather, "normals": local_data.seattle_temps}[what]()
    say(f"{len(table):,} rows of {what}")
    table.to_csv(DATA / f"{what}.csv", index=False)


def clean(what: str) -> None:
    table = pd.read_csv(DATA / f"{what}.csv", parse_dates=["date"]).set_index("date")
    if what == "normals":
        noons = table.resample("h").mean().interpolate().at_time("12:00").temp
        noons.index = noons.index.day_of_year
        noons.to_frame("normal").to_pickle(DATA / "normals.clean")
        say(f"{len(noons)} noons")
        return
    wet = int((table.precipitation > 0).sum())
    say(f"{len(table):,} days, {wet} of them wet")
    say(f"{int((table.precipitation > 40).sum())} days with more than 40 mm: kept", f"{YELLOW}WARN{PLAIN} ")
    table.drop(columns="weather").to_pickle(DATA / "weather.clean")


def features() -> None:
    weather, normals = (pd.read_pickle(DATA / f"{what}.clean") for what in ("weather", "normals"))
    lags = {f"{name}_{days}": weather[name].shift(days) for name in weather for days in range(1, 5)}
    table = pd.DataFrame({**lags, "target": weather.temp_max})
    table["normal"] = normals.normal.reindex(table.index.day_of_year).to_numpy()
    table = table[[name for name in table if name != "target"] + ["target"]].dropna()
    say(f"{len(table):,} days, {table.shape[1] - 1} features")
    table.to_pickle(DATA / "features")


def halves() -> tuple[np.ndarray, ...]:
    table = pd.read_pickle(DATA / "features")
    mean, spread = table.mean(), table.std()
    values = ((table - mean) / spread).to_numpy()
    odd = np.arange(len(values)) % 4 == 0
    return values[~odd, :-1], values[~odd, -1], values[odd, :-1], values[odd, -1]


def train(kind: str) -> None:
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor  # noqa: PLC0415
    from sklearn.linear_model import Ridge  # noqa: PLC0415

    if kind == "neural_net":
        keep(kind, epochs())
        return
    models = {
        "linear": Ridge(),
        "forest": RandomForestRegressor(200, random_state=1),
        "boosting": GradientBoostingRegressor(verbose=1, random_state=1),
    }
    x, y, _, _ = halves()
    keep(kind, models[kind].fit(x, y))


def epochs(count: int = 300) -> object:
    from sklearn.neural_network import MLPRegressor  # noqa: PLC0415

    x, y, later_x, later_y = halves()
    net = MLPRegressor(hidden_layer_sizes=(32, 16), learning_rate_init=0.002, random_state=3)
    best = -1.0
    say(f"{x.shape[0]} days to learn from, {later_x.shape[0]} to judge by")
    for epoch in range(1, count + 1):
        net.partial_fit(x, y)
        score = net.score(later_x, later_y)
        mark = f"  {GREEN}best so far{PLAIN}" if score > best else ""
        best = max(best, score)
        say(f"epoch {epoch:3d}/{count}  loss {net.loss_:.4f}  R² {score:6.3f}{mark}")
        time.sleep(PACE)
    return net


def keep(kind: str, model: object) -> None:
    (DATA / f"{kind}.model").write_bytes(pickle.dumps(model))
    say(f"kept the model {kind}")


def evaluate() -> None:
    _, _, x, y = halves()
    scores = {file.stem: pickle.loads(file.read_bytes()).score(x, y) for file in sorted(DATA.glob("*.model"))}
    for kind, score in sorted(scores.items(), key=lambda one: -one[1]):
        say(f"{kind:<12} R² {score:.3f}")


def ozone() -> None:
    """What a mistake looks like."""
    from vega_datasets import local_data  # noqa: PLC0415

    table = local_data.seattle_weather()
    say(f"{len(table):,} days")
    say("no unit is given for ozone, taken as ppb", f"{YELLOW}WARN{PLAIN} ")
    if "ozone" not in table:
        say(f"{GREEN}there are{PLAIN} {', '.join(table)}")
        sys.exit(f"{RED}KeyError{PLAIN}: no column 'ozone' in the table of the weather")
    say(f"{table['ozone'].mean():.1f} ppb")


def finish(what: str) -> None:
    say(f"{what} is written")


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    steps = (fetch, clean, features, train, evaluate, ozone, finish)
    {step.__name__: step for step in steps}[sys.argv[1]](*sys.argv[2:])
