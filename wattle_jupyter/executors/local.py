"""The local executor: a keeper process that outlives the server is parent of all tasks; this is the server's end of it.

It also holds a pidfd and the FIFO of every running attempt, so that a keeper's death loses neither code nor output, and
starts a new keeper by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from wattle_jupyter.errors import Conflict, ProtocolMismatch, Unavailable
from wattle_jupyter.executors import AttemptSpec, Fact, Host
from wattle_jupyter.host import process
from wattle_jupyter.host.pipes import FIFO
from wattle_jupyter.host.protocol import PROTOCOL, Address, Message, encode, is_own_user

log = logging.getLogger(__name__)

KEEPER = Path(process.__file__).with_name("__main__.py")

_FACT_KEYS = frozenset(field.name for field in fields(Fact))
_SPEC_KEYS = tuple(field.name for field in fields(AttemptSpec))
_FINAL = frozenset({"exited", "lost", "never_started"})
_GONE = "gone"
_LINE_LIMIT = 256 << 20
_FIRST_PAUSE = 0.01  # seconds before another keeper is started; doubled each time that one soon dies
_LAST_PAUSE = 5.0
_PULSE = 5.0  # seconds between looks whether the keeper answers, and in which it must
_AGAIN = 0.5  # seconds between tries to settle what was active when a keeper died
_FORGOTTEN = 20  # attempts at a time: each takes the keeper 0.5 ms, in which it does nothing else


class Superseded(Unavailable):
    """A newer owner commands the keeper."""


class _Hold:
    """What the server keeps open of a running attempt."""

    def __init__(self, directory: Path, fact: Fact) -> None:
        self.pidfd = self._pidfd(fact)
        self.fifo = -1
        # without the FIFO the output is as safe as the keeper is; the attempt may have ended and be forgotten
        with contextlib.suppress(OSError):
            self.fifo = os.open(directory / FIFO, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)

    @staticmethod
    def _pidfd(fact: Fact) -> int | None:
        """Without it the exit code is as safe as the keeper is."""
        with contextlib.suppress(OSError):
            return process.open_pidfd(fact.pid, fact.ticks) if fact.pid else None
        return None

    def status(self) -> int | None:
        """Wait status if the process ended and the kernel tells it."""
        if self.pidfd is None or not process.ended(self.pidfd):
            return None
        return process.pidfd_status(self.pidfd)

    def close(self) -> None:
        for fd in (self.pidfd, self.fifo):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.pidfd, self.fifo = None, -1


class LocalExecutor:
    """Carries attempts out on this machine. One per store; ``slots`` is how many run at a time.

    ``start_timeout`` (seconds) bounds how long a call waits for a keeper that cannot be reached. ``keeper_script`` and
    ``keeper_args`` are for tests that need another keeper.
    """

    name = "local"

    def __init__(
        self,
        store_dir: Path,
        slots: int,
        *,
        start_timeout: float = 10.0,
        keeper_script: Path = KEEPER,
        keeper_args: Sequence[str] = (),
    ) -> None:
        self.keeper_pid: int | None = None
        self._store = store_dir.absolute()
        self._slots = slots
        self._start_timeout = start_timeout
        self._keeper_script = keeper_script
        self._keeper_args = tuple(keeper_args)
        self._owner = uuid.uuid4().hex
        self._epoch = 0
        self._boot = process.boot_id()
        self._state: Literal["up", "starting", "down"] = "down"
        self._reason = "not started"
        self._complaint = ""  # of the last keeper that could not start
        self._tell: Callable[[str | None], None] = lambda _: None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._session: asyncio.Task[None] | None = None
        self._pulse: asyncio.Task[None] | None = None
        self._reaching: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._facts: asyncio.Queue[list[Fact] | None] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._count = 0
        self._queued: dict[str, AttemptSpec] = {}  # submitted, not known to have started
        self._running: dict[str, str] = {}  # id → boot id; also what an earlier server queued
        self._holds: dict[str, _Hold] = {}
        self._stops: dict[str, tuple[str, float]] = {}  # asked for, no end seen: (how, monotonic time of the kill)

    # ------------------------------------------------------------------------------------------------ start and close

    def rouse(self) -> None:
        """A keeper takes some 50 ms to come up: it may while the store is opened."""
        self._reaching = asyncio.create_task(self._reach())

    async def start(self, epoch: int) -> int:
        """Connect, starting a keeper if there is none. Unavailable, ProtocolMismatch or OSError when that cannot be."""
        await asyncio.to_thread(self._prepare)
        self._set_state("starting", "the keeper is being started")
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._connect(lambda seen: max(epoch, seen) + 1)
        except TimeoutError:
            self._set_state("down", self._complaint or f"none within {self._start_timeout:g} s")
            raise Unavailable(
                f"the keeper of {self._store} cannot be reached: {self._reason}; see keeper.log there"
            ) from None
        except BaseException as error:
            self._hang_up(ConnectionResetError(str(error)))
            self._set_state("down", str(error))
            raise
        self._up.set()
        self._session = asyncio.create_task(self._run(), name="wattle-local-executor")
        self._pulse = asyncio.create_task(self._feel())
        return self._epoch

    def _prepare(self) -> None:
        (self._store / "attempts").mkdir(mode=0o700, parents=True, exist_ok=True)

    async def close(self) -> None:
        """Detach: attempts go on, and so does the keeper while it has any."""
        self._tell = lambda _: None
        tasks = [task for task in (self._session, self._pulse, self._reaching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._session = self._pulse = self._reaching = None
        self._hang_up(Unavailable("the executor was closed"))
        for hold in self._holds.values():
            hold.close()
        self._holds.clear()
        self._set_state("down", "closed")
        self._facts.put_nowait(None)

    def hosts(self) -> Sequence[Host]:
        state, reason = self._state, self._reason
        return [
            Host(name="local", slots=self._slots, boot_id=self._boot, state=state, reason=reason, pid=self.keeper_pid)
        ]

    def watch(self, tell: Callable[[str | None], None]) -> None:
        self._tell = tell

    def _set_state(self, state: Literal["up", "starting", "down"], reason: str = "") -> None:
        self._state, self._reason = state, reason
        if state != "starting":  # that takes some 100 ms, and nobody need know
            self._tell(reason or None)

    # ---------------------------------------------------------------------------------------------------- connecting

    async def _connect(self, agree: Any) -> None:
        """Reach a keeper and become its owner; ``agree`` makes our epoch of the newest that the keeper has seen."""
        reaching, self._reaching = self._reaching, None
        await (reaching or self._reach())
        try:
            hello = await self._greet()
            self._epoch = agree(hello["epoch"])
            own = {"op": "own", "owner": self._owner, "epoch": self._epoch, "slots": self._slots}
            owned = await self._ask(own, "owned")
        except (ConnectionError, asyncio.IncompleteReadError):
            self._hang_up(Unavailable("the keeper ended"))
            await asyncio.sleep(0.02)
            await self._connect(agree)
            return
        self.keeper_pid = hello["pid"]
        self._set_state("up")
        self._take(owned["facts"])

    async def _reach(self) -> None:
        """Open a connection to a keeper, starting one if there is none."""
        while True:
            try:
                await self._open()
                return
            except (FileNotFoundError, ConnectionError):
                await self._spawn_keeper()

    async def _open(self) -> None:
        address = Address(str(self._store))
        try:
            reader, writer = await asyncio.open_unix_connection(address.path, limit=_LINE_LIMIT)
        finally:
            address.close()
        sock: socket.socket = writer.get_extra_info("socket")
        if not is_own_user(sock):
            writer.close()
            raise PermissionError(f"the keeper's socket in {self._store} belongs to another user; remove it")
        self._reader, self._writer = reader, writer

    async def _greet(self) -> Message:
        hello = await self._ask({"op": "hello", "protocol": PROTOCOL}, "hello")
        if hello["protocol"] > PROTOCOL:
            raise ProtocolMismatch(
                f"the keeper (version {hello['version']}, pid {hello['pid']}) speaks protocol {hello['protocol']}, "
                f"this server {PROTOCOL}; upgrade wattle-jupyter here, or let its tasks end: it then ends by itself"
            )
        return hello

    async def _ask(self, message: Message, wanted: str) -> Message:
        """Before the session runs: send, and read until the answer is there."""
        assert self._writer is not None
        self._writer.write(encode(message))
        await self._writer.drain()
        while True:
            answer = await self._read()
            if answer["op"] == wanted:
                return answer
            self._refusals(answer)

    def _refusals(self, answer: Message) -> None:
        if answer["op"] == "refused":
            raise ProtocolMismatch(answer["message"])
        if answer["op"] == "superseded":
            raise Superseded(f"a newer server owns the store {self._store} (epoch {answer['epoch']})")
        if answer["op"] == "error":
            raise Unavailable(f"the keeper reports an error: {answer['message']}")

    async def _read(self) -> Message:
        assert self._reader is not None
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the keeper closed the connection")
        message: Message = json.loads(line)
        return message

    async def _spawn_keeper(self) -> None:
        """Start a keeper and wait until it can be connected to; one that somebody else starts is as good."""
        env = {key: value for key, value in os.environ.items() if key != process.COOKIE}
        starter = subprocess.Popen(  # noqa: ASYNC220  (a vfork: some 0.5 ms, and no watcher thread)
            [sys.executable, "-I", "-S", str(self._keeper_script), str(self._store), *self._keeper_args],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            cwd="/", env=env, start_new_session=True,
        )  # fmt: skip
        assert starter.stderr is not None
        try:
            words = (await _heard(starter.stderr.fileno())).decode("utf-8", "replace").strip()
            while starter.poll() is None:  # noqa: ASYNC110  (it says nothing more: it is about to end)
                await asyncio.sleep(0.001)
            if starter.returncode:
                self._complaint = words or f"the keeper ended with code {starter.returncode}"
                log.warning("keeper of %s: %s", self._store, self._complaint)
                await asyncio.sleep(0.1)
        finally:
            starter.stderr.close()
            if starter.returncode is None:
                starter.kill()
                starter.wait()

    # ------------------------------------------------------------------------------------------------------- session

    async def _run(self) -> None:
        """Take what the keeper says; when it is gone, get another one and settle what was active."""
        recovery: asyncio.Task[None] | None = None
        pause = _FIRST_PAUSE
        try:
            while True:
                self._up.set()
                since = time.monotonic()
                try:
                    await self._listen()
                except (ConnectionError, OSError, ValueError) as error:
                    reason = str(error)
                if recovery is not None:
                    recovery.cancel()
                self._up.clear()
                self._hang_up(ConnectionResetError(reason))
                # one that dies again and again must not take the processor
                pause = min(2 * pause, _LAST_PAUSE) if time.monotonic() - since < _LAST_PAUSE else _FIRST_PAUSE
                await self._reconnect(reason, pause)
                recovery = asyncio.create_task(self._recover())
        except (Superseded, ProtocolMismatch) as error:
            log.error("local executor stopped: %s", error)
            self._hang_up(error)
            self._set_state("down", str(error))
        except Exception as error:
            log.exception("local executor stopped by a fault of its own")
            self._hang_up(ConnectionResetError("a fault of its own"))
            self._set_state("down", f"a fault of its own, {error!r}; its log says more. Restart the server")
        finally:
            if recovery is not None:
                recovery.cancel()
                await asyncio.gather(recovery, return_exceptions=True)

    async def _feel(self) -> None:
        """Say so while the keeper is there and does not answer. Only that: it holds all tasks, and may be busy."""
        silent = False
        while True:
            await asyncio.sleep(_PULSE)
            try:
                async with asyncio.timeout(_PULSE):
                    await self._call({"op": "inspect", "rows": {}})
            except TimeoutError:
                silent, pid = True, self.keeper_pid
                self._tell(
                    f"the keeper (pid {pid}) does not answer: tasks go on, none is started or stopped; "
                    f"if it was suspended: kill -CONT {pid}, if it hangs: kill -9 {pid} (a new one takes its place)"
                )
            except (ConnectionError, Unavailable):
                silent = False  # it is being looked after
            else:
                if silent:
                    self._tell(self._reason or None)
                silent = False

    async def _listen(self) -> None:
        while True:
            message = await self._read()
            if message["op"] == "facts":
                self._take(message["facts"])
            elif message["op"] == "trouble":
                self._set_state("up", message["why"])
            elif (answer := self._answers.pop(message.get("n", -1), None)) is not None:
                if not answer.done():
                    answer.set_result(message)
            elif message["op"] == "error":
                log.error("keeper: %s", message["message"])
            else:
                self._refusals(message)

    async def _reconnect(self, reason: str, pause: float) -> None:
        log.warning("keeper of %s lost (%s): getting another", self._store, reason)
        self._set_state("starting", "the keeper was lost and is being started again")
        while True:
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(self._start_timeout):
                    await self._connect(lambda _: self._epoch)
                return
            except (Superseded, ProtocolMismatch):
                raise
            except (OSError, Unavailable, TimeoutError) as error:
                self._hang_up(ConnectionResetError(str(error)))
                self._set_state("down", f"the keeper cannot be started: {str(error) or self._complaint}")
                pause = min(2 * pause, _LAST_PAUSE)

    async def _recover(self) -> None:
        """After a keeper's death: what ran is judged; what was still queued is sent again unless it shall stop."""
        while not await self._settled():  # noqa: ASYNC110  (only trying again tells)
            await asyncio.sleep(_AGAIN)

    async def _settled(self) -> bool:
        """Recover once; False if the keeper could not, say for want of room on the disk."""
        try:
            stopped = set(self._stops)
            queued = [spec for id, spec in self._queued.items() if id not in stopped]
            if queued:
                await self._send(_start(queued))
            rows = dict(self._running) | {id: "" for id in self._queued if id in stopped}
            if rows:
                self._emit([_as_stopped(fact, stopped) for fact in await self._inspect(rows)])
            for id, (how, at) in list(self._stops.items()):
                await self._send({"op": "signal", "id": id, "how": how, "grace": max(0.0, at - time.monotonic())})
        except ConnectionError:
            return True  # lost again: the next recovery does it all
        except Unavailable as error:
            log.error("what was active when the keeper was lost could not be settled, trying again: %s", error)
            return False
        return True

    def _hang_up(self, error: Exception) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # whoever asked may be gone
        self._answers.clear()

    async def _send(self, message: Message) -> None:
        if self._writer is None or not self._up.is_set():  # before it is ours, the keeper would show us out
            raise ConnectionResetError("no connection to the keeper")
        self._writer.write(encode(message))
        await self._writer.drain()

    async def _call(self, message: Message) -> Message:
        self._count += 1
        number = self._count
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await self._send(message | {"n": number})
            result = await answer
        finally:
            self._answers.pop(number, None)
        if result["op"] == "error":
            raise Unavailable(f"the keeper reports an error: {result['message']}")
        return result

    async def _persist(self, make: Any) -> Any:
        """Do what needs a keeper, over the death of keepers, for at most the start timeout after each."""
        while True:
            try:
                async with asyncio.timeout(self._start_timeout):
                    await self._up.wait()
            except TimeoutError:
                raise Unavailable(f"the keeper of {self._store} cannot be reached: {self._reason}") from None
            if self._writer is None:
                raise Unavailable(f"the keeper of {self._store} cannot be used: {self._reason}")
            try:
                return await make()
            except ConnectionError:
                await asyncio.sleep(0.01)

    # --------------------------------------------------------------------------------------------------------- verbs

    async def submit(self, specs: Sequence[AttemptSpec]) -> None:
        """While there is no keeper, specs wait here for the next one."""
        new = [spec for spec in specs if spec.id not in self._queued and spec.id not in self._running]
        self._queued.update((spec.id, spec) for spec in new)
        with contextlib.suppress(ConnectionError):  # the next session sends them
            await self._send(_start(new))

    async def inspect(self, boot_ids: Mapping[str, str]) -> Sequence[Fact]:
        facts: Sequence[Fact] = await self._persist(lambda: self._inspect(boot_ids)) if boot_ids else []
        return facts

    async def _inspect(self, rows: Mapping[str, str]) -> list[Fact]:
        seen = {id: status for id in rows if (status := self._seen(id)) is not None}
        facts = (await self._call({"op": "inspect", "rows": dict(rows), "seen": seen}))["facts"]
        gone = {fact["id"]: rows[fact["id"]] for fact in facts if fact["kind"] == _GONE}
        if gone:
            # the process ended without a keeper: what we saw, or nothing, is the last word
            final = {id: self._seen(id) for id in gone}
            again = (await self._call({"op": "inspect", "rows": gone, "seen": final}))["facts"]
            facts = [fact for fact in facts if fact["kind"] != _GONE] + again
        return self._learn(facts)

    def _seen(self, id: str) -> int | None:
        hold = self._holds.get(id)
        return hold.status() if hold is not None else None

    def events(self) -> AsyncIterator[Sequence[Fact]]:
        return self._events()

    async def _events(self) -> AsyncIterator[Sequence[Fact]]:
        while (facts := await self._facts.get()) is not None:
            yield facts

    async def acknowledge(self, ids: Sequence[str]) -> None:
        with contextlib.suppress(ConnectionError):  # a new keeper holds none of them
            await self._send({"op": "ack", "ids": list(ids)})

    async def signal(self, id: str, how: Literal["stop", "kill"], grace: float) -> None:
        self._stops[id] = (how, time.monotonic() + grace)
        with contextlib.suppress(ConnectionError):  # the next session sends it
            await self._send({"op": "signal", "id": id, "how": how, "grace": grace})

    async def forget(self, ids: Sequence[str]) -> None:
        """Conflict, naming them, if some have not ended; the others are deleted."""
        kept: dict[str, str] = {}
        for first in range(0, len(ids), _FORGOTTEN):
            message = {"op": "forget", "ids": list(ids[first : first + _FORGOTTEN])}
            kept |= (await self._persist(partial(self._call, message)))["kept"]
        if kept:
            words = ", ".join(f"{id} ({why})" for id, why in kept.items())
            raise Conflict(f"attempts that cannot be deleted: {words}", kept=kept)

    # --------------------------------------------------------------------------------------------------------- facts

    def _take(self, facts: Sequence[Message]) -> None:
        self._emit(self._learn(facts))

    def _emit(self, facts: list[Fact]) -> None:
        if facts:
            self._facts.put_nowait(facts)

    def _learn(self, facts: Sequence[Message]) -> list[Fact]:
        learned = [Fact(**{key: value for key, value in fact.items() if key in _FACT_KEYS}) for fact in facts]
        for fact in learned:
            if fact.kind == "running":
                self._queued.pop(fact.id, None)
                self._running[fact.id] = fact.boot_id
                if fact.id not in self._holds:
                    self._holds[fact.id] = _Hold(self._store / "attempts" / fact.id, fact)
            elif fact.kind == "queued" and fact.id not in self._queued:
                # an earlier server sent it and we do not have its spec: if this keeper dies, it has to be judged
                self._running.setdefault(fact.id, fact.boot_id)
            elif fact.kind in _FINAL:
                self._end(fact.id)
        return learned

    def _end(self, id: str) -> None:
        self._queued.pop(id, None)
        self._running.pop(id, None)
        self._stops.pop(id, None)
        hold = self._holds.pop(id, None)
        if hold is not None:
            hold.close()


