"""Verbs that end things or start them anew."""

from __future__ import annotations

import argparse

from wattle_jupyter import tables
from wattle_jupyter.run import Run
from wattle_jupyter.verbs.scene import BadUsage, Outcome, Scene, place, whole


def stop(args: argparse.Namespace, scene: Scene) -> Outcome:
    name, task = place(args.run)
    if task is None:
        raise BadUsage(f"{scene.prog} stop: which task? `{name}/TASK` (the whole run: `{scene.prog} cancel {name}`)")
    view = scene.client.stop(name, task)
    return Outcome(text=f"{task}: {tables.asked(view['state'], 'stop')}", data=view)


def cancel(args: argparse.Namespace, scene: Scene) -> Outcome:
    name = whole(args.run, "stop", args, scene)
    run = scene.client.cancel(name)
    return Outcome(text=f"{run['workflow']}: {tables.asked(run['state'], 'end')}", data=run)


def retry(args: argparse.Namespace, scene: Scene) -> Outcome:
    name, task = place(args.run)
    known = scene.client.retry(name) if task is None else scene.client.retry_task(name, task)
    return Outcome(text=f"{known['workflow']}: {known['state']}", data=known, value=Run(scene.client, known))


def delete(args: argparse.Namespace, scene: Scene) -> Outcome:
    name = args.workflow
    if not args.yes and scene.ask is None:
        raise BadUsage(f"{scene.prog} delete: nobody can be asked here; say `{scene.prog} delete {name} --yes`")
    detail = scene.client.workflow(name)
    if not args.yes and scene.ask is not None:
        size = tables.some(detail["total"], "task")
        answer = scene.ask(f"Delete the workflow {name} ({size})? Its runs stay. [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            return Outcome(text=f"{name} stays", data={"name": name, "deleted": False}, code=1)
    scene.client.delete(name)
    return Outcome(text=f"{name} is deleted; its runs stay", data={"name": name, "deleted": True})
