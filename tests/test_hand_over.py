"""A store goes from hand to hand while a workflow runs and clients watch: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import ServerProcess, until

from wattle_jupyter import owner
from wattle_jupyter.client import Client
from wattle_jupyter.run import Run

Make = Callable[..., Any]
LAYERS, WIDTH = 4, 5


def layers(folder: Path) -> dict[str, Any]:
    """Tasks that need the layer before theirs, say what they got, count their starts, and wait for the layer's gate."""
    tasks: dict[str, Any] = {}
    for layer in range(LAYERS):
        for place in range(WIDTH):
            name = f"t{layer}{place}"
            wait = f"while [ ! -e {folder}/gate{layer} ]; do sleep 0.05; done"
            tasks[name] = {
                "run": f'echo {name} >> {folder}/starts; {wait}; echo "v={layer}" >> $WATTLE_OUTPUT; echo done',
                "needs": [f"t{layer - 1}{other}" for other in range(WIDTH)] if layer else [],
            }
    steps = f"i=0; while [ ! -e {folder}/gate{LAYERS - 1} ]; do i=$((i+1)); echo line $i; sleep 0.01; done; echo end $i"
    return {**tasks, "talk": steps}


class Watcher(threading.Thread):
    """Waits for a run, as a cell does with `await run`, in a thread with a loop of its own."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.waited = run
        self.state = ""
        self.start()

    def run(self) -> None:
        async def wait() -> None:
            self.state = (await self.waited).status

        asyncio.run(wait())


class Reader(threading.Thread):
    """Keeps what a stream yields until it ends."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.found: list[Any] = []
        self.start()

    def run(self) -> None:
        for item in self.stream:
            self.found.append(item)


def test_three_hand_overs_during_a_run_lose_nothing_and_double_nothing(make_server: Make, tmp_path: Path) -> None:
    lab: ServerProcess = make_server()
    lab.launch()
    client = Client(lab.store)  # it starts `wattle serve` when nobody owns the store
    run = client.submit(spec={"name": "dag", "working_dir": str(tmp_path), "tasks": layers(tmp_path)})
    lab.running(run["id"], "talk")
    cell = Watcher(Run(client, run))
    log = Reader(client.log_stream(run["id"], "talk"))
    events = Reader(client.events(run["seq"], run["id"]))

    lab.end(signal.SIGTERM)
    first = handed_over(client, "serve", lab.pid)
    (tmp_path / "gate0").touch()
    until(lambda: client.task(run["id"], "t10")["state"] == "running")

    second: ServerProcess = make_server(lab.store)
    second.launch()
    assert handed_over(client, "server", first) == second.pid
    (tmp_path / "gate1").touch()
    until(lambda: client.task(run["id"], "t20")["state"] == "running")

    second.end(signal.SIGKILL)
    third = handed_over(client, "serve", second.pid)
    assert third not in (first, second.pid)
    (tmp_path / "gate2").touch()
    (tmp_path / "gate3").touch()
    cell.join(60)
    log.join(20)
    assert cell.state == "completed"

    said = "".join(log.found).splitlines()
    count = int(said[-1].removeprefix("end "))
    assert said[:-1] == [f"line {number}" for number in range(1, count + 1)]
    assert sorted((tmp_path / "starts").read_text().split()) == [
        f"t{a}{b}" for a in range(LAYERS) for b in range(WIDTH)
    ]
    detail = client.run(run["id"])
    assert [view["attempts"] for view in detail["tasks"]] == [1] * (LAYERS * WIDTH + 1)
    until(lambda: events.found[-1]["seq"] == detail["seq"])
    seqs = [event["seq"] for event in events.found]
    assert seqs == list(range(run["seq"] + 1, detail["seq"] + 1)), "the only run of the store has all of its events"
    events.stream.close()
    events.join(20)


def handed_over(client: Client, kind: str, before: int) -> int:
    """Pid of the next owner, once it answers."""

    def next_one() -> int:
        found = owner.read(client.store)
        return found.pid if found and found.pid != before and found.kind == kind and client.health()["ready"] else 0

    return until(next_one)


def test_a_request_that_is_repeated_over_a_hand_over_is_carried_out_once(make_server: Make) -> None:
    first: ServerProcess = make_server()
    first.launch()
    follower: ServerProcess = make_server(first.store)
    follower.launch()
    made: list[str] = []
    ask = [threading.Thread(target=lambda: made.append(follower.run({"a": "true"}))) for _ in range(30)]
    for number, thread in enumerate(ask):
        thread.start()
        if number == 10:
            first.process.send_signal(signal.SIGKILL)
    for thread in ask:
        thread.join(60)
    first.process.wait()
    assert len(set(made)) == len(ask), "each was answered, by the one or by the other"
    assert follower.get("runs")["pagination"]["total"] == len(ask), "none was submitted twice"
