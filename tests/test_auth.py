"""Who may do what: every route of the real router against every kind of stranger, and what the authorizer is asked."""

from __future__ import annotations

import asyncio
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.utils import JupyterServerAuthWarning
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.web import RequestHandler
from traitlets.config import Config

from wattle_jupyter.handlers import HANDLERS
from wattle_jupyter.handlers.meta import NothingHandler
from wattle_jupyter.operations import OPERATIONS

ROOT = Path(__file__).parent.parent
TABLE = yaml.safe_load((Path(__file__).parent / "fixtures" / "permissions.yaml").read_text())
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
EACH = sorted({(o.verb, o.path) for o in OPERATIONS})
STRANGERS: dict[str, dict[str, int]] = TABLE["strangers"]
ACTIONS: dict[str, list[list[str]]] = TABLE["actions"]


class Recording(Authorizer):
    """Writes down what it is asked; allows what ``allowed`` says."""

    asked: ClassVar[list[tuple[str, str]]] = []
    allowed: ClassVar[set[str]] = set()

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return action in self.allowed


@pytest.fixture
def recording() -> type[Recording]:
    Recording.asked = []
    Recording.allowed = {"read", "write", "execute"}
    return Recording


@pytest.fixture
def jp_server_config(jp_server_config: Config, recording: type[Recording]) -> Config:
    jp_server_config["ServerApp"]["authorizer_class"] = recording
    return jp_server_config


class Door:
    """Raw requests to the server in this process; nothing is added to them."""

    def __init__(self, app: Any, client: AsyncHTTPClient, port: int) -> None:
        self.app, self._client, self.port = app, client, port
        self.token = app.identity_provider.token

    async def ask(self, verb: str, path: str, headers: dict[str, str], query: str = "") -> HTTPResponse:
        named = path.replace("{run}", "last").replace("{task}", "t")
        filled = re.sub(r"{\w+}", "w", named)
        url = f"http://127.0.0.1:{self.port}{self.app.base_url}wattle/api/{filled}{query}"
        if path == "events/ws":
            headers = {**_UPGRADE, **headers}
        body = "{}" if verb in ("POST", "PUT", "PATCH") else None
        if body:
            headers = {"Content-Type": "application/json", **headers}
        request = HTTPRequest(
            url, verb, headers, body, allow_nonstandard_methods=True, request_timeout=20,
            streaming_callback=(lambda chunk: None) if path.endswith("stream") else None,
        )  # fmt: skip
        return await self._client.fetch(request, raise_error=False)

    async def ready(self) -> None:
        while self.app.web_app.settings.get("wattle_engine") is None:
            assert not self.app.web_app.settings.get("wattle_trouble")
            await asyncio.sleep(0.02)

    async def login(self) -> dict[str, str]:
        """A cookie, as a browser has it, and the value of its XSRF token."""
        base = f"http://127.0.0.1:{self.port}{self.app.base_url}"
        pairs = []
        for page in (f"api/status?token={self.token}", "login"):
            answer = await self._client.fetch(base + page, raise_error=False, follow_redirects=False)
            pairs += [c.split(";")[0] for c in answer.headers.get_list("Set-Cookie")]
        cookies = dict(pair.split("=", 1) for pair in pairs)
        assert any(name.startswith("username-") for name in cookies)
        return cookies


_UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture
def door(jp_serverapp: Any, http_server: Any, jp_http_port: int, jp_asyncio_loop: Any) -> Iterator[Door]:
    made = Door(jp_serverapp, AsyncHTTPClient(force_instance=True), jp_http_port)
    jp_asyncio_loop.run_until_complete(jp_serverapp.extension_manager.start_all_extensions())
    jp_asyncio_loop.run_until_complete(made.ready())
    yield made
    jp_asyncio_loop.run_until_complete(jp_serverapp.extension_manager.stop_all_extensions())


