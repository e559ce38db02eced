"""How many pictures does a model read wrong, and which digits does it take for which? The latter as a table in a file."""

import sys
from pathlib import Path

import pandas as pd

import wattle_jupyter as wt

pictures, digits = wt.input("pictures")
read = wt.input("model").predict(pictures)

mistakes = pd.DataFrame({"digit": digits, "read as": read})[digits != read]
kinds = mistakes.value_counts(sort=False).rename("times").reset_index()
table = Path(sys.argv[1])
table.parent.mkdir(parents=True, exist_ok=True)
kinds.sort_values("times", ascending=False, kind="stable").to_csv(table, index=False)

wt.emit(wrong=len(mistakes))
