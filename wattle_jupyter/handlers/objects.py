"""Objects of the store and outputs of tasks: streams of bytes, both ways; none is ever whole in memory."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from functools import partial
from io import BufferedReader
from typing import Any, cast
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from wattle_jupyter import history
from wattle_jupyter.errors import InvalidRequest, NotFound, TooLarge, Unavailable, WattleError
from wattle_jupyter.follower import Upload
from wattle_jupyter.handlers.base import RESOURCE, Method, WattleHandler, reads
from wattle_jupyter.model import Value
from wattle_jupyter.objects import PIECE, Writer, open_file, size_text

_UNBOUNDED = 1 << 62  # a follower leaves the limit to the owner


class FileHandler(WattleHandler):
    """Answers with a file."""

    own_pages_only = True

    async def send_file(self, file: BufferedReader, name: str) -> None:
        """``name`` is what a browser is to call it."""
        with file:
            left = os.fstat(file.fileno()).st_size
            self._announce(name, left)
            try:
                while left and (data := await asyncio.to_thread(file.read, min(PIECE, left))):
                    left -= len(data)
                    self.write(data)
                    await self.flush()
            except StreamClosedError:  # whoever asked is gone
                return
        if left:  # it was cut meanwhile: nobody must take this for the whole
            connection: Any = self.request.connection
            connection.stream.close()
            return
        await self.finish()

    def _announce(self, name: str, size: int) -> None:
        plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in name)
        named = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", named)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Length", str(size))


class ObjectHandler(FileHandler):
    """An object by its hash: asked for, fetched, put there."""

    _writer: Writer | None = None
    _upload: Upload | None = None
    _problem: WattleError | None = None  # told when the body is over: before, nobody would read it
    _busy = _gone = False

    @reads
    async def head(self, name: str) -> None:
        size = self.engine.scheduler.objects.wanted(name)  # who asks does not send it, and names it next
        if size is None:
            raise NotFound(f"the store has no object {name[:12]}…")
        self._announce(f"{name[:12]}.pickle", size)
        self.finish()

    @reads
    async def get(self, name: str) -> None:
        await self.send_file(self.engine.scheduler.objects.open(name), f"{name[:12]}.pickle")

    # ------------------------------------------------------------------------------------------------ put there

    @property
    def max_body(self) -> int:
        if self.request.method != "PUT":
            return super().max_body
        engine = self.settings.get("wattle_engine")
        return _UNBOUNDED if engine is None else int(engine.scheduler.objects.limit)

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        length = self.request.headers.get("Content-Length", "0")
        if self.request.method == "PUT" and length.isdigit() and int(length) > self.max_body:
            raise TooLarge(
                f"the object has {size_text(int(length))}; the limit is {size_text(self.max_body)} "
                "([store] max_object); write it to a file and pass its path on"
            )
        await super().prepare(_redirect_to_login=_redirect_to_login)
        if self.request.method == "PUT" and not self._finished:
            connection: Any = self.request.connection
            connection.set_max_body_size(2 * self.max_body)  # what comes in pieces is read to its end, to say why not
            await self.begin(self.path_args[0])

    async def _begin(self, name: str) -> None:
        follower = self.settings.get("wattle_follower")
        if follower is not None:
            length = self.request.headers.get("Content-Length", "")
            self._upload = await follower.upload(self, int(length) if length.isdigit() else None)
            if self._upload is None:
                raise Unavailable("no server owns the store just now; ask again in a moment")
        else:
            objects = self.engine.scheduler.objects
            objects.path(name)
            self._writer = await asyncio.to_thread(objects.writer)
            if self._gone:
                self._writer.close()

    # who may write is asked before the first byte goes to the disk
    begin = cast("Method", web.authenticated(authorized("write", RESOURCE)(_begin)))

    async def data_received(self, chunk: bytes) -> None:  # type: ignore[override]  # tornado awaits what it is given
        if self._upload is not None:
            await self._upload.feed(chunk)
        elif self._writer is not None:
            self.received += chunk
            if len(self.received) >= PIECE:
                await self._write(self._writer)

    async def _write(self, writer: Writer) -> None:
        data, self.received = self.received, bytearray()
        if self._problem is not None:
            return
        try:
            await self._in_thread(writer, partial(writer.write, data))
        except WattleError as error:
            self._problem = error

    async def _in_thread(self, writer: Writer, step: Callable[[], object]) -> None:
        """The client may go meanwhile; its file is closed when the thread is done with it, for the number of a closed
        one may be another file's by then."""
        self._busy = True
        try:
            await asyncio.to_thread(step)
        finally:
            self._busy = False
            if self._gone:
                writer.close()

    @web.authenticated
    async def put(self, name: str) -> None:
        if self._upload is not None:
            if not await self._upload.finish():
                raise Unavailable("the server that owns the store went away; send the object again")
            return
        assert self._writer is not None, "begun in `prepare`"
        with self._writer as writer:  # what is refused is gone before that is said
            await self._take(writer, name)
        self.answer({"hash": name, "size": writer.size}, 201)

    async def _take(self, writer: Writer, name: str) -> None:
        await self._write(writer)
        if self._problem is not None:
            raise self._problem
        if writer.hash != name:
            raise InvalidRequest(
                f"the body has the SHA-256 {writer.hash[:12]}…, not {name[:12]}…: it changed on its way; send it again"
            )
        await self._in_thread(writer, writer.publish)

    def on_finish(self) -> None:
        super().on_finish()
        if self._writer is not None:
            self._writer.close()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._gone = True
        if self._writer is not None and not self._busy:
            self._writer.close()


class OutputHandler(FileHandler):
    """What a task left under one name: the pickle of an object, the bytes of a file, the JSON of a value."""

    @reads
    async def get(self, text: str, task: str, name: str) -> None:
        store, scheduler = self.engine.store, self.engine.scheduler
        run = await history.resolve(store, text)
        state = (await scheduler.task(run, task))["state"]
        _, values = await history.attempts_of(store, run, task)
        value = next((v for v in values if v.name == name), None)
        if value is None:
            left = ", ".join(v.name for v in values) or "nothing"
            raise NotFound(f"task {task} ({state}) left no output {name[:80]!r}; it left: {left}")
        if value.kind == "json":
            self._announce(f"{name}.json", len(text := json.dumps(value.ref)))
            self.set_header("Content-Type", "application/json")
            self.finish(text)
        elif value.kind == "object":
            await self.send_file(scheduler.objects.open(value.ref), f"{name}.pickle")
        else:
            file = await asyncio.to_thread(self._open, value)
            await self.send_file(file, os.path.basename(value.ref))  # noqa: PTH119  a name, not a file

    def _open(self, value: Value) -> BufferedReader:
        """The copy that was kept, else the file as long as it looks the same. Raises NotFound."""
        kept = self.engine.scheduler.objects.kept(value.hash, value.ref) if value.hash else None
        try:
            file = open_file(kept or value.ref)
        except OSError as error:
            raise NotFound(f"{value.ref}, the output {value.name}, is gone: {error.strerror}; {_NOT_KEPT}") from None
        if file is None:
            raise NotFound(f"{value.ref}, the output {value.name}, is not a file; of folders no copies are kept")
        if kept is None and os.fstat(file.fileno()).st_size != value.size:
            file.close()
            raise NotFound(f"{value.ref}, the output {value.name}, has changed since the task left it; {_NOT_KEPT}")
        return file


_NOT_KEPT = "no copy was kept ([store] keep_outputs is the limit for that)"
