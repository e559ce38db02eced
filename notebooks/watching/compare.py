"""Compare how fast particles spread: the square of the spread grows with time, this fast."""

import csv
import sys
from pathlib import Path

for name in sys.argv[1:]:
    with Path(name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    speed = sum(float(row["spread"]) ** 2 / int(row["step"]) for row in rows) / len(rows)
    print(f"{Path(name).stem:<6}{speed:5.2f} per step")
