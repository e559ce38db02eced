"""Put the models side by side: a table and a figure."""

import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd

mpl.use("agg")
import matplotlib.dates
import matplotlib.pyplot as plt

target = Path(sys.argv[1])
errors = {name: float(value) for name, value in (word.split("=") for word in sys.argv[2:])}
folder = target.parent
series = {name: pd.read_csv(folder / f"{name}.csv", parse_dates=["date"]) for name in errors}
truth = next(iter(series.values()))

table = pd.Series(errors, name="error in °C").sort_values(kind="stable")
table.to_csv(folder / "scores.csv", index_label="model")
print(f"best: {table.index[0]}, {table.iloc[0]:.1f} °C off on average")
print(f"saying “as today” would be {(truth.today - truth.tomorrow).abs().mean():.1f} °C off")

colours = {"linear": "#1f77b4", "neighbours": "#d9822b", "forest": "#2b8a5b"}
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 3.4), width_ratios=[1, 2.6], layout="constrained", facecolor="white"
)
bars = left.barh(table.index[::-1], table.iloc[::-1], color=[colours[name] for name in table.index[::-1]])
left.bar_label(bars, fmt="%.1f °C", padding=4)
left.set(title="Mean error in 2015", xlim=(0, table.max() * 1.35), xticks=[])

june = truth[truth.date.dt.month == 6]
right.plot(june.date, june.tomorrow, color="#333333", linewidth=2.5, label="measured")
for name in table.index:
    shown = series[name][series[name].date.dt.month == 6]
    right.plot(shown.date, shown.guess, color=colours[name], linewidth=1.2, label=name)
right.xaxis.set_major_locator(mpl.dates.DayLocator([1, 8, 15, 22]))
right.xaxis.set_major_formatter(mpl.dates.DateFormatter("%-d %b"))
right.set(title="June 2015: the next day's high", ylabel="°C")
right.legend(frameon=False, ncols=2, fontsize=9)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
left.spines["bottom"].set_visible(False)
figure.savefig(target, dpi=120)
print(f"figure: {target}")
