"""A server on a store that another one owns: it checks its own user, then everything goes through the owner's door.

A proxy that keeps nothing. Bytes are taken from one side when the other has taken what came before, so a slow reader
costs no memory. A request whose answer has not begun when the owner goes is asked again of the next one, which may be
this server itself; it carries a key, so a repeat changes nothing twice. What is cut later is cut for the client too,
which goes on from where it was.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError

from wattle_jupyter import owner
from wattle_jupyter._version import __version__
from wattle_jupyter.errors import ServerNotFound, Unavailable

USER = "X-Wattle-User"  # who is logged in at the follower
FOLLOWER = "X-Wattle-Follower"  # says the follower to the owner
OWNER = "X-Wattle-Owner"  # says the follower to its client: who really answered

HAND_OVER = 10.0  # seconds that an owner may take to come or go
PIECE = 1 << 16  # bytes that are on their way at most
_KNOCK = 5.0  # seconds
_UNBOUNDED = 1 << 62  # the owner and the disk are what limits an answer

_ASKED = ("Accept", "Content-Type", "If-None-Match", "Last-Event-ID", "Range")
_WITH_BODY = ("POST", "PUT", "PATCH")
_HANDSHAKE = ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol")
_ANSWERED = (
    "Accept-Ranges", "Allow", "Cache-Control", "Content-Disposition", "Content-Length", "Content-Range",
    "Content-Type", "Etag", "Last-Modified", "Retry-After", "X-Accel-Buffering",
)  # fmt: skip


class Follower:
    """The way from a server to the owner of its store. ``base`` is the path of the API in this server."""

    def __init__(self, store: Path, base: str) -> None:
        self.store = store
        self.base = base

    async def connect(self) -> tuple[owner.Owner, IOStream] | None:
        """The owner and a connection to it, None if nobody answers just now. Raises ProtocolMismatch, or Unavailable
        if the owner is suspended: until somebody ends that, nobody can answer."""
        try:
            found = await asyncio.to_thread(owner.knock, self.store, _KNOCK, here="this server")
        except OSError:
            return None
        except ServerNotFound as error:
            raise Unavailable(str(error)) from None
        return found and (found[0], IOStream(found[1], read_chunk_size=PIECE))

    async def upload(self, handler: Any, length: int | None = None) -> Upload | None:
        """Begin a request whose body, of ``length`` bytes if that is known, is still to come; the handler feeds it.

        None if nobody answers just now.
        """
        found = await self.connect()
        if found is None:
            return None
        start, headers = self._head(handler, found[0])
        if length is not None and (length or start.method in _WITH_BODY):
            headers["Content-Length"] = str(length)
        return Upload(handler, *found, start, headers)

    async def answer(self, handler: Any) -> bool:
        """Answer with what the owner answers; False if it went, or nobody is there, before the answer began."""
        body = bytes(handler.received)
        upload = await self.upload(handler, len(body))
        if upload is None:
            return False
        if body:
            await upload.feed(body)
        return await upload.finish()

    async def tunnel(self, handler: Any) -> bool:
        """The same for a WebSocket: once the owner agreed, bytes go both ways until one side ends."""
        found = await self.connect()
        if found is None:
            return False
        who, upstream = found
        start, headers = self._head(handler, who)
        headers["Connection"], headers["Upgrade"] = "Upgrade", "websocket"
        headers.update({name: value for name in _HANDSHAKE if (value := handler.request.headers.get(name))})
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.get_all())
        try:
            await upstream.write(f"GET {start.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
            head = (await upstream.read_until(b"\r\n\r\n", PIECE)).decode("latin-1")
        except StreamClosedError:
            return False
        first, _, rest = head.partition("\r\n")
        if not first.startswith("HTTP/1.1 101"):  # whom the server let in, only an owner that goes turns away
            upstream.close()
            return False
        downstream = _agree(handler, HTTPHeaders.parse(rest), who)
        await asyncio.gather(_pour(upstream, downstream), _pour(downstream, upstream))
        return True

    def _head(self, handler: Any, who: owner.Owner) -> tuple[RequestStartLine, HTTPHeaders]:
        request = handler.request
        path, _, query = request.uri[len(self.base) :].partition("?")
        kept = "&".join(part for part in query.split("&") if part and not part.startswith("token="))
        headers = HTTPHeaders({name: value for name in _ASKED if (value := request.headers.get(name))})
        headers["Host"] = "localhost"
        headers[USER] = quote(str(handler.current_user.username), safe="")
        headers[FOLLOWER] = __version__
        if request.method not in ("GET", "HEAD"):
            key = request.headers.get("Idempotency-Key") or uuid.uuid4().hex
            request.headers["Idempotency-Key"] = headers["Idempotency-Key"] = key  # each repeat has the same one
        return RequestStartLine(request.method, who.base_path + path + f"?{kept}" * bool(kept), ""), headers


class Upload:
    """One request on its way to the owner: ``feed`` the body, then ``finish``."""

    def __init__(
        self, handler: Any, who: owner.Owner, stream: IOStream, start: RequestStartLine, headers: HTTPHeaders
    ) -> None:
        self._stream = stream
        self._back = _Back(handler, who, stream)
        parameters = HTTP1ConnectionParameters(no_keep_alive=True, max_body_size=_UNBOUNDED, chunk_size=PIECE)
        self._connection = HTTP1Connection(stream, True, parameters)
        handler.upstream = stream  # goes when the client goes
        self._sending = self._connection.write_headers(start, headers)

    async def feed(self, chunk: bytes) -> None:
        """Returns when the owner has taken it."""
        with suppress(StreamClosedError):  # `finish` says so
            await self._sending
            self._sending = self._connection.write(chunk)
            await self._sending

    async def finish(self) -> bool:
        """Pass the answer on. False if there was none."""
        try:
            if not self._stream.closed():
                self._connection.finish()
                await self._connection.read_response(self._back)
        except (StreamClosedError, HTTPInputError, HTTPOutputError):
            return self._back.over()
        finally:
            self._stream.close()
        return self._back.over()


class _Back(HTTPMessageDelegate):
    """An answer on its way back."""

    def __init__(self, handler: Any, who: owner.Owner, upstream: IOStream) -> None:
        self._handler, self._who, self._upstream = handler, who, upstream
        self._begun = self._whole = False
        self._status = 0
        self._headers = HTTPHeaders()
        self._refusal: bytearray | None = None  # a 503 is read to its end: it may mean that the owner goes

    async def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine), "a client reads answers"
        self._status, self._headers = start_line.code, headers
        if self._status == 503:
            self._refusal = bytearray()
        else:
            await self._begin()

    async def data_received(self, chunk: bytes) -> None:
        if self._refusal is not None:
            self._refusal += chunk
            return
        await self._pass_on(chunk)

    def finish(self) -> None:
        self._whole = True

    def on_connection_close(self) -> None:
        """What is missing, ``over`` sees."""

    async def _begin(self) -> None:
        self._begun = True
        self._handler.set_status(self._status)
        for name in _ANSWERED:
            if name in self._headers:
                self._handler.set_header(name, self._headers[name])
        self._handler.set_header(OWNER, _name(self._who))
        await self._pass_on(b"")

    async def _pass_on(self, chunk: bytes) -> None:
        try:
            if chunk:
                self._handler.write(chunk)
            await self._handler.flush()
        except StreamClosedError:  # the client went
            self._upstream.close()

    def over(self) -> bool:
        """Was there an answer? One that broke off breaks off for the client too."""
        if self._refusal is not None and self._whole:
            return self._refused(bytes(self._refusal))
        if self._begun and not self._whole:
            self._handler.request.connection.stream.close()
        return self._begun

    def _refused(self, body: bytes) -> bool:
        """Unavailable, as a class, is said by who comes or goes; its special reasons are answers."""
        try:
            passing = json.loads(body)["error"] == "Unavailable"
        except (ValueError, KeyError, TypeError):
            passing = False
        if passing:
            return False
        self._handler.set_status(503)
        self._handler.set_header("Content-Type", "application/json")
        self._handler.set_header(OWNER, _name(self._who))
        self._handler.write(body)
        return True


def _name(who: owner.Owner) -> str:
    return f"{who.kind} {who.pid} {who.version}"


def _agree(handler: Any, headers: HTTPHeaders, who: owner.Owner) -> IOStream:
    """Say to the client of a WebSocket what the owner said; from here on its connection is ours."""
    handler.clear_header("Content-Type")
    handler.set_status(101)
    for name, value in headers.get_all():
        if name in ("Upgrade", "Connection") or name.startswith("Sec-Websocket-"):
            handler.set_header(name, value)
    handler.set_header(OWNER, _name(who))
    handler.finish()
    stream: IOStream = handler.detach()
    return stream


async def _pour(source: IOStream, sink: IOStream) -> None:
    """All bytes of one side to the other, then end both."""
    try:
        while True:
            await sink.write(await source.read_bytes(PIECE, partial=True))
    except StreamClosedError:
        source.close()
        sink.close()


def user_of(headers: Mapping[str, str]) -> str | None:
    """Whom a follower let in, None if nobody came by a follower."""
    name = headers.get(USER)
    return unquote(name)[:200] if name else None


class Patience:
    """How long a request waits for an owner: until one answers or the time is over, with growing pauses."""

    def __init__(self, seconds: float = HAND_OVER) -> None:
        self._end = time.monotonic() + seconds
        self._pause = 0.02

    async def wait(self, trouble: str | None) -> None:
        """Raises Unavailable with ``trouble`` when the time is over."""
        if time.monotonic() > self._end:
            raise Unavailable(trouble or "no server owns the store just now; ask again in a moment")
        await asyncio.sleep(self._pause)
        self._pause = min(0.5, self._pause * 2)
