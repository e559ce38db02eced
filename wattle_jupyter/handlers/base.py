"""What all handlers share: who may, bounded bodies, strict JSON, errors as the envelope says."""

from __future__ import annotations

import errno
import functools
import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast
from urllib.parse import unquote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.iostream import StreamClosedError

from wattle_jupyter import errors, jsontext
from wattle_jupyter.aside import aside
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import InvalidRequest, TooLarge, Unavailable, WattleError
from wattle_jupyter.follower import HAND_OVER, Follower, Patience
from wattle_jupyter.handlers.gate import gate_of
from wattle_jupyter.host.trouble import passes
from wattle_jupyter.model import Json
from wattle_jupyter.settings import Settings
from wattle_jupyter.view import stamp
from wattle_jupyter.wire import AuditEntry, ErrorBody
from wattle_jupyter.wording import describe

RESOURCE = "wattle"

STATUS: Mapping[type[WattleError], int] = {
    errors.InvalidRequest: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.TooManyRuns: 429,
    errors.Unavailable: 503,
}
"""HTTP status of each class of errors; a subclass has that of its parent."""

MAX_DEPTH = 64
_UNCLEAN = re.compile(r"[\ud800-\udfff\x00]")
_KEY = re.compile(r"[\x21-\x7e]{1,200}")

Method = Callable[..., Awaitable[None]]


def by_the_owner(method: Method) -> Method:
    """What is asked of a server that follows another one, that one answers."""

    @functools.wraps(method)
    async def answer(handler: WattleHandler, *args: str) -> None:
        if handler.own_pages_only:
            handler.check_xsrf_cookie()
        try:
            passed_on = not handler.answers_itself and await handler.pass_on()
        except Unavailable as error:
            if not handler.has_own_answer:
                raise
            handler.trouble, passed_on = error, False
        if not passed_on:
            await method(handler, *args)

    return answer


def reads(method: Method) -> Method:
    """Who is logged in and may read."""
    return cast("Method", web.authenticated(authorized("read", RESOURCE)(by_the_owner(method))))


def writes(method: Method) -> Method:
    """Who may change definitions."""
    return cast("Method", web.authenticated(authorized("write", RESOURCE)(by_the_owner(method))))


def executes(method: Method) -> Method:
    """Who may start and stop work. Also asked of ``terminals``: this must not be a way round a ban on those."""
    inner: Any = authorized("execute", "terminals")(by_the_owner(method))
    return cast("Method", web.authenticated(authorized("execute", RESOURCE)(inner)))


def status_of(error: WattleError) -> int:
    return next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)


def error_body(error: WattleError) -> ErrorBody:
    return ErrorBody(success=False, error=type(error).__name__, message=error.message, details=error.details)


