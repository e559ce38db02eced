"""The verbs: one tree for ``%wattle`` in a notebook, ``wattle`` and ``jupyter wattle`` in a terminal."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from wattle_jupyter.errors import NotFound, WattleError
from wattle_jupyter.run import did_you_mean
from wattle_jupyter.verbs.files import files_like, is_file, load_file, parameter
from wattle_jupyter.verbs.scene import SUFFIXES, BadUsage, Detached, Help, Outcome, Scene, Write, place
from wattle_jupyter.verbs.table import EPILOG, GREETING, TABLE
from wattle_jupyter.verbs.tree import Parser, ShowHelp, branches, grow

__all__ = [
    "TABLE", "BadUsage", "Detached", "Help", "Outcome", "Parser", "Scene", "ShowHelp", "Write",
    "build", "do", "files_like", "is_file", "load_file", "parameter", "parse", "split", "verbs",
]  # fmt: skip


def do(words: Sequence[str], scene: Scene) -> Outcome:
    """Carry out one command line. Raises BadUsage for a bad one, WattleError if it cannot be done."""
    try:
        args = parse(words, scene.prog)
    except Help as shown:
        return Outcome(text=str(shown))
    scene.store = Path(args.store).expanduser().absolute() if getattr(args, "store", None) else scene.store
    try:
        outcome: Outcome = args.do(args, scene)
    except NotFound as error:
        raise _with_candidates(error, args, scene) from None
    if args.json and not outcome.quiet:
        return Outcome(text=json.dumps(outcome.data, indent=2, ensure_ascii=False), code=outcome.code)
    return outcome


def parse(words: Sequence[str], prog: str) -> argparse.Namespace:
    """The words as arguments; ``Help`` if help was asked for, as it is by no words at all."""
    tree = build(prog)
    if not words:
        raise Help(tree.format_help().rstrip())
    names = branches(tree)
    if words[0].startswith("-") and words[0] not in ("-h", "--help"):
        raise BadUsage(f"{prog}: the verb comes first: `{prog} VERB {words[0]}`; `{prog} -h` lists the verbs")
    if not words[0].startswith("-") and words[0] not in names:
        raise BadUsage(f"{prog}: no verb `{words[0]}`{did_you_mean(words[0], list(names))}")
    args, rest = tree.parse_known_args(list(words))
    if rest:
        names[args.verb].error(f"unrecognized arguments: {' '.join(rest)}{_option_meant(rest[0], names[args.verb])}")
    return args


def build(prog: str) -> argparse.ArgumentParser:
    """The tree of all verbs."""
    return grow(TABLE, prog, GREETING, EPILOG)


def verbs(tree: argparse.ArgumentParser | None = None) -> dict[str, argparse.ArgumentParser]:
    """Name of each verb and alias → its parser."""
    return branches(tree or build("wattle"))


def split(line: str, prog: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise BadUsage(f"{prog}: {str(error).lower()} in: {line}") from None


def _option_meant(word: str, parser: argparse.ArgumentParser) -> str:
    known = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    meant = did_you_mean(word.partition("=")[0], known) if word.startswith("--") else ""
    return meant if "did you mean" in meant else ""


def _with_candidates(error: NotFound, args: argparse.Namespace, scene: Scene) -> WattleError:
    """The same error, with what was probably meant."""
    if "did you mean" in str(error) or "there are:" in str(error):
        return error
    name, task = place(getattr(args, "workflow", None) or "")
    if task is not None:
        return _of_definition(error, name, task, scene)
    if name and name in str(error):  # else it is about the run, which went with its store
        known = [view["name"] for view in scene.client.workflows()]
        hint = did_you_mean(name, known) or "; none is defined yet"
        if Path(name).exists():
            hint = f"; the name of a workflow file ends in {', '.join(SUFFIXES)}"
        return NotFound(f"no workflow `{name}`{hint}", **error.details)
    run, task = place(getattr(args, "run", None) or "")
    if task is None or f"'{run}'" in str(error):
        return _of_run(error, run, args, scene)
    names = [view["task"] for view in scene.client.run(run)["tasks"]]
    return NotFound(f"no task `{task}` in this run{did_you_mean(task, names)}", **error.details)


def _of_definition(error: NotFound, name: str, task: str, scene: Scene) -> WattleError:
    """About ``NAME/TASK``, of a workflow or else of a run."""
    try:
        names = list(scene.client.workflow(name)["spec"]["tasks"])
    except NotFound:
        try:
            names = [view["task"] for view in scene.client.run(name)["tasks"]]
        except NotFound:
            known = [view["name"] for view in scene.client.workflows()]
            return NotFound(f"no workflow and no run `{name}`{did_you_mean(name, known)}", **error.details)
    return NotFound(f"{name} has no task `{task}`{did_you_mean(task, names)}", **error.details)


def _of_run(error: NotFound, run: str, args: argparse.Namespace, scene: Scene) -> WattleError:
    """The name of a workflow where a run is meant: its newest run may be the one."""
    for view in scene.client.workflows(search=run) if run else ():
        if view["name"] == run and view["latest_run"]:
            newest = view["latest_run"][:8]
            cure = f"`{run}` is a workflow; its newest run is {newest}: `{scene.prog} {args.verb} {newest}`"
            return NotFound(f"no run `{run}`; {cure}", **error.details)
    return error
