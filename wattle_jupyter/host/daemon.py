"""Becoming a daemon: one keeper per store, in its own session, ready before its starter is told so."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback

from wattle_jupyter.host.files import Journal, KeeperLock
from wattle_jupyter.host.keeper import Keeper
from wattle_jupyter.host.process import FEATURES, Kernel
from wattle_jupyter.host.protocol import listen

USAGE = "usage: keeper STORE [--idle SECONDS] [--without FEATURE,...]"

TAKEN = 75
"""Exit code: another keeper of this store lives."""


def main(argv: list[str]) -> int:
    """Start a keeper in the background. Returns when its socket can be connected to, or says on stderr why not."""
    try:
        store, idle, without = parse(argv)
    except ValueError as error:
        sys.stderr.write(f"{error}\n{USAGE}\n")
        return 2
    ready, tell = os.pipe()
    if os.fork() == 0:
        os.close(ready)
        os._exit(_serve(store, idle, without, tell))
    os.close(tell)
    with os.fdopen(ready, "rb") as file:
        answer = file.read().decode("utf-8", "replace")
    if answer == "ready":
        return 0
    sys.stderr.write((answer or "the keeper ended before it was ready") + "\n")
    return TAKEN if answer.startswith("taken") else 1


def parse(argv: list[str]) -> tuple[str, float, frozenset[str]]:
    """ValueError with a message for people."""
    if len(argv) % 2 != 1:
        raise ValueError("the store is missing" if not argv else "an option lacks its value")
    idle, without = 60.0, frozenset[str]()
    for name, value in zip(argv[1::2], argv[2::2], strict=True):
        if name == "--idle":
            idle = float(value)
        elif name == "--without":
            without = frozenset(value.split(","))
            if unknown := without - FEATURES:
                raise ValueError(f"unknown features {sorted(unknown)}; there are {sorted(FEATURES)}")
        else:
            raise ValueError(f"unknown option {name}")
    return os.path.abspath(argv[0]), idle, without


def _serve(store: str, idle: float, without: frozenset[str], tell: int) -> int:
    try:
        os.setsid()
        os.chdir("/")
        lock = KeeperLock(store)
        if not lock.take():
            os.write(tell, b"taken: another keeper of this store lives")
            return TAKEN
        lock.write(*lock.read())  # our pid, for people and for doctor
        listener = listen(store)
        keeper = Keeper(store, lock, listener, Kernel(without), idle)
        _detach()
        os.write(tell, b"ready")
        os.close(tell)
    except Exception as error:  # noqa: BLE001  (the starter is told)
        os.write(tell, f"the keeper cannot start: {error}".encode())
        return 1
    try:
        keeper.run()
    except BaseException:  # noqa: BLE001  (last words of a daemon go to its log)
        Journal(store).write(traceback.format_exc())
        return 1
    return 0


def _detach() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
    for name in os.listdir("/dev/fd"):  # what whoever started us left open is not for tasks
        with contextlib.suppress(OSError):
            os.set_inheritable(int(name), int(name) <= 2)
