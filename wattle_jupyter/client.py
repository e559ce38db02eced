"""HTTP over the door of the store's owner: what kernels and the command line speak. Stdlib only, thread-safe.

Every call opens its own connection, so nothing has to be kept alive. A request whose connection is lost is sent again
to whoever owns the store by then; requests that change something carry a key by which the owner knows a repeat.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, cast
from urllib.parse import quote, urlencode

from wattle_jupyter import errors, owner, wire
from wattle_jupyter.objects import PIECE, hash_of
from wattle_jupyter.places import Choice, chosen

T = TypeVar("T")
Query = Mapping[str, object]

_LOST = (ConnectionError, http.client.IncompleteRead, http.client.BadStatusLine, http.client.CannotSendRequest)
_PATIENCE = 30.0  # seconds that a lost request is repeated
_HAND_OVER = 10.0  # seconds that an owner may take to come or go
_RUN_ID = re.compile(r"[0-9a-f]{4,32}")
_QUIET = 30.0  # seconds of silence after which a stream is opened anew


class _Door(http.client.HTTPConnection):
    """HTTP over a unix socket that is connected already."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("localhost")
        self.sock = connected

    def connect(self) -> None:
        raise ConnectionResetError("the owner closed the connection")


class _NotNow(ConnectionError):
    """This owner is on its way in or out; it or the next one will answer."""

    def __init__(self, answer: errors.WattleError) -> None:
        super().__init__(str(answer))
        self.answer = answer


def find(store: str | os.PathLike[str] | None = None, *, start: bool = True) -> Client:
    """A client of the store's owner; the store is the one of the settings if it is not given.

    With ``start`` an engine is started if there is none. Raises ServerNotFound if there is none to be had.
    """
    choice = chosen(os.environ) if store is None else Choice(Path(store), "the caller")
    client = Client(choice.folder, start=start)
    client.check()
    _tell_once(choice.note)
    _tell_once(owner.note_on_own_server(client.store, os.environ))
    return client


_told = set[str]()


def _tell_once(note: str) -> None:
    if note and note not in _told:
        _told.add(note)
        print(note, file=sys.stderr)  # noqa: T201  said to the person at the keyboard


