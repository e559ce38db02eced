"""Logs of tasks: a page of text, the bytes as a file, or a stream that goes on while the task writes."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import Coroutine

from tornado.iostream import StreamClosedError

from wattle_jupyter import history
from wattle_jupyter.aside import Turn
from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.handlers.base import WattleHandler, reads
from wattle_jupyter.handlers.runs import newest_attempt
from wattle_jupyter.logs import PIECE, LogFile, follow
from wattle_jupyter.wire import LogPage

MIN_PAGE = 4  # bytes: any one character
MAX_PAGE = 1 << 20
ENDED = ("completed", "failed", "cancelled", "skipped")


class LogSizes:
    """Says how long a log is once it cannot grow any more."""

    def __init__(self, handler: WattleHandler, run: str, task: str, attempt: str) -> None:
        self._scheduler = handler.engine.scheduler
        self._store = handler.engine.store
        self._where = (run, task)
        self.attempt = attempt
        self._known: int | None = None
        self.n = 0

    async def load(self) -> None:
        """Ask the store: for an attempt that ended before this server looked."""
        found = await history.attempt(self._store, self.attempt)
        self.n = found.n
        if found.state.final:
            self._known = found.log_size or 0

    def __call__(self) -> int | None:
        if self._known is None:
            self._known = self._scheduler.final_size(self.attempt)
        return self._known


class TaskLogsHandler(WattleHandler):
    own_pages_only = True

    @reads
    async def get(self, text: str, task: str) -> None:
        await self.send_log(await history.resolve(self.engine.store, text), task)

    async def send_log(self, run: str, task: str) -> None:
        attempt = await newest_attempt(self.engine, run, task, self.get_query_argument("attempt", None))
        if attempt is None:
            over = (await self.engine.scheduler.task(run, task))["state"] in ENDED
            self.answer(LogPage(attempt="", offset=0, next_offset=0, size=0, end=over, text=""))
            return
        sizes = LogSizes(self, run, task, attempt)
        await sizes.load()
        with LogFile(self.engine.store.folder, attempt) as file:
            if self.get_query_argument("download", "") == "1":
                workflow = (await self.engine.scheduler.summary(run))["workflow"]
                await self._send_file(file, f"{workflow}-{task}-{sizes.n}.log")
            else:
                self.answer(await self._page(file, sizes()))

    async def _page(self, file: LogFile, final_size: int | None) -> LogPage:
        limit = self.number("limit", PIECE // 4, MIN_PAGE, MAX_PAGE)
        offset = await self._offset(file)
        size = file.size()
        start = offset if offset >= 0 else max(0, size + offset)
        data = await asyncio.to_thread(file.read, start, limit)
        # a character that the limit cut in two is left for the next page
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        over = final_size is not None and start + len(data) >= size
        text = decoder.decode(data, final=over)
        used = len(data) - len(decoder.getstate()[0])
        return LogPage(attempt=file.attempt, offset=start, next_offset=start + used, size=size, end=over, text=text)

    async def _offset(self, file: LogFile) -> int:
        """Where the page begins: ``since`` (seconds of the epoch) goes before ``offset``."""
        text = self.get_query_argument("since", None)
        if text is None:
            return self.number("offset", 0, -(1 << 53), 1 << 53)
        try:
            when = float(text[:40])
        except ValueError:
            raise InvalidRequest(f"since must be a number of seconds since 1970, not {text[:40]!r}") from None
        return await asyncio.to_thread(file.offset_at, when)

    async def _send_file(self, file: LogFile, name: str) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        offset, end = 0, file.size()
        while offset < end and (data := await asyncio.to_thread(file.read, offset, min(PIECE, end - offset))):
            self.write(data)
            await self.flush()
            offset += len(data)
        await self.finish()


class EventStream(WattleHandler):
    """Server-sent events: the base of all streams that a plain HTTP client can read."""

    own_pages_only = True
    lasts = True

    def begin(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")

    async def send_event(self, *, data: object, id: int | None = None, event: str = "") -> None:
        await self.send_text(json.dumps(data, separators=(",", ":")), id=id, event=event)

    async def send_text(self, data: str, *, id: int | None = None, event: str = "") -> None:
        """``data`` is JSON already."""
        head = (f"id: {id}\n" if id is not None else "") + (f"event: {event}\n" if event else "")
        self.write(f"{head}data: {data}\n\n")
        await self.flush()

    def last_id(self, argument: str) -> int:
        """Where to go on: the header that a reconnecting client sends, else the argument."""
        text = self.request.headers.get("Last-Event-ID") or self.get_query_argument(argument, "0")
        if not text.isascii() or not text.isdigit() or len(text) > 16:
            raise InvalidRequest(f"{argument} must be a whole number, not {text[:40]!r}")
        return int(text)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._streaming is not None:
            self._streaming.cancel()

    _streaming: asyncio.Task[None] | None = None

    async def stream(self, coroutine: Coroutine[None, None, None]) -> None:
        """Run the stream until it or the connection ends."""
        self._streaming = asyncio.create_task(coroutine)
        try:
            await self._streaming
        except (asyncio.CancelledError, StreamClosedError):
            return
        finally:
            self._streaming = None  # its context has this handler: a ring that only the collector would find
        await self.finish()


class TaskLogStreamHandler(EventStream):
    @reads
    async def get(self, text: str, task: str) -> None:
        await self.stream_log(await history.resolve(self.engine.store, text), task)

    async def stream_log(self, run: str, task: str) -> None:
        offset = self.last_id("offset")
        chosen = self.get_query_argument("attempt", None)
        await newest_attempt(self.engine, run, task, chosen)  # what is not there is a 404, not a stream that breaks off
        self.begin()
        await self.stream(self._send(run, task, chosen, offset))

    async def _send(self, run: str, task: str, chosen: str | None, offset: int) -> None:
        await self.flush()  # the client knows that it is connected, however long the task waits
        attempt = await self._wait_for_attempt(run, task, chosen)
        if attempt is not None:
            await self._send_log(run, task, attempt, offset)
        await self.send_event(event="end", data={"attempt": attempt})

    async def _wait_for_attempt(self, run: str, task: str, chosen: str | None) -> str | None:
        """The attempt, as soon as there is one; None if the task ended without any."""
        seq = self.engine.scheduler.hub.newest
        while True:
            found = await newest_attempt(self.engine, run, task, chosen)
            state = (await self.engine.scheduler.task(run, task))["state"]
            if found is not None or state in ENDED:
                return found
            async for events in self.engine.scheduler.hub.follow(seq, run):
                seq = events[-1].seq
                break

    async def _send_log(self, run: str, task: str, attempt: str, offset: int) -> None:
        sizes = LogSizes(self, run, task, attempt)
        await sizes.load()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        turn = Turn()  # of a log that is there already, the kernel takes one piece after the other at once
        with LogFile(self.engine.store.folder, attempt) as file:
            async for chunk in follow(file, offset, sizes):
                text = decoder.decode(chunk.data)
                # the id says up to where the text is whole: a resumed stream begins at a character
                seen = chunk.offset + len(chunk.data) - len(decoder.getstate()[0])
                await self.send_event(id=seen, event="log", data={"text": text})
                await turn.over()
        rest = decoder.decode(b"", final=True)
        if rest:
            await self.send_event(event="log", data={"text": rest})
