"""Logs as text and as lines: whole, from the end, since a time, and as they grow."""

from __future__ import annotations

import codecs
import contextlib
import json
import re
import struct
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from wattle_jupyter import owner
from wattle_jupyter.client import Client, Stream
from wattle_jupyter.errors import InvalidRequest, NotFound
from wattle_jupyter.model import Json, State
from wattle_jupyter.wire import TaskRunView

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

AHEAD = 256
"""Lines that a thread reads ahead of a loop that takes them."""

NAME = 24
"""Most characters of a task's name before its lines."""

WINDOW = 200
"""Logs that are watched at once over one WebSocket; more wait for their turn."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class LogText(str):
    """Text of a log: as the last expression of a cell it is shown as a terminal shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(overwritten, self.split("\n")))


def overwritten(line: str) -> str:
    """What is to be read of a line in which carriage returns went back to its beginning, as progress bars do."""
    parts = line.split("\r")
    shown = parts[0]
    for part in parts[1:]:
        shown = part + shown[len(part) :]
    return shown.rstrip() if len(parts) > 1 else shown


class TaskLine(str):
    """A line of one of a run's tasks, with the task's name before it; ``task`` and ``text`` are its two parts."""

    __slots__ = ("task", "text")
    task: str
    text: str

    def __new__(cls, task: str, text: str, width: int = 0) -> TaskLine:
        name = task if len(task) <= NAME else task[: NAME - 1] + "…"
        line = super().__new__(cls, f"{name:<{width}} │ {text}")
        line.task, line.text = task, text
        return line


