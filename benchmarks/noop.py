"""No-op DAGs: what the engine itself costs, beside ninja and beside a bare loop that starts processes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks import dags, jupyter, pairing, workshop
from benchmarks.pairing import Row, Target
from benchmarks.workshop import Options

TITLE = "Tasks that do nothing (`/bin/true`), beside ninja and a bare `posix_spawn` loop in C"
NOTE = (
    "Ours: state in SQLite with `synchronous=FULL`, a commit before each start, a record, a pipe and a log for each "
    "task, events. ninja starts each command by a shell and keeps none of that. *In Jupyter*: the same engine in a "
    "`jupyter server`, asked by HTTP, while a WebSocket watches."
)
COUNTS = {"independent": 1000, "layered": 1000, "chain": 200}


def run(options: Options) -> list[Row]:
    found: list[Row] = []
    with jupyter.servers(options, (2, 8)) as servers:
        for shape, count in COUNTS.items():
            size = count // 2 if options.quick else count
            for parallelism in (2, 8):
                found += compare(
                    options, f"{shape} {size}, {parallelism} at once", dags.SHAPES[shape](size), parallelism, servers
                )
    return found


def compare(
    options: Options, work: str, dag: dags.Dag, parallelism: int, servers: Mapping[int, jupyter.Server]
) -> list[Row]:
    """One piece of work by all of them."""
    file = dags.write_text(dag, options.fresh("dag") / "dag.txt")
    loop = workshop.spawn_loop(options.folder)
    cpu: dict[str, list[float]] = {"server cpu ms/task": [], "keeper cpu ms/task": []}

    def ours() -> float:
        found = workshop.engine(options, file, parallelism, 2)[-1]
        cpu["server cpu ms/task"].append(found["server_cpu"] * 1000 / len(dag))
        cpu["keeper cpu ms/task"].append(found["keeper_cpu"] * 1000 / len(dag))
        return found["seconds"]

    candidates: dict[str, pairing.Measure] = {
        "wattle": ours,
        "ninja": partial(workshop.ninja, options, dag, parallelism),
        "posix_spawn loop": lambda: workshop.timed([loop, file, str(parallelism)]),
    }
    if parallelism in servers:
        candidates["wattle in Jupyter"] = partial(servers[parallelism].run, dag)
    samples = pairing.alternate(candidates, rounds=options.rounds, seconds=20 if options.quick else 60)
    rows = pairing.rows(
        work,
        samples,
        scale=1000 / len(dag),
        beside="ninja",
        targets=[
            Target("wattle", "ninja", most=1.0 if parallelism == 2 else 0.8),
            Target("wattle in Jupyter", "ninja", most=1.5),
        ],
        more={"wattle": {name: sorted(values)[len(values) // 2] for name, values in cpu.items()}},
    )
    floor = pairing.ratio(samples["wattle"], samples["posix_spawn loop"])
    bound = Target("wattle", "posix_spawn loop", most=2.0)
    rows.append(
        Row(
            work=work, who="wattle", median=rows[0].median, least=rows[0].least, runs=rows[0].runs, ratio=floor,
            beside="posix_spawn loop", target=str(bound), met=bound.met(floor), load=rows[0].load,
        )
    )  # fmt: skip
    for row in rows:
        pairing.say(row)
    return rows
