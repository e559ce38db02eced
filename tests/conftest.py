"""Fixtures for everybody: scratch stores, real owners of them, a real Jupyter server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import EngineProcess, Owned, ServerProcess, clear, owned, scratch, until
from traitlets.config import Config

__all__ = ["until"]

pytest_plugins = ["pytest_jupyter.jupyter_server"]

# Nothing that a test starts may find the store or the configuration of whoever runs the tests.
for _name in [name for name in os.environ if name.startswith(("WATTLE_", "JPY_"))]:
    del os.environ[_name]


# A script that starts the tests in the background leaves them deaf to Ctrl-C, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def _isolated() -> Iterator[None]:
    """Whoever forgets to name a store gets one that is thrown away."""
    with scratch() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATTLE_STORE__DIR", str(folder / "store"))
        for name in ("CONFIG", "DATA", "RUNTIME"):
            patch.setenv(f"JUPYTER_{name}_DIR", str(folder / name.lower()))
        try:
            yield
        finally:
            clear(folder / "store")


@pytest.fixture
def scratch_store() -> Iterator[Path]:
    """A folder for a store; whatever runs in it at the end is ended."""
    with scratch() as folder:
        try:
            yield folder / "store"
        finally:
            clear(folder / "store")


@pytest.fixture
def jp_server_config(scratch_store: Path) -> Config:
    """A server in this process with this extension alone, all of its doors shut."""
    return Config(
        {
            "ServerApp": {
                "jpserver_extensions": {"wattle_jupyter": True, "jupyter_server_terminals": False},
                "allow_unauthenticated_access": False,
            },
            "WattleApp": {"store_dir": str(scratch_store)},
        }
    )


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineProcess]:
    """``wattle serve`` on a store of this module. It must end by itself at SIGTERM."""
    with scratch() as folder:
        made = EngineProcess(folder / "home", folder / "s")
        with owned([made]):
            made.launch()
            yield made
            assert made.end() == 0, made.said()
            assert "Traceback" not in made.said(), made.said()


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A Jupyter server on a port, with a token and the extension, on a store of this module."""
    with scratch() as folder:
        made = ServerProcess(folder / "home", folder / "s")
        with owned([made]):
            made.launch()
            yield made
            assert made.end() == 0, made.said()
            assert "Traceback" not in made.said(), made.said()


@pytest.fixture
def make_engine() -> Iterator[Callable[..., EngineProcess]]:
    """Make owners that a test may kill: ``make_engine(store=None)``, not started yet."""
    with scratch() as folder:
        made: list[Owned] = []

        def make(store: Path | None = None) -> EngineProcess:
            made.append(EngineProcess(folder / f"e{len(made)}", store or folder / "s"))
            return made[-1]  # type: ignore[return-value]

        with owned(made):
            yield make


@pytest.fixture
def make_server() -> Iterator[Callable[..., ServerProcess]]:
    """Make Jupyter servers that a test may kill: ``make_server(store=None)``, not started yet."""
    with scratch() as folder:
        made: list[Owned] = []

        def make(store: Path | None = None) -> ServerProcess:
            made.append(ServerProcess(folder / f"j{len(made)}", store or folder / "s"))
            return made[-1]  # type: ignore[return-value]

        with owned(made):
            yield make
