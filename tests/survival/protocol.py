"""The protocol as a state machine for Hypothesis: real keepers and judges, a server of some lines, deaths at any call.

The server is the plain reading of what :mod:`wattle_jupyter.scheduler` and the local executor do together: commit
first, tell then; after its start nothing is decided before the truth is known. Every rule is one step of one side, so
deaths and messages fall between any two of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from survival.world import Killed, Sim, World, write
from wattle_jupyter.host.attempt import RUNNING
from wattle_jupyter.host.files import KeeperLock
from wattle_jupyter.host.keeper import Keeper
from wattle_jupyter.host.protocol import PROTOCOL, Message
from wattle_jupyter.host.record import parse

AT_ONCE = 3  # tasks that are under way
ACTIVE = ("starting", "running")


class Wire:
    """A connection between a server and a keeper, with what is on its way. Looks like a link to the keeper's desk."""

    def __init__(self) -> None:
        self.to_keeper: deque[Message] = deque()
        self.to_server: deque[Message] = deque()
        self.greeted = False
        self.open = True  # at the keeper's end
        self.closed = False  # at the server's end
        self.desk: Any = None

    def send(self, message: Message, *, last: bool = False) -> None:
        if self.open:
            self.to_server.append(message)
            if last:
                self.close()

    def deliver(self) -> None:
        if self.to_keeper:
            self.desk._receive(self, self.to_keeper.popleft())
        elif self.closed:
            self.close()

    def drain(self) -> None:
        while self.open and self.to_keeper:
            self.deliver()
        if self.closed:
            self.close()

    def close(self) -> None:
        if self.open:
            self.open = False
            self.desk._gone(self)


@dataclass
class Row:
    """An attempt in the database."""

    id: str
    task: str
    n: int
    boot: str
    state: str = "starting"
    code: int | None = None


@dataclass
class Database:
    """What survives."""

    epoch: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def of(self, task: str) -> list[Row]:
        return [row for row in self.rows.values() if row.task == task]

    def active(self) -> dict[str, str]:
        return {row.id: row.boot for row in self.rows.values() if row.state in ACTIVE}


