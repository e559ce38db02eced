"""Processes born side by side: ``posix_spawn`` of the C library, called without the interpreter's lock.

A parent waits until its child has become another program. On a busy machine that is some milliseconds, in which
:func:`os.posix_spawn` holds up all threads. On a quiet one it is a fifth of a millisecond, and threads do not pay.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

_SETSID = 0x80  # POSIX_SPAWN_SETSID of glibc and musl
_ROOM = 1024  # bytes: more than any C library's posix_spawnattr_t (336) or posix_spawn_file_actions_t (80)
_NEEDED = (
    "posix_spawn", "posix_spawnattr_init", "posix_spawnattr_setflags", "posix_spawn_file_actions_init",
    "posix_spawn_file_actions_adddup2", "posix_spawn_file_actions_addchdir_np", "posix_spawn_file_actions_destroy",
)  # fmt: skip


class Births:
    """``spawn`` from any thread; ``together`` does several things at once, with so many ``hands`` beside the caller's.

    OSError if the C library lacks something, RuntimeError if there may be no more threads.
    """

    def __init__(self, hands: int) -> None:
        libc = ctypes.CDLL(None)
        try:
            self._calls = {name: getattr(libc, name) for name in _NEEDED}
        except AttributeError as error:
            raise OSError(f"this C library cannot: {error}") from None
        self._attributes = ctypes.create_string_buffer(_ROOM)
        self._do("posix_spawnattr_init", self._attributes)
        self._do("posix_spawnattr_setflags", self._attributes, ctypes.c_short(_SETSID))
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(hands):
            # all of them now: none may be missing when something is to be started. They last as long as this process,
            # because what a task leaves behind must not come to one of them
            threading.Thread(target=self._work, daemon=True).start()

    def _do(self, name: str, *args: object) -> None:
        if error := self._calls[name](*args):
            raise OSError(error, os.strerror(error))

    def spawn(
        self, program: str, argv: Sequence[str], env: Mapping[str, str], files: Mapping[int, int], cwd: str
    ) -> int:
        """The pid of a new session's leader. ``files``: number there → descriptor here. OSError or ValueError."""
        if any(not name or "=" in name for name in env):
            raise ValueError("illegal environment variable name")
        words, pairs = _strings(argv), _strings([f"{name}={text}" for name, text in env.items()])
        actions = ctypes.create_string_buffer(_ROOM)
        self._do("posix_spawn_file_actions_init", actions)
        try:
            self._do("posix_spawn_file_actions_addchdir_np", actions, _bytes(cwd))
            for there, here in files.items():
                self._do("posix_spawn_file_actions_adddup2", actions, here, there)
            pid = ctypes.c_int()
            self._do("posix_spawn", ctypes.byref(pid), _bytes(program), actions, self._attributes, words, pairs)
            return pid.value
        finally:
            self._do("posix_spawn_file_actions_destroy", actions)

    def together(self, works: Sequence[Callable[[], None]]) -> None:
        """Do each of these, side by side. They must not raise."""
        for work in works[1:]:
            self._todo.put(work)
        works[0]()
        for _ in works[1:]:
            self._done.get()

    def _work(self) -> None:
        while True:
            try:
                self._todo.get()()
            finally:
                self._done.put(None)


def _bytes(text: str) -> bytes:
    data = os.fsencode(text)
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data


def _strings(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(texts) + 1))(*map(_bytes, texts), None)