async def _heard(pipe: int) -> bytes:
    """What comes out of a pipe until nobody holds its other end."""
    loop, said = asyncio.get_running_loop(), bytearray()
    ended: asyncio.Future[None] = loop.create_future()

    def take() -> None:
        data = os.read(pipe, 65536)
        said.extend(data)
        if not data and not ended.done():
            ended.set_result(None)

    loop.add_reader(pipe, take)
    try:
        await ended
    finally:
        loop.remove_reader(pipe)
    return bytes(said)


def _as_stopped(fact: Fact, stopped: set[str]) -> Fact:
    if fact.kind == "never_started" and not fact.why and fact.id in stopped:
        return replace(fact, why="stopped")
    return fact


def _start(specs: Sequence[AttemptSpec]) -> Message:
    """What all environments have in common travels once: it is most of a message."""
    first = specs[0].env if specs else {}
    common = {key: text for key, text in first.items() if all(spec.env.get(key) == text for spec in specs[1:])}
    forms = [_form(spec) for spec in specs]
    for form in forms:
        form["env"] = {key: text for key, text in form["env"].items() if key not in common}
    return {"op": "start", "env": common, "specs": forms}


def _form(spec: AttemptSpec) -> dict[str, Any]:
    """What travels. Not ``asdict``: that copies every word of every environment, one by one."""
    return {name: getattr(spec, name) for name in _SPEC_KEYS}
