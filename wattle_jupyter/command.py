"""The command of a task as people write it, and as a task holds it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from wattle_jupyter import shell
from wattle_jupyter.model import Json

NOTEBOOK = ".ipynb"
COPY = "notebook"
"""The output under which a notebook that is a task leaves its executed copy."""

_SCRIPT = re.compile(r"""([^\s'"|&;<>()$`\\*?\[\]#~{}!=]+\.(?:py|R|r|sh|ipynb))(?=[\s;|&<>]|$)""")
_NOTEBOOK_FIRST = re.compile(r"""\s*(?:'[^']+\.ipynb'|"[^"]+\.ipynb"|[^\s'"|&;<>()]+\.ipynb)(?=[\s;|&<>]|$)""")


def parse(given: str | list[str]) -> tuple[str | tuple[str, ...], str | None]:
    """``run`` and ``script`` of a task.

    A command line is left to ``sh`` if it has shell syntax or templates; otherwise it is split into arguments here,
    which saves a process. If it starts with a script's name, that is ``script``: ``run`` starts with exactly it.
    """
    if isinstance(given, list):
        return tuple(given), _notebook(given)
    text = given.strip()
    script = _SCRIPT.match(text)
    words = None if "{{" in text else shell.argv(text)
    return words or text, script[1] if script else _notebook(words or ())


def _notebook(words: Sequence[str]) -> str | None:
    """No system starts a notebook by itself, so a list of arguments that starts with one means it as well."""
    return words[0] if words and words[0].endswith(NOTEBOOK) and "{{" not in words[0] else None


def form(run: str | tuple[str, ...], script: str | None) -> Json:
    """What :func:`parse` turns into the same."""
    if isinstance(run, str):
        return run
    if script is None or script.endswith(NOTEBOOK):
        return list(run)
    # the script as it is: in quotes, as a name with an umlaut would be, it is no longer one
    return " ".join([script, *map(shlex.quote, run[1:])])


def is_notebook(script: str | None) -> bool:
    """Is what :func:`parse` found a notebook?"""
    return script is not None and script.endswith(NOTEBOOK)


def runs_notebook(given: object) -> bool:
    """Is this, as people write it, the command of a notebook?"""
    return isinstance(given, str | list) and all(isinstance(w, str) for w in given) and is_notebook(parse(given)[1])


def hidden_notebook(run: str | tuple[str, ...], script: str | None) -> str | None:
    """A notebook that the command starts with, but so that ``sh`` would have to start it."""
    match = _NOTEBOOK_FIRST.match(run) if isinstance(run, str) and script is None else None
    return match[0].strip() if match else None