def header(cookies: dict[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}


# ------------------------------------------------------------------------------------------------ the tables agree


def real_routes(app: Any) -> dict[str, type[Any]]:
    """Pattern → handler of everything below wattle/api in the router that answers."""
    found: dict[str, type[Any]] = {}

    def walk(router: Any) -> None:
        for rule in router.rules:
            if hasattr(rule.target, "rules"):
                walk(rule.target)
            elif hasattr(rule.matcher, "regex") and "/wattle/" in rule.matcher.regex.pattern:
                found[rule.matcher.regex.pattern] = rule.target

    walk(app.web_app.default_router)
    return found


def verbs_of(handler: type[Any]) -> set[str]:
    own = {name for c in handler.__mro__ if c.__module__.startswith("wattle_jupyter") for name in vars(c)}
    return {verb for verb in VERBS if verb.lower() in own}


async def test_the_router_holds_what_the_list_of_operations_says(door: Door) -> None:
    routes = real_routes(door.app)
    assert routes.popitem() == ("/a%40b/wattle/api/(.*)$", NothingHandler), "the last one takes what no other does"
    assert len(routes) == len(HANDLERS) == len({o.path for o in OPERATIONS})
    assert set(routes.values()) == set(HANDLERS.values())
    real = {(verb, path) for path, handler in HANDLERS.items() for verb in verbs_of(handler)}
    assert real == set(EACH)


def test_no_handler_lets_strangers_in_by_decree() -> None:
    marked = "__allow_unauthenticated"
    assert hasattr(allow_unauthenticated(lambda self: None), marked)
    for path, handler in HANDLERS.items():
        for verb in VERBS if path != "events/ws" else ():  # a socket's own decorator marks it, and guards it
            assert not hasattr(getattr(handler, verb.lower()), marked), path


def documented() -> dict[tuple[str, str], str]:
    text = (ROOT / "docs/http.md").read_text()
    rows = re.findall(r"^\| (GET|HEAD|POST|PUT|DELETE) `([^`]+)` \|.*\| (\w+) \|$", text, re.M)
    return {(verb, path): action for verb, path, action in rows}


def test_the_documented_table_is_that_of_the_operations() -> None:
    assert documented() == {(o.verb, o.path): o.action for o in OPERATIONS}


async def test_each_operation_asks_for_exactly_its_permissions(door: Door, recording: type[Recording]) -> None:
    recording.allowed = set()
    asked = {}
    for verb, path in EACH:
        recording.asked.clear()
        recording.allowed = {"execute"} if documented()[verb, path] == "execute" else set()
        response = await door.ask(verb, path, {"Authorization": f"token {door.token}"})
        asked[verb, path] = [list(pair) for pair in recording.asked]
        if not recording.allowed:
            assert response.code == 403, (verb, path)
    assert asked == {(o.verb, o.path): ACTIONS[o.action] for o in OPERATIONS}


async def test_starting_work_needs_both_permissions(door: Door, recording: type[Recording]) -> None:
    def only_terminals(self: Any, handler: Any, user: Any, action: str, resource: str) -> bool:
        return resource == denied

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "is_authorized", only_terminals)
        for denied in ("wattle", "terminals"):
            for verb, path in EACH:
                if documented()[verb, path] == "execute":
                    response = await door.ask(verb, path, {"Authorization": f"token {door.token}"})
                    assert response.code == 403, (verb, path, denied)


# ------------------------------------------------------------------------------------------------ strangers


async def check(door: Door, who: str, headers: dict[str, str]) -> None:
    """Every (route, verb), also verbs that a route does not have, against the table."""
    expected = STRANGERS[who]
    got = {}
    for path, handler in HANDLERS.items():
        for verb in VERBS:
            kind = "socket" if path == "events/ws" else "stream" if path.endswith("stream") or path == "events" else ""
            known = verb in verbs_of(handler)
            name = f"{kind} {verb}".strip() if known else "other verbs"
            response = await door.ask(verb, path, headers)
            wanted = expected.get(name, expected.get(verb if known else name, expected["any"]))
            allowed = wanted if isinstance(wanted, list) else [wanted]
            if response.code not in allowed:
                got[verb, path] = (response.code, wanted)
    assert got == {}


