"""Two Jupyter servers on one store: the second passes everything on to the first, and takes over when that one goes."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import websocket
import yaml
from processes import ServerProcess, clear, scratch, until

from wattle_jupyter import client as clients

Make = Callable[..., Any]
TABLE: dict[str, str] = yaml.safe_load((Path(__file__).parent / "fixtures" / "bad_situations.yaml").read_text())

ANN = """
from jupyter_server.auth import Authorizer, IdentityProvider, User

class Ann(IdentityProvider):
    def get_user_token(self, handler):
        token = self.get_token(handler)
        return User(username="ann-ä/1", name="Ann") if token == self.token else None

class Reader(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return action == "read"

c.ServerApp.identity_provider_class = Ann
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """The owner of a store and a server that follows it; its user is Ann."""
    with scratch() as folder:
        owner, follower = ServerProcess(folder / "o", folder / "s"), ServerProcess(folder / "f", folder / "s")
        try:
            owner.launch()
            follower.launch(config=ANN.replace("c.Server", "c.Ann.token = 'secret'\nc.Server"))
            yield owner, follower
            assert (follower.end(), owner.end()) == (0, 0)
            for server in (owner, follower):
                assert "Traceback" not in server.said(), server.said()
        finally:
            for server in (owner, follower):
                with contextlib.suppress(AttributeError):
                    server.process.kill()
                    server.process.wait()
            clear(folder / "s")


def test_a_follower_says_what_it_is_and_who_answers(pair: tuple[ServerProcess, ServerProcess]) -> None:
    owner, follower = pair
    ours, theirs = follower.get("info"), owner.get("info")
    assert (ours["role"], theirs["role"]) == ("follower", "owner")
    assert (ours["store"], ours["epoch"]) == (theirs["store"], theirs["epoch"])
    _, _, headers = follower.raw("GET", "runs")
    assert headers["X-Wattle-Owner"] == f"server {owner.pid} {theirs['version']}"
    assert owner.raw("GET", "runs")[2]["X-Wattle-Owner"] is None
    health = follower.get("health")
    assert (health["live"], health["ready"], health["state"], health["reasons"]) == (True, True, "ok", [])


def test_who_started_a_run_at_a_follower_is_kept(pair: tuple[ServerProcess, ServerProcess]) -> None:
    owner, follower = pair
    run = follower.run({"a": "echo hello"})
    assert owner.ended(run)["user"] == "ann-ä/1" == follower.get("info")["user"]
    assert follower.get(f"runs/{run}/tasks/a/logs")["text"] == "hello\n"


def test_a_follower_asks_its_own_authorizer_first_and_passes_no_token_on(make_server: Make) -> None:
    owner: ServerProcess = make_server()
    owner.launch(config="c.ServerApp.log_level = 'DEBUG'\n")
    follower: ServerProcess = make_server(owner.store)
    follower.launch(config=ANN + "c.Ann.token = 'secret'\nc.ServerApp.authorizer_class = Reader\n")
    run = owner.run({"a": "true"})
    status, answer = follower.request("POST", f"runs/{run}/cancel")
    assert (status, answer["error"]) == (403, "Forbidden")
    follower.credentials = {}
    assert follower.raw("GET", "runs")[0] == 403
    assert follower.raw("GET", "runs?token=secret&page=1&page_size=1")[0] == 200
    assert owner.ended(run)["state"] == "completed"
    heard = [line for line in owner.said().splitlines() if "/wattle/api/runs?" in line]
    assert heard, owner.said()
    assert not any("token" in line for line in heard)


# -------------------------------------------------------------------------------------------------- what stays open


class Stream(threading.Thread):
    """Reads the events of an SSE stream until it breaks off or ends."""

    def __init__(self, server: ServerProcess, path: str) -> None:
        super().__init__()
        self.connection, self.response = server.open("GET", path)
        assert self.response.status == 200
        self.text = b""
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            while piece := self.response.read1():
                self.text += piece
        except Exception as error:
            self.error = error
        finally:
            self.connection.close()

    @property
    def data(self) -> list[Any]:
        *whole, _ = self.text.split(b"\n\n")
        return [json.loads(frame.split(b"data: ")[1]) for frame in whole]


def test_a_log_is_streamed_as_it_is_written_and_ends(pair: tuple[ServerProcess, ServerProcess], tmp_path: Path) -> None:
    _, follower = pair
    gate = tmp_path / "gate"
    run = follower.run({"a": f"echo one; while [ ! -e {gate} ]; do sleep 0.05; done; echo two"})
    follower.running(run, "a")
    stream = Stream(follower, f"runs/{run}/tasks/a/logs/stream")
    until(lambda: any("one" in str(data) for data in stream.data))
    gate.touch()
    stream.join(30)
    assert stream.error is None
    assert "".join(data.get("text", "") for data in stream.data) == "one\ntwo\n"


def test_an_object_goes_through_a_follower_both_ways(pair: tuple[ServerProcess, ServerProcess]) -> None:
    owner, follower = pair
    content = bytes(range(256)) * 40_000  # 10 MB
    name = hashlib.sha256(content).hexdigest()
    before = psutil.Process(follower.pid).memory_info().rss
    status, answer, _ = follower.raw("PUT", f"objects/{name}", content, {"Content-Type": "application/octet-stream"})
    assert (status, json.loads(answer)["data"]) == (201, {"hash": name, "size": len(content)})
    assert owner.raw("GET", f"objects/{name}")[1] == content == follower.raw("GET", f"objects/{name}")[1]
    status, _, headers = follower.raw("HEAD", f"objects/{name}")
    assert (status, headers["Content-Length"]) == (200, str(len(content)))
    assert psutil.Process(follower.pid).memory_info().rss - before < len(content)
    wrong = "0" * 64
    status, answer, _ = follower.raw("PUT", f"objects/{wrong}", b"x", {"Content-Type": "application/octet-stream"})
    assert (status, json.loads(answer)["error"]) == (400, "InvalidRequest")
    assert follower.raw("HEAD", f"objects/{wrong}")[0] == 404


def test_a_websocket_reaches_the_owner(pair: tuple[ServerProcess, ServerProcess]) -> None:
    owner, follower = pair
    url = f"ws://127.0.0.1:{follower.port}/wattle/api/events/ws"
    with contextlib.closing(websocket.create_connection(url, header=dict(follower.credentials), timeout=20)) as page:
        hello = json.loads(page.recv())
        assert (hello["type"], hello["generation"]) == ("hello", owner.get("info")["generation"])
        page.send(json.dumps({"type": "since", "seq": hello["seq"]}))
        run = owner.run({"a": "seq 50000"})
        seen: list[Any] = []
        while not any(e["kind"] == "run.changed" and e["body"]["run"]["ended_at"] for e in seen):
            seen += json.loads(page.recv())["events"]
        assert {event["run"] for event in seen} == {run}
        attempt = owner.task(run, "a")["attempt"]
        page.send(json.dumps({"type": "subscribe", "log": attempt, "offset": 0}))
        log = bytearray()
        while isinstance(message := page.recv(), bytes):
            log += message[4 + int.from_bytes(message[:4], "big") :]
        assert log.decode().splitlines() == [str(number) for number in range(1, 50001)]
        page.send("not JSON")
        assert json.loads(page.recv())["type"] == "problem"


def test_how_far_a_task_is_reaches_who_watches_at_a_follower(
    pair: tuple[ServerProcess, ServerProcess], tmp_path: Path
) -> None:
    owner, follower = pair
    run = owner.run({"a": f"echo ::wattle progress=3/8::; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"})
    url = f"ws://127.0.0.1:{follower.port}/wattle/api/events/ws"
    with contextlib.closing(websocket.create_connection(url, header=dict(follower.credentials), timeout=20)) as page:
        page.send(json.dumps({"type": "watch", "runs": [run]}))
        while (told := json.loads(page.recv()))["type"] != "progress":
            pass
    assert told["tasks"]["a"]["text"] == "3/8"
    assert follower.get(f"runs/{run}")["progress"] == told["tasks"]
    (tmp_path / "go").touch()
    owner.ended(run)


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_foreign_page_reaches_nobody(pair: tuple[ServerProcess, ServerProcess], origin: str) -> None:
    _, follower = pair
    url = f"ws://127.0.0.1:{follower.port}/wattle/api/events/ws"
    cookie = "; ".join(cookie.split(";")[0] for cookie in follower.raw("GET", "runs")[2].get_all("Set-Cookie") or ())
    assert "username-" in cookie
    with contextlib.closing(websocket.create_connection(url, header={"Cookie": cookie}, timeout=20)) as own:
        assert json.loads(own.recv())["type"] == "hello"
    with pytest.raises(websocket.WebSocketBadStatusException, match="403") as refused:
        websocket.create_connection(url, header={"Cookie": cookie}, origin=origin, timeout=20)
    hang_up(refused.value)


def hang_up(error: BaseException) -> None:
    """websocket-client leaves the socket of a refused handshake to the traceback's frames."""
    trace = error.__traceback__
    while trace is not None:
        for value in list(trace.tb_frame.f_locals.values()):
            if isinstance(value, socket.socket | websocket.WebSocket):
                value.close()
        trace = trace.tb_next


def test_a_client_that_does_not_read_costs_neither_server_memory(pair: tuple[ServerProcess, ServerProcess]) -> None:
    owner, follower = pair
    run = owner.run({"a": "yes 0123456789abcdef | head -c 120000000"})
    assert owner.ended(run)["state"] == "completed"
    before = [psutil.Process(server.pid).memory_info().rss for server in pair]
    with socket.create_connection(("127.0.0.1", follower.port)) as lazy:
        path = f"/wattle/api/runs/{run}/tasks/a/logs?download=1"
        lazy.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token secret\r\n\r\n".encode())
        assert lazy.recv(15) == b"HTTP/1.1 200 OK"
        started = owner.get("info")  # the owner answers others meanwhile
        assert follower.get("info")["generation"] == started["generation"]
        time.sleep(1)
        after = [psutil.Process(server.pid).memory_info().rss for server in pair]
    assert [now - then < 30 << 20 for now, then in zip(after, before, strict=True)] == [True, True]
    until(lambda: not door_connections(owner))
    connection, response = follower.open("GET", f"runs/{run}/tasks/a/logs?download=1")
    with contextlib.closing(connection):
        size = 0
        while piece := response.read(1 << 20):
            size += len(piece)
    assert size == 120_000_000


def door_connections(owner: ServerProcess) -> list[Any]:
    """Connections that somebody has with the door, the listening socket not counted."""
    path = str(owner.store / "door.sock")
    found = psutil.Process(owner.pid).net_connections("unix")
    return [c for c in found if c.laddr == path][1:]


# ------------------------------------------------------------------------------------------------------ two versions


@pytest.mark.parametrize(("protocol", "case"), [(0, "old owner of a follower"), (99, "new owner of a follower")])
def test_a_follower_of_an_owner_of_another_version_says_what_to_restart(
    make_server: Make, protocol: int, case: str
) -> None:
    owner: ServerProcess = make_server()
    owner.launch()
    path = owner.store / "owner.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": protocol, "version": "0.0.1"}))
    follower: ServerProcess = make_server(owner.store)
    follower.launch(wait=False)
    until(follower.listening)
    answer = until(lambda: (a := follower.request("GET", "runs"))[1].get("error") == "ProtocolMismatch" and a)
    assert (answer[0], answer[1]["message"]) == (503, TABLE[case])
    assert follower.get("health")["reasons"] == [TABLE[case]]
    url = f"ws://127.0.0.1:{follower.port}/wattle/api/events/ws"
    with pytest.raises(websocket.WebSocketBadStatusException, match="503") as refused:
        websocket.create_connection(url, header=dict(follower.credentials), timeout=20)
    hang_up(refused.value)
    assert follower.end() == 0
    assert "Traceback" not in follower.said(), follower.said()


