"""Say in which months two cities differ most."""

import sys

import pandas as pd

tables = {name: pd.read_csv(path, parse_dates=["date"]) for name, path in (pair.split("=") for pair in sys.argv[1:])}
monthly = pd.DataFrame({name: table.groupby(table.date.dt.month).temp.mean() for name, table in tables.items()})
first, second = monthly.columns
gap = (monthly[first] - monthly[second]).round(1)
print(f"{'month':<7}{first:>15}{second:>15}{'difference':>12}")
for month, row in monthly.iterrows():
    print(f"{month:<7}{row[first]:>13.1f}°F{row[second]:>13.1f}°F{gap[month]:>10.1f}°F")
