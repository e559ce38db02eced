"""Where Jupyter and the store keep their files, from the environment alone.

The kernel, the command line and the server must agree on the store, and a kernel should not pay for the import of
``jupyter_core``; these are its rules.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wattle_jupyter import filesystem


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
    """What ``wattle.toml`` says, None if there is none. Raises InvalidRequest if it is no text."""
    return _text(config_dir(environ) / "wattle.toml")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        from wattle_jupyter.errors import InvalidRequest  # noqa: PLC0415

        raise InvalidRequest(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from None


def runtime_dir(environ: Mapping[str, str]) -> Path:
    """Jupyter's folder for files of running servers and kernels."""
    return Path(environ.get("JUPYTER_RUNTIME_DIR") or data_dir(environ) / "runtime")


@dataclass(frozen=True, slots=True)
class Choice:
    """A folder for the store, and what chose it, in words."""

    folder: Path
    by: str
    note: str = ""  # what a person should know about it


def configured(environ: Mapping[str, str]) -> Choice:
    """The store by the settings alone: ``WATTLE_STORE__DIR``, else ``[store] dir`` of ``wattle.toml``, else Jupyter's
    data folder, else, where that is not on a disk of this machine, a folder which is. A server goes by this."""
    file = config_dir(environ) / "wattle.toml"
    if chosen := environ.get("WATTLE_STORE__DIR"):
        return Choice(Path(chosen).expanduser().absolute(), "WATTLE_STORE__DIR")
    if found := _in_file(file, "dir"):
        return Choice(Path(found).expanduser().absolute(), str(file))
    return _default(environ)


def _default(environ: Mapping[str, str]) -> Choice:
    usual = data_dir(environ).absolute() / "wattle"
    if filesystem.is_local(usual, vouched(environ)):
        return Choice(usual, "the default")
    here = filesystem.local_folder(usual)
    if here is None:
        return Choice(usual, "the default")  # who opens it says why that cannot be
    why = filesystem.about(filesystem.kind(usual))
    note = (
        f"the store is {here}, on this machine alone, because {usual} lies on {why}. "
        "Some systems delete what lay there unused for weeks: set WATTLE_STORE__DIR to a local folder of your own"
    )
    return Choice(here, f"the default, as {usual} is not on a local disk", note)


def vouched(environ: Mapping[str, str]) -> frozenset[str]:
    """Kinds of file systems that the user calls local: ``WATTLE_STORE__LOCAL_TYPES``, else ``[store] local_types``."""
    text = environ.get("WATTLE_STORE__LOCAL_TYPES") or _in_file(config_dir(environ) / "wattle.toml", "local_types")
    return frozenset(word for word in (text or "").replace(",", " ").split())


def chosen(environ: Mapping[str, str]) -> Choice:
    """The store of a kernel or a command: ``WATTLE_STORE__DIR``, else that of the Jupyter server which started it (its
    pages are to show the same runs), else as configured."""
    server = None if environ.get("WATTLE_STORE__DIR") else own_server(environ)
    if server is not None and server.store:
        return Choice(Path(server.store), f"the Jupyter server of this kernel, pid {server.pid}")
    return configured(environ)


def store_dir(environ: Mapping[str, str]) -> Path:
    """The folder of :func:`chosen`."""
    return chosen(environ).folder


def _in_file(path: Path, key: str) -> str | None:
    """A text in ``[store]``."""
    text = _text(path)
    if text is None:
        return None
    import tomllib  # noqa: PLC0415  most people have no such file

    from wattle_jupyter.errors import InvalidRequest  # noqa: PLC0415

    try:
        section = tomllib.loads(text).get("store", {})
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} is not valid TOML: {error}; correct that line") from None
    found = section.get(key) if isinstance(section, dict) else None
    return found if isinstance(found, str) else None


# ------------------------------------------------------------------------------- Jupyter servers with the extension


@dataclass(frozen=True, slots=True)
class ServerSign:
    """What a Jupyter server says about itself in the runtime folder; empty texts if it lacks the extension."""

    pid: int
    store: str = ""
    version: str = ""
    protocol: int | None = None


def own_server(environ: Mapping[str, str]) -> ServerSign | None:
    """The Jupyter server that started this kernel, None if that was none: nbclient, a terminal, an editor."""
    parent = environ.get("JPY_PARENT_PID", "")
    if not parent.isdigit() or not (runtime_dir(environ) / f"jpserver-{parent}.json").exists():
        return None
    return read_sign(sign_path(environ, int(parent))) or ServerSign(int(parent))


def sign_path(environ: Mapping[str, str], pid: int) -> Path:
    return runtime_dir(environ) / f"wattle-{pid}.json"


def write_sign(environ: Mapping[str, str], sign: ServerSign) -> None:
    """Raises OSError."""
    path = sign_path(environ, sign.pid)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump({"store": sign.store, "version": sign.version, "protocol": sign.protocol}, file)


def read_sign(path: Path) -> ServerSign | None:
    """None if there is none, or none that can be trusted."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), path.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            content = json.loads(file.read())
            pid = int(path.stem.removeprefix("wattle-"))
            return ServerSign(pid, str(content["store"]), str(content["version"]), int(content["protocol"]))
    return None