# ------------------------------------------------------------------------------------------------------ taking over


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_follower_takes_over_and_what_was_open_goes_on(
    make_server: Make, tmp_path: Path, how: signal.Signals
) -> None:
    owner: ServerProcess = make_server()
    owner.launch()
    follower: ServerProcess = make_server(owner.store)
    follower.launch()
    gate, count = tmp_path / "gate", tmp_path / "starts"
    command = f"echo x >> {count}; echo before; while [ ! -e {gate} ]; do sleep 0.05; done; echo after"
    run = follower.run({"a": command, "b": {"run": f"echo x >> {count}", "needs": ["a"]}})
    follower.running(run, "a")
    epoch = owner.get("info")["epoch"]
    events = Stream(follower, f"events?run={run}")
    url = f"ws://127.0.0.1:{follower.port}/wattle/api/events/ws"
    page = websocket.create_connection(url, header=dict(follower.credentials), timeout=20)
    until(lambda: events.data)
    died = time.monotonic()
    owner.end(how)
    events.join(20)
    if how is signal.SIGKILL:
        assert isinstance(events.error, http.client.IncompleteRead), "a stream that is cut is not one that ended"
    with contextlib.suppress(websocket.WebSocketConnectionClosedException, ConnectionError):
        while page.recv():
            """What was on its way."""
    info = until(lambda: (i := follower.get("info"))["role"] == "owner" and i, 30)  # each answer is a good one
    print(f"taken over {time.monotonic() - died:.2f} s after {how.name} was sent")
    assert info["epoch"] > epoch
    assert clients.Client(owner.store, start=False).info()["role"] == "owner"
    seen = [event["seq"] for event in events.data]
    rest = Stream(follower, f"events?run={run}&since={seen[-1]}")
    gate.touch()
    assert follower.ended(run)["state"] == "completed"
    until(lambda: any(d["kind"] == "run.changed" and d["body"]["run"]["ended_at"] for d in rest.data))
    seqs = seen + [event["seq"] for event in rest.data]
    assert seqs == sorted(set(seqs))
    assert count.read_text() == "x\nx\n"
    assert follower.get(f"runs/{run}/tasks/a/logs")["text"] == "before\nafter\n"
    follower.end()
    rest.join(20)
