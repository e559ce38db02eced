"""What is wrong with the engine? Looks only; starts and changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import stat
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from wattle_jupyter import filesystem, owner, places, settings, symptoms
from wattle_jupyter._version import __version__
from wattle_jupyter.client import Client
from wattle_jupyter.errors import WattleError
from wattle_jupyter.model import Json

PACKAGES = ("jupyter_server", "jupyterlab", "notebook", "ipykernel", "ipywidgets", "anywidget")


PATIENCE = 5.0  # seconds that the owner has for an answer


def examine(store: Path, chosen_by: str = "") -> dict[str, Json]:
    """All findings as data; ``problems`` names what is wrong with its cure, ``well`` is true if there are none.

    ``chosen_by`` says in words why it is that store.
    """
    problems: list[str] = []
    found: dict[str, Json] = {
        "version": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "packages": _versions(),
        "settings": _settings(problems),
        "store": _store(store, chosen_by or _chosen_by(store), problems),
        "way": "",
        "owner": _owner(store, problems),
        "followers": _followers(store),
        "keeper": _keeper(store, problems),
        "extension": _extension(problems),
    }
    found["way"] = _way(found["owner"])
    found |= {"disk": "", "database": "", "backup": "", "clock": symptoms.clock(store, problems)}
    if store.is_dir():
        found["disk"] = symptoms.disk(store, problems)
        found["database"] = symptoms.database(store, "pid" in found["owner"], problems)
        found["backup"] = symptoms.backup(store)
    if note := owner.note_on_own_server(store, os.environ):
        problems.append(note)
    return {**found, "problems": problems, "well": not problems}


def _chosen_by(store: Path) -> str:
    """Who asks for another store than the usual one has said so."""
    try:
        usual = places.chosen(os.environ)
    except WattleError:  # said with the settings
        return "the command"
    return usual.by if usual.folder == store else "the command"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _settings(problems: list[str]) -> str:
    """Where they come from. Would a server start with the settings of this user?"""
    path = places.config_dir(os.environ) / "wattle.toml"
    variables = sorted(name for name in os.environ if name.startswith("WATTLE_") and "__" in name)
    try:
        settings.load(places.settings_text(os.environ), os.environ)
    except OSError as error:
        problems.append(f"no server can start: {path} cannot be read: {error.strerror}; make it readable for you")
        return f"{path} cannot be read"
    except (WattleError, ValueError) as error:
        problems.append(f"no server can start with these settings: {error}")
        return f"{path} or WATTLE_* variables are wrong"
    return ", ".join([*([str(path)] if path.exists() else []), *variables]) or f"defaults (there is no {path})"


def _store(store: Path, chosen_by: str, problems: list[str]) -> dict[str, Json]:
    found: dict[str, Json] = {"dir": str(store), "chosen by": chosen_by}
    problems += filter(None, [filesystem.refusal(store, _vouched())])
    try:
        mode = stat.S_IMODE(store.stat().st_mode)
    except FileNotFoundError:
        return {**found, "state": "not made yet; the first run makes it"}
    except OSError as error:
        problems.append(
            f"the store {store} cannot be looked at: {error.strerror}; set WATTLE_STORE__DIR to a folder of your own"
        )
        return {**found, "state": "unreadable"}
    if mode & 0o077:
        problems.append(f"others may look into the store {store} (mode {mode:o}): chmod 700 it")
    if not os.access(store, os.R_OK | os.W_OK | os.X_OK):
        problems.append(f"the store {store} is not writable for you: chmod 700 it, or set WATTLE_STORE__DIR")
    return {**found, "state": f"mode {mode:o}", "file system": filesystem.kind(store) or "unknown"}


def _vouched() -> frozenset[str]:
    with contextlib.suppress(WattleError, OSError):  # said with the settings
        return places.vouched(os.environ)
    return frozenset()


def _owner(store: Path, problems: list[str]) -> dict[str, Json]:
    lock = holder(store / "lock")
    try:
        who = owner.read(store)
    except (WattleError, OSError) as error:
        problems.append(str(error))
        return {"state": "does not answer"}
    if who is None:
        return _nobody(store, lock, problems)
    known: dict[str, Json] = {"kind": who.kind, "pid": who.pid, "version": who.version, "socket": who.socket}
    if lock == 0 and not owner.alive(who.pid):
        left = "it was killed and left its sign behind; the next owner takes that away"
        return {"state": f"none; the last one (pid {who.pid}) has ended: {left}"}
    try:
        symptoms.crowded(who.pid, "the owner", problems)
        return {**known, **_answers(Client(store, start=False, timeout=PATIENCE), problems)}
    except (WattleError, OSError) as error:
        problems.append(_silent(store, who, lock, error))
        return {**known, "state": "does not answer"}


def _nobody(store: Path, lock: int | None, problems: list[str]) -> dict[str, Json]:
    if not lock:
        return {"state": "none; one is started when it is needed"}
    problems.append(
        f"process {lock} holds {store / 'lock'} and has opened no door: it comes or goes, or could not open it; "
        f"ask again in a moment, else read its log, or end it: kill {lock}"
    )
    return {"state": f"process {lock}, without a door"}


def _silent(store: Path, who: owner.Owner, lock: int | None, error: Exception) -> str:
    if not lock and owner.alive(who.pid):
        return f"process {who.pid} is named as the owner but does not hold the store: delete {store / 'owner.json'}"
    return f"the owner (pid {who.pid}) does not answer at {who.socket}: {error}; if it hangs, end it: kill -9 {who.pid}"


def holder(path: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """Pid of the process that holds the file's lock, 0 if none does, None if this platform does not tell.

    The lock is not tried: whoever wants to own the store at that moment would find it taken.
    """
    try:
        text, number = locks.read_text(), path.stat().st_ino
    except FileNotFoundError:
        return 0 if locks.exists() else None
    except OSError:
        return None
    held = [words for words in map(str.split, text.splitlines()) if words[1] == "FLOCK"]
    return next((int(words[4]) for words in held if words[5].rpartition(":")[2] == str(number)), 0)


def _answers(client: Client, problems: list[str]) -> dict[str, Json]:
    health, info = client.health(), client.info()
    problems += [str(reason) for reason in health["reasons"]]
    return {"state": "answers", "ready": health["ready"], "epoch": info["epoch"]}


def _way(found: Json) -> str:
    """Which rung of the ladder a kernel or a command takes just now, and why."""
    if "kind" not in found:
        return "nobody owns the store: the first run, or any other change, starts `wattle serve`"
    if found["state"] != "answers":
        return "through the door of the owner, who does not answer"
    if found["kind"] == "serve":
        return "through the door of `wattle serve`, which owns the store; a coming JupyterLab takes it over"
    own = places.own_server(os.environ)
    whose = "the Jupyter server of this kernel" if own and own.pid == found["pid"] else "a Jupyter server"
    return f"through the door of {whose}, which owns the store"


def _followers(store: Path) -> list[int]:
    """Pids of the Jupyter servers on this store that do not own it."""
    with contextlib.suppress(WattleError, OSError):
        who = owner.read(store)
        signs = map(places.read_sign, places.runtime_dir(os.environ).glob("wattle-*.json"))
        pids = [sign.pid for sign in signs if sign and sign.store == str(store) and owner.alive(sign.pid)]
        return sorted(pid for pid in pids if who is None or pid != who.pid)
    return []


def _keeper(store: Path, problems: list[str]) -> str:
    pid = holder(store / "keeper.lock")
    if pid is None:
        return "not to be seen on this platform"
    return symptoms.keeper(pid, problems) if pid else "none; one is started with the engine"


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
    store = {key: value for key, value in found["store"].items() if key not in ("dir", "chosen by")}
    followers = ", ".join(f"pid {pid}" for pid in found["followers"])
    lines = [f"wattle-jupyter {found['version']}, Python {found['python']}"]
    lines.append("packages   " + ", ".join(f"{name} {version}" for name, version in found["packages"].items()))
    lines.append(f"settings   {found['settings']}")
    lines.append(f"store      {found['store']['dir']} ({_listed(store)})")
    lines.append(f"chosen by  {found['store']['chosen by']}")
    lines += [f"{name:<11}{found[name]}" for name in ("disk", "database", "backup", "clock") if found[name]]
    lines.append(f"way        {found['way']}")
    lines.append(f"owner      {_listed(found['owner'])}")
    lines.append(f"followers  {followers or 'none'}")
    lines.append(f"keeper     {found['keeper']}")
    lines.append(f"extension  {found['extension']}")
    lines += [f"problem    {text}" for text in found["problems"]] or ["all is well"]
    return "\n".join(lines)


def _listed(facts: dict[str, Json]) -> str:
    return ", ".join(str(value) if key == "state" else f"{key} {_word(value)}" for key, value in facts.items())


def _word(value: Json) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
