"""What is wrong with the engine? Looks only; starts and changes nothing."""

from __future__ import annotations

import json
import os
import platform
import stat
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from wattle_jupyter import owner, places, settings
from wattle_jupyter._version import __version__
from wattle_jupyter.client import Client
from wattle_jupyter.errors import WattleError
from wattle_jupyter.model import Json

PACKAGES = ("jupyter_server", "jupyterlab", "notebook", "ipykernel", "ipywidgets", "anywidget")


def examine(store: Path) -> dict[str, Json]:
    """All findings as data; ``problems`` names what is wrong with its cure, ``well`` is true if there are none."""
    problems: list[str] = []
    found: dict[str, Json] = {
        "version": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "packages": _versions(),
        "settings": _settings(problems),
        "store": _store(store, problems),
        "owner": _owner(store, problems),
        "extension": _extension(problems),
    }
    return {**found, "problems": problems, "well": not problems}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _settings(problems: list[str]) -> str:
    """Would a server start with the settings of this user?"""
    path = places.config_dir(os.environ) / "wattle.toml"
    try:
        settings.load(places.settings_text(os.environ), os.environ)
    except (WattleError, OSError, ValueError) as error:
        problems.append(f"no server can start with these settings: {error}")
        return f"{path} or WATTLE_* variables are wrong"
    return str(path) if path.exists() else "defaults"


def _store(store: Path, problems: list[str]) -> dict[str, Json]:
    try:
        mode = stat.S_IMODE(store.stat().st_mode)
    except FileNotFoundError:
        return {"dir": str(store), "state": "not made yet; the first run makes it"}
    except OSError as error:
        problems.append(f"the store {store} cannot be looked at: {error.strerror}")
        return {"dir": str(store), "state": "unreadable"}
    if mode & 0o077:
        problems.append(f"others may look into the store {store} (mode {mode:o}): chmod 700 it")
    if not os.access(store, os.W_OK | os.X_OK):
        problems.append(f"the store {store} is not writable for you")
    return {"dir": str(store), "state": f"mode {mode:o}"}


def _owner(store: Path, problems: list[str]) -> dict[str, Json]:
    try:
        who = owner.read(store)
        if who is None:
            return {"state": "none; one is started when it is needed"}
        known: dict[str, Json] = {"kind": who.kind, "pid": who.pid, "version": who.version, "socket": who.socket}
        return {**known, **_answers(Client(store, start=False, timeout=5.0), problems)}
    except (WattleError, OSError) as error:
        problems.append(str(error))
        return {"state": "does not answer"}


def _answers(client: Client, problems: list[str]) -> dict[str, Json]:
    health = client.health()
    problems += [str(reason) for reason in health["reasons"]]
    return {"state": "answers", "ready": health["ready"]}


def _extension(problems: list[str]) -> str:
    """Is the server extension enabled for the Jupyter of this environment? Looks at the files as Jupyter does."""
    from jupyter_core.paths import jupyter_config_path  # noqa: PLC0415

    cure = "`jupyter server extension enable wattle_jupyter`"
    for path in _config_files(jupyter_config_path()):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            enabled = content["ServerApp"]["jpserver_extensions"]["wattle_jupyter"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not a file that says something about us
        if not enabled:
            problems.append(f"the server extension is disabled in {path}: {cure}")
        return f"{'enabled' if enabled else 'disabled'} in {path}"
    problems.append(f"the server extension is not enabled here: {cure}")
    return "not enabled"


def _config_files(folders: Sequence[str]) -> Iterator[Path]:
    """Those that can enable an extension, the one that counts first."""
    for folder in map(Path, folders):
        yield folder / "jupyter_server_config.json"
        yield from sorted(folder.glob("jupyter_server_config.d/*.json"))


def report(found: dict[str, Json]) -> str:
    """The findings for people."""
    lines = [f"wattle-jupyter {found['version']}, Python {found['python']}"]
    lines.append("packages   " + ", ".join(f"{name} {version}" for name, version in found["packages"].items()))
    lines.append(f"settings   {found['settings']}")
    lines.append(f"store      {found['store']['dir']} ({found['store']['state']})")
    lines.append("owner      " + ", ".join(f"{key} {value}" for key, value in found["owner"].items()))
    lines.append(f"extension  {found['extension']}")
    lines += [f"problem    {text}" for text in found["problems"]] or ["all is well"]
    return "\n".join(lines)
