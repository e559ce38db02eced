"""The command of a task as people write it, and as a task holds it."""

from __future__ import annotations

import re
import shlex

from wattle_jupyter import shell
from wattle_jupyter.model import Json

_SCRIPT = re.compile(r"""([^\s'"|&;<>()$`\\*?\[\]#~{}!=]+\.(?:py|R|r|sh))(?=[\s;|&<>]|$)""")
_NOTEBOOK = re.compile(r"""[^\s'"|&;<>()$`]+\.ipynb(?=[\s;|&<>]|$)""")


def parse(given: str | list[str]) -> tuple[str | tuple[str, ...], str | None]:
    """``run`` and ``script`` of a task.

    A command line is left to ``sh`` if it has shell syntax or templates; otherwise it is split into arguments here,
    which saves a process. If it starts with a script's name, that is ``script``: ``run`` starts with exactly it.
    """
    if isinstance(given, list):
        return tuple(given), None
    text = given.strip()
    script = _SCRIPT.match(text)
    words = None if "{{" in text else shell.argv(text)
    return words or text, script[1] if script else None


def form(run: str | tuple[str, ...], script: str | None) -> Json:
    """What :func:`parse` turns into the same."""
    if isinstance(run, str):
        return run
    # the script as it is: in quotes, as a name with an umlaut would be, it is no longer one
    return " ".join([script, *map(shlex.quote, run[1:])]) if script is not None else list(run)


def notebook(run: str | tuple[str, ...]) -> str | None:
    """The notebook that the command starts with, if it does."""
    match = _NOTEBOOK.match(run if isinstance(run, str) else run[0] if run else "")
    return match[0] if match else None