class Server:
    """The memory of an owner: gone when it is killed."""

    def __init__(self, database: Database, world: World, store: Path, name: str) -> None:
        self.database, self.world, self.store, self.name = database, world, store, name
        self.epoch = 0
        self.ready = False  # knows the truth, and starts what is due
        self.owns = False  # the keeper obeys
        self.wire: Wire | None = None
        self.outbox: deque[Message] = deque()
        self.queued: dict[str, Message] = {}
        self.running: dict[str, str] = {}
        self.holds: dict[str, tuple[int, int, int]] = {}  # attempt → pid, ticks, FIFO

    def connect(self, wire: Wire) -> None:
        self.wire = wire
        wire.to_keeper.append({"op": "hello", "protocol": PROTOCOL})

    def lost_keeper(self) -> None:
        self.wire, self.owns = None, False
        self.outbox = deque(m for m in self.outbox if m["op"] == "start")  # the next session sends what is queued

    def close(self) -> None:
        if self.wire is not None:
            self.wire.closed = True
        for _, _, fifo in self.holds.values():
            os.close(fifo)
        self.holds.clear()

    # ------------------------------------------------------------------------------------------------ what it hears

    def hear(self, message: Message) -> None:
        getattr(self, f"_{message['op']}")(message)

    def _hello(self, message: Message) -> None:
        assert self.wire is not None
        self.epoch = self.epoch or max(self.database.epoch, message["epoch"]) + 1
        own = {"op": "own", "owner": self.name, "epoch": self.epoch, "slots": 2}
        self.wire.to_keeper.append(own)

    def _owned(self, message: Message) -> None:
        assert self.wire is not None
        self.owns = True
        self.database.epoch = max(self.database.epoch, self.epoch)
        self._take(message["facts"])
        if self.ready:
            if self.queued:
                self.wire.to_keeper.append({"op": "start", "specs": list(self.queued.values())})
            self._inspect(dict(self.running))
        else:
            self._inspect(self.database.active())

    def _inspect(self, rows: dict[str, str], *, last: bool = False) -> None:
        assert self.wire is not None
        seen = {id: status for id in rows if (status := self._seen(id)) is not None or last}
        self.wire.to_keeper.append({"op": "inspect", "n": 2 if last else 1, "rows": rows, "seen": seen})

    def _seen(self, id: str) -> int | None:
        pid, ticks, _ = self.holds.get(id, (0, 0, 0))
        return self.world.ended.get((pid, ticks))

    def _inspected(self, message: Message) -> None:
        self._take([fact for fact in message["facts"] if fact["kind"] != "gone"])
        gone = [fact["id"] for fact in message["facts"] if fact["kind"] == "gone"]
        if gone:
            self._inspect({id: self.database.rows[id].boot for id in gone}, last=True)
        else:
            self.ready = True

    def _facts(self, message: Message) -> None:
        self._take(message["facts"])

    def _superseded(self, message: Message) -> None:
        """A newer one commands the keeper."""

    def _refused(self, message: Message) -> None:
        raise AssertionError(message)

    _error = _forgot = _refused

    def _trouble(self, message: Message) -> None:
        raise AssertionError(message)

    def _take(self, facts: list[Message]) -> None:
        for fact in facts:
            row = self.database.rows.get(fact["id"])
            assert row is not None, f"a fact about {fact['id']}, which the database does not know"
            getattr(self, f"_is_{fact['kind']}")(row, fact)

    def _is_queued(self, row: Row, fact: Message) -> None:
        if row.id not in self.queued:
            self.running.setdefault(row.id, row.boot)

    def _is_running(self, row: Row, fact: Message) -> None:
        assert row.state in ACTIVE, f"{row} runs"
        row.state = "running"
        self.queued.pop(row.id, None)
        self.running[row.id] = row.boot
        if row.id not in self.holds:
            with contextlib.suppress(OSError):
                path = self.store / "attempts" / row.id / "fifo"
                self.holds[row.id] = (fact["pid"], fact["ticks"], os.open(path, os.O_RDWR | os.O_NONBLOCK))

    def _is_exited(self, row: Row, fact: Message) -> None:
        code = fact["code"] if fact["signal"] is None else -fact["signal"]
        self._final(row, "completed" if code == 0 and not fact["why"] else "failed", code)

    def _is_lost(self, row: Row, fact: Message) -> None:
        self._final(row, "lost")

    def _is_never_started(self, row: Row, fact: Message) -> None:
        self._final(row, "never_started")

    def _final(self, row: Row, state: str, code: int | None = None) -> None:
        """One commit, and then the acknowledgement."""
        if row.state in ACTIVE:
            row.state, row.code = state, code
            self.database.outcomes[state] += 1
        else:
            assert (row.state, row.code) == (state, code), f"{row} is told again as {state} {code}"
        self.queued.pop(row.id, None)
        self.running.pop(row.id, None)
        hold = self.holds.pop(row.id, None)
        if hold is not None:
            os.close(hold[2])
        self.outbox.append({"op": "ack", "ids": [row.id]})

    # ------------------------------------------------------------------------------------------------ what it does

    def due(self) -> list[str]:
        """Tasks that are to be started."""
        if not self.ready:
            return []
        rows = self.database.rows.values()
        closed = {row.task for row in rows if row.state == "completed"}
        tasks = [f"t{i}" for i in range(len(closed) + AT_ONCE)]
        busy = closed | {row.task for row in rows if row.state in ACTIVE}
        return [task for task in tasks if task not in busy]

    def submit(self, task: str, id: str) -> None:
        n = len(self.database.of(task)) + 1
        self.commit(Row(id, task, n, self.world.boot))
        self.tell({
            "id": id, "task_run": task, "run": "r", "n": n, "round": 1, "epoch": self.epoch, "argv": ["/bin/true"],
            "cwd": "/", "env": {"PATH": "/bin"}, "timeout": None, "grace": 1.0, "keep_children": False,
        })  # fmt: skip

    def commit(self, row: Row) -> None:
        self.database.rows[row.id] = row

    def tell(self, spec: Message) -> None:
        self.queued[spec["id"]] = spec
        self.outbox.append({"op": "start", "specs": [spec]})

    def send(self) -> None:
        assert self.wire is not None
        self.wire.to_keeper.append(self.outbox.popleft())


