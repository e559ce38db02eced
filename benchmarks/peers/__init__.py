"""The same work by others: each as its own documentation has it for one machine, whole process with start-up."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import dags, jupyter, pairing, report, workshop
from benchmarks.pairing import Row, Target
from benchmarks.workshop import CannotRun, Options

TITLE = "The same tasks by others, from the start of the process to its end, two at a time"
NOTE = (
    "Each in its own virtual environment, as its documentation has it for one machine; tasks are `/bin/true` "
    "(Snakemake also touches an output, as it needs one). Ours is one process that opens an engine, starts its keeper, "
    "runs and closes; nothing is left running. doit and Parsl keep no durable state of tasks. "
    "*One notebook*: the latency of a notebook with one cell, in servers that are up: ours runs it as a task by "
    "`jupyter execute`."
)
_UNDER_WAY = ("CREATED", "QUEUED", "IN_PROGRESS", "STOPPED")  # a new job is "stopped" until it is taken up
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """``least``: how many times as long as we it should take, at least; ``most``: of ours to theirs."""

    name: str
    packages: tuple[str, ...]
    script: str
    least: float | None = None
    most: float | None = None
    rounds: int = 5
    forced: tuple[str, ...] = ()


_FOR_PREFECT = ("fastapi==0.124.4", "starlette==0.50.0")  # its own server fails with newer ones
PEERS = (
    Peer("doit", ("doit==0.37.0",), "with_doit.py", most=1.0),
    Peer("Parsl", ("parsl==2026.10.26",), "with_parsl.py", least=1.5),
    Peer("dask.distributed", ("distributed==2026.8.0",), "with_dask.py", least=2.5),
    Peer("Luigi", ("luigi==3.8.1",), "with_luigi.py", least=10, rounds=3),
    Peer("Prefect", ("prefect==3.8.8",), "with_prefect.py", least=10, rounds=3, forced=_FOR_PREFECT),
    Peer("Snakemake", ("snakemake==9.27.1",), "with_snakemake.py", least=15, rounds=2),
    Peer("Dagster", ("dagster==1.13.27",), "with_dagster.py", least=15, rounds=2),
)


def run(options: Options) -> list[Row]:
    found: list[Row] = []
    for shape, count in (("independent", 1000), ("layered", 1000)):
        size = 100 if options.quick else count
        dag = dags.SHAPES[shape](size)
        for peer in PEERS:
            found += guarded(partial(beside, options, peer, dag, f"{shape} {len(dag)}"), peer.name)
    found += guarded(partial(notebook_job, options), "jupyter-scheduler")
    return found


def guarded(measure: Callable[[], list[Row]], name: str) -> list[Row]:
    """One peer that cannot be installed or fails takes no other with it."""
    try:
        rows = measure()
    except CannotRun as problem:
        print(f"NOT RUN {name}: {problem}", flush=True)
        return []
    for row in rows:
        pairing.say(row)
    return rows


def beside(options: Options, peer: Peer, dag: dags.Dag, work: str) -> list[Row]:
    python = workshop.venv(peer.script.removeprefix("with_").removesuffix(".py"), *peer.packages, forced=peer.forced)
    file = dags.write_text(dag, options.fresh("dag") / "dag.txt")

    home = options.fresh("home")  # the same each time: databases are made once

    def theirs() -> float:
        folder = options.fresh(peer.name.lower())
        env = workshop.environment(HOME=str(home), PATH=f"{python.parent}:{os.environ['PATH']}")
        return workshop.timed([python, _HERE / peer.script, file, "2"], cwd=folder, env=env)

    candidates: dict[str, pairing.Measure] = {"wattle": partial(whole, options, file), peer.name: theirs}
    theirs()  # the first start compiles, makes databases and the like
    samples = pairing.alternate(candidates, rounds=2 if options.quick else peer.rounds, seconds=60)
    target = (
        Target(peer.name, "wattle", least=peer.least)
        if peer.most is None
        else Target("wattle", peer.name, most=peer.most)
    )
    work = f"{work}, beside {peer.name}"
    return pairing.rows(work, samples, scale=1.0, unit="s", beside="wattle", targets=[target])


def whole(options: Options, dag: Path) -> float:
    """Our process, from start to end."""
    return workshop.timed(workshop.engine_command(options.fresh("store"), 2, dag), cwd=workshop.ROOT)


def notebook_job(options: Options) -> list[Row]:
    """From the request to the end of a run of one notebook, in a server that is up."""
    python = workshop.venv("scheduler", "jupyter-scheduler==2.12.1", "jupyter_server", "ipykernel")
    folder = options.fresh("scheduler")
    with jupyter.servers(options, (2,)) as servers:
        other = SchedulerServer(folder, python)
        try:
            other.wait("api/status")
            other.wait("scheduler/runtime_environments")
            name = notebook(folder)
            ours = servers[2]
            mine = notebook(ours.folder)
            candidates: dict[str, pairing.Measure] = {
                "wattle, as a task": lambda: ours.run_spec(notebook_spec(ours.folder, mine)),
                "jupyter-scheduler": lambda: other.job(name),
            }
            for measure in candidates.values():
                measure()
            samples = pairing.alternate(candidates, rounds=2 if options.quick else 5, seconds=60)
        finally:
            other.stop()
    target = Target("wattle, as a task", "jupyter-scheduler", most=0.5)
    return pairing.rows("one notebook", samples, scale=1.0, unit="s", beside="jupyter-scheduler", targets=[target])


class SchedulerServer(jupyter.Server):
    """A Jupyter server with jupyter-scheduler, in its own environment."""

    def __init__(self, folder: Path, python: Path) -> None:
        super().__init__(folder, 1, python=python)

    def job(self, notebook: str) -> float:
        """Seconds from the request to the job's end, looked at every 20 ms."""
        began = time.perf_counter()
        body = {
            "name": "bench",
            "input_uri": notebook,
            "runtime_environment_name": python_environment(self.call("scheduler/runtime_environments")),
            "output_formats": ["ipynb"],
        }
        job = self.call("scheduler/jobs", body)["job_id"]
        while (state := self.call(f"scheduler/jobs/{job}")["status"]) in (
            "CREATED",
            "QUEUED",
            "IN_PROGRESS",
            "STOPPED",
        ):
            if time.perf_counter() - began > 60:
                raise CannotRun(f"jupyter-scheduler's job is {state} after a minute")
            time.sleep(0.02)
        if state != "COMPLETED":
            raise CannotRun(f"jupyter-scheduler's job is {state}")
        return time.perf_counter() - began


