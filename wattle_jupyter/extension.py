"""The server extension: opens the engine when the server starts, closes it when the server stops."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback
from traitlets import Dict, Unicode

from wattle_jupyter import door, filesystem, metrics, owner, places, settings
from wattle_jupyter._version import __version__
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import StoreLocked, StoreUnavailable, WattleError
from wattle_jupyter.follower import Follower
from wattle_jupyter.garbage import Garbage
from wattle_jupyter.handlers import routes
from wattle_jupyter.places import ServerSign

LOOK_AGAIN = 0.5  # seconds between tries to own a store that is not free
YIELDING = 3.0  # seconds that `wattle serve` may take to leave a store
BEAT = 3000  # milliseconds between looks at our own store


class WattleApp(ExtensionApp):
    """Workflow scheduler native to Jupyter."""

    name = "wattle"
    extension_url = "/wattle/api/info"
    load_other_extensions = True

    store_dir = Unicode("", help="Folder of the store; the default is `wattle` in Jupyter's data folder.").tag(
        config=True
    )
    options = Dict(
        help="Settings by section, for example {'scheduler': {'slots': 4}}; the table is in docs/settings.md."
    ).tag(config=True)
    kind = "server"

    engine: Engine | None = None
    _door: door.Door | None = None
    _opening: asyncio.Task[None] | None = None
    _pulse: PeriodicCallback | None = None
    _closing: asyncio.Future[None] | None = None
    _folder: Path

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._garbage = Garbage()

    def initialize_handlers(self) -> None:
        self.handlers.extend(routes())

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        """Runs on the live loop. The server must come up whatever the store says, so the engine opens beside it."""
        del serverapp
        if self.store_dir:  # kernels and terminals of this server must look in the same place
            os.environ["WATTLE_STORE__DIR"] = self.store_dir
        choice = places.configured(os.environ)
        self._folder = choice.folder
        if choice.note:
            self.log.warning("wattle: %s", choice.note)
        self._put_up_sign()
        self._garbage.start()
        self._opening = asyncio.create_task(self._open())
        self._pulse = PeriodicCallback(self._beat, BEAT)
        self._pulse.start()

    def _put_up_sign(self) -> None:
        """Kernels of this server look there which store its pages show."""
        try:
            places.write_sign(os.environ, ServerSign(os.getpid(), str(self._folder), __version__, owner.PROTOCOL))
        except OSError as error:
            self.log.warning(
                "wattle: %s cannot be written: %s; kernels go by their own settings and call this server one without "
                "the extension; make room, or set JUPYTER_RUNTIME_DIR",
                places.sign_path(os.environ, os.getpid()), error.strerror,
            )  # fmt: skip

    async def _open(self) -> None:
        asked = -math.inf
        while self.engine is None:
            try:
                await self._own()
            except StoreLocked as error:
                self._follow(error)
                if await asyncio.to_thread(ask_to_yield, self._folder):
                    asked = time.monotonic()
            except (WattleError, OSError) as error:  # of the disk as well: there is a next time
                self.web_settings["wattle_follower"] = None
                self._set_trouble(str(error))
            except Exception as error:
                self.log.exception("wattle: the engine did not start")
                self._set_trouble(f"the engine did not start: {error!r}; the server's log has the details")
                return
            if self.engine is None:
                yielding = time.monotonic() - asked < YIELDING  # the shorter nobody is there, the better
                await asyncio.sleep(LOOK_AGAIN / 10 if yielding else LOOK_AGAIN)

    async def _own(self) -> None:
        if refusal := filesystem.refusal(self._folder, places.vouched(os.environ)):
            raise StoreUnavailable(refusal)
        options = self.settings_of_the_store()
        for logger in (self.log, logging.getLogger("wattle_jupyter")):
            logger.setLevel(options.logging.level.upper())
        self.web_settings["wattle_limits"] = options.server
        engine = await Engine.open(options, self._folder, log=self.log)
        url = None if self.kind == "serve" else self.server.connection_url
        try:
            self._door = door.open_door(self.web_settings, self._folder, engine.store.id, self.kind, url)
        except BaseException:
            await engine.close()  # else the next try would find the store locked, by ourselves
            raise
        self._door_settings = self._door.request_callback.settings  # type: ignore[union-attr]  # it is our Application
        self._door_settings["wattle_engine"] = self.web_settings["wattle_engine"] = engine
        self.web_settings["wattle_follower"] = None  # what was asked and not answered yet, this server answers itself
        self._set_trouble(None)
        self.engine = engine
        self._garbage.start()
        metrics.expose(engine)
        self.log.info("wattle: owns the store %s", self._folder)

    def _follow(self, reason: StoreLocked) -> None:
        """Another server owns the store: it answers what this one is asked, until it goes."""
        if self.web_settings.get("wattle_follower") is None:
            self.log.info("wattle: %s; this server passes everything on to it", reason)
            self.web_settings["wattle_follower"] = Follower(self._folder, f"{self.web_settings['base_url']}wattle/api/")
        self.web_settings["wattle_trouble"] = "the server that owned the store went; this one takes over"

    def settings_of_the_store(self) -> settings.Settings:
        """Defaults, wattle.toml, the server's configuration, the environment. Raises InvalidRequest."""
        return settings.load(places.settings_text(os.environ), os.environ, self.options)

    def _set_trouble(self, trouble: str | None) -> None:
        if trouble and trouble != self.web_settings.get("wattle_trouble"):
            self.log.warning("wattle: %s", trouble)
        self.web_settings["wattle_trouble"] = trouble

    async def stop_extension(self) -> None:
        """Called on SIGTERM. Tasks go on; the store is free for the next owner when this returns."""
        if self._closing is None:  # a second signal waits for the same end instead of cutting it short
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening
        places.sign_path(os.environ, os.getpid()).unlink(missing_ok=True)
        if self._pulse is not None:
            self._pulse.stop()
        self._garbage.stop()
        self.web_settings["wattle_follower"] = self.web_settings["wattle_engine"] = None
        self._set_trouble("the server is stopping")
        if self.engine is None:
            return
        engine, self.engine = self.engine, None
        metrics.withdraw(engine)
        self._shut_door()
        if engine.store.in_place():
            door.close_door(self._folder)
        await engine.close()

    def _shut_door(self) -> None:
        if self._door is not None:
            self._door.stop()
            self._door_settings["wattle_engine"] = None

    async def _start_over(self, engine: Engine) -> None:
        """The store was taken away: what it held is gone, and whoever comes next finds a new one."""
        self.engine = self.web_settings["wattle_engine"] = None
        metrics.withdraw(engine)
        self._set_trouble(f"the store {self._folder} was removed while it was in use; a new, empty one is made")
        self._shut_door()
        try:
            await engine.close()
        except (WattleError, OSError) as error:
            self.log.warning("wattle: the removed store was not closed cleanly: %s", error)
        await self._open()

    def current_activity(self) -> dict[str, Any] | None:
        """Keeps the server from being culled for idleness while work is pending."""
        return {"wattle": "runs are going on"} if self._pending else None

    @property
    def server(self) -> ServerApp:
        assert self.serverapp is not None, "an extension that runs has a server"
        return self.serverapp

    @property
    def web_settings(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.web_app.settings
        return found

    @property
    def _pending(self) -> bool:
        return self.engine is not None and self.engine.scheduler.pending

    def _beat(self) -> None:
        self._garbage.rest()
        if self.engine is not None and not self.engine.store.in_place():
            self._opening = asyncio.ensure_future(self._start_over(self.engine))
        if self._pending:
            from jupyter_server._tz import utcnow  # noqa: PLC0415 - what jupyter_server compares with

            self.web_settings["last_activity_times"]["wattle"] = utcnow()


def ask_to_yield(folder: Path) -> bool:
    """Ask a `wattle serve` that owns the store to leave it to us: a full server goes before a headless one.

    True if there is one.
    """
    with suppress(WattleError, OSError, ValueError):
        found = owner.read(folder)
        if found is not None and found.kind == "serve":
            connected = owner.connect(found, 2.0)
            with connected:
                pid = owner.peer_pid(connected) or found.pid
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)  # one that is suspended would not hear it
            return True
    return False
