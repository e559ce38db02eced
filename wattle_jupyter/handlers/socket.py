"""One WebSocket for a whole page: events of all runs and any number of logs, each resumable by its number."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, cast

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.ioloop import PeriodicCallback
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from wattle_jupyter import history
from wattle_jupyter._version import __version__
from wattle_jupyter.aside import Turn
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import InvalidRequest, Unavailable, WattleError
from wattle_jupyter.follower import Follower, Patience
from wattle_jupyter.handlers.base import RESOURCE
from wattle_jupyter.handlers.gate import gate_of, sending_of
from wattle_jupyter.logs import PIECE, TICK, LogFile
from wattle_jupyter.wire import (
    API_VERSION,
    HelloMessage,
    LogEndMessage,
    ProblemMessage,
    ProgressMessage,
    TroubleMessage,
)

MAX_LOGS = 1000  # subscriptions of one socket
MAX_RUNS = 1000  # runs that one socket watches
FRAME = 1 << 20  # most log bytes in one frame
PATIENCE = 30.0  # seconds that a client may take to read one message


class Subscription:
    """One watched log: the file, the next offset, and how long it will be once that is known."""

    def __init__(self, engine: Engine, attempt: str, offset: int, final_size: int | None) -> None:
        self.file = LogFile(engine.store.folder, attempt)
        self.offset = offset
        self._known = final_size
        self._scheduler = engine.scheduler

    def next(self, limit: int) -> tuple[bytes, bool]:
        """What is there to send, and whether it was the last of it."""
        if self._known is None:
            self._known = self._scheduler.final_size(self.file.attempt)
        over = self._known is not None
        data = self.file.read(self.offset, min(limit, PIECE))
        self.offset += len(data)
        return data, over and not data


class SocketHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """``events/ws``. Everything that is sent is awaited: a client that does not read costs no memory."""

    def set_default_headers(self) -> None:
        """A socket has none of a page's headers."""

    @property
    def max_message_size(self) -> int:
        return 64 * 1024

    @property
    def engine(self) -> Engine:
        found = self.settings.get("wattle_engine")
        if found is None:
            raise Unavailable(
                self.settings.get("wattle_trouble") or "the engine is starting; connect again in a moment"
            )
        return found  # type: ignore[no-any-return]

    async def prepare(self) -> None:  # type: ignore[override]  # nobody gives the argument but a base class
        await gate_of(self.settings).passed()
        await super().prepare()

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        allowed = await ensure_async(self.authorizer.is_authorized(self, self.current_user, "read", RESOURCE))
        if not allowed:
            raise web.HTTPError(403)
        upgrades = self.request.headers.get("Upgrade", "").lower() == "websocket"  # what else comes, is refused below
        if upgrades and self.settings.get("wattle_follower") is not None and await self._pass_on():
            return
        try:
            self._engine = self.engine
        except Unavailable as error:
            raise web.HTTPError(503, str(error)) from None
        result = super().get(*args, **kwargs)
        if result is not None:
            await result

    async def _pass_on(self) -> bool:
        """Join the client with the owner until one of them ends; False if this server became the owner."""
        if not self.check_origin(self.get_origin()):
            raise web.HTTPError(403, "Cross origin websockets not allowed")
        patience = Patience()
        try:
            while (follower := self.settings.get("wattle_follower")) is not None:
                if await cast(Follower, follower).tunnel(self):
                    return True
                await patience.wait(self.settings.get("wattle_trouble"))
        except Unavailable as error:
            raise web.HTTPError(503, str(error)) from None
        return False

    # ------------------------------------------------------------------------------------------------ life

    def open(self, *args: Any, **kwargs: Any) -> None:
        super().open(*args, **kwargs)
        self._meter = self._engine.scheduler.meter
        self._meter.sockets += 1
        self._logs: dict[str, Subscription] = {}
        self._events: asyncio.Task[None] | None = None
        self._progress: asyncio.Task[None] | None = None
        self._saying: asyncio.Task[None] | None = None
        self._work = asyncio.Event()
        self._sending = asyncio.Lock()
        self._engine.scheduler.on_trouble.append(self._tell_trouble)
        self._pump: asyncio.Task[None] | None = asyncio.ensure_future(self._guard(self._send_logs()))
        self._say_soon(self._hello())

    def on_close(self) -> None:
        with suppress(ValueError):
            self._engine.scheduler.on_trouble.remove(self._tell_trouble)
        for task in (self._pump, self._events, self._progress):
            if task is not None:
                task.cancel()
        # their contexts have this handler, and so does what sends pings: rings that only the collector would find
        self._pump = self._events = self._progress = self._saying = None
        pings: PeriodicCallback | None = self.ping_callback
        if pings is not None:
            pings.stop()
            self.ping_callback = None
        for attempt in list(self._logs):
            self._unsubscribe(attempt)
        self._meter.sockets -= 1
        super().on_close()

    def _hello(self) -> HelloMessage:
        scheduler, store = self._engine.scheduler, self._engine.store
        return HelloMessage(
            type="hello",
            server=__version__,
            api=API_VERSION,
            seq=scheduler.hub.newest,
            store=store.id,
            generation=store.generation,
            trouble=scheduler.trouble,
        )

    # ------------------------------------------------------------------------------------------------ what comes in

    async def on_message(self, message: str | bytes) -> None:
        """The next message is read when this one is done: their order counts, and a flood costs no memory."""
        await self._guard(self._obey(message))

    async def _obey(self, message: str | bytes) -> None:
        log = None
        try:
            asked = self._parse(message)
            log = asked.get("log")
            await self._do(asked)
        except WattleError as error:
            problem = ProblemMessage(type="problem", error=type(error).__name__, message=str(error))
            if isinstance(log, str):
                problem["log"] = log
            await self._say(problem)

    @staticmethod
    def _parse(message: str | bytes) -> dict[str, Any]:
        try:
            asked = json.loads(message) if isinstance(message, str) else None
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            raise InvalidRequest("a message must be a JSON object as text")
        return asked

    async def _do(self, asked: dict[str, Any]) -> None:
        kind = asked.get("type")
        if kind == "since":
            run = asked.get("run")
            chosen = None if run is None else await history.resolve(self._engine.store, str(run))
            self._follow(_number(asked, "seq"), chosen)
        elif kind == "watch":
            self._watch(_ids(asked, "runs"))
        elif kind == "subscribe":
            await self._subscribe(str(asked.get("log")), _number(asked, "offset"))
        elif kind == "unsubscribe":
            self._unsubscribe(str(asked.get("log")))
        else:
            raise InvalidRequest(f"unknown type {str(kind)[:40]!r}: send since, watch, subscribe or unsubscribe")

    def _follow(self, seq: int, run: str | None) -> None:
        if self._events is not None:
            self._events.cancel()
        self._events = asyncio.ensure_future(self._guard(self._send_events(seq, run)))

    def _watch(self, runs: list[str]) -> None:
        if self._progress is not None:
            self._progress.cancel()
        self._progress = asyncio.ensure_future(self._guard(self._send_progress(runs))) if runs else None

    async def _subscribe(self, attempt: str, offset: int) -> None:
        if len(self._logs) >= MAX_LOGS and attempt not in self._logs:
            raise InvalidRequest(f"one socket watches at most {MAX_LOGS} logs; unsubscribe from some")
        found = await history.attempt(self._engine.store, attempt)
        self._unsubscribe(attempt)
        final_size = (found.log_size or 0) if found.state.final else None
        self._logs[attempt] = Subscription(self._engine, attempt, offset, final_size)
        self._meter.subscriptions += 1
        self._work.set()

    def _unsubscribe(self, attempt: str) -> None:
        known = self._logs.pop(attempt, None)
        if known is not None:
            known.file.close()
            self._meter.subscriptions -= 1

    # ------------------------------------------------------------------------------------------------ what goes out

    async def _send_events(self, seq: int, run: str | None) -> None:
        hub, gate = self._engine.scheduler.hub, sending_of(self.settings)
        async for events in hub.follow(seq, run):
            await gate.passed()
            texts, turn = [], Turn()
            for event in events:
                texts.append(await hub.text(event))
                await turn.over()
            await self._send(f'{{"type":"events","events":[{",".join(texts)}]}}', binary=False)  # as EventsMessage says
            await asyncio.sleep(TICK)  # what happens meanwhile goes in one message

    async def _send_progress(self, runs: list[str]) -> None:
        with self._engine.progress.watcher(runs) as watcher:
            while True:
                for run, tasks in (await watcher.news()).items():
                    await self._say(ProgressMessage(type="progress", run=run, tasks=tasks))

    async def _send_logs(self) -> None:
        while True:
            await self._work.wait()
            header, data, ended = self._gather()
            if data:
                await self._send_frame(header, data)
            for message in ended:
                await self._say(message)
            if not self._logs:
                self._work.clear()
            sizes = [len(piece) for piece in data]
            more = sum(sizes) >= FRAME or max(sizes, default=0) >= PIECE  # is there already, it seems
            await asyncio.sleep(0 if more else TICK)

    def _gather(self) -> tuple[list[tuple[str, int, int]], list[bytes], list[LogEndMessage]]:
        """One frame's worth of all logs, those that were served last time last."""
        header: list[tuple[str, int, int]] = []
        data: list[bytes] = []
        ended: list[LogEndMessage] = []
        room = FRAME
        for attempt, subscription in list(self._logs.items()):
            if room <= 0:
                break
            piece, over = subscription.next(room)
            if piece:
                header.append((attempt, subscription.offset - len(piece), len(piece)))
                data.append(piece)
                room -= len(piece)
                self._logs[attempt] = self._logs.pop(attempt)
            elif over:
                ended.append(LogEndMessage(type="log_end", log=attempt, size=subscription.offset))
                self._unsubscribe(attempt)
        return header, data, ended

    async def _send_frame(self, header: list[tuple[str, int, int]], data: list[bytes]) -> None:
        text = json.dumps(header, separators=(",", ":")).encode()
        await self._send(b"".join((struct.pack(">I", len(text)), text, *data)), binary=True)

    async def _say(self, message: Any) -> None:
        await self._send(json.dumps(message, separators=(",", ":")), binary=False)

    async def _send(self, message: str | bytes, *, binary: bool) -> None:
        async with self._sending:
            sent = self.write_message(message, binary=binary)
            stream = None if self.ws_connection is None else self.ws_connection.stream
            if stream is not None and not stream.writing():
                sent.add_done_callback(_heard)
                return  # the kernel took it all, or the client went: nothing to wait for
            try:
                await asyncio.wait_for(asyncio.shield(_awaited(sent)), PATIENCE)
            except TimeoutError:
                self.close(1013, "the client does not read")
                raise WebSocketClosedError from None

    def _say_soon(self, message: Any) -> None:
        self._saying = asyncio.ensure_future(self._guard(self._say(message)))

    def _tell_trouble(self, trouble: str | None) -> None:
        self._say_soon(TroubleMessage(type="trouble", trouble=trouble))

    async def _guard(self, coroutine: Awaitable[None]) -> None:
        """A closed socket ends its tasks quietly; anything else is logged and ends the socket."""
        try:
            await coroutine
        except (WebSocketClosedError, asyncio.CancelledError):
            return
        except Exception:
            self.log.exception("wattle: a WebSocket failed")
            self.close(1011, "an error in the server")


def _heard(sent: asyncio.Future[None]) -> None:
    """That a client went away is no accident."""
    if not sent.cancelled():
        sent.exception()


async def _awaited(future: Awaitable[None]) -> None:
    await future


def _ids(asked: dict[str, Any], name: str) -> list[str]:
    value = asked.get(name)
    if not isinstance(value, list) or len(value) > MAX_RUNS or not all(isinstance(id, str) for id in value):
        raise InvalidRequest(f"{name} must be a list of at most {MAX_RUNS} ids")
    return value


def _number(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise InvalidRequest(f"{name} must be a whole number from 0 on")
    return value
