"""Verbs that start a run, keep a definition, or come back to what was started."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence

from wattle_jupyter import live, tables
from wattle_jupyter.run import Drawing, Far, Run, attach
from wattle_jupyter.verbs.files import is_file, load_file, parameter
from wattle_jupyter.verbs.scene import Detached, Outcome, Scene, whole
from wattle_jupyter.wire import ProgressView, TaskRunView


def run(args: argparse.Namespace, scene: Scene) -> Outcome:
    params = dict(map(parameter, args.param))
    asked = {"params": params or None, "mode": args.mode, "priority": args.priority, "cause": scene.cause}
    if is_file(args.workflow):
        spec = load_file(args.workflow, params)  # before an engine is started for a slip
        started = Run(scene.client, scene.client.submit(spec=spec, **asked))
    else:
        started = Run(scene.client, scene.client.submit(args.workflow, **asked))
    if not args.wait:
        short = started.id[:8]
        text = f"run {short} of {started.workflow} started; `{scene.prog} status {short}`"
        return Outcome(text=text, data={"run": started.id}, value=started)
    return waited(started, scene, quiet=args.json)


def waited(run: Run, scene: Scene, *, quiet: bool) -> Outcome:
    """How the run ended, after telling of it on the way. Raises Detached at an interrupt."""
    silent = scene.notebook or quiet
    try:
        with contextlib.nullcontext(None) if silent else _reported(run, scene) as reporter, _in_cell(run, scene, quiet):
            far = reporter.far if reporter else None
            run.wait(progress=reporter, far=far, quiet=True)  # said below, in the words of the place
    except KeyboardInterrupt:
        raise Detached(
            f"Detached; the run of {run.workflow} goes on. Back to it: `{scene.prog} attach {run.id[:8]}`; "
            f"end it: `{scene.prog} cancel {run.id[:8]}`"
        ) from None
    detail = run.detail()
    failed = [view["task"] for view in detail["tasks"] if view["state"] == "failed" and view["attempt"]]
    if not silent and failed:
        scene.write(f"what {failed[0]} wrote: `{scene.prog} logs {run.id[:8]}/{failed[0]}`")
    return Outcome(text=tables.summary(detail), data=detail, value=run, code=0 if detail["state"] == "completed" else 1)


def _in_cell(run: Run, scene: Scene, quiet: bool) -> contextlib.AbstractContextManager[None]:
    from wattle_jupyter.run import has_front_end  # noqa: PLC0415  the tests put another one there

    return live.cell(run) if scene.notebook and not quiet and has_front_end() else contextlib.nullcontext()


@contextlib.contextmanager
def _reported(run: Run, scene: Scene) -> Iterator[_Reporter]:
    scene.write(f"run {run.id[:8]} of {run.workflow}")
    screen = live.screen(sys.stdout, sys.stderr) if scene.moving else None
    try:
        yield _Reporter(scene, screen)
    finally:
        if screen:
            screen.close()


class _Reporter:
    """Says a line per change of state; below it a terminal shows what runs and how far the whole is."""

    def __init__(self, scene: Scene, screen: live.Screen | None) -> None:
        self._board = live.Board()
        self._screen = screen
        self._say = screen.line if screen else scene.write

    def __call__(self, changed: Sequence[TaskRunView]) -> None:
        for view in self._board.take(changed):
            self._say(tables.task_line(view))
        if self._screen:
            self._screen.show(self._board)

    @property
    def far(self) -> Far | None:
        """Takes how far tasks are; None where nothing would show it."""
        return self._take_far if self._screen else None

    def _take_far(self, told: Mapping[str, ProgressView]) -> None:
        self._board.far.update(told)
        if self._screen:
            self._screen.show(self._board)


def create(args: argparse.Namespace, scene: Scene) -> Outcome:
    spec = load_file(args.file)
    detail = scene.client.define(spec)
    warnings = "".join(f"\nwarning: {text}" for text in detail["warnings"])
    start = f"start it with `{scene.prog} run {detail['name']}`"
    text = f"{detail['name']}: {tables.some(detail['total'], 'task')}; {start}{warnings}"
    return Outcome(text=text, data=detail)


def come_back(args: argparse.Namespace, scene: Scene) -> Outcome:
    found = attach(whole(args.run, "logs", args, scene), client=scene.client)
    if scene.notebook:
        return Outcome(data=found.detail(), value=found)
    return waited(found, scene, quiet=args.json)


def graph(args: argparse.Namespace, scene: Scene) -> Outcome:
    stored = not is_file(args.workflow)
    drawing = drawing_of(scene.client.workflow(args.workflow)["spec"] if stored else load_file(args.workflow))
    text = drawing.svg() if args.svg else str(drawing)
    return Outcome(text=text, data=drawing.data(), value=drawing)


def drawing_of(data: object) -> Drawing:
    from wattle_jupyter import spec  # noqa: PLC0415

    return Drawing(spec.load(data))
