"""All settings: one table as data, read in the order defaults < TOML < traitlets < environment."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from wattle_jupyter.errors import InvalidRequest

Value = str | int | float | None
Chosen = dict[tuple[str, str], Value]

LEVELS = ("debug", "info", "warning", "error")


def default_slots() -> int:
    """8, or 2 for each core, whichever is larger."""
    return max(8, 2 * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Server:
    """`[server]`: what requests may, and how long `wattle serve` stays."""

    idle_timeout: float = 600.0
    max_body: int = 1024**2
    max_spec: int = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Scheduler:
    """`[scheduler]`: how much goes on at a time."""

    slots: int = field(default_factory=default_slots)
    max_active_runs: int = 100
    max_queued_runs: int = 1_000
    loss_budget: int = 3


@dataclass(frozen=True, slots=True)
class Execution:
    """`[execution]`: limits of tasks that say none."""

    grace: float = 10.0
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """`[store]`: where it is and what is kept in it."""

    dir: str | None = None
    local_types: str | None = None
    max_object: int = 2 * 1024**3
    keep_outputs: int = 100 * 1024**2
    keep_backups: int = 10
    backup_hours: int = 24
    keep_automatic: int = 7
    keep_runs: int = 0
    keep_days: int = 0
    undo_days: int = 7


@dataclass(frozen=True, slots=True)
class Logging:
    """`[logging]`: what the server's own log is told."""

    level: str = "info"


@dataclass(frozen=True, slots=True)
class Settings:
    """What :func:`load` found; sections and keys as in the table."""

    server: Server = field(default_factory=Server)
    scheduler: Scheduler = field(default_factory=Scheduler)
    execution: Execution = field(default_factory=Execution)
    store: Store = field(default_factory=Store)
    logging: Logging = field(default_factory=Logging)


_SECTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"server": Server, "scheduler": Scheduler, "execution": Execution, "store": Store, "logging": Logging}
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A line of the table. ``kind``: int, seconds, bytes, text or level. ``least`` and ``most`` bound numbers."""

    section: str
    key: str
    kind: str
    default: str  # in words
    meaning: str
    least: float = 0
    most: float = 1e9

    @property
    def variable(self) -> str:
        return f"WATTLE_{self.section}__{self.key}".upper()


TABLE = (
    Setting("server", "idle_timeout", "seconds", "600", "`wattle serve` ends after so long without work or client", 1),
    Setting("server", "max_body", "int", "1048576", "bytes of a request's body, specs excepted", 1024, 1024**3),
    Setting("server", "max_spec", "int", "67108864", "bytes of a workflow's spec", 1024, 1024**3),
    Setting("scheduler", "slots", "int", "8 or 2 × cores, the larger", "tasks that run at once", 1, 100_000),
    Setting("scheduler", "max_active_runs", "int", "100", "runs that are active at once; further ones are queued", 1),
    Setting("scheduler", "max_queued_runs", "int", "1000", "runs that may wait; a further one is refused"),
    Setting("scheduler", "loss_budget", "int", "3", "attempts of a task that may be lost before it counts as failed"),
    Setting("execution", "grace", "seconds", "10", "from SIGTERM to SIGKILL, where a task does not say"),
    Setting("execution", "timeout", "seconds", "none", "limit of an attempt, where a task does not say", 0.001),
    Setting("store", "dir", "text", "`wattle` in Jupyter's data folder", "folder of database, logs and results"),
    Setting("store", "local_types", "text", "none", "kinds of file systems to be trusted as local ones, by commas"),
    Setting("store", "max_object", "bytes", "2GiB", "largest Python object that tasks pass on", 1024, 1024**5),
    Setting("store", "keep_outputs", "bytes", "100MiB", "largest declared file of which a copy is kept", 0, 1024**5),
    Setting("store", "keep_backups", "int", "10", "backups made by hand, or before a change, that are kept", 1, 1000),
    Setting("store", "backup_hours", "int", "24", "hours from one automatic backup to the next; 0: none are made"),
    Setting("store", "keep_automatic", "int", "7", "automatic backups that are kept in the store", 1, 1000),
    Setting("store", "keep_runs", "int", "0", "runs of a workflow that are kept, the newest; 0: all of them"),
    Setting("store", "keep_days", "int", "0", "days for which runs are kept after their end; 0: for ever"),
    Setting("store", "undo_days", "int", "7", "days for which a deleted run can be brought back"),
    Setting("logging", "level", "level", "info", "least level that is logged: debug, info, warning or error"),
)

FOREIGN: Mapping[tuple[str, str], tuple[str, str] | None] = MappingProxyType(
    {
        ("scheduler", "max_concurrent_workers"): ("scheduler", "slots"),
        ("scheduler", "max_concurrent_tasks"): ("scheduler", "slots"),
        ("coordinator", "max_concurrent_workers"): ("scheduler", "slots"),
        ("execution", "max_parallel_tasks"): ("scheduler", "slots"),
        ("scheduler", "worker_timeout_secs"): ("execution", "timeout"),
        ("coordinator", "worker_timeout_secs"): ("execution", "timeout"),
        ("execution", "timeout_secs"): ("execution", "timeout"),
        **dict.fromkeys([("server", key) for key in ("host", "port", "cors_origins", "request_timeout_secs")]),
        **dict.fromkeys([("coordinator", key) for key in ("mode", "db_url")]),
        ("execution", "log_dir"): None,
    }
)
"""Settings of the Wattle Scheduler's file: what they are here; None is read and ignored, as Jupyter is the server."""