@web.stream_request_body
class WattleHandler(APIHandler):
    """Base of all REST handlers. Bodies are refused by size before they are taken in."""

    takes_specs = False
    starts_runs = False
    lasts = False  # a stream: how long it goes on says nothing
    answers_itself = False  # a follower need not ask the owner
    has_own_answer = False  # of a server that follows another one, when that one does not answer
    own_pages_only = False  # for what a foreign page could pull in as an image or a script
    trouble: Unavailable | None = None  # why the owner does not answer
    upstream: Any = None  # the connection to the owner, if this server follows it
    pattern = ""  # the path of the route, with the names of what stands in it
    target = ""  # what the request changed, by id or name
    problem = ""  # class of the error that was answered

    def initialize(self) -> None:
        self.received = bytearray()

    @property
    def content_security_policy(self) -> str:
        """Whatever a browser takes an answer for, it is no page of this server and runs nothing."""
        return f"{super().content_security_policy}; sandbox"

    @property
    def engine(self) -> Engine:
        """The engine. Raises Unavailable while there is none."""
        found = self.settings.get("wattle_engine")
        if found is None:
            raise errors.Unavailable(
                self.settings.get("wattle_trouble") or "the engine is starting; ask again in a moment"
            )
        return found  # type: ignore[no-any-return]

    @property
    def username(self) -> str:
        return str(self.current_user.username)

    @property
    def kind(self) -> str:
        """As what it is counted."""
        changing = self.request.method in _CHANGING
        return "create" if changing and self.starts_runs else "change" if changing else "query"

    @property
    def key(self) -> str | None:
        """The Idempotency-Key. Raises InvalidRequest if it is not 1-200 visible ASCII characters."""
        key = self.request.headers.get("Idempotency-Key")
        if key is not None and not _KEY.fullmatch(key):
            raise InvalidRequest("Idempotency-Key must be 1 to 200 visible ASCII characters")
        return key

    # ------------------------------------------------------------------------------------------------ the owner

    async def pass_on(self) -> bool:
        """Let the owner answer if this server follows one; False if the answer is ours. Raises Unavailable."""
        patience = Patience(0 if self.has_own_answer else HAND_OVER)
        while (follower := self.settings.get("wattle_follower")) is not None:
            if await cast(Follower, follower).answer(self):
                return True
            await patience.wait(self.settings.get("wattle_trouble"))
        return False

    def on_connection_close(self) -> None:
        super().on_connection_close()  # ends the waiting for the rest of a body
        if self.upstream is not None:
            self.upstream.close()

    def on_finish(self) -> None:
        """Who asked for a change is written down, whatever came of it. A stranger has no name to write."""
        engine = self.settings.get("wattle_engine")
        if engine is not None and self.pattern and not self.lasts:
            engine.scheduler.meter.requests[self.kind].observe(self.request.request_time())
        user = getattr(self, "_jupyter_current_user", None)
        if engine is not None and user is not None and self.pattern and self.request.method in _CHANGING:
            named = self.target or "/".join(unquote(part) for part in self.path_args if part)
            entry = AuditEntry(
                at=stamp(time.time()),
                user=str(user.username),
                verb=f"{self.request.method} {self.pattern}",
                target=named,
                status=self.get_status(),
                outcome=self.problem or "done",
            )
            engine.audit.note(entry)
        super().on_finish()

    # ------------------------------------------------------------------------------------------------ bodies

    @property
    def max_body(self) -> int:
        """Bytes."""
        limits = self.settings.get("wattle_limits") or Settings().server
        return int(limits.max_spec if self.takes_specs else limits.max_body)

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        connection: Any = self.request.connection
        limit = self.max_body
        connection.set_max_body_size(limit)
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > limit:
            raise TooLarge(f"the body has {length} bytes; the limit here is {limit}")
        await gate_of(self.settings).passed()
        try:
            await super().prepare()
        except web.HTTPError:
            if length.isdigit() and 0 < int(length) <= _SMALL:
                await self._let_body_pass()
            raise

    async def _let_body_pass(self) -> None:
        """Answered while a body is on its way, a request ends its connection, and a proxy says 503 instead of why."""
        prepared: Any = self._prepared_future
        prepared.set_result(None)  # else tornado reads no further
        with suppress(StreamClosedError):
            await self.request._body_future

    def data_received(self, chunk: bytes) -> None:
        self.received += chunk

    async def read_spec(self) -> Json:
        """The body, as :meth:`read_json`; a big one in a thread, so that the server goes on answering meanwhile."""
        return await aside(self.read_json) if len(self.received) > _BIG else self.read_json()

    def read_json(self) -> Json:
        """The body. Raises InvalidRequest if it is not strict JSON: UTF-8, no NaN, no twice-used keys, no NUL."""
        kind = self.request.headers.get("Content-Type", "application/json").split(";")[0].strip().lower()
        if kind != "application/json":
            raise InvalidRequest(f"the body must be application/json, not {kind[:80]}")
        try:
            text = bytes(self.received).decode("utf-8")
            found = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"the body is not JSON: {error}") from None
        check_clean(found)
        return found

    def read_object(self, *allowed: str) -> dict[str, Json]:
        """The body as an object with no other keys than these; an empty body is an empty object."""
        return _as_object(self.read_json() if self.received.strip() else {}, allowed)

    async def read_object_with_spec(self, *allowed: str) -> dict[str, Json]:
        """The same, where a field may hold a spec; a big body is read in a thread."""
        return _as_object(await self.read_spec() if self.received.strip() else {}, allowed)

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number in the query. Raises InvalidRequest if it is none, or outside of these bounds."""
        text = self.get_query_argument(name, str(default))
        try:
            number = int(text[:20])
        except ValueError:
            number = high + 1
        if not low <= number <= high:
            raise InvalidRequest(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}")
        return number

    # ------------------------------------------------------------------------------------------------ answers

    def answer(self, data: Any, status: int = 200) -> None:
        if isinstance(data, dict):
            self.target = str(data.get("id") or data.get("name") or "")
        self.answer_text(json.dumps(data, separators=(",", ":")), status)

    def answer_text(self, data: str, status: int = 200) -> None:
        """``data`` is JSON already."""
        self.set_status(status)
        self.finish(f'{{"success":true,"data":{data}}}')

    async def answer_long(self, data: str, status: int = 200) -> None:
        """``data`` is JSON already. A long text goes out in pieces, so that others get their turn in between."""
        if len(data) <= _PIECE:
            self.answer_text(data, status)
            return
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.write('{"success":true,"data":')
        for at in range(0, len(data), _PIECE):
            self.write(data[at : at + _PIECE])
            await self.flush()
        self.finish("}")

    async def answer_run(self, run: str) -> None:
        """A run that was made just now."""
        self.target = run
        await self.answer_long(await self.engine.scheduler.detail_text(run), 201)

    def answer_page(self, items: Any, pagination: Any) -> None:
        """``items`` is a list, or the JSON of one."""
        text = items if isinstance(items, str) else jsontext.encode(items)
        self.answer_text(f'{{"data":{text},"pagination":{jsontext.encode(pagination)}}}')

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, StreamClosedError):  # the client went: there is nobody to tell
            self.finish()
            return
        if isinstance(error, OSError) and passes(error):  # what the machine lacks, it may have again
            error = Unavailable(f"the server's machine refuses: {error.strerror}; {_LACKS.get(error.errno or 0, _ASK)}")
            kwargs["exc_info"] = (type(error), error, None)
        super().send_error(status_of(error) if isinstance(error, WattleError) else status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, WattleError):
            body = error_body(error)
        else:
            reason = getattr(error, "log_message", None) if isinstance(error, web.HTTPError) else None
            message = _BUG if status_code >= 500 else _DENIED if status_code == 403 else str(reason or self._reason)
            body = ErrorBody(success=False, error=_NAMES.get(status_code, "Unavailable"), message=message, details={})
        self.problem = body["error"]
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body))

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, WattleError | StreamClosedError):  # those are answers, not accidents
            super().log_exception(kind, error, trace)


_DENIED = "not logged in, or not allowed: send a valid token (`jupyter server list` shows it), or log in again"
_ASK = "ask again in a moment"
_LACKS = {
    errno.EMFILE: "it has as many files and connections open as it may (`ulimit -n`); close some pages, or raise that",
    errno.ENFILE: "too many files are open on this machine; end some programs",
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "free some of this user's space on its disk",
}
_BUG = "an error in the server; its log has the details. Please report it"
_NAMES = {400: "InvalidRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed"}


_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_SMALL = 1 << 16  # bytes of a body that is read though the request is refused
_BIG = 1 << 17  # bytes of a body that takes longer to read than others should wait: 250 KiB take 5 ms
_PIECE = 1 << 18  # characters of an answer that go out at a time


def _as_object(found: Json, allowed: Sequence[str]) -> dict[str, Json]:
    if not isinstance(found, dict):
        raise InvalidRequest(f"the body must be a JSON object, not {describe(found)}")
    for name in found:
        if name not in allowed:
            listed = ", ".join(allowed) or "nothing"
            raise InvalidRequest(f"unknown field {name[:80]!r}: this takes {listed}")
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def check_clean(value: Json) -> None:
    """Raises InvalidRequest for text that cannot be stored or passed on, numbers too big, and too deep nesting."""
    stack: list[tuple[Json, int]] = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"the body is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, str) and _UNCLEAN.search(item):
            raise InvalidRequest("text in the body holds a NUL or half a surrogate pair")
        if isinstance(item, float) and not math.isfinite(item):  # 1e999
            raise InvalidRequest("a number in the body is too big")
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise InvalidRequest("a number in the body does not fit into 64 bits")
        if isinstance(item, dict):
            stack.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, list):
            stack.extend((part, depth + 1) for part in item)
