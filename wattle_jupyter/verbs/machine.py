"""Verbs about the engine and the shell, not about workflows."""

from __future__ import annotations

import argparse
import os

from wattle_jupyter import tables
from wattle_jupyter.errors import WattleError
from wattle_jupyter.places import store_dir
from wattle_jupyter.verbs.scene import BadUsage, Outcome, Scene


class NotInstalled(WattleError):
    """What was asked for needs an extra that is not there."""


def doctor(args: argparse.Namespace, scene: Scene) -> Outcome:
    from wattle_jupyter import doctor as physician  # noqa: PLC0415

    found = physician.examine(scene.store or store_dir(os.environ))
    return Outcome(text=physician.report(found), data=found, code=0 if found["well"] else 1)


def stats(args: argparse.Namespace, scene: Scene) -> Outcome:
    found = scene.client.stats()
    return Outcome(text=tables.stats(found), data=found)


def serve(args: argparse.Namespace, scene: Scene) -> Outcome:
    if scene.notebook:
        raise BadUsage("%wattle serve: a kernel starts the engine by itself; `wattle serve` is for terminals")
    from wattle_jupyter.serve import serve as serving  # noqa: PLC0415

    return Outcome(code=serving(args.store, args.idle))


def completion(args: argparse.Namespace, scene: Scene) -> Outcome:
    if scene.notebook:
        raise BadUsage("%wattle completion: notebooks complete by themselves; `wattle completion` is for shells")
    try:
        from argcomplete.shell_integration import shellcode  # noqa: PLC0415
    except ImportError:
        raise NotInstalled(
            "completion in shells needs argcomplete; install it: pip install 'wattle-jupyter[terminal]'"
        ) from None
    script = shellcode(["wattle"], shell=args.shell).strip()
    return Outcome(text=script, data={"shell": args.shell, "script": script})
