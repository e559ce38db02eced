"""How soon the truth is known after a server was killed, and what a store with many runs costs at the start."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from processes import until

from faults.disk import end_keeper
from faults.patient import Patient
from faults.work import Work
from wattle_jupyter import library, spec
from wattle_jupyter.model import Run
from wattle_jupyter.statemachine import Limits, StateMachine
from wattle_jupyter.store import Store
from wattle_jupyter.verdict import End


@dataclass
class Figures:
    running: int = 0
    truth: float = 0.0  # seconds from the first answer of the server, whatever it said, to the truth
    from_start: float = 0.0  # seconds from the start of the process to the truth
    finished_runs: int = 0
    bare: float = 0.0  # seconds from the start of the process to ready, with an empty store
    loaded: float = 0.0  # the same with all these runs
    megabytes: float = 0.0  # of the database
    wrong: list[str] = field(default_factory=list)


def play(folder: Path, running: int = 100, finished: int = 10_000) -> Figures:
    figures = Figures(running=running, finished_runs=finished)
    _adopt(folder / "a", figures)
    figures.bare = _ready(folder / "b", 0, figures)
    figures.loaded = _ready(folder / "c", finished, figures)
    return figures


def _adopt(folder: Path, figures: Figures) -> None:
    """Kill the server; end one task as the kernel might, behind its back; start another server."""
    store, work = folder / "store", Work(folder)
    server = Patient(folder / "home", store)
    server.launch_here(WATTLE_SCHEDULER__SLOTS=str(figures.running))
    try:
        tasks = {f"t{n}": {"run": ["sleep", "300"]} for n in range(figures.running)}
        run = server.run(tasks, working_dir=str(work.folder))
        until(lambda: server.get(f"runs/{run}")["counts"].get("running") == figures.running, 120)
        history = until(lambda: (h := server.task(run, "t7")["history"])[-1]["pid"] and h)
        server.end_all()
        os.kill(history[-1]["pid"], signal.SIGKILL)
        began = time.monotonic()
        server.launch(wait=False, WATTLE_SCHEDULER__SLOTS=str(figures.running))
        until(lambda: _is_dead(server, run, figures, began), 60)
        states = [task["state"] for task in server.get(f"runs/{run}")["tasks"]]
        if states.count("running") != figures.running - 1:
            figures.wrong.append(f"{states.count('running')} of {figures.running - 1} tasks were adopted")
        server.post(f"runs/{run}/cancel")
        server.ended(run)
        server.end()
        figures.wrong += work.after(store)
    finally:
        server.end_all()
        end_keeper(store)


def _is_dead(server: Patient, run: str, figures: Figures, began: float) -> bool:
    """Asked until the dead task is shown as such; the clock of the extension starts with the first answer."""
    if not server.listening():
        return False
    first = time.monotonic()
    until(lambda: server.request("GET", f"runs/{run}/tasks/t7")[1].get("data", {}).get("state") == "failed", 60)
    figures.truth, figures.from_start = time.monotonic() - first, time.monotonic() - began
    return True


def _ready(folder: Path, finished: int, figures: Figures) -> float:
    store = folder / "store"
    folder.mkdir(parents=True)
    if finished:
        asyncio.run(fill(store, finished))
        figures.megabytes = (store / "wattle.db").stat().st_size / 1e6
    server = Patient(folder / "home", store)
    began = time.monotonic()
    try:
        server.launch_here()
        took = time.monotonic() - began
        found = server.get("runs?page_size=1")["pagination"]["total"]
        if found != finished:
            figures.wrong.append(f"{found} of {finished} runs are listed")
        server.end()
    finally:
        server.end_all()
        end_keeper(store)
    return took


async def fill(folder: Path, finished: int) -> None:
    """Runs of three tasks, each as the state machine would have left it."""
    store = await Store.open(folder)
    tasks = dict.fromkeys("abc", "true")
    workflow = spec.load({"name": "done", "working_dir": "/", "concurrent": True, "tasks": tasks})
    recipe = library.Recipe.of(workflow)
    await library.save(store, recipe, 1.0)
    machine = StateMachine(
        Limits(slots=300), ids=lambda: uuid.uuid4().hex, prepare=lambda *_: None, executor="local", host="local",
        boot_id="then", epoch=1,
    )  # fmt: skip
    for number in range(0, finished, 100):
        now = 1_700_000_000.0 + number
        for _ in range(min(100, finished - number)):
            run = Run(
                id=uuid.uuid4().hex, workflow="done", workflow_hash=recipe.digest, params={},
                mode=workflow.mode, priority=workflow.priority, created_at=now, user="ada",
            )  # fmt: skip
            machine.submit(run, workflow, None)
        while machine.live:
            for id in list(machine.by_attempt):
                machine.ended(id, End(code=0), now, started_at=now, ended_at=now + 0.5, log_size=0)
            machine.advance(now)
            change, _ = machine.take(now)
            await store.commit(change)
    await store.close()