async def test_without_credentials_nothing_opens(door: Door, recording: type[Recording]) -> None:
    await check(door, "no credentials", {})
    assert recording.asked == []


@pytest.mark.parametrize("path", ["", "nothing", "runs/last/nothing", "workflows/a/b/c"])
async def test_what_is_not_there_is_said_as_json_and_to_no_stranger(door: Door, path: str) -> None:
    for verb in VERBS:
        answer = await door.ask(verb, path, {"Authorization": f"token {door.token}"})
        assert answer.code == 404, (verb, path)
        assert answer.headers["Content-Type"] == "application/json"
        assert (await door.ask(verb, path, {})).code == 403
    said = json.loads((await door.ask("GET", path, {"Authorization": f"token {door.token}"})).body)
    assert said["error"] == "NotFound"
    assert said["message"].startswith("there is nothing at wattle/api/")


async def test_a_wrong_token_opens_nothing(door: Door, recording: type[Recording]) -> None:
    await check(door, "wrong token", {"Authorization": "token wrong"})
    assert recording.asked == []


async def test_a_foreign_host_name_opens_nothing(door: Door, recording: type[Recording]) -> None:
    await check(door, "foreign host", {"Host": "evil.example", "Authorization": f"token {door.token}"})
    assert recording.asked == []


async def test_a_cookie_alone_changes_nothing(door: Door) -> None:
    cookies = await door.login()
    del_xsrf = {k: v for k, v in cookies.items() if k != "_xsrf"}
    for verb, path in EACH:
        if verb != "GET":
            response = await door.ask(verb, path, header(del_xsrf))
            assert response.code == STRANGERS["cookie without xsrf"][verb], (verb, path)


async def test_a_cookie_from_a_foreign_page_opens_nothing(door: Door, recording: type[Recording]) -> None:
    cookies = await door.login()
    recording.asked.clear()
    await check(door, "foreign origin", {**header(cookies), "Origin": "https://evil.example"})
    # a socket looks at the origin in its handshake, after it asked; nothing has happened by then
    assert recording.asked == [("read", "wattle")]


@pytest.mark.parametrize("path", [p for v, p in EACH if v == "GET" and ("logs" in p or p == "events")])
async def test_a_foreign_page_cannot_pull_a_log_in_as_an_image(door: Door, path: str) -> None:
    cookies = await door.login()
    response = await door.ask("GET", path, {**header(cookies), "Referer": "https://evil.example/page"})
    assert response.code == 403


async def test_a_cookie_with_its_xsrf_token_is_let_in(door: Door) -> None:
    cookies = await door.login()
    response = await door.ask("POST", "runs", {**header(cookies), "X-XSRFToken": cookies["_xsrf"]})
    assert (response.code, json.loads(response.body)["error"]) == (400, "InvalidRequest")
    response = await door.ask("GET", "workflows", header(cookies))
    assert response.code == 200


async def test_a_reader_reads_and_changes_nothing(door: Door, recording: type[Recording]) -> None:
    recording.allowed = {"read"}
    for verb, path in EACH:
        if documented()[verb, path] != "read":
            response = await door.ask(verb, path, {"Authorization": f"token {door.token}"})
            assert response.code == 403, (verb, path)
            assert json.loads(response.body)["error"] == "Forbidden"
    for path in ("info", "health", "workflows", "runs", "openapi.json"):
        assert (await door.ask("GET", path, {"Authorization": f"token {door.token}"})).code == 200


def test_jupyter_has_nothing_to_warn_about(jp_serverapp: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", JupyterServerAuthWarning)
        jp_serverapp.web_app.add_handlers(".*$", [(f"/again{p}", h) for p, h in real_routes(jp_serverapp).items()])


def test_jupyter_would_warn_about_an_open_route(jp_serverapp: Any) -> None:
    class Open(RequestHandler):
        def get(self) -> None:
            """Anybody may."""

    with pytest.warns(JupyterServerAuthWarning, match="without @allow_unauthenticated"):
        jp_serverapp.web_app.add_handlers(".*$", [("/open", Open)])
