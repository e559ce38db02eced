"""State transitions that are on the disk: the store and the state machine, without processes."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from pathlib import Path

from benchmarks import dags, machine, pairing
from benchmarks.pairing import Row
from benchmarks.workshop import Options
from wattle_jupyter import spec
from wattle_jupyter.library import Recipe
from wattle_jupyter.model import Run
from wattle_jupyter.statemachine import Limits, StateMachine
from wattle_jupyter.store import Store
from wattle_jupyter.verdict import End

TITLE = "State transitions, on the disk for good (`synchronous=FULL`), 100 in flight"
NOTE = (
    "Each transition is a task run, its attempt and its part of an event, by the engine's own state machine and store. "
    "*Mixed*: 60 % transitions, 40 % questions for the state of a task. StepFlow publishes 808 operations a "
    "second for its mix of 60 % writes and 40 % reads: read in its documentation, on another machine, not paired."
)
_STEPFLOW = 808
_IN_FLIGHT = 100


def run(options: Options) -> list[Row]:
    count = 2_000 if options.quick else 20_000
    rounds = 2 if options.quick else 3
    found = []
    for work, reads, least in (("transitions", 0.0, 10_000), ("mixed 60/40", 0.4, 10 * _STEPFLOW)):
        rates = [asyncio.run(measure(options.fresh("store"), count, reads)) for _ in range(rounds)]
        rate = statistics.median(rates)
        times = rate / _STEPFLOW if reads else None
        found.append(
            Row(
                work=work, who="wattle", median=rate, least=min(rates), unit="/s", runs=rounds, ratio=times,
                beside="StepFlow's figure" if times else "", target=f"≥ {least:,}/s", met=rate >= least,
                load=machine.load(),
            )
        )  # fmt: skip
        pairing.say(found[-1])
    return found


async def measure(folder: Path, count: int, reads: float) -> float:
    """Operations a second. An attempt's start and its end are a transition each."""
    store = await Store.open(folder / "store")
    try:
        machine_, run = await begin(store, count)
        began = time.perf_counter()
        operations, running = 0, list(machine_.by_attempt)
        while running:
            for attempt in running:
                machine_.ended(attempt, End(code=0), time.time(), started_at=time.time(), ended_at=time.time())
            machine_.advance(time.time())
            change, effects = machine_.take(time.time())
            asked = [question(store, run, number) for number in range(round(len(running) * 2 * reads / (1 - reads)))]
            await asyncio.gather(store.commit(change), *asked)
            operations += len(running) + len(effects.start) + len(asked)
            running = [attempt.id for _, _, attempt in effects.start]
        return operations / (time.perf_counter() - began)
    finally:
        await store.close()


async def begin(store: Store, count: int) -> tuple[StateMachine, str]:
    """A run with 100 attempts that have started, committed."""
    workflow = spec.load(dags.spec(dags.independent(count), "bench", Path("/")))
    machine_ = StateMachine(Limits(slots=_IN_FLIGHT), ids=lambda: uuid.uuid4().hex)
    recipe = Recipe.of(workflow)
    run = Run(
        id=uuid.uuid4().hex, workflow=workflow.name, workflow_hash=recipe.digest, snapshot=recipe.text,
        params={}, mode=workflow.mode, priority=workflow.priority, user="bench", cause="api", scripts={}, only=None,
        given={},
    )  # fmt: skip
    run.created_at = time.time()
    machine_.submit(run, workflow)
    machine_.advance(time.time())
    change, _ = machine_.take(time.time())
    await store.commit(change)
    return machine_, run.id


async def question(store: Store, run: str, number: int) -> None:
    """The state of one task of the run."""
    sql = "SELECT state, reason, attempts, attempt, started_at, ended_at FROM task_run WHERE run = ? AND task = ?"
    await store.all(sql, (run, f"t{number}"))
