"""Where servers come to the keeper: who may speak, and what each message does."""

from __future__ import annotations

import os
import selectors
import socket
import traceback
from typing import TYPE_CHECKING

from wattle_jupyter._version import __version__
from wattle_jupyter.host.attempt import Facts
from wattle_jupyter.host.files import KeeperLock, checked_id
from wattle_jupyter.host.judge import UNASKED
from wattle_jupyter.host.link import Link
from wattle_jupyter.host.protocol import PROTOCOL, Message, is_own_user

if TYPE_CHECKING:
    from wattle_jupyter.host.keeper import Keeper


class Desk:
    """Obeys the newest owner only: the one with the highest (epoch, uuid)."""

    def __init__(
        self, keeper: Keeper, lock: KeeperLock, listener: socket.socket, selector: selectors.BaseSelector
    ) -> None:
        self._keeper = keeper
        self._lock = lock
        self._listener = listener
        self._selector = selector
        self._newest = lock.read()
        self._owner: Link | None = None
        selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def owned(self) -> bool:
        """Is a server connected that may command?"""
        return self._owner is not None

    def tell(self, facts: list[Facts]) -> None:
        """Without an owner they wait: what is held is told at its arrival."""
        if self._owner is not None:
            self._owner.send({"op": "facts", "facts": facts})

    def tell_trouble(self, why: str) -> None:
        """What keeps the keeper from its work; ``""``: nothing any longer."""
        if self._owner is not None:
            self._owner.send({"op": "trouble", "why": why})

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        if is_own_user(sock):
            Link(sock, self._selector, self._receive, self._gone)
        else:
            sock.close()

    def _gone(self, link: Link) -> None:
        if link is self._owner:
            self._owner = None

    def _receive(self, link: Link, message: Message) -> None:
        op = message.get("op")
        try:
            if op == "hello":
                self._hello(link, message)
            elif op == "own" and link.greeted:
                self._own(link, message)
            elif link is not self._owner:
                link.send({"op": "error", "message": f"{op!r} before 'own'"}, last=True)
            else:
                self._obey(link, op, message)
        except Exception as error:  # noqa: BLE001  (a bad message must not end the keeper; both sides hear of it)
            self._keeper.journal.write(f"message {op!r}: {traceback.format_exc()}")
            link.send({"op": "error", "n": message.get("n"), "message": f"{op}: {type(error).__name__}: {error}"})

    def _hello(self, link: Link, message: Message) -> None:
        theirs = message.get("protocol")
        if not isinstance(theirs, int) or theirs < PROTOCOL:
            cure = "upgrade wattle-jupyter in the server's environment to the version that started this keeper"
            text = (
                f"the keeper (version {__version__}, pid {os.getpid()}) speaks protocol {PROTOCOL}, the server {theirs}"
            )
            link.send({"op": "refused", "message": f"{text}; {cure}"}, last=True)
            return
        if self._owner is not None and self._owner is not link:
            self._owner.drain()  # what the old owner said comes before what the new one hears
        link.greeted = True
        kernel = self._keeper.kernel
        link.send(
            {
                "op": "hello",
                "protocol": PROTOCOL,
                "version": __version__,
                "pid": os.getpid(),
                "boot_id": kernel.boot,
                "machine_id": kernel.machine,
                "epoch": self._newest[0],
                "owner": self._newest[1],
                "pidfd_info": kernel.pidfd_info,
            }
        )

    def _own(self, link: Link, message: Message) -> None:
        claimed = (int(message["epoch"]), str(message["owner"]))
        if claimed < self._newest:
            link.send({"op": "superseded", "epoch": self._newest[0]}, last=True)
            return
        old, self._owner = self._owner, None
        if old is not None and old is not link:
            self._owner = old
            old.drain()
            self._owner = None
            old.send({"op": "superseded", "epoch": claimed[0]}, last=True)
        self._newest = claimed
        self._lock.write(*claimed)
        self._owner = link
        self._keeper.allow(int(message["slots"]))
        link.send({"op": "owned", "facts": [attempt.fact() for attempt in self._keeper.held.values()]})
        if self._keeper.trouble.text:
            self.tell_trouble(self._keeper.trouble.text)

    def _obey(self, link: Link, op: object, message: Message) -> None:
        keeper = self._keeper
        if op == "start":
            for spec in message["specs"]:
                keeper.enqueue(spec, message.get("env", {}))
        elif op == "ack":
            keeper.acknowledge(message["ids"])
        elif op == "signal":
            keeper.stop(checked_id(message["id"]), message["how"], float(message["grace"]))
        elif op == "inspect":
            link.send({"op": "inspected", "n": message["n"], "facts": self._inspect(message)})
        elif op == "forget":
            kept = {id: why for id in message["ids"] if (why := keeper.forget(id))}
            link.send({"op": "forgot", "n": message["n"], "kept": kept})
        else:
            raise ValueError(f"unknown message {op!r}")

    def _inspect(self, message: Message) -> list[Facts]:
        seen = message.get("seen", {})
        self._keeper.reap()
        return [self._keeper.inspect(id, boot, seen.get(id, UNASKED)) for id, boot in message["rows"].items()]
