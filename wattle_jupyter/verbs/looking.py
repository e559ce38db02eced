"""Verbs that only look: at definitions, at runs, at how a task is started."""

from __future__ import annotations

import argparse

from wattle_jupyter import tables
from wattle_jupyter.verbs.scene import BadUsage, Outcome, Scene, place, whole
from wattle_jupyter.verbs.starting import drawing_of


def listed(args: argparse.Namespace, scene: Scene) -> Outcome:
    found = scene.client.workflows(sort_by="name", order="asc")
    nothing = f"no workflows yet; define one with %%wattle, or `{scene.prog} create FILE`"
    return Outcome(text=tables.workflows(found, scene.width) if found else nothing, data=found)


def ps(args: argparse.Namespace, scene: Scene) -> Outcome:
    found = scene.client.runs(status="created,queued,waiting,running", sort_by="created_at", order="desc")
    return Outcome(text=tables.runs(found, scene.width) if found else "nothing runs", data=found)


def show(args: argparse.Namespace, scene: Scene) -> Outcome:
    name, task = place(args.workflow)
    if args.env or task is not None:
        return _environment(name, task, args, scene)
    detail = scene.client.workflow(name)
    if args.yaml:
        from wattle_jupyter import spec  # noqa: PLC0415

        return Outcome(text=spec.to_yaml(spec.load(detail["spec"])).rstrip(), data=detail)
    return Outcome(text=f"{tables.definition(detail)}\n{drawing_of(detail['spec'])}", data=detail)


def status(args: argparse.Namespace, scene: Scene) -> Outcome:
    if args.run is None:
        found = scene.client.runs(limit=20, sort_by="created_at", order="desc")
        return Outcome(text=tables.runs(found, scene.width) if found else "no runs yet", data=found)
    name = whole(args.run, "logs", args, scene)  # before an engine is started for a slip
    detail = scene.client.run(name)
    return Outcome(text=tables.status(detail, exact=not scene.notebook, width=scene.width), data=detail)


def _environment(name: str, task: str | None, args: argparse.Namespace, scene: Scene) -> Outcome:
    """How a task of a run, or of a workflow's next run, is started."""
    if task is None:
        raise BadUsage(f"{scene.prog} show: --env is of one task: `{scene.prog} show {name}/TASK --env`")
    found = scene.client.environment(name, task)
    return Outcome(text=tables.environment(found), data=found)