_IGNORED_SECTIONS = frozenset({"database"})
_BY_NAME = {(line.section, line.key): line for line in TABLE}


def load(
    toml_text: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> Settings:
    """The settings. ``overrides`` are those of the server's configuration, by section.

    Raises InvalidRequest for what is not a setting or not a value for it.
    """
    chosen: Chosen = {}
    if toml_text:
        _take_toml(chosen, toml_text)
    for section, values in overrides.items():
        if not isinstance(values, Mapping):
            raise InvalidRequest(f"the server's configuration: `{section}` must be a mapping, not {values!r}")
        for key, value in values.items():
            _take(chosen, section, key, value, "the server's configuration")
    _take_environment(chosen, environ)
    return _settings(chosen)


def _settings(chosen: Chosen) -> Settings:
    made = {
        section: make(**{key: value for (of, key), value in chosen.items() if of == section})
        for section, make in _SECTIONS.items()
    }
    return Settings(**made)


def _take_toml(chosen: Chosen, text: str) -> None:
    import tomllib  # noqa: PLC0415  most people have no such file

    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or what Python says of thousands of digits
        raise InvalidRequest(f"wattle.toml is not valid TOML: {error}; correct that line") from None
    ours: list[tuple[str, str, object]] = []
    for section, values in tables.items():
        if not isinstance(values, dict):
            raise InvalidRequest(f"wattle.toml: `{section}` stands outside the sections; put it under {_sections()}")
        for key, value in values.items():
            if (section, key) not in FOREIGN and section not in _IGNORED_SECTIONS:
                ours.append((section, key, value))
            elif target := FOREIGN.get((section, key)):
                _take(chosen, *target, value, f"wattle.toml [{section}] {key}")
    for section, key, value in ours:  # after those of the other format: our own name says more
        _take(chosen, section, key, value, "wattle.toml")


def _take_environment(chosen: Chosen, environ: Mapping[str, str]) -> None:
    for variable in sorted(environ):
        section, double, key = variable.removeprefix("WATTLE_").partition("__")
        if variable.startswith("WATTLE_") and double:
            _take(chosen, section.lower(), key.lower(), environ[variable], f"the environment ({variable})")


def _take(chosen: Chosen, section: str, key: str, value: object, source: str) -> None:
    line = _BY_NAME.get((section, key))
    if line is None:
        raise InvalidRequest(f"{source}: {_unknown(section, key)}")
    chosen[section, key] = _value(line, value, source)


def _unknown(section: str, key: str) -> str:
    if section not in _SECTIONS:
        return (
            f"there is no section `{section}`; {_did_you_mean(section, list(_SECTIONS)) or 'there is ' + _sections()}"
        )
    keys = [line.key for line in TABLE if line.section == section]
    hint = _did_you_mean(key, keys) or "there is " + ", ".join(f"`{known}`" for known in keys)
    return f"there is no setting `{key}` in `[{section}]`; {hint}"


def _did_you_mean(word: str, names: list[str]) -> str:
    close = difflib.get_close_matches(word, names, 1, 0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def _sections() -> str:
    return ", ".join(f"`[{section}]`" for section in _SECTIONS)


def _value(line: Setting, value: object, source: str) -> Value:
    made: Value = _READERS[line.kind](value)
    if made is _BAD or (isinstance(made, int | float) and not line.least <= made <= line.most):
        bounds = f" from {line.least:g} to {line.most:g}" if line.kind in ("int", "seconds", "bytes") else ""
        what = _MEANT[line.kind]
        levels = ", ".join(LEVELS) if line.kind == "level" else ""
        raise InvalidRequest(f"{source}: `{line.key}` must be {what}{levels}{bounds}, not {value!r}")
    return made


_BAD: Any = object()
_MEANT = {
    "int": "a whole number",
    "seconds": "seconds as a number",
    "bytes": 'a number of bytes, or one with a unit such as "2GiB",',
    "text": "text",
    "level": "one of ",
}
_UNITS = {"": 1, **{f"{letter}iB": 1024 ** (i + 1) for i, letter in enumerate("KMGT")}}


def _number(value: object) -> Any:
    try:
        made = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return _BAD
    return made if math.isfinite(made) else _BAD


def _whole(value: object) -> Any:
    made = _number(value)
    return int(made) if made is not _BAD and made == int(made) else _BAD


def _bytes(value: object) -> Any:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]iB|)\s*", value) if isinstance(value, str) else None
    return int(float(found[1]) * _UNITS[found[2]]) if found else _whole(value)


def _text(value: object) -> Any:
    return value if isinstance(value, str) and value.strip() and "\0" not in value else _BAD


def _level(value: object) -> Any:
    return value.lower() if isinstance(value, str) and value.lower() in LEVELS else _BAD


_READERS: Mapping[str, Callable[[object], Any]] = {
    "int": _whole, "seconds": _number, "bytes": _bytes, "text": _text, "level": _level,
}  # fmt: skip


def markdown() -> str:
    """The table for the documentation."""
    rows = ["| section | key | default | meaning | environment |", "|---|---|---|---|---|"]
    rows += [f"| `[{s.section}]` | `{s.key}` | {s.default} | {s.meaning} | `{s.variable}` |" for s in TABLE]
    return "\n".join(rows)


def values(settings: Settings) -> dict[str, dict[str, Value]]:
    """The settings as plain data, by section."""
    parts = {f.name: getattr(settings, f.name) for f in fields(settings)}
    return {section: {f.name: getattr(part, f.name) for f in fields(part)} for section, part in parts.items()}
