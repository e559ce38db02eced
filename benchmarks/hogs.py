"""Beside two programs that take all the processor they get: what a start costs then."""

from __future__ import annotations

import statistics
from functools import partial

from benchmarks import dags, machine, pairing, workshop
from benchmarks.pairing import Row
from benchmarks.workshop import Options

TITLE = "Beside two processes that compute without end, 8 at once"
NOTE = "The ratio of each is to itself on the machine without them."


def run(options: Options) -> list[Row]:
    count = 200 if options.quick else 1000
    dag = dags.independent(count)
    file = dags.write_text(dag, options.fresh("dag") / "dag.txt")
    candidates: dict[str, pairing.Measure] = {
        "wattle": lambda: workshop.engine(options, file, 8, 2)[-1]["seconds"],
        "ninja": partial(workshop.ninja, options, dag, 8),
    }
    rounds = 2 if options.quick else 5
    quiet = pairing.alternate(candidates, rounds=rounds, seconds=30)
    with workshop.hogs(2):
        busy = pairing.alternate(candidates, rounds=rounds, seconds=60)
    found = []
    for who, samples in busy.items():
        times = statistics.median(samples) / statistics.median(quiet[who])
        ours = who == "wattle"
        for name, taken, ratio in (("quiet", quiet[who], None), ("beside 2 hogs", samples, times)):
            found.append(
                Row(
                    work=f"independent {count}, {name}", who=who, median=statistics.median(taken) * 1000 / count,
                    least=min(taken) * 1000 / count, runs=len(taken), ratio=ratio, beside="quiet" if ratio else "",
                    target="≤ 2 ×" if ours and ratio else "", met=ratio <= 2 if ours and ratio else None,
                    load=machine.load(),
                )
            )  # fmt: skip
    found.sort(key=lambda row: row.work, reverse=True)
    for row in found:
        pairing.say(row)
    return found
