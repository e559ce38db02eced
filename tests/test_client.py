"""The client's transport against a door that misbehaves in every way that a real one rarely does."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_core.paths import jupyter_data_dir

from wattle_jupyter import client as clients
from wattle_jupyter import errors, owner
from wattle_jupyter.client import Client
from wattle_jupyter.places import data_dir, store_dir


class Request:
    """What came in: the first line's words, the headers, the body."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body


Answer = Callable[[Request], bytes]


class FakeDoor:
    """Listens where an owner would. Its answers are raw bytes, one function per request; the last one stays."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.path = store / "door.sock"
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def say(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def sign(self, **changes: object) -> None:
        content = {
            "protocol": 1, "socket": str(self.path), "base_path": "/wattle/api/", "pid": os.getpid(),
            "kind": "serve", "version": "0.1.0", "store": "s1", "url": None, **changes,
        }  # fmt: skip
        path = self.store / "owner.json"
        path.write_text(json.dumps(content))
        path.chmod(0o600)

    def _serve(self) -> None:
        while True:
            connected, _ = self._server.accept()
            with connected, connected.makefile("rb") as file:
                first = file.readline().decode().split()
                if not first:
                    return
                headers = {}
                while line := file.readline().decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                request = Request(first[0], first[1], headers, file.read(int(headers.get("content-length", 0))))
                self.requests.append(request)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                with contextlib.suppress(BrokenPipeError):
                    connected.sendall(answer(request))

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as knock:
            knock.connect(str(self.path))
        self._thread.join()
        self._server.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[FakeDoor]:
    found = FakeDoor(tmp_path)
    found.sign()
    yield found
    found.close()


@pytest.fixture
def client(door: FakeDoor) -> Client:
    return Client(door.store, start=False, timeout=5)


def reply(status: int, content: object) -> Answer:
    body = json.dumps(content).encode()
    return lambda _: b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def fine(data: object) -> Answer:
    return reply(200, {"success": True, "data": data})


def refuse(status: int, name: str, message: str = "no", **details: object) -> Answer:
    return reply(status, {"success": False, "error": name, "message": message, "details": details})


def cut(_: Request) -> bytes:
    return b""


def half(_: Request) -> bytes:
    return b'HTTP/1.1 200 X\r\nContent-Length: 500\r\n\r\n{"success": tr'


def stream(text: str) -> Answer:
    return lambda _: b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + text.encode()


def event(seq: int, run: str = "r1") -> str:
    view = {"seq": seq, "run": run, "kind": "run.changed", "at": "", "body": {}}
    return f"id: {seq}\ndata: {json.dumps(view)}\n\n"


def test_an_answer_is_taken_out_of_its_envelope(door: FakeDoor, client: Client) -> None:
    door.say(fine({"version": "0.1.0"}))
    assert client.info() == {"version": "0.1.0"}
    assert (door.requests[0].method, door.requests[0].path) == ("GET", "/wattle/api/info")


@pytest.mark.parametrize("trouble", [cut, half, refuse(503, "Unavailable", "the server is stopping")])
def test_a_request_whose_answer_was_lost_is_repeated_with_the_same_key(
    door: FakeDoor, client: Client, trouble: Answer
) -> None:
    door.say(trouble, trouble, fine({"id": "a"}))
    assert client.submit("etl")["id"] == "a"
    keys = [request.headers["idempotency-key"] for request in door.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert json.loads(door.requests[0].body) == {"workflow": "etl"}


def test_two_requests_have_two_keys(door: FakeDoor, client: Client) -> None:
    door.say(fine({"id": "a"}))
    client.submit("etl")
    client.submit("etl")
    assert len({request.headers["idempotency-key"] for request in door.requests}) == 2


def test_a_reading_request_has_no_key(door: FakeDoor, client: Client) -> None:
    door.say(fine({}))
    client.run("last")
    assert "idempotency-key" not in door.requests[0].headers


def test_the_new_owner_is_found_when_the_old_one_is_gone(door: FakeDoor, client: Client, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    following = FakeDoor(tmp_path / "next")
    following.say(fine({"version": "next"}))

    def hand_over(_: Request) -> bytes:
        door.sign(socket=str(following.path))
        return b""

    door.say(hand_over)
    assert client.info()["version"] == "next"
    following.close()


def test_an_owner_that_stays_unavailable_is_reported_in_its_own_words(
    door: FakeDoor, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_HAND_OVER", 0.1)
    door.say(refuse(503, "Unavailable", "the server is stopping"))
    with pytest.raises(errors.Unavailable, match="the server is stopping"):
        client.info()


def test_a_connection_that_is_lost_for_good_is_an_error_with_a_cure(
    door: FakeDoor, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_PATIENCE", 0.1)
    door.say(cut)
    with pytest.raises(errors.Unavailable, match=r"lost again and again .* `wattle doctor`"):
        client.info()


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "InvalidRequest"), (404, "NotFound"), (409, "Conflict"), (413, "TooLarge"), (429, "TooManyRuns"),
        (503, "StoreUnavailable"), (503, "StoreLocked"), (503, "ProtocolMismatch"),
    ],
)  # fmt: skip
def test_an_error_of_the_server_comes_back_as_its_class(door: FakeDoor, client: Client, status: int, name: str) -> None:
    door.say(refuse(status, name, "because", run="r1"))
    with pytest.raises(getattr(errors, name), match="because") as caught:
        client.run("r1")
    assert type(caught.value).__name__ == name
    assert caught.value.details == {"run": "r1"}
    assert len(door.requests) == 1


def test_an_error_class_of_a_newer_server_is_still_an_error_of_ours(door: FakeDoor, client: Client) -> None:
    door.say(refuse(400, "Sequence", "something new"))
    with pytest.raises(errors.WattleError, match="something new") as caught:
        client.info()
    assert type(caught.value) is errors.WattleError


def test_all_problems_of_a_spec_come_back(door: FakeDoor, client: Client) -> None:
    sent = errors.SpecError([errors.Problem("tasks.a", "is empty", "give it a command", 3), errors.Problem("b", "bad")])
    door.say(refuse(400, "SpecError", str(sent), **sent.details))
    with pytest.raises(errors.SpecError) as caught:
        client.define({})
    assert caught.value.problems == sent.problems
    assert str(caught.value) == str(sent)


@pytest.mark.parametrize("content", ["<html>login</html>", [], {"ok": 1}])
def test_an_answer_of_something_else_is_named_as_such(door: FakeDoor, client: Client, content: object) -> None:
    door.say(reply(200, content))
    with pytest.raises(errors.ProtocolMismatch, match="not of this API"):
        client.info()


def test_a_silent_owner_is_reported(door: FakeDoor) -> None:
    wait = threading.Event()

    def think(_: Request) -> bytes:
        wait.wait(5)
        return b""

    door.say(think)
    with pytest.raises(errors.Unavailable, match=r"did not answer within 0\.1 s"):
        Client(door.store, start=False, timeout=0.1).info()
    wait.set()


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_a_name_cannot_leave_its_place_in_the_path(client: Client, name: str) -> None:
    with pytest.raises(errors.InvalidRequest, match="is no name"):
        client.run(name)


def test_names_are_quoted(door: FakeDoor, client: Client) -> None:
    door.say(fine({}))
    client.task("last", "a/b?c d")
    assert door.requests[0].path == "/wattle/api/runs/last/tasks/a%2Fb%3Fc%20d"


def test_what_is_not_json_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(errors.InvalidRequest, match="Only JSON values"):
        client.submit("etl", params={"x": float("nan")})


def test_a_list_is_read_page_by_page(door: FakeDoor, client: Client) -> None:
    def page(request: Request) -> bytes:
        number = 2 if "page=2" in request.path else 1
        data = {"data": [{"name": f"w{number}"}], "pagination": {"has_next": number == 1}}
        return fine(data)(request)

    door.say(page)
    assert [view["name"] for view in client.workflows()] == ["w1", "w2"]
    assert [view["name"] for view in client._all("workflows", {}, 1)] == ["w1"]


# -------------------------------------------------------------------------------------------------------------- streams


def test_events_go_on_after_every_cut_with_nothing_lost_and_nothing_twice(door: FakeDoor, client: Client) -> None:
    whole = "".join(event(seq) for seq in range(1, 31))

    def rest_of(request: Request) -> bytes:
        since = int(request.headers["last-event-id"])
        assert f"since={since}" in request.path
        left = whole[whole.index(f"id: {since + 1}\n") :]
        return stream(left[: 20 + 37 * (len(door.requests) % 5)])(request)

    door.say(rest_of)
    seen: list[int] = []
    with client.events(0) as events:
        for view in events:
            seen.append(view["seq"])
            if view["seq"] == 30:
                break
    assert seen == list(range(1, 31))
    assert len(door.requests) > 5


def test_events_of_other_runs_are_passed_over(door: FakeDoor, client: Client) -> None:
    door.say(stream(event(1, "other") + event(2, "r1")))
    with client.events(0, "r1") as events:
        assert next(iter(events))["seq"] == 2


def test_a_log_ends_with_its_end(door: FakeDoor, client: Client) -> None:
    text = 'id: 3\nevent: log\ndata: {"text":"abc"}\n\n: still here\n\nid: 7\nevent: log\ndata: {"text":"defg"}\n\n'
    door.say(stream(text), stream("event: end\ndata: {}\n\n"))
    with client.log_stream("r1", "a", attempt="x1") as texts:
        assert list(texts) == ["abc", "defg"]
    assert "attempt=x1" in door.requests[1].path
    assert "offset=7" in door.requests[1].path


def test_a_stream_of_what_is_not_there_is_an_error(door: FakeDoor, client: Client) -> None:
    door.say(refuse(404, "NotFound", "no such run"))
    with pytest.raises(errors.NotFound, match="no such run"):
        list(client.events(0, "nope"))


def test_a_stream_can_be_closed_by_another_thread(door: FakeDoor, client: Client) -> None:
    ended = threading.Event()

    def open_for_long(request: Request) -> bytes:
        return b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" if ended.wait(5) else b""

    door.say(open_for_long)
    events = client.events(0)
    reader = threading.Thread(target=lambda: list(events))
    reader.start()
    while not door.requests:
        time.sleep(0.01)
    events.close()
    ended.set()
    reader.join(10)
    assert not reader.is_alive()


# ---------------------------------------------------------------------------------------------------- finding the owner


def test_without_an_owner_the_cure_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ServerNotFound, match=r"No server owns the store .*`wattle serve`"):
        Client(tmp_path, start=False).info()


def test_the_sign_of_a_dead_owner_counts_for_nothing(tmp_path: Path, door: FakeDoor) -> None:
    door.sign(socket=str(tmp_path / "gone.sock"), pid=2**22 - 1)
    with pytest.raises(errors.ServerNotFound, match="No server owns"):
        Client(door.store, start=False).info()


def test_an_owner_that_opens_its_door_late_is_waited_for(door: FakeDoor, client: Client, tmp_path: Path) -> None:
    door.say(fine({"version": "late"}))
    door.sign(socket=str(tmp_path / "later.sock"))
    opening = threading.Timer(0.2, lambda: (tmp_path / "later.sock").symlink_to(door.path))
    opening.start()
    assert client.info()["version"] == "late"
    opening.join()


@pytest.mark.parametrize(("protocol", "cure"), [(0, "restart that server"), (2, "restart this kernel"), (None, "")])
def test_another_protocol_is_refused_with_the_cure(door: FakeDoor, client: Client, protocol: object, cure: str) -> None:
    door.sign(protocol=protocol)
    with pytest.raises(errors.ProtocolMismatch, match=f"speaks protocol {protocol}, this side speaks 1; .*{cure}"):
        client.info()


def test_a_sign_that_others_can_write_is_not_trusted(door: FakeDoor, client: Client) -> None:
    (door.store / "owner.json").chmod(0o666)
    with pytest.raises(errors.ServerNotFound, match="not trusted"):
        client.info()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"protocol": 1}'])
def test_a_broken_sign_is_named(door: FakeDoor, client: Client, text: str) -> None:
    (door.store / "owner.json").write_text(text)
    with pytest.raises((errors.ServerNotFound, errors.ProtocolMismatch)):
        client.info()


def test_a_door_of_another_user_is_not_trusted(door: FakeDoor, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    door.say(cut)
    mine = os.geteuid()
    real = owner._check_peer

    def check_as_somebody_else(connected: socket.socket, path: str) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
        try:
            real(connected, path)
        finally:
            monkeypatch.setattr(os, "geteuid", lambda: mine)
            connected.sendall(b"GET / HTTP/1.1\r\n\r\n")

    monkeypatch.setattr(owner, "_check_peer", check_as_somebody_else)
    with pytest.raises(errors.ServerNotFound, match="not by you"):
        client.info()


def test_an_engine_that_cannot_start_is_named_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    with pytest.raises(errors.ServerNotFound) as caught:
        clients.find(tmp_path / "store")
    assert "`wattle serve` ended with code 3" in str(caught.value)
    assert str(caught.value).endswith("serve.log:\n  no such luck")


def test_the_server_of_the_kernel_is_blamed_only_if_nothing_else_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    (tmp_path / "jpserver-4711.json").write_text("{}")
    with pytest.raises(errors.ServerNotFound, match="jupyter server extension enable wattle_jupyter"):
        clients.find(tmp_path / "store")


def test_a_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.ServerNotFound, match=r"cannot be used \(Not a directory.*WATTLE_STORE__DIR"):
        clients.find(tmp_path / "file" / "store")


def test_the_store_lies_where_jupyter_keeps_data_unless_told_otherwise(tmp_path: Path) -> None:
    assert store_dir({"JUPYTER_DATA_DIR": "/data", "JUPYTER_CONFIG_DIR": str(tmp_path)}) == Path("/data/wattle")
    assert store_dir({"WATTLE_STORE__DIR": "/elsewhere"}) == Path("/elsewhere")
    (tmp_path / "wattle.toml").write_text('[store]\ndir = "/told"\n')
    assert store_dir({"JUPYTER_CONFIG_DIR": str(tmp_path)}) == Path("/told")


@pytest.mark.parametrize("environ", [{}, {"XDG_DATA_HOME": "/x"}, {"JUPYTER_DATA_DIR": "/j"}])
def test_our_rules_for_folders_are_those_of_jupyter(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    for name in ("XDG_DATA_HOME", "JUPYTER_DATA_DIR", "JUPYTER_PLATFORM_DIRS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert data_dir(os.environ) == Path(jupyter_data_dir())
