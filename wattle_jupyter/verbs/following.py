"""``logs``: what tasks wrote, and what they write."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import cycle

from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.lines import TaskLine, instant
from wattle_jupyter.run import Run
from wattle_jupyter.verbs.scene import BadUsage, Detached, Outcome, Scene, place

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95)  # of terminals; red is for what went wrong


def logs(args: argparse.Namespace, scene: Scene) -> Outcome:
    name, task = place(args.run)
    since = _since(args.since, scene)
    run = Run(scene.client, scene.client.run(name))
    if args.follow:
        return _followed(run, task, args, since, scene)
    text = run.logs(task, args.tail, since)
    return Outcome(text=str(text).rstrip("\n"), data={"run": run.id, "task": task, "text": str(text)})


def _since(text: str | None, scene: Scene) -> float | None:
    try:
        return None if text is None else instant(text, time.time())
    except InvalidRequest as error:
        raise BadUsage(f"{scene.prog} logs: --since: {error}") from None


def _followed(run: Run, task: str | None, args: argparse.Namespace, since: float | None, scene: Scene) -> Outcome:
    whole = task is None and len(run.tasks) != 1
    task = task if whole else task or run.tasks[0].task
    say = _as_json(scene, task) if args.json else _coloured(scene) if whole else scene.write
    lines = run.stream(args.tail, since) if task is None else run[task].stream(args.tail, since)
    try:
        for line in lines:
            say(line)
    except KeyboardInterrupt:
        raise Detached("" if args.json else f"Detached; `{scene.prog} logs {args.run} -f` follows again") from None
    return Outcome(quiet=True)


def _as_json(scene: Scene, task: str | None) -> Callable[[str], None]:
    """One JSON object a line."""

    def say(line: str) -> None:
        about = {"task": line.task, "line": line.text} if isinstance(line, TaskLine) else {"task": task, "line": line}
        scene.write(json.dumps(about, ensure_ascii=False))

    return say


def _coloured(scene: Scene) -> Callable[[str], None]:
    """Each task's name in a colour of its own, where there are colours."""
    colours: dict[str, int] = {}
    more = cycle(_COLOURS)

    def say(line: str) -> None:
        if not scene.colour or not isinstance(line, TaskLine):
            scene.write(line)
            return
        if line.task not in colours:
            colours[line.task] = next(more)
        head = line.removesuffix(line.text)
        scene.write(f"\x1b[{colours[line.task]}m{head}\x1b[0m{line.text}\x1b[0m")

    return say
