"""What comes next on a shell's command line, by ``argcomplete``. Silent and quick: no engine is started for it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping

from wattle_jupyter import verbs
from wattle_jupyter.client import Client
from wattle_jupyter.errors import WattleError
from wattle_jupyter.places import store_dir

PATIENCE = 0.5
"""Seconds that an answer of the engine may take."""


def complete() -> None:
    """Answer the shell and end the process."""
    import argcomplete  # noqa: PLC0415  in the extra `terminal`; the shell asks only where it was installed

    argcomplete.autocomplete(tree(), always_complete_options=False)
    sys.exit(1)


def tree() -> argparse.ArgumentParser:
    """All verbs, their arguments with names to offer."""
    grown = verbs.build("wattle")
    for parser in verbs.verbs(grown).values():
        for action in parser._actions:
            offer = _OFFERS.get(action.metavar if isinstance(action.metavar, str) else "")
            if offer is not None:
                action.completer = offer  # type: ignore[attr-defined]  # argcomplete's
    return grown


Candidates = Callable[..., Mapping[str, str]]


def workflows(prefix: str, **_: object) -> dict[str, str]:
    """Names of workflows, with what they are about."""
    return _asked(lambda client: {w["name"]: w["description"] for w in client.workflows(search=prefix)})


def runs(prefix: str, **_: object) -> dict[str, str]:
    """``last``, ids of runs, and of the run before a slash its tasks; with how they are doing."""
    run, slash, _task = prefix.partition("/")
    if slash:
        return _asked(lambda client: {f"{run}/{t['task']}": t["state"] for t in client.run(run)["tasks"]})
    found = _asked(
        lambda c: {
            r["id"][:8]: f"{r['workflow']}, {r['state']}" for r in c.runs(limit=20, sort_by="created_at", order="desc")
        }
    )
    return {"last": "the newest run", **found} if found else {}


def workflows_and_files(prefix: str, **_: object) -> dict[str, str]:
    return {**workflows(prefix), **files(prefix)}


def places(prefix: str, **_: object) -> dict[str, str]:
    """What `show` takes: workflows and their tasks, runs and theirs."""
    name, slash, _task = prefix.partition("/")
    if not slash:
        return {**workflows(prefix), **runs(prefix)}
    own = _asked(lambda client: {f"{name}/{task}": "" for task in client.workflow(name)["spec"]["tasks"]})
    return own or runs(prefix)


def files(prefix: str, **_: object) -> dict[str, str]:
    return dict.fromkeys(verbs.files_like(prefix), "")


def _asked(question: Callable[[Client], dict[str, str]]) -> dict[str, str]:
    """The engine's answer; nothing if there is none, or none in time: a key press is no place for errors."""
    try:
        return question(Client(store_dir(os.environ), start=False, timeout=PATIENCE))
    except (WattleError, OSError):
        return {}


_OFFERS: dict[str, Candidates] = {
    "NAME": workflows,
    "NAME|FILE": workflows_and_files,
    "NAME[/TASK]": places,
    "FILE": files,
    "RUN": runs,
    "RUN/TASK": runs,
    "RUN[/TASK]": runs,
}