def instant(text: str, now: float) -> float:
    """``90s``, ``10m``, ``2h``, ``1d`` before ``now``, or a date and time (ISO 8601, local unless it says otherwise).

    Seconds since the epoch. Raises InvalidRequest.
    """
    if found := re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhd])", text.strip()):
        return now - float(found[1]) * _UNITS[found[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise InvalidRequest(f"not a time: '{text}'; write 90s, 10m, 2h, 1d or 2026-01-31T18:30") from None


# ------------------------------------------------------------------------------------------------------- up to now


def read_log(client: Client, run: str, task: str, tail: int | None = None, since: float | None = None) -> str:
    """A task's log up to now; only the last ``tail`` lines, only what came after ``since`` (seconds of the epoch)."""
    return read_tail(client, run, task, tail, since)[0]


def read_tail(
    client: Client, run: str, task: str, tail: int | None, since: float | None = None
) -> tuple[str, str | None, int]:
    """The same, with the attempt (None if there is none yet) and the offset at which the text ends."""
    first = 0 if since is None else client.log(run, task, since=since, limit=4)["offset"]
    want = 64 * 1024
    while True:
        page = client.log(run, task, offset=first if tail is None else -want, limit=4)
        attempt = page["attempt"] or None
        start = max(page["offset"], first)
        text, end = _read(client, run, task, start, attempt)
        lines = text.splitlines(keepends=True)
        if tail is None or start <= first or len(lines) > tail:
            return text if tail is None or tail >= len(lines) else "".join(lines[len(lines) - tail :]), attempt, end
        want *= 8


def _read(client: Client, run: str, task: str, offset: int, attempt: str | None) -> tuple[str, int]:
    """The text from ``offset`` on, and where it ends. One attempt's: the task may get another one meanwhile."""
    parts = []
    while True:
        page = client.log(run, task, offset=offset, limit=1024 * 1024, attempt=attempt)
        parts.append(page["text"])
        if page["next_offset"] <= offset or page["next_offset"] >= page["size"]:
            return "".join(parts), page["next_offset"]
        offset = page["next_offset"]


# ------------------------------------------------------------------------------------------------------ as they grow


class Source(Protocol[T_co]):
    """Something to iterate over that another thread may end."""

    def __iter__(self) -> Iterator[T_co]: ...

    def close(self) -> None: ...


class Lines(Generic[T]):
    """Lines as they are written, for ``for`` and ``async for``. Leaving the loop ends the watching, not the task."""

    def __init__(self, source: Source[T]) -> None:
        self._source = source

    def __repr__(self) -> str:
        return "<Lines; take them with `for line in …` or `async for line in …`>"

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._source
        finally:
            self._source.close()

    def __aiter__(self) -> AsyncIterator[T]:
        return beside(self._source)

    def close(self) -> None:
        """End the watching, from any thread."""
        self._source.close()


async def beside(source: Source[T]) -> AsyncIterator[T]:
    """The items of ``source``, taken by a thread, so that the loop goes on meanwhile."""
    import asyncio  # noqa: PLC0415  the command line starts without

    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[tuple[T | None, BaseException | None, bool]] = asyncio.Queue()
    room, left = threading.Semaphore(AHEAD), threading.Event()

    def tell(item: T | None, error: BaseException | None, more: bool) -> None:
        with contextlib.suppress(RuntimeError):  # the loop ended first
            loop.call_soon_threadsafe(ready.put_nowait, (item, error, more))

    def pump() -> None:
        problem: BaseException | None = None
        try:
            for item in source:
                room.acquire()
                if left.is_set():
                    return
                tell(item, None, True)
        except Exception as error:  # noqa: BLE001  carried over to the loop's side
            problem = error
        tell(None, problem, False)

    threading.Thread(target=pump, name="wattle-lines", daemon=True).start()
    try:
        while True:
            item, error, more = await ready.get()
            if error is not None:
                raise error
            if not more:
                return
            room.release()
            yield item  # type: ignore[misc]  # None is there only at the end
    finally:
        left.set()
        room.release()
        source.close()


class TaskSource:
    """The lines of one attempt: the newest of a task, or its first one as soon as there is one."""

    def __init__(
        self, client: Client, run: str, task: str, tail: int | None = None, since: float | None = None
    ) -> None:
        self._client, self._run, self._task, self._tail, self._since = client, run, task, tail, since
        self._stream: Stream[str] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[str]:
        if self._tail is None and self._since is None:
            rest, attempt, offset = "", self._client.log(self._run, self._task, limit=4)["attempt"] or None, 0
        else:
            rest, attempt, offset = read_tail(self._client, self._run, self._task, self._tail, self._since)
        self._stream = self._client.log_stream(self._run, self._task, offset=offset, attempt=attempt)
        if self._closed:
            return
        *lines, rest = rest.split("\n")
        yield from lines
        for text in self._stream:
            *lines, rest = (rest + text).split("\n")
            yield from lines
        if rest:
            yield rest

    def close(self) -> None:
        self._closed = True
        if self._stream is not None:
            self._stream.close()


@dataclass
class _Log:
    """One watched attempt: how far it was read, and the line that is not whole yet."""

    task: str
    attempt: str
    offset: int = 0
    rest: str = ""
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def feed(self, data: bytes) -> list[str]:
        self.offset += len(data)
        *lines, self.rest = (self.rest + self.decoder.decode(data)).split("\n")
        return lines

    def end(self) -> list[str]:
        rest = self.rest + self.decoder.decode(b"", final=True)
        return [rest] if rest else []


class RunSource:
    """The lines of all tasks of a run until it ended, over one WebSocket that survives lost connections."""

    def __init__(self, client: Client, run: str, tail: int | None = None, since: float | None = None) -> None:
        self._client, self._run, self._tail, self._since = client, run, tail, since
        self._closed = threading.Event()
        self._socket: Socket | None = None
        self._logs: dict[str, _Log] = {}  # watched, by attempt
        self._next: deque[_Log] = deque()
        self._known: set[str] = set()  # attempts that are or were watched
        self._told_of: dict[str, int] = {}  # attempts of each task that we know of
        self._width = 0
        self._final = False
        self._seq = 0

    def close(self) -> None:
        self._closed.set()
        socket = self._socket
        if socket is not None:
            socket.close()

    def __iter__(self) -> Iterator[TaskLine]:
        yield from self._begin()
        pause = 0.02
        while not self._over and not self._closed.is_set():
            with contextlib.suppress(ConnectionError):
                for line in self._session():
                    pause = 0.02
                    yield line
            if not self._over:
                self._closed.wait(pause)
                pause = min(1.0, pause * 2)

    @property
    def _over(self) -> bool:
        return self._final and not self._logs and not self._next

    def _begin(self) -> Iterator[TaskLine]:
        """What is there already, of each task if it was limited."""
        detail = self._client.run(self._run)
        self._run, self._seq, self._final = detail["id"], detail["seq"], State(detail["state"]).final
        self._width = min(NAME, max((len(view["task"]) for view in detail["tasks"]), default=0))
        started = sorted((v for v in detail["tasks"] if v["attempt"]), key=lambda v: v["started_at"] or "~")
        for view in started:
            if self._tail is None and self._since is None:
                self._learn(view)
                continue
            log = _Log(view["task"], str(view["attempt"]))
            self._known.add(log.attempt)
            self._told_of[log.task] = view["attempts"]
            log.rest, attempt, log.offset = read_tail(self._client, self._run, log.task, self._tail, self._since)
            log.attempt = attempt or log.attempt
            yield from self._told(log, log.feed(b""))
            self._next.append(log)

    def _learn(self, view: TaskRunView) -> None:
        """Watch the attempts of a task not known yet: a view names the newest only; others may have come and gone."""
        task, newest, told_of = view["task"], view["attempt"], self._told_of.get(view["task"], 0)
        if not newest or newest in self._known:
            return
        new = [newest]
        if view["attempts"] > told_of + 1:
            history = self._client.task(self._run, task)["history"]
            new = [a["id"] for a in history if a["n"] > told_of and a["id"] not in self._known]
        self._told_of[task] = told_of + len(new)
        self._known.update(new)
        self._next.extend(_Log(task, attempt) for attempt in new)

    def _session(self) -> Iterator[TaskLine]:
        self._socket = socket = _connect(self._client)
        try:
            socket.send(json.dumps({"type": "since", "seq": self._seq, "run": self._run}))
            for log in self._logs.values():
                socket.send(_subscription(log))
            self._watch_more()
            while not self._over and not self._closed.is_set() and (message := socket.receive()) is not None:
                yield from self._frame(message) if isinstance(message, bytes) else self._message(json.loads(message))
        finally:
            socket.close()

    def _watch_more(self) -> None:
        while self._next and len(self._logs) < WINDOW and self._socket is not None:
            log = self._next.popleft()
            self._logs[log.attempt] = log
            self._socket.send(_subscription(log))

    def _frame(self, data: bytes) -> Iterator[TaskLine]:
        """Bytes of logs, see ``docs/http.md``."""
        (size,) = struct.unpack_from(">I", data)
        at = 4 + size
        for attempt, offset, length in json.loads(data[4:at]):
            log = self._logs.get(attempt)
            if log is not None and offset == log.offset:
                yield from self._told(log, log.feed(data[at : at + length]))
            at += length

    def _message(self, message: dict[str, Json]) -> Iterator[TaskLine]:
        if message["type"] == "events":
            for event in message["events"]:
                self._seq = event["seq"]
                self._event(event["kind"], event["body"])
        elif message["type"] in ("log_end", "problem") and message.get("log") in self._logs:
            log = self._logs.pop(message["log"])
            yield from self._told(log, log.end())
        self._watch_more()

    def _event(self, kind: str, body: dict[str, Json]) -> None:
        if kind == "run.deleted":
            raise NotFound(f"run {self._run[:8]} was deleted")
        if "run" in body:
            self._final = State(body["run"]["state"]).final
        for view in body.get("tasks", ()):
            self._learn(view)

    def _told(self, log: _Log, lines: list[str]) -> Iterator[TaskLine]:
        return (TaskLine(log.task, line, self._width) for line in lines)


class Socket(Protocol):
    """What is used of a WebSocket."""

    def send(self, text: str) -> None: ...

    def receive(self) -> str | bytes | None: ...

    def close(self) -> None: ...


def _subscription(log: _Log) -> str:
    return json.dumps({"type": "subscribe", "log": log.attempt, "offset": log.offset})


def _connect(client: Client) -> Socket:
    from wattle_jupyter.websocket import WebSocket  # noqa: PLC0415  a library that few kernels need

    found, connected = owner.find(client.store, start=client.start)
    try:
        return WebSocket(connected, f"{found.base_path}events/ws")
    except BaseException:
        connected.close()
        raise
