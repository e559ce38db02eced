"""A kernel of one's own for one notebook: started at once, asked when it is ready, ended politely.

The kernel starts before the libraries that speak to it are imported, which takes as long as its own start does.
Kernels of Python are spoken to through sockets that are files: no port is open, and none can be taken by another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient

NATIVE = "python3"
"""The name that every installation of Jupyter gives to the Python it runs in: the interpreter of the task."""

READY = 120.0
"""Seconds until a kernel answers: its imports come from a network drive now and then."""

_NAMES = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")
_LONGEST = 80  # bytes of a folder: the name of a socket in it has 107 at most
_PATIENCE = 10.0  # seconds for a kernel to end by itself: what the user registered for its end runs then


class KernelTrouble(Exception):
    """A kernel cannot be started, or is gone: what, why and the cure, as text for people."""


class KernelProcess:
    """A kernel, and the folder of its connection file. A context manager, which leaves neither behind."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], *, files: bool, cure: str = "") -> None:
        self._cure = cure
        self._folder = Path(tempfile.mkdtemp(prefix="kernel-", dir=_place(environ)))
        self.connection = self._folder / "kernel.json"
        try:
            self._sockets = self._describe(files)
            named = [word.replace("{connection_file}", str(self.connection)) for word in command]
            # so that it ends when we do, however that comes about
            env = {**environ, "JPY_PARENT_PID": str(os.getpid())}
            self._process = subprocess.Popen(named, env=env, stdin=subprocess.DEVNULL)
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise KernelTrouble(f"{command[0]} cannot be started: {error.strerror}") from None

    @classmethod
    def python(cls, interpreter: str, environ: Mapping[str, str]) -> KernelProcess:
        """IPython's kernel in this interpreter. Its history stays out of the user's."""
        words = [
            interpreter,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--HistoryManager.hist_file=:memory:",
        ]
        cure = f"if it lacks ipykernel: `{interpreter} -m pip install ipykernel`"
        # the notice about frozen modules, which only matters to debuggers
        return cls(words, {"PYDEVD_DISABLE_FILE_VALIDATION": "1", **environ}, files=True, cure=cure)

    @classmethod
    def named(cls, name: str, environ: Mapping[str, str]) -> KernelProcess:
        """The kernel that is installed under this name. Raises KernelTrouble."""
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel  # noqa: PLC0415  takes its time

        manager = KernelSpecManager()
        try:
            found = manager.get_kernel_spec(name)
        except NoSuchKernel:
            listed = ", ".join(sorted({NATIVE, *manager.find_kernel_specs()}))
            cure = f"install it, or name another: `--kernel {NATIVE}`"
            raise KernelTrouble(f"there is no kernel `{name}` here, only: {listed}; {cure}") from None
        words = [word.replace("{resource_dir}", found.resource_dir) for word in found.argv]
        files = any("ipykernel" in word for word in words)  # of others nobody knows whether they can
        return cls(words, {**environ, **found.env}, files=files)

    def _describe(self, files: bool) -> list[Path]:
        """Write the connection file; the files of the sockets that will be there, if they are files."""
        name = str(self._folder / "s")
        if not files:
            from jupyter_client.connect import write_connection_file  # noqa: PLC0415  takes its time

            write_connection_file(str(self.connection), key=secrets.token_hex(32).encode())
            return []
        about: dict[str, Any] = {"transport": "ipc", "ip": name, "signature_scheme": "hmac-sha256"}
        about |= {"key": secrets.token_hex(32), **{port: i for i, port in enumerate(_NAMES, 1)}}
        self.connection.touch(mode=0o600)
        self.connection.write_text(json.dumps(about))
        return [Path(f"{name}-{about[port]}") for port in _NAMES]

    def client(self) -> AsyncKernelClient:
        """What speaks to it; it knows by the process whether the kernel lives."""
        from jupyter_client.asynchronous.client import AsyncKernelClient  # noqa: PLC0415  imported while it starts

        process = self._process

        class Client(AsyncKernelClient):
            async def is_alive(self) -> bool:
                return process.poll() is None

        client = Client(connection_file=str(self.connection))
        client.load_connection_file()
        client.allow_stdin = False
        return client

    async def ready(self, client: AsyncKernelClient) -> dict[str, Any]:
        """Wait until it speaks on all channels; what it says of itself. Raises KernelTrouble if it ends instead."""
        from queue import Empty  # noqa: PLC0415

        limit = time.monotonic() + READY
        while not all(path.exists() for path in self._sockets):
            self._check(limit)
            await asyncio.sleep(0.002)  # there is no message to wait for before there is a socket
        client.start_channels(stdin=False, hb=False)
        asked: set[str] = set()
        heard = False
        while True:
            self._check(limit)
            if not heard:  # a subscription takes its time, and what is said before is lost
                asked.add(client.kernel_info())
                with contextlib.suppress(Empty):
                    heard = bool(await client.get_iopub_msg(timeout=0.1))
            with contextlib.suppress(Empty):
                reply = await client.get_shell_msg(timeout=1.0 if heard else 0.0)
                if heard and reply["parent_header"].get("msg_id") in asked:
                    about: dict[str, Any] = reply["content"]
                    return about

    def _check(self, limit: float) -> None:
        code = self._process.poll()
        if code is not None:
            cure = f"; {self._cure}" if self._cure else ""
            raise KernelTrouble(
                f"the kernel ended before it was ready ({ending(code)}); what it printed says why{cure}"
            )
        if time.monotonic() > limit:
            raise KernelTrouble(f"the kernel did not answer within {READY:.0f} s")

    def how_it_ended(self) -> str:
        """``signal 9``, ``exit 1``; empty while it lives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            how = ending(self._process.wait(1.0))
            return f"{how}, as the system does for want of memory" if how == "signal 9" else how
        return ""

    def end(self, client: AsyncKernelClient | None) -> bool:
        """Ask it to end, and wait for it: what the user registered for the end of Python runs now. Has it ended?"""
        if client is not None and client.channels_running and self._process.poll() is None:
            client.shutdown()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        ended = self._process.poll() is not None
        self._process.kill()
        self._process.wait()
        return ended

    def __enter__(self) -> KernelProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(None)
        shutil.rmtree(self._folder, ignore_errors=True)


def _place(environ: Mapping[str, str]) -> str:
    """Where it is deleted with the attempt even if nobody else comes to it, if the path is short enough."""
    places = [os.path.dirname(environ["WATTLE_OUTPUT"]), tempfile.gettempdir(), environ.get("XDG_RUNTIME_DIR", "")]  # noqa: PTH120
    return next((place for place in places if place and len(os.fsencode(place)) <= _LONGEST), "/tmp")  # noqa: S108  mkdtemp's


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"signal {-code}" if code < 0 else f"exit {code}"
