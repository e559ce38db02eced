"""The WebSocket: events and logs, cut off as often as one likes, and nothing lost or doubled."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from processes import API, EngineProcess, until

from wattle_jupyter.handlers import socket as socket_handler
from wattle_jupyter.handlers.socket import FRAME, SocketHandler
from wattle_jupyter.logs import PIECE
from wattle_jupyter.websocket import WebSocket


class Watcher:
    """One connection to ``events/ws`` that waits for what it expects."""

    def __init__(self, engine: EngineProcess) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(engine.socket)
        self.ws = WebSocket(self.sock, f"{API}events/ws")
        self.sock.settimeout(20)
        self.hello = self.message()

    def ask(self, **message: Any) -> None:
        self.ws.send(json.dumps(message))

    def receive(self) -> str | bytes | None:
        return self.ws.receive()

    def message(self, kind: str | None = None) -> Any:
        """The next JSON message (of this kind)."""
        while True:
            received = self.receive()
            assert received is not None, "the socket was closed"
            if isinstance(received, str) and (kind is None or json.loads(received)["type"] == kind):
                return json.loads(received)

    def close(self) -> None:
        self.ws.close()


def frame(data: bytes) -> list[tuple[str, int, bytes]]:
    """A binary frame → (attempt, offset, bytes) of each log in it."""
    (size,) = struct.unpack(">I", data[:4])
    found, at = [], 4 + size
    for attempt, offset, length in json.loads(data[4 : 4 + size]):
        found.append((attempt, offset, data[at : at + length]))
        at += length
    assert at == len(data)
    return found


@pytest.fixture
def watcher(engine: EngineProcess) -> Iterator[Watcher]:
    with closing(Watcher(engine)) as made:
        yield made


def test_hello_says_who_is_there(engine: EngineProcess, watcher: Watcher) -> None:
    info = engine.get("info")
    assert watcher.hello == {
        "type": "hello", "server": info["version"], "api": 1, "seq": watcher.hello["seq"],
        "store": info["store"], "generation": info["generation"], "trouble": None,
    }  # fmt: skip


def test_a_new_run_is_told_from_its_creation_to_its_end(engine: EngineProcess, watcher: Watcher) -> None:
    watcher.ask(type="since", seq=watcher.hello["seq"])
    run = engine.run({"x": "true"}, "told")
    kinds, seqs, state = [], [], ""
    while state != "completed":
        for event in watcher.message("events")["events"]:
            kinds.append(event["kind"])
            seqs.append(event["seq"])
            assert event["run"] == run
            state = event["body"]["run"]["state"]
    assert kinds[0] == "run.created"
    assert set(kinds[1:]) == {"run.changed"}
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_since_tells_again_what_was_missed_also_of_one_run(engine: EngineProcess, watcher: Watcher) -> None:
    runs = [engine.run({"x": "true"}, f"missed{n}") for n in range(2)]
    for run in runs:
        engine.ended(run)
    watcher.ask(type="since", seq=watcher.hello["seq"], run=runs[1][:12])
    events = watcher.message("events")["events"]
    assert {e["run"] for e in events} == {runs[1]}
    assert events[0]["kind"] == "run.created"


def test_many_logs_come_over_one_socket_to_their_ends(engine: EngineProcess, watcher: Watcher) -> None:
    run = engine.run({f"t{n}": f"for i in 1 2 3; do echo {n}-$i; sleep 0.02; done" for n in range(12)}, "many")
    names = until(lambda: (d := engine.get(f"runs/{run}")["tasks"]) and all(t["attempt"] for t in d) and d)
    names = {t["attempt"]: t["task"] for t in names}
    for attempt in names:
        watcher.ask(type="subscribe", log=attempt, offset=0)
    logs, ended = dict.fromkeys(names, b""), {}
    while len(ended) < len(names):
        received = watcher.receive()
        assert received is not None
        if isinstance(received, bytes):
            for attempt, offset, data in frame(received):
                assert offset == len(logs[attempt])
                logs[attempt] += data
        elif json.loads(received)["type"] == "log_end":
            ended[json.loads(received)["log"]] = json.loads(received)["size"]
    for attempt, task in names.items():
        assert logs[attempt].decode() == "".join(f"{task[1:]}-{i}\n" for i in (1, 2, 3))
        assert ended[attempt] == len(logs[attempt])


def test_a_finished_log_is_sent_from_its_offset_and_ends(engine: EngineProcess, watcher: Watcher) -> None:
    run = engine.run({"x": "echo hello"}, "finished")
    engine.ended(run)
    attempt = engine.task(run, "x")["attempt"]
    watcher.ask(type="subscribe", log=attempt, offset=2)
    received = watcher.receive()
    assert isinstance(received, bytes)
    assert frame(received) == [(attempt, 2, b"llo\n")]
    assert watcher.message() == {"type": "log_end", "log": attempt, "size": 6}


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("nonsense", "a message must be a JSON object as text"),
        ("[]", "a message must be a JSON object as text"),
        ("[" * 30_000, "a message must be a JSON object as text"),
        ('{"type": "dance"}', "unknown type 'dance': send since, watch, subscribe or unsubscribe"),
        ("{}", "unknown type 'None': send since, watch, subscribe or unsubscribe"),
        ('{"type": "since", "seq": -1}', "seq must be a whole number from 0 on"),
        ('{"type": "since", "seq": true}', "seq must be a whole number from 0 on"),
        ('{"type": "since", "seq": 0, "run": "nope"}',
         "no run 'nope': give its id, the first 4 or more digits of it, or `last`"),
        ('{"type": "subscribe", "log": "../../etc/passwd"}', "no attempt ../../etc/passwd"),
        ('{"type": "subscribe", "log": 7, "offset": "x"}', "offset must be a whole number from 0 on"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said_and_the_socket_stays(watcher: Watcher, sent: str, message: str) -> None:
    watcher.ws.send(sent)
    problem = watcher.message()
    assert (problem["type"], problem["message"]) == ("problem", message)
    watcher.ask(type="dance")
    assert watcher.message()["type"] == "problem"


def test_a_message_that_is_too_large_ends_the_socket(engine: EngineProcess, watcher: Watcher) -> None:
    watcher.ws.send(json.dumps({"type": "since", "seq": 0, "x": "x" * 100_000}))
    assert watcher.receive() is None
    assert engine.get("health")["ready"] is True


def test_unsubscribed_logs_are_silent(engine: EngineProcess, watcher: Watcher) -> None:
    run = engine.run({"x": "echo one; sleep 60"}, "silent")
    attempt = engine.running(run, "x")["attempt"]
    watcher.ask(type="subscribe", log=attempt, offset=0)
    assert isinstance(watcher.receive(), bytes)
    watcher.ask(type="unsubscribe", log=attempt)
    watcher.ask(type="dance")
    assert watcher.message()["type"] == "problem"
    engine.post(f"runs/{run}/cancel")
    engine.ended(run)
    watcher.ask(type="dance")
    assert watcher.message()["type"] == "problem"  # no log_end came before it


def test_a_hundred_cuts_lose_and_double_nothing(engine: EngineProcess) -> None:
    lines, chance = 25, random.Random(7)
    command = f"for i in $(seq {lines}); do echo {{}}-$i; sleep 0.12; done"
    tasks = {f"t{n}": command.format(n) for n in range(60)}
    seq = 0
    run = engine.run(tasks, "cut")
    seen: list[int] = []
    logs: dict[str, bytes] = {}
    open_logs: set[str] = set()
    names: dict[str, str] = {}
    ended: set[str] = set()
    cuts, over = 0, False
    while not (over and len(ended) == 60):
        watcher = Watcher(engine)
        watcher.ask(type="since", seq=seq, run=run)
        open_logs = set(logs) - ended
        for attempt in open_logs:
            watcher.ask(type="subscribe", log=attempt, offset=len(logs[attempt]))
        left = chance.randint(1, 6) if cuts < 100 else 1_000_000
        while left and not (over and len(ended) == 60):
            left -= 1
            received = watcher.receive()
            assert received is not None
            if isinstance(received, bytes):
                for attempt, offset, data in frame(received):
                    assert offset == len(logs[attempt])
                    logs[attempt] += data
                continue
            message = json.loads(received)
            assert message["type"] in ("events", "log_end")
            if message["type"] == "log_end":
                ended.add(message["log"])
                assert message["size"] == len(logs[message["log"]])
                continue
            for event in message["events"]:
                seen.append(event["seq"])
                seq = event["seq"]
                over = event["body"]["run"]["state"] == "completed"
                views = event["body"].get("tasks") or event["body"]["run"].get("tasks", [])
                for view in views:
                    if view["attempt"] and view["attempt"] not in logs:
                        names[view["attempt"]] = view["task"]
                        logs[view["attempt"]] = b""
                        watcher.ask(type="subscribe", log=view["attempt"], offset=0)
        watcher.sock.close()  # without a word
        cuts += 1
    assert cuts >= 100
    assert seen == sorted(set(seen))
    every = [e["seq"] for e in all_events(engine, run)]
    assert seen == every
    for attempt, task in names.items():
        assert logs[attempt].decode() == "".join(f"{task[1:]}-{i}\n" for i in range(1, lines + 1))


def all_events(engine: EngineProcess, run: str) -> list[Any]:
    with closing(Watcher(engine)) as watcher:
        newest = int(engine.get(f"runs/{run}")["seq"])
        watcher.ask(type="since", seq=0, run=run)
        found: list[Any] = []
        while not found or found[-1]["body"]["run"]["state"] != "completed":
            found += watcher.message("events")["events"]
        assert found[-1]["seq"] <= newest
        return found


def test_a_client_that_never_reads_costs_no_memory(engine: EngineProcess) -> None:
    run = engine.run({"x": "head -c 100000000 /dev/zero | tr '\\0' 'x'"}, "flood")
    engine.ended(run)
    process = psutil.Process(engine.pid)
    attempt = engine.task(run, "x")["attempt"]
    before = process.memory_info().rss
    watchers = [Watcher(engine) for _ in range(4)]
    for watcher in watchers:
        watcher.ask(type="subscribe", log=attempt, offset=0)
    highest, end = 0, time.monotonic() + 3
    while time.monotonic() < end:
        highest = max(highest, process.memory_info().rss)
        time.sleep(0.05)
    for watcher in watchers:
        watcher.sock.close()
    assert highest - before < 40 << 20
    assert engine.get("health")["ready"] is True


def test_what_the_page_asks_is_done_in_its_order(engine: EngineProcess, watcher: Watcher, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = engine.run({"x": f"while [ ! -e {gate} ]; do sleep 0.02; done; echo after"}, "order")
    attempt = engine.running(run, "x")["attempt"]
    watcher.ask(type="subscribe", log=attempt, offset=0)
    watcher.ask(type="unsubscribe", log=attempt)
    watcher.ask(type="nonsense")  # its answer says that both were heard
    watcher.message("problem")
    gate.touch()
    engine.ended(run)
    watcher.ask(type="subscribe", log=attempt, offset=len("after\n"))
    received = watcher.receive()
    assert isinstance(received, str), "bytes of a log that nobody watches"
    assert json.loads(received) == {"type": "log_end", "log": attempt, "size": 6}


def test_a_log_of_which_more_is_there_is_not_made_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_handler, "TICK", 3600)
    handler = SocketHandler.__new__(SocketHandler)
    handler._work, handler._logs = asyncio.Event(), {"a": cast("Any", None)}
    handler._work.set()
    frames = [[b"x" * PIECE], [b"x" * (FRAME // 4 - 1)] * 4 + [b"1234"], [b"last"]]
    sent: list[int] = []

    def gather(self: SocketHandler) -> tuple[list[Any], list[bytes], list[Any]]:
        return [], frames[len(sent)], []

    async def send(self: SocketHandler, header: object, data: list[bytes]) -> None:
        sent.append(sum(map(len, data)))

    monkeypatch.setattr(SocketHandler, "_gather", gather)
    monkeypatch.setattr(SocketHandler, "_send_frame", send)

    async def main() -> None:
        sending = asyncio.ensure_future(handler._send_logs())
        async with asyncio.timeout(20):
            while len(sent) < len(frames):
                await asyncio.sleep(0)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    asyncio.run(main())
    assert sent == [PIECE, FRAME, 4]
