"""DAGs with the shapes of real science, from the generator of WfCommons; the tasks do nothing."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

from benchmarks import dags, pairing, workshop
from benchmarks.pairing import Row, Target
from benchmarks.workshop import CannotRun, Options

TITLE = "DAGs shaped like real science, some 1,000 tasks each, 8 at once"
NOTE = (
    "Made by WfCommons 1.6 from executions of real workflows (Montage: astronomy; Epigenomics, BWA, SoyKB: biology; "
    "Cycles: agriculture). Only the shape is theirs: each task is `/bin/true`."
)
SHAPES = ("Montage", "Epigenomics", "Bwa", "Soykb", "Cycles")
_GENERATE = """
import random, sys
import numpy
from wfcommons import WorkflowGenerator
from wfcommons.wfchef import recipes
name, count, path = sys.argv[1:]
random.seed(7)
numpy.random.seed(7)
recipe = getattr(recipes, name + "Recipe").from_num_tasks(int(count))
WorkflowGenerator(recipe).build_workflow().write_json(__import__("pathlib").Path(path))
"""


def run(options: Options) -> list[Row]:
    python = workshop.venv("wfcommons", "wfcommons==1.6")
    found: list[Row] = []
    for shape in SHAPES[:2] if options.quick else SHAPES:
        dag = generate(options, python, shape, 200 if options.quick else 1000)
        file = dags.write_text(dag, options.fresh("dag") / "dag.txt")
        candidates: dict[str, pairing.Measure] = {
            "wattle": partial(ours, options, file),
            "ninja": partial(workshop.ninja, options, dag, 8),
        }
        samples = pairing.alternate(candidates, rounds=options.rounds, seconds=30)
        targets = [Target("wattle", "ninja", most=0.8)]
        rows = pairing.rows(f"{shape} {len(dag)}", samples, scale=1000 / len(dag), beside="ninja", targets=targets)
        for row in rows:
            pairing.say(row)
        found += rows
    return found


def ours(options: Options, file: Path) -> float:
    return workshop.engine(options, file, 8, 2)[-1]["seconds"]


def generate(options: Options, python: Path, shape: str, count: int) -> dags.Dag:
    path = options.fresh("wfcommons") / "workflow.json"
    command = [str(python), "-c", _GENERATE, shape, str(count), str(path)]
    done = subprocess.run(
        command, cwd=path.parent, env=workshop.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotRun(f"WfCommons cannot make {shape}:\n{done.stderr[-800:]}")
    tasks = json.loads(path.read_text())["workflow"]["specification"]["tasks"]
    names = {task["id"]: f"t{number}" for number, task in enumerate(tasks)}
    return sorted_upstream({names[t["id"]]: [names[p] for p in t["parents"]] for t in tasks})


def sorted_upstream(needs: dict[str, list[str]]) -> dags.Dag:
    """The same, every task after what it waits for."""
    done: dict[str, list[str]] = {}
    left = dict(needs)
    while left:
        ready = [task for task, before in left.items() if all(name in done for name in before)]
        if not ready:
            raise CannotRun("WfCommons made a cycle")
        for task in ready:
            done[task] = left.pop(task)
    return done
