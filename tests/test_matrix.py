"""Who gets in where: every route and verb of a real Jupyter server against every kind of stranger, one table."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import ServerProcess, owned, scratch

from wattle_jupyter.handlers import HANDLERS
from wattle_jupyter.operations import OPERATIONS, Operation

TABLE = yaml.safe_load((Path(__file__).parent / "fixtures" / "permissions.yaml").read_text())
MATRIX: dict[str, dict[str, Any]] = TABLE["matrix"]
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
    "Sec-WebSocket-Version": "13",
}
EVIL = "https://evil.example"

# a server on which whoever says so may only read
READERS = """
from jupyter_server.auth.authorizer import Authorizer
class Readers(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return action == "read" or "X-Reader" not in handler.request.headers
c.ServerApp.authorizer_class = Readers
"""


@pytest.fixture(scope="module", params=["owner", "follower"])
def guarded(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """The server that owns a store, or one that passes everything on to it."""
    with scratch() as folder:
        made, owner = (ServerProcess(folder / name, folder / "s") for name in ("home", "owner"))
        with owned([made, owner]):
            if request.param == "follower":
                owner.launch()
            made.launch(config=READERS)
            assert made.get("info")["role"] == request.param
            made.post("workflows", {"name": "w", "tasks": {"t": {"run": "echo hello"}}})
            made.ended(str(made.post("workflows/w/start", {})["id"]))
            yield made
            assert "Traceback" not in made.said(), made.said()


@pytest.fixture(scope="module")
def cookies(guarded: ServerProcess) -> dict[str, str]:
    """What a browser has after a login."""
    found = {}
    for page in ("/api/status?token=secret", "/login"):
        connection = guarded.connection()
        with closing(connection):
            connection.request("GET", page)
            for line in connection.getresponse().headers.get_all("Set-Cookie") or []:
                name, _, value = line.split(";")[0].partition("=")
                found[name] = value
    assert "_xsrf" in found
    assert any(name.startswith("username-") for name in found)
    return found


def headers_of(who: str, cookies: dict[str, str], port: int) -> dict[str, str]:
    without = {k: v for k, v in cookies.items() if k != "_xsrf"}
    token, alone, whole = {"Authorization": "token secret"}, _cookie(without), _cookie(cookies)
    xsrf, here = {"X-XSRFToken": cookies["_xsrf"]}, f"http://127.0.0.1:{port}"
    return {
        "nobody": {},
        "wrong token": {"Authorization": "token wrong"},
        "token under a foreign host name": {**token, "Host": "evil.example"},
        "cookie alone": alone,
        "cookie with a wrong xsrf token": {**whole, "X-XSRFToken": "2|0|0|0"},
        "cookie from a foreign origin": {**whole, "Origin": EVIL},
        "cookie and xsrf token from a foreign origin": {**whole, **xsrf, "Origin": EVIL},
        "cookie from a foreign page": {**whole, "Referer": f"{EVIL}/page"},
        "reader": {**token, "X-Reader": "1"},
        "page of the server": {**whole, **xsrf, "Origin": here, "Referer": f"{here}/lab"},
        "owner": token,
    }[who]


def _cookie(pairs: dict[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in pairs.items())}


def kind_of(operation: Operation) -> str:
    if operation.path == "events/ws":
        return "socket"
    if operation.action != "read":
        return "change"
    return "bytes" if any(part in operation.path.split("/") for part in TABLE["bytes"]) else "read"


def status(server: ServerProcess, operation: Operation, headers: dict[str, str]) -> int:
    """What it is answered. A body that no route takes: whoever is let in changes nothing either."""
    known = {"run": "last", "task": "t", "worker": "t", "workflow": "w", "hash": "0" * 64}
    path = re.sub(r"{(\w+)}", lambda m: known.get(m[1], "w"), operation.path)
    body = b'{"no such field": 1}' if operation.verb in ("POST", "PUT") else None
    if operation.verb == "DELETE":
        path = path.replace("workflows/w", "workflows/none").replace("workers/w", "workers/none")
    more = UPGRADE if operation.path == "events/ws" else {}
    plain = ServerProcess(server.home, server.store)
    plain.port, plain.credentials = server.port, {}
    connection, answer = plain.open(operation.verb, path, body, {**headers, **more})
    with closing(connection):
        return answer.status


def expected(wanted: Any, got: int) -> bool:
    if wanted == "answer":
        return got < 500 and got not in (401, 403)
    return got in (wanted if isinstance(wanted, list) else [wanted])


@pytest.mark.parametrize("who", MATRIX)
def test_each_route_answers_as_the_table_says(guarded: ServerProcess, cookies: dict[str, str], who: str) -> None:
    headers = headers_of(who, cookies, guarded.port)
    before = (guarded.get("runs")["pagination"], guarded.get("workflows")["pagination"])
    wrong = {}
    for operation in OPERATIONS:
        wanted = MATRIX[who][kind_of(operation)]
        got = status(guarded, operation, headers)
        if not expected(wanted, got):
            wrong[operation.verb, operation.path] = (got, wanted)
    assert wrong == {}
    if who not in ("owner", "page of the server"):
        assert (guarded.get("runs")["pagination"], guarded.get("workflows")["pagination"]) == before


def test_the_table_has_every_route_and_each_kind_of_route() -> None:
    assert {operation.path for operation in OPERATIONS} == set(HANDLERS)
    assert {kind_of(operation) for operation in OPERATIONS} == {"read", "bytes", "change", "socket"}
    assert all(set(row) == {"read", "bytes", "change", "socket"} for row in MATRIX.values())


@pytest.mark.parametrize(
    "path",
    [
        "/wattle/api", "/wattle/api/", "//wattle/api/runs", "/wattle//api/runs", "/wattle/api/runs/",
        "/wattle/api/RUNS",
        "/wattle/api/runs/health", "/wattle/api/health/ready", "/wattle/api/%72uns", "/wattle/api/../api/runs",
        "/wattle/api/runs/%2e%2e/workflows", "/wattle/api/runs?token=", "/wattle/api/runs;health",
        "/static/../wattle/api/runs",
        "/wattle/api/runs%00", "/wattle/api/login", "/wattle/api/static/x", "/wattle/api/openapi.json",
    ],
)  # fmt: skip
def test_no_spelling_of_a_path_opens_it_to_strangers(guarded: ServerProcess, path: str) -> None:
    connection = guarded.connection()
    with closing(connection):
        connection.putrequest("GET", path, skip_accept_encoding=True)
        connection.endheaders()
        answer = connection.getresponse()
        content = answer.read()
    assert answer.status in (302, 400, 403, 404), (path, answer.status)
    assert b'"success": true' not in content
    assert b'"success":true' not in content


def test_who_is_refused_is_told_so_when_the_body_is_in(guarded: ServerProcess) -> None:
    """A proxy that is still sending would say 503 if the connection ended, and who waits for the next answer too."""
    head = f"POST /wattle/api/runs HTTP/1.1\r\nHost: 127.0.0.1:{guarded.port}\r\nContent-Length: 2\r\n\r\n"
    following = f"GET /wattle/api/health HTTP/1.1\r\nHost: 127.0.0.1:{guarded.port}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=20) as sock:
        sock.sendall(head.encode())
        guarded.get("health")  # the head has been read by now
        sock.sendall(b"{}" + following.encode())
        said = b"".join(iter(lambda: sock.recv(65536), b""))
    assert said.count(b"HTTP/1.1 403 ") == 2


def test_a_verb_cannot_be_smuggled_in_by_a_header(guarded: ServerProcess) -> None:
    before = guarded.get("runs")["pagination"]["total"]
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert guarded.request("GET", "runs", None, {name: "POST"})[0] == 200
        assert guarded.request("GET", "runs?_method=POST", None, {name: "DELETE"})[0] == 400
    assert guarded.get("runs")["pagination"]["total"] == before
