"""Our side: one engine in a process of its own, with durable state (FULL), a log for each task, and events.

    python -m benchmarks.engine FOLDER PARALLELISM DAG [TIMES]

Prints a JSON line for each time the work in the file DAG was done, measured from the definition to the commit that
ends the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from benchmarks import dags, machine
from wattle_jupyter import spec
from wattle_jupyter.aside import aside
from wattle_jupyter.engine import Engine
from wattle_jupyter.executors.local import LocalExecutor
from wattle_jupyter.settings import Settings


async def measure(folder: Path, slots: int, file: str, times: int) -> None:
    settings = Settings()
    settings = replace(settings, scheduler=replace(settings.scheduler, slots=slots))
    # what reads specs is imported while store and keeper are opened, as by whoever is about to define something
    reading = aside(import_module, "wattle_jupyter.shapes")
    engine, _ = await asyncio.gather(Engine.open(settings, folder / "store"), reading)
    executor = engine.scheduler.executor
    assert isinstance(executor, LocalExecutor)
    keeper = executor.keeper_pid or 0
    try:
        for _ in range(times):
            dag = dags.read_text(file)
            cpu = time.process_time(), machine.cpu_seconds(keeper)
            began = time.perf_counter()
            workflow = spec.load(dags.spec(dag, "bench", folder))
            del dag  # as a request does not outlive its answer
            run = await engine.scheduler.submit(workflow, user="bench")
            del workflow
            submitted = time.perf_counter()
            state = await ended(engine, run)
            seconds = time.perf_counter() - began
            if state != "completed":
                sys.exit(f"the run is {state}: {(await engine.scheduler.summary(run))['reason']}")
            found = {
                "seconds": seconds,
                "submit": submitted - began,
                "server_cpu": time.process_time() - cpu[0],
                "keeper_cpu": machine.cpu_seconds(keeper) - cpu[1],
                "server_mib": machine.peak_memory(os.getpid()),
                "keeper_mib": machine.peak_memory(keeper),
            }
            print(json.dumps(found), flush=True)
    finally:
        await engine.close()


async def ended(engine: Engine, run: str) -> str:
    """Its state, once the commit that ends it is published."""
    scheduler = engine.scheduler
    async for _ in scheduler.hub.follow(scheduler.hub.newest, run):
        state = (await scheduler.summary(run))["state"]
        if state in ("completed", "failed", "cancelled"):
            return state
    return "closed"


if __name__ == "__main__":
    place, parallelism, file, *again = sys.argv[1:]
    asyncio.run(measure(Path(place), int(parallelism), file, int(again[0]) if again else 1))
