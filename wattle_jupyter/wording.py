"""What people are told about a spec: what they gave, and what they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LATER = """
foreach when cache pool pools schedule schedules approval secrets executor host hosts labels environment code tags
resources notify on_success on_exit workflow matrix stream
"""
LATER = frozenset(_LATER.split())
"""Fields that a later release brings; they are refused by name."""

SAME = {
    **dict.fromkeys(["command", "cmd", "sh", "shell", "script", "exec", "bash", "commands"], "run"),
    **dict.fromkeys(
        ["depends_on", "depends", "deps", "after", "upstream", "requires", "dependencies", "need"], "needs"
    ),
    **dict.fromkeys(["cwd", "workdir", "dir", "directory", "current_dir"], "working_dir"),
    **dict.fromkeys(["env_vars", "environ", "variables"], "env"),
    **dict.fromkeys(["max_retries", "retry", "attempts"], "retries"),
    **dict.fromkeys(["jobs", "steps", "nodes", "services"], "tasks"),
    **dict.fromkeys(["parameters", "vars", "args"], "params"),
    **dict.fromkeys(["max_concurrency", "max_parallel_tasks", "parallelism"], "max_parallel"),
}
"""What others call a field → what it is called here."""


def describe(value: object) -> str:
    """What was given, as people would say it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}" if len(str(value)) < 30 else "a long number"
    if isinstance(value, str):
        return f"the text '{value if len(value) <= 40 else value[:39] + '…'}'"
    names: tuple[tuple[type, str], ...] = ((dict, "a mapping"), (list, "a list"))
    return next((name for kind, name in names if isinstance(value, kind)), f"a {type(value).__name__}")


def nearest(word: str, candidates: Iterable[str]) -> str:
    """``did you mean `x`?``, or the candidates if nothing is close; empty if there are none."""
    names = list(candidates)
    if len(names) <= 500:
        close = difflib.get_close_matches(word, names, 1, 0.6)
        if close:
            return f"did you mean `{close[0]}`?"
    if not names:
        return ""
    shown = ", ".join(f"`{name}`" for name in names[:8])
    return f"there is {shown}{' …' if len(names) > 8 else ''}"


def unknown_field(name: str, fields: Iterable[str]) -> tuple[str, str]:
    """Reason and cure for a field that is not one of ``fields``."""
    known = list(fields)
    if name in LATER:
        return f"`{name}` comes in a later release", "remove it"
    if SAME.get(name) in known:
        return f"`{name}` is not a field here", f"did you mean `{SAME[name]}`?"
    if " " in name:
        return f"`{name}` is not a field here", "a colon and a space end the name of a field: put a command in quotes"
    return f"`{name}` is not a field here", nearest(name, known)
