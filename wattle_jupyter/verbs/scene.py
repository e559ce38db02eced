"""What every verb is given, what it gives back, and the ways in which it ends early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattle_jupyter import client as clients
from wattle_jupyter.client import Client
from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.model import Json

Write = Callable[[str], None]

SUFFIXES = (".yaml", ".yml", ".json", ".toml")


class BadUsage(InvalidRequest):
    """The command line makes no sense; the message is one line."""


class Detached(Exception):
    """An interrupt ended the waiting, not the run; the text says how to come back."""


class Help(Exception):
    """Carries the help of the verb that ``-h`` stands in."""


@dataclass(kw_only=True)
class Scene:
    """Where a verb is used: how it reaches the engine, and what the place can show."""

    write: Write
    prog: str = "wattle"
    notebook: bool = False
    cause: str = "cli"
    store: Path | None = None
    moving: bool = False  # may something move on stdout and stderr while somebody waits?
    width: int | None = None  # columns of the terminal; None where lines may be of any length
    colour: bool = False
    ask: Callable[[str], str] | None = None  # puts a question to the person at the keyboard, if there is one
    _client: Client | None = None

    @property
    def client(self) -> Client:
        """The owner of the store; one is started if there is none."""
        if self._client is None:
            self._client = clients.find(self.store)
        return self._client


@dataclass(kw_only=True)
class Outcome:
    """What a verb found: text for people, data for programs, a value for the notebook, an exit code."""

    text: str = ""
    data: Json = None
    value: object = None
    code: int = 0
    quiet: bool = False  # everything was said on the way, as JSON, too


def place(text: str) -> tuple[str, str | None]:
    """``RUN/TASK`` as two."""
    run, _, task = text.partition("/")
    return run, task or None


def whole(text: str, verb: str, args: Any, scene: Scene) -> str:
    """The name of a run. Raises BadUsage if a task is named as well, with the verb that takes one."""
    run, task = place(text)
    if task is not None:
        raise BadUsage(f"{scene.prog} {args.verb}: takes a run, `{run}`; for one task: `{scene.prog} {verb} {text}`")
    return run
