"""Where Jupyter and the store keep their files, from the environment alone.

The kernel, the command line and the server must agree on the store, and a kernel should not pay for the import of
``jupyter_core``; these are its rules.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _platform_dirs(environ: Mapping[str, str]) -> bool:
    return environ.get("JUPYTER_PLATFORM_DIRS", "").lower() not in ("", "0", "n", "no", "off", "f", "false")


def data_dir(environ: Mapping[str, str]) -> Path:
    """Jupyter's folder for data of this user."""
    if environ.get("JUPYTER_DATA_DIR"):
        return Path(environ["JUPYTER_DATA_DIR"])
    if sys.platform == "darwin":
        library = _home(environ) / "Library"
        return library / "Application Support" / "jupyter" if _platform_dirs(environ) else library / "Jupyter"
    share = environ.get("XDG_DATA_HOME") or _home(environ) / ".local" / "share"
    return Path(share) / "jupyter"


def config_dir(environ: Mapping[str, str]) -> Path:
    """Jupyter's folder for configuration of this user."""
    if environ.get("JUPYTER_CONFIG_DIR"):
        return Path(environ["JUPYTER_CONFIG_DIR"])
    if not _platform_dirs(environ):
        return _home(environ) / ".jupyter"
    if sys.platform == "darwin":
        return _home(environ) / "Library" / "Application Support" / "jupyter"
    return Path(environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config") / "jupyter"


def settings_text(environ: Mapping[str, str]) -> str | None:
    """What ``wattle.toml`` says, None if there is none."""
    try:
        return (config_dir(environ) / "wattle.toml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def runtime_dir(environ: Mapping[str, str]) -> Path:
    """Jupyter's folder for files of running servers and kernels."""
    return Path(environ.get("JUPYTER_RUNTIME_DIR") or data_dir(environ) / "runtime")


def store_dir(environ: Mapping[str, str]) -> Path:
    """The store's folder: ``WATTLE_STORE__DIR``, else ``[store] dir`` of ``wattle.toml``, else below Jupyter's data."""
    chosen = environ.get("WATTLE_STORE__DIR") or _dir_in_file(config_dir(environ) / "wattle.toml")
    return Path(chosen).expanduser().absolute() if chosen else data_dir(environ).absolute() / "wattle"


def _dir_in_file(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    import tomllib  # noqa: PLC0415  most people have no such file

    from wattle_jupyter.errors import InvalidRequest  # noqa: PLC0415

    try:
        section = tomllib.loads(text).get("store", {})
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{path} is not valid TOML: {error}; correct that line") from None
    found = section.get("dir") if isinstance(section, dict) else None
    return found if isinstance(found, str) else None
