"""Many tasks: what each costs then, what the server's memory is, how long the submit takes."""

from __future__ import annotations

from benchmarks import dags, machine, pairing, workshop
from benchmarks.pairing import Row
from benchmarks.workshop import Options

TITLE = "Many tasks in one run (ten layers, two dependencies each, 8 at once)"
NOTE = (
    "The ratio is to the cost of a task in a run of 1,000. *submit*: from the definition as data to the committed run."
)
SIZES = (1_000, 10_000)


def run(options: Options) -> list[Row]:
    sizes = (200, 1_000) if options.quick else SIZES
    return measured(options, sizes)


def measured(options: Options, sizes: tuple[int, ...]) -> list[Row]:
    """A row for each size, each in a store of its own."""
    found: list[Row] = []
    for count in sizes:
        dag = dags.layered(count)
        file = dags.write_text(dag, options.fresh("dag") / "dag.txt")
        times = 3 if count <= 1_000 else 1
        best = min(workshop.engine(options, file, 8, times)[-1:], key=lambda found: found["seconds"])
        cost = best["seconds"] * 1000 / count
        ratio = cost / found[0].median if found else None
        more = {
            "submit s": round(best["submit"], 2),
            "server MiB": round(best["server_mib"]),
            "keeper MiB": round(best["keeper_mib"]),
            "server cpu ms/task": round(best["server_cpu"] * 1000 / count, 3),
        }
        within = ratio is None or (ratio <= 1.3 and best["server_mib"] < 200 and (count > 10_000 or best["submit"] < 2))
        found.append(
            Row(
                work=f"layered {count:,}", who="wattle", median=cost, least=cost, runs=times, ratio=ratio,
                beside="1,000" if ratio else "", target="≤ 1.3 ×, < 200 MiB" if ratio else "",
                met=within if ratio else None, load=machine.load(), more=more,
            )
        )  # fmt: skip
        pairing.say(found[-1])
    return found