def python_environment(found: list[dict[str, object]]) -> str:
    return str(found[0]["name"])


def notebook(folder: Path) -> str:
    """One cell that runs `true`, as tasks elsewhere do. Its name."""
    cell: dict[str, object] = {"cell_type": "code", "id": "a", "source": "!true", "metadata": {}, "outputs": []}
    cell["execution_count"] = None
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    book = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "job.ipynb").write_text(json.dumps(book))
    return "job.ipynb"


def notebook_spec(folder: Path, name: str) -> dict[str, object]:
    return {"name": "notebook", "working_dir": str(folder), "python": sys.executable, "tasks": {"job": name}}


def brief(rows: report.Rows) -> str:
    """All that did the layered tasks in one group, ours by the median of its medians."""
    work = "ten layers of 100, two tasks at a time"
    chosen = [{**row, "work": work} for row in rows if row["work"].startswith("layered")]
    mine = [row for row in chosen if row["who"] == "wattle"]
    ours = {**mine[0], "median": statistics.median(row["median"] for row in mine)}
    return report.plot(
        "A thousand tasks that do nothing, from the start of the process to its end",
        [ours, *(row for row in chosen if row["who"] != "wattle")],
    )


LOOK = report.Look(report.table, report.plot, report.TURNS.how, brief)
