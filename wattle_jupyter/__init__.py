"""A workflow scheduler native to Jupyter.

Define workflows in notebook cells, run them durably outside the kernel, watch them live::

    %load_ext wattle_jupyter

    %%wattle etl
    fetch:           curl -sS https://example.org/raw.csv -o raw.csv
    clean <- fetch:  python clean.py

    %wattle run etl

Importing this package is cheap on purpose: kernels, the command line and the keeper do it all the time, so what a name
needs is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wattle_jupyter._version import __version__

if TYPE_CHECKING:
    from wattle_jupyter.dsl import Workflow
    from wattle_jupyter.passing import emit, input, progress  # noqa: F401
    from wattle_jupyter.run import Run, attach, runs

__all__ = ["Run", "Workflow", "__version__", "attach", "emit", "progress", "runs"]

# `input` is not in `__all__`: a star import must not take the builtin's place
_HOMES = {
    "Run": "wattle_jupyter.run",
    "Workflow": "wattle_jupyter.dsl",
    "attach": "wattle_jupyter.run",
    "emit": "wattle_jupyter.passing",
    "input": "wattle_jupyter.passing",
    "progress": "wattle_jupyter.passing",
    "runs": "wattle_jupyter.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wattle_jupyter' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_HOMES})


def load_ipython_extension(shell: Any) -> None:
    """Called by ``%load_ext wattle_jupyter``."""
    from wattle_jupyter.magic import load  # noqa: PLC0415

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Called by ``%unload_ext wattle_jupyter``."""
    from wattle_jupyter.magic import unload  # noqa: PLC0415

    unload(shell)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from wattle_jupyter.extension import WattleApp  # noqa: PLC0415

    return [{"module": "wattle_jupyter", "app": WattleApp}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "wattle-jupyter"}]