class Client:
    """Calls of the HTTP API by name. Raises the classes of :mod:`wattle_jupyter.errors`."""

    def __init__(self, store: Path, *, start: bool = True, timeout: float = 60.0) -> None:
        self.store = store
        self.start = start
        self.timeout = timeout  # seconds that one answer may take

    def __repr__(self) -> str:
        return f"Client({str(self.store)!r})"

    def check(self) -> owner.Owner:
        """The owner, after a connection to it succeeded."""
        found, connection = owner.find(self.store, start=self.start, timeout=self.timeout)
        connection.close()
        return found

    # ------------------------------------------------------------------------------------------------------ transport

    def request(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:
        """The ``data`` of the answer. ``path`` is below the API's base."""
        status, answer = self.exchange(method, path, query=query, body=encode(body))
        content = _decode(method, path, status, answer)
        if status >= 400:
            raise error_of(content)
        return content["data"]

    def exchange(
        self, method: str, path: str, *, query: Query | None = None, body: bytes | None = None, key: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer; repeated, under the same key, while connections are lost."""
        headers = {} if method == "GET" else {"Idempotency-Key": key or uuid.uuid4().hex}
        return self._patiently(lambda: self._once(method, path, query, body, headers))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """The answer; asked again while connections are lost."""
        start, pause = time.monotonic(), 0.02
        while True:
            try:
                return ask()
            except _NotNow as error:
                if time.monotonic() - start > _HAND_OVER:
                    raise error.answer from None
            except _LOST as error:
                if time.monotonic() - start > _PATIENCE:
                    raise errors.Unavailable(
                        f"The connection to the engine of {self.store} was lost again and again for {_PATIENCE:g} s "
                        f"({error}); `wattle doctor` says more"
                    ) from None
            except TimeoutError:
                raise errors.Unavailable(
                    f"The engine of {self.store} did not answer within {self.timeout:g} s; `wattle doctor` says more"
                ) from None
            time.sleep(pause)
            pause = min(1.0, pause * 2)

    def _once(
        self, method: str, path: str, query: Query | None, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        door, response = self.open(method, path, query=query, body=body, headers=headers, timeout=self.timeout)
        with contextlib.closing(door), response:
            answer = response.read()
        _check_present(response.status, answer)
        return response.status, answer

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Query | None,
        body: bytes | BinaryIO | None = None,
        headers: Mapping[str, str],
        timeout: float,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """One request, once; the body of the answer is still to be read. The caller closes both."""
        found, connection = owner.find(self.store, start=self.start, timeout=timeout)
        door = _Door(connection)
        try:
            door.blocksize = PIECE  # bytes of a file that are sent at a time
            with contextlib.suppress(BrokenPipeError):  # refused before all was sent: the answer says why
                door.request(method, _url(found.base_path, path, query), body, {**_TYPES, **headers})
            return door, door.getresponse()
        except BaseException:
            connection.close()
            raise

    # ------------------------------------------------------------------------------------------------------ the server

    def info(self) -> wire.Info:
        return cast(wire.Info, self.request("GET", "info"))

    def health(self) -> wire.Health:
        """Is the engine well, and what is wrong: a check for each thing that it needs."""
        return cast(wire.Health, self.request("GET", "health"))

    def stats(self) -> wire.Stats:
        """What the engine has done since it was opened, what it has to do, and how long things take."""
        return cast(wire.Stats, self.request("GET", "stats"))

    # ------------------------------------------------------------------------------------------------------- workflows

    def define(self, spec: Mapping[str, Any]) -> wire.WorkflowDetail:
        """Store a definition; an existing name gets a new version."""
        return cast(wire.WorkflowDetail, self.request("POST", "workflows", body=spec))

    def workflows(self, **query: object) -> list[wire.WorkflowSummary]:
        return cast(list[wire.WorkflowSummary], self._all("workflows", query))

    def workflow(self, name: str) -> wire.WorkflowDetail:
        return cast(wire.WorkflowDetail, self.request("GET", f"workflows/{_part(name)}"))

    def delete(self, name: str) -> None:
        """Hide a definition; its runs stay."""
        self.request("DELETE", f"workflows/{_part(name)}")

    # --------------------------------------------------------------------------------------------------------- objects

    def put_object(self, content: bytes | str | os.PathLike[str]) -> str:
        """Put bytes, or a file, into the store, unless they are there. Returns their SHA-256.

        Raises TooLarge, StoreUnavailable.
        """
        with io.BytesIO(content) if isinstance(content, bytes) else Path(content).open("rb") as file:
            name = hash_of(file)
            if not self._patiently(lambda: self._has_object(name)):
                self._patiently(lambda: self._put(name, file))
        return name

    def _has_object(self, name: str) -> bool:
        door, response = self.open("HEAD", f"objects/{name}", query=None, headers={}, timeout=self.timeout)
        with contextlib.closing(door), response:
            if response.status == 503:  # no body says more
                raise _NotNow(errors.Unavailable(f"The engine of {self.store} is not ready; ask again in a moment"))
            return response.status == 200

    def _put(self, name: str, file: BinaryIO) -> None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        path = f"objects/{name}"
        door, response = self.open("PUT", path, query=None, body=file, headers=headers, timeout=self.timeout)
        with contextlib.closing(door), response:
            _take(response, "PUT", path)

    def get_object(self, name: str) -> BinaryIO:
        """A file that holds the object, at its beginning, with the hash that it must have. The caller closes it.

        Raises NotFound, StoreUnavailable if the object is damaged.
        """
        return self._patiently(lambda: self._get_object(_part(name)))

    def _get_object(self, name: str) -> BinaryIO:
        path = f"objects/{name}"
        door, response = self.open("GET", path, query=None, headers={}, timeout=self.timeout)
        with contextlib.closing(door), response:
            if response.status >= 400:
                _take(response, "GET", path)
            return _checked(response, name)

    # ------------------------------------------------------------------------------------------------------------ runs

    def submit(
        self,
        workflow: str | None = None,
        *,
        spec: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        mode: str | None = None,
        priority: str | None = None,
        cause: str | None = None,
    ) -> wire.RunDetail:
        """Start a run of a stored workflow, or of a spec."""
        asked = {"workflow": workflow, "spec": spec, "params": params, "mode": mode, "priority": priority}
        body = {key: value for key, value in {**asked, "cause": cause}.items() if value is not None}
        return cast(wire.RunDetail, self.request("POST", "runs", body=body))

    def runs(self, *, limit: int | None = None, **query: object) -> list[wire.RunSummary]:
        return cast(list[wire.RunSummary], self._all("runs", query, limit))

    def run(self, run: str) -> wire.RunNow:
        return cast(wire.RunNow, self.request("GET", f"runs/{_part(run)}"))

    def snapshot(self, run: str) -> dict[str, Any]:
        """The spec that the run carries out."""
        return cast(dict[str, Any], self.request("GET", f"runs/{_part(run)}/snapshot")["spec"])

    def cancel(self, run: str) -> wire.RunSummary:
        return cast(wire.RunSummary, self.request("POST", f"runs/{_part(run)}/cancel", body={}))

    def retry(self, run: str, tasks: list[str] | None = None) -> wire.RunSummary:
        """New attempts of these tasks, of all failed ones if none are named."""
        body = {} if tasks is None else {"tasks": tasks}
        return cast(wire.RunSummary, self.request("POST", f"runs/{_part(run)}/retry", body=body))

    # ----------------------------------------------------------------------------------------------------------- tasks

    def task(self, run: str, task: str) -> wire.TaskRunDetail:
        return cast(wire.TaskRunDetail, self.request("GET", _task(run, task)))

    def stop(self, run: str, task: str) -> wire.TaskRunView:
        return cast(wire.TaskRunView, self.request("POST", f"{_task(run, task)}/stop", body={}))

    def retry_task(self, run: str, task: str) -> wire.RunSummary:
        return cast(wire.RunSummary, self.request("POST", f"{_task(run, task)}/retry", body={}))

    def environment(self, name: str, task: str) -> wire.TaskEnvironment:
        """How a task is started: of a run if ``name`` is an id, the start of one or ``last``, else of a workflow."""
        if name == "last" or _RUN_ID.fullmatch(name):
            with contextlib.suppress(errors.NotFound):  # a workflow may be called so, too
                return cast(wire.TaskEnvironment, self.request("GET", f"{_task(name, task)}/environment"))
        path = f"workflows/{_part(name)}/tasks/{_part(task)}/environment"
        return cast(wire.TaskEnvironment, self.request("GET", path))

    def log(
        self,
        run: str,
        task: str,
        *,
        offset: int = 0,
        limit: int | None = None,
        attempt: str | None = None,
        since: float | None = None,
    ) -> wire.LogPage:
        """A page of a task's log; a negative offset (bytes) counts from the end. ``since`` (seconds of the epoch)
        takes the place of the offset: the page begins with the line that was being written then."""
        query = {"offset": None if since is not None else offset, "since": since, "limit": limit, "attempt": attempt}
        return cast(wire.LogPage, self.request("GET", f"{_task(run, task)}/logs", query=query))

    # --------------------------------------------------------------------------------------------------------- streams

    def events(
        self, since: int, run: str | None = None, far: Callable[[wire.ProgressMessage], None] | None = None
    ) -> Stream[wire.EventView]:
        """All committed changes after ``since`` (of one run if given), without end, over any loss of connection.

        ``far`` is called, between them, with how far running tasks of that run are.
        """

        def pick(event: str, data: str) -> wire.EventView | None:
            if event == "progress":
                if far is not None:
                    far(cast(wire.ProgressMessage, json.loads(data)))
                return None
            view = cast(wire.EventView, json.loads(data))
            return view if run is None or view["run"] == run else None

        query = {} if run is None else {"run": run} if far is None else {"run": run, "progress": "1"}
        return Stream(self, "events", query=query, resume="since", position=str(since), pick=pick)

    def log_stream(self, run: str, task: str, *, offset: int = 0, attempt: str | None = None) -> Stream[str]:
        """The text of a log from ``offset`` (bytes) on, as it grows, to its end: nothing lost, nothing twice."""

        def pick(event: str, data: str) -> str | None:
            return cast(str, json.loads(data)["text"]) if event == "log" else None

        query = {} if attempt is None else {"attempt": attempt}
        path = f"{_task(run, task)}/logs/stream"
        return Stream(self, path, query=query, resume="offset", position=str(offset), pick=pick)

    # ---------------------------------------------------------------------------------------------------------- helpers

    def _all(self, path: str, query: Query, limit: int | None = None) -> list[Any]:
        found: list[Any] = []
        size = min(200, limit or 200)
        page = 1
        while True:
            answer = self.request("GET", path, query={**query, "page": page, "page_size": size})
            found += answer["data"]
            if not answer["pagination"]["has_next"] or (limit is not None and len(found) >= limit):
                return found[:limit]
            page += 1


class Stream(Generic[T]):
    """Server-sent events as an iterator that survives lost connections. ``close`` ends it from any thread."""

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        query: Query,
        resume: str,
        position: str,
        pick: Callable[[str, str], T | None],
    ) -> None:
        self._client, self._path, self._query, self._pick = client, path, query, pick
        self._resume = resume  # name of the argument that says where to go on
        self.position = position  # id of the newest event that was seen
        self._closed = threading.Event()
        self._sock: socket.socket | None = None

    def close(self) -> None:
        self._closed.set()
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):  # gone already
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        pause = 0.02
        while not self._closed.is_set():
            try:
                for event, data in self._frames():
                    pause = 0.02
                    if event == "end":
                        return
                    if (picked := self._pick(event, data)) is not None:
                        yield picked
            except (*_LOST, OSError):
                pause = min(1.0, pause * 2)
            except (ValueError, AttributeError):  # so http.client takes it when another thread closes
                if not self._closed.is_set():
                    raise
            self._closed.wait(pause)

    def _frames(self) -> Iterator[tuple[str, str]]:
        query = {**self._query, self._resume: self.position}
        headers = {"Accept": "text/event-stream", "Last-Event-ID": self.position}
        door, response = self._client.open("GET", self._path, query=query, headers=headers, timeout=_QUIET)
        self._sock = door.sock or _socket_of(response)
        with contextlib.closing(door), response:
            if response.status >= 400:
                self._refuse(response)
            yield from self._parse(response)

    def _refuse(self, response: http.client.HTTPResponse) -> None:
        _take(response, "GET", self._path)

    def _parse(self, lines: Iterator[bytes] | http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
        """Frames that are whole; a half one at a cut is not delivered, hence comes again."""
        position, event, data = self.position, "message", list[str]()
        for raw in lines:
            field, _, value = raw.decode("utf-8").rstrip("\r\n").partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                position = value
            elif field == "event":
                event = value
            elif field == "data":
                data.append(value)
            elif not field and not value and raw.strip() == b"":
                if data or event == "end":
                    self.position = position
                    yield event, "\n".join(data)
                position, event, data = self.position, "message", []


def _take(response: http.client.HTTPResponse, method: str, path: str) -> None:
    """Raises what the answer says, unless it is a good one."""
    answer = response.read()
    _check_present(response.status, answer)
    content = _decode(method, path, response.status, answer)
    if response.status >= 400:
        raise error_of(content)


def _checked(source: http.client.HTTPResponse, name: str) -> BinaryIO:
    """What comes, in a file without a name. Raises StoreUnavailable if it is not what its name says."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    try:
        shutil.copyfileobj(source, file, PIECE)
        file.seek(0)
        if source.length:  # cut short: asked again
            raise http.client.IncompleteRead(b"", source.length)
        if hash_of(file) != name:
            raise errors.StoreUnavailable(f"the object {name[:12]}… of the store is damaged: run its task again")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


_TYPES = {"Content-Type": "application/json", "Accept": "application/json"}


def encode(body: object) -> bytes | None:
    if body is None:
        return None
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise errors.InvalidRequest(f"Only JSON values can be sent: {error}") from None


def error_of(content: Mapping[str, Any]) -> errors.WattleError:
    """The exception that an :class:`~wattle_jupyter.wire.ErrorBody` stands for."""
    message, details = str(content.get("message", "")), content.get("details") or {}
    kind = getattr(errors, str(content.get("error")), errors.WattleError)
    if kind is errors.SpecError:
        return errors.SpecError([errors.Problem(**problem) for problem in details.get("problems", ())])
    if not (isinstance(kind, type) and issubclass(kind, errors.WattleError)):
        kind = errors.WattleError
    return kind(message, **details)


def _decode(method: str, path: str, status: int, answer: bytes) -> dict[str, Any]:
    try:
        content = json.loads(answer)
    except ValueError:
        content = None
    if isinstance(content, dict) and ("data" in content if status < 400 else "error" in content):
        return content
    start = answer[:120].decode("utf-8", "replace")
    raise errors.ProtocolMismatch(
        f"The owner of the store gave an answer that is not of this API ({method} {path}, status {status}): {start!r}; "
        "run the same version of wattle-jupyter on both sides"
    )


def _check_present(status: int, answer: bytes) -> None:
    """Raises _NotNow if the owner has no engine behind its door just now; its special reasons are answers."""
    if status == 503:
        with contextlib.suppress(ValueError):  # not of this API: said elsewhere
            content = json.loads(answer)
            if isinstance(content, dict) and content.get("error") == "Unavailable":
                raise _NotNow(error_of(content))


def _socket_of(response: http.client.HTTPResponse) -> socket.socket | None:
    """The socket below a response that took its connection over (no length was announced)."""
    raw = getattr(response.fp, "raw", None)
    return getattr(raw, "_sock", None)


def _url(base: str, path: str, query: Query | None) -> str:
    given = {key: value for key, value in (query or {}).items() if value is not None}
    return base + path + (f"?{urlencode(given, doseq=True)}" if given else "")


def _part(name: str) -> str:
    """One segment of a path."""
    if name in ("", ".", ".."):
        raise errors.InvalidRequest(f"{name!r} is no name")
    return quote(name, safe="")


def _task(run: str, task: str) -> str:
    return f"runs/{_part(run)}/tasks/{_part(task)}"