class Protocol(RuleBasedStateMachine):
    """``server_class`` is exchanged by the tests for one that breaks a rule. ``told`` counts what all examples did."""

    server_class: type[Server] = Server
    told: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="wp-"))
        self._stack.callback(shutil.rmtree, self.folder)
        self.world = World()
        self.world.on_spawn = self._spawning
        self._stack.enter_context(self.world.installed())
        self.database = Database()
        self.server: Server | None = None
        self.servers = 0
        self.stale: list[Wire] = []  # connections that a newer owner took the place of
        self.wires: list[Wire] = []
        self.keeper: Keeper | None = None
        self.written: dict[str, bytes] = {}
        self.codes: dict[str, int] = {}  # how the leaders ended
        self.blind: set[str] = set()
        self.reaped: set[str] = set()  # ends that a keeper saw, and lived on for a turn
        self.faults: list[str] = []
        self._listener: socket.socket | None = None

    @initialize()
    def begins(self) -> None:
        self.start_keeper()
        self.start_server()
        while not self.server.ready:  # type: ignore[union-attr]  # it was started just now
            self._talk(None)

    def teardown(self) -> None:
        try:
            self._heal()
            self.told.update(self.database.outcomes, examples=1)
        finally:
            self._keeper_dies()
            if self.server is not None:
                self.server.close()
            for sim in self.world.processes.values():
                sim.close()
            self._stack.close()

    def _spawning(self, id: str) -> None:
        """The keeper takes every error of a start for the task's: what is wrong is kept for the end of the step."""
        row = self.database.rows.get(id)
        if row is None:
            self.faults.append(f"{id} starts and is not on disk")
            return
        self.written[id] = b""
        if row.state != "starting" or self.world.spawned[id]:
            self.faults.append(f"{row} starts for the {self.world.spawned[id] + 1}. time")
        for other in self.database.of(row.task):
            if other.state == "completed" or self.world.living(other.id):
                self.faults.append(f"{row} starts after {other}, of which live {self.world.living(other.id)}")

    # ------------------------------------------------------------------------------------------------ the keeper

    def start_keeper(self) -> None:
        self.world.keeper_starts()
        lock = KeeperLock(str(self.folder))
        assert lock.take()
        second = KeeperLock(str(self.folder))
        assert not second.take(), "two keepers judge"
        self.world.close(second._fd)
        self._listener, other = socket.socketpair()
        other.close()
        self._listener.setblocking(False)
        self.keeper = Keeper(str(self.folder), lock, self._listener, self.world.kernel(), 60.0)
        if self.server is not None:
            self._connect()

    def _connect(self) -> None:
        assert self.server is not None
        assert self.keeper is not None
        wire = Wire()
        wire.desk = self.keeper.desk
        self.wires.append(wire)
        self.server.connect(wire)

    def _turn(self) -> None:
        assert self.keeper is not None
        zombies = {s.cookie for s in self.world.processes.values() if s.status is not None and not s.daemon}
        self.keeper.reap()
        for attempt in list(self.keeper.held.values()):
            if attempt.adopted and attempt.state == RUNNING:
                self.keeper._watch_due(attempt)
        self.world.passes(0.03)
        self.keeper._tick()
        self.reaped |= zombies

    def _in_keeper(self, step: Any, fuse: int | None) -> None:
        self.world.fuse = fuse
        try:
            step()
        except Killed:
            self._keeper_dies()
            self.told["killed at a call"] += 1
        self.world.fuse = None
        assert not self.faults, self.faults
        journal = self.folder / "keeper.log"
        assert not journal.exists(), journal.read_text()

    @rule(fuse=st.one_of(st.integers(1, 26), st.none()), submit=st.booleans())
    def all_goes_on(self, fuse: int | None, submit: bool) -> None:
        """Who is missing is started, what is due submitted, everybody hears everything: until a death at a call."""
        self._start()
        server = self.server
        assert server is not None
        for task in server.due() if submit else []:
            server.submit(task, f"{len(self.database.rows):032x}")
        while self._may_send():
            server.send()
        self._talk(fuse)

    def _start(self) -> None:
        if self.keeper is None:
            self.start_keeper()
        if self.server is None:
            self.start_server()

    @rule(data=st.data())
    def one_step(self, data: st.DataObject) -> None:
        """The smallest of steps, of anybody who can make one."""
        step = data.draw(st.sampled_from(self._steps()))
        step()

    def _steps(self) -> list[Callable[[], None]]:
        wires = [w for w in self.wires if w.open and (w.to_keeper or w.closed)]
        steps: list[Callable[[], None]] = [lambda w=w: self._in_keeper(w.deliver, None) for w in wires]  # type: ignore[misc]
        if self.keeper is not None:
            steps.append(lambda: self._in_keeper(self._turn, None))
        if self._heard():
            steps.append(self.server_hears)
        server = self.server
        if server is not None:
            steps += [lambda t=t: server.submit(t, f"{len(self.database.rows):032x}") for t in server.due()]  # type: ignore[misc]
        if server is not None and self._may_send():
            steps.append(server.send)
        return steps or [self._start]

    def _talk(self, fuse: int | None) -> None:
        def keeper() -> None:
            for wire in [w for w in self.wires if w.open and (w.to_keeper or w.closed)]:
                wire.drain()
            self._turn()

        self._in_keeper(keeper, fuse)
        while self._heard():
            self.server_hears()

    @precondition(lambda self: self.keeper is not None)
    @rule()
    def keeper_dies(self) -> None:
        self._keeper_dies()

    def _keeper_dies(self) -> None:
        if self.keeper is not None:
            self.keeper._selector.close()
            self.keeper = None
            self.world.keeper_dies()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.wires = []
        self.stale = []
        if self.server is not None and self.server.wire is not None:
            self.server.lost_keeper()

    # ------------------------------------------------------------------------------------------------ the server

    def start_server(self) -> None:
        self.servers += 1
        self.server = self.server_class(self.database, self.world, self.folder, f"owner-{self.servers}")
        if self.keeper is not None:
            self._connect()

    @precondition(lambda self: self.server is not None)
    @rule()
    def server_dies(self) -> None:
        assert self.server is not None
        self.server.close()
        self.server = None

    @precondition(lambda self: self.server is not None and self.server.wire is not None and self.server.ready)
    @rule()
    def another_server_takes_over(self) -> None:
        """What no lock prevents: the old one knows nothing of it and goes on talking to the keeper."""
        assert self.server is not None
        assert self.server.wire is not None
        self.stale.append(self.server.wire)
        self.server.close()
        self.server.wire.closed = False
        self.server = None
        self.start_server()

    def server_hears(self) -> None:
        assert self.server is not None
        assert self.server.wire is not None
        self.server.hear(self.server.wire.to_server.popleft())

    def _heard(self) -> bool:
        return self.server is not None and self.server.wire is not None and bool(self.server.wire.to_server)

    def _may_send(self) -> bool:
        server = self.server
        return server is not None and server.ready and server.owns and bool(server.outbox)

    # ------------------------------------------------------------------------------------------------ tasks, machine

    def _leaders(self) -> list[Sim]:
        return [sim for sim in self.world.processes.values() if sim.status is None and not sim.daemon]

    @precondition(lambda self: self._leaders())
    @rule(data=st.data(), code=st.sampled_from([0, 0, 3]), left=st.booleans())
    def task_ends(self, data: st.DataObject, code: int, left: bool) -> None:
        """It has written something; perhaps it leaves a daemon behind."""
        sim = data.draw(st.sampled_from(self._leaders()))
        self._writes(sim)
        if left:
            pid = self.world.new_pid()
            lock = os.dup(sim.fds[0])
            self.world.processes[pid] = Sim(pid, sim.ticks, sim.pid, pid, sim.cookie, [lock], daemon=True)
        self.codes[sim.cookie] = code
        self.world.ends(sim, code << 8)

    def _writes(self, sim: Sim) -> None:
        text = f"{sim.cookie} {len(self.written[sim.cookie])}\n".encode()
        if write(sim.fds[-1], text):
            self.written[sim.cookie] += text

    @precondition(lambda self: self.database.active())
    @rule(torn=st.booleans())
    def machine_reboots(self, torn: bool) -> None:
        """With ``torn`` by a power cut: records were never forced to the disk, and some are gone."""
        self._keeper_dies()
        if self.server is not None:
            self.server_dies()
        self.blind |= set(self.database.rows)
        self.world.reboots()
        if torn:
            for id in self.database.active():
                shutil.rmtree(self.folder / "attempts" / id, ignore_errors=True)
                self.reaped.discard(id)

    # ------------------------------------------------------------------------------------------------ what must hold

    @invariant()
    def nobody_reads_what_is_lost_for_ever(self) -> None:
        """Output that nobody held went with the task: such logs end early."""
        for id, text in self.written.items():
            held = self.keeper is not None and (a := self.keeper.held.get(id)) is not None and a.pipe is not None
            seen = self.server is not None and id in self.server.holds
            if not held and not seen and not self.world.living(id) and len(self._log(id)) < len(text):
                self.blind.add(id)

    @invariant()
    def only_the_newest_owner_is_obeyed(self) -> None:
        """One that was replaced before it owned this keeper may stay connected: it has no say."""
        if self.keeper is not None and self.server is not None and self.server.owns:
            assert self.keeper.desk._owner not in self.stale, "an owner that was replaced is listened to"

    @invariant()
    def verdicts_are_on_disk(self) -> None:
        """So that nobody starts later what was called over."""
        for row in self.database.rows.values():
            if row.state in ("never_started", "lost"):
                assert self._verdict(row) in (row.state, "gone"), f"{row}: its record says {self._verdict(row)}"

    @invariant()
    def exits_are_on_disk(self) -> None:
        """So that whoever comes next can tell them again."""
        for row in self.database.rows.values():
            if row.state in ("completed", "failed"):
                assert {"exit", "gone"} & set(self._said(row)), f"{row}: its record says {self._said(row)}"

    def _verdict(self, row: Row) -> str:
        return (self._said(row) or ["nothing"])[-1]

    def _said(self, row: Row) -> list[str]:
        folder = self.folder / "attempts" / row.id
        if not folder.exists():
            return ["gone"]  # by a power cut
        path = folder / "record"
        lines = parse(path.read_bytes())[0] if path.exists() else []
        return [line.get("verdict", line["k"]) for line in lines]

    @invariant()
    def rows_say_what_happened(self) -> None:
        for row in self.database.rows.values():
            ran = self.world.spawned[row.id]
            if row.state == "never_started":
                assert not ran, f"{row} ran"
            if row.state == "lost":
                assert row.id not in self.reaped, f"{row}, though a keeper saw its end"
            if row.state == "completed":
                assert self.codes.get(row.id) == 0, f"{row} ended with {self.codes.get(row.id)}"
            if row.state == "failed":
                assert row.code == self.codes.get(row.id), f"{row} ended with {self.codes.get(row.id)}"
            if row.state not in ACTIVE and self.server is not None:
                assert not self.world.living(row.id), f"{row} has processes"

    @invariant()
    def logs_are_right_as_far_as_they_go(self) -> None:
        for id, text in self.written.items():
            assert text.startswith(self._log(id)), f"the log of {id} is {self._log(id)!r}, not {text!r}"

    def _log(self, id: str) -> bytes:
        path = self.folder / "attempts" / id / "log"
        return path.read_bytes() if path.exists() else b""

    # ------------------------------------------------------------------------------------------------ the end

    def _heal(self) -> None:
        """Nothing is killed any more: every task must come to its success, with a whole log, and leave nothing."""
        for _ in range(400):
            if self._done():
                break
            self._step()
        assert self._done(), f"it does not end: {self.database}"
        for id, text in self.written.items():
            if id not in self.blind and self.database.rows[id].state != "lost":
                assert self._log(id) == text, f"the log of {id} is {self._log(id)!r}, not {text!r}"
        left = [sim for sim in self.world.processes.values() if sim.status is None]
        assert not left, f"left behind: {left}"

    def _done(self) -> bool:
        tasks = {row.task for row in self.database.rows.values()}
        ended = all(any(row.state == "completed" for row in self.database.of(task)) for task in tasks)
        return ended and not self.database.active() and bool(tasks)

    def _open(self) -> bool:
        """Has a task to be started again?"""
        tasks = {row.task for row in self.database.rows.values()}
        return any(all(r.state not in (*ACTIVE, "completed") for r in self.database.of(task)) for task in tasks)

    def _step(self) -> None:
        self.all_goes_on(None, len(self.database.rows) < 2 or self._open())
        for sim in self._leaders():
            self._writes(sim)
            self.codes[sim.cookie] = 0
            self.world.ends(sim, 0)
