"""``wattle serve``: the same extension in a headless Jupyter server, started when no other server owns the store."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback
from traitlets.config import Config

from wattle_jupyter import door, places
from wattle_jupyter.errors import StoreLocked, WattleError
from wattle_jupyter.extension import WattleApp


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "wattle_jupyter.serve", "app": HeadlessWattle}]


class ServeApp(ServerApp):
    """A headless Jupyter server with this extension alone, on a unix socket; ends by itself when nobody needs it."""

    name = "wattle-serve"

    def find_server_extensions(self) -> None:
        """No others: they cost start-up time and have no business here."""
        self.jpserver_extensions = {"wattle_jupyter.serve": True}


class HeadlessWattle(WattleApp):
    """The extension in a server of its own."""

    kind = "serve"
    idle: float | None = None  # seconds; None: as the settings say
    exit_code = 0

    def _put_up_sign(self) -> None:
        """It has no kernels and no pages."""

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        await super()._start_jupyter_server_extension(serverapp)
        self._last_used = time.monotonic()
        self._idle_check = PeriodicCallback(self._end_if_idle, 500)
        self._idle_check.start()

    def _end_if_idle(self) -> None:
        if self.engine is not None and not self.engine.store.in_place():
            self.log.error("wattle: the store %s was removed, ending", self._folder)
            self.server.stop()
            return
        if self.engine is None or self._door is None or self._pending or self._door._connections:
            self._last_used = time.monotonic()
            return
        self._last_used = max(self._last_used, self._door.used_at)
        idle = self.engine.settings.server.idle_timeout if self.idle is None else self.idle
        if time.monotonic() - self._last_used > idle:
            self.log.info("wattle: nothing to do for %g s, ending", idle)
            self.server.stop()

    async def _open(self) -> None:
        """A headless server that is not needed, because somebody owns the store, does not wait for it."""
        try:
            await self._own()
        except StoreLocked as error:
            self.log.info("wattle: %s", error)
            self.server.stop()
        except WattleError as error:
            self.log.error("wattle: %s", error)
            self.exit_code = 1
            self.server.stop()
        except Exception:
            self.log.exception("wattle: the engine did not start")
            self.exit_code = 1
            self.server.stop()


def serve(store: str | None, idle: float | None = None) -> int:
    """Own a store without a browser in sight until nobody has needed it for ``idle`` seconds. Returns an exit code.

    ``idle`` is that of the settings if None.
    """
    folder = Path(store).expanduser().absolute() if store else places.configured(os.environ).folder
    os.environ["WATTLE_STORE__DIR"] = str(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own_socket = door.socket_path(folder).with_suffix(".jp")
    own_socket.unlink(missing_ok=True)
    arguments: dict[str, Any] = {
        "sock": str(own_socket),
        "open_browser": False,
        "allow_root": True,
        "root_dir": str(folder),
        "terminals_enabled": False,
        "log_level": "WARN",
        # a generated one would be printed, and this log is a file
        "config": Config(IdentityProvider={"token": secrets.token_hex(24)}),
    }
    HeadlessWattle.idle = idle
    ServeApp.clear_instance()
    app = ServeApp.instance(**arguments)
    app.initialize(argv=[])
    app.start()
    own_socket.unlink(missing_ok=True)
    (extension,) = app.extension_manager.extension_apps["wattle_jupyter.serve"]
    return int(extension.exit_code)
