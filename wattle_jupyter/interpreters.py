"""What the environment of an interpreter is: a virtual one, one of conda, or the system's. Looks at the disk."""

from __future__ import annotations

import os
import posixpath
import sys
from collections.abc import Mapping

_OTHERS = (
    "VIRTUAL_ENV",
    "CONDA_",
    "_CONDA_",
    "_CE_",
    "PYTHONHOME",
    "__PYVENV_LAUNCHER__",
    "PIPENV_ACTIVE",
    "POETRY_ACTIVE",
)
_KEPT = ("CONDA_EXE", "CONDA_PYTHON_EXE", "CONDA_ENVS_PATH", "CONDA_PKGS_DIRS", "CONDARC")  # of conda itself


def activated(python: str, base: Mapping[str, str]) -> dict[str, str]:
    """``base`` as it would be with the environment of this interpreter activated in place of any other one.

    ``PYTHONHOME`` would make it look for the library of another Python, and goes unless it is the server's own.
    """
    prefix = posixpath.dirname(posixpath.dirname(python))
    if not posixpath.isabs(python) or prefix == sys.prefix == base.get("PYTHONHOME"):
        return dict(base)
    env = {name: text for name, text in base.items() if name in _KEPT or not name.startswith(_OTHERS)}
    if os.path.isfile(posixpath.join(prefix, "pyvenv.cfg")):  # noqa: PTH113
        env["VIRTUAL_ENV"] = prefix
    elif os.path.isdir(posixpath.join(prefix, "conda-meta")):  # noqa: PTH112
        env.update(CONDA_PREFIX=prefix, CONDA_DEFAULT_ENV=_conda_name(prefix))
    return env


def _conda_name(prefix: str) -> str:
    """As ``conda activate`` takes it."""
    folder, name = posixpath.split(prefix)
    return name if posixpath.basename(folder) == "envs" else "base"
