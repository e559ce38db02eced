"""A ``%%wattle NAME`` cell joins the workflow of this kernel: beside functions and cells that are tasks of it.

It takes the place of what another such cell, or a text, said of the workflow; what Python made stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from wattle_jupyter import spec
from wattle_jupyter.errors import Problem, SpecError
from wattle_jupyter.functiontask import outputs_of
from wattle_jupyter.model import Json, Workflow
from wattle_jupyter.notebook import Built, Draft, Entry, Place, Whole, notebook

Complete = Callable[[dict[str, Json]], dict[str, Json]]


def join(name: str, data: dict[str, Json], lines: Mapping[str, int], complete: Complete) -> tuple[Workflow, Whole]:
    """The whole workflow with this cell in it, and the objects that it needs stored. SpecError if it cannot work; then
    nothing changed. ``complete`` adds what the kernel and the line know to the data of all."""
    book = notebook()
    data = _canonical(name, data, lines)
    if not isinstance(data.get("tasks"), dict):
        spec.load(complete(data), name=name, lines=lines)  # says what is wrong
    place = replace(book.here(), line=None)  # the line is the magic's
    trial = _trial(book.drafts.get(name), Draft(name, book), data, place)
    whole = trial.whole()
    before = set(whole.data.get("params", {}))
    whole.data = complete(whole.data)
    workflow = _loaded(trial, whole, name, lines)
    _remember(trial, data, whole.data, before, place)
    known = book.draft(name)
    known.entries, known.heads, known.arrows = trial.entries, trial.heads, trial.arrows
    known.complete = True
    return workflow, whole


def _canonical(name: str, data: dict[str, Json], lines: Mapping[str, int]) -> dict[str, Json]:
    """The Wattle Scheduler format as tasks."""
    return spec.dump(spec.load(data, name=name, lines=lines)) if "workers" in data and "tasks" not in data else data


def _trial(known: Draft | None, trial: Draft, data: Mapping[str, Json], place: Place) -> Draft:
    """What was there, with this cell in place of other texts."""
    if known is not None:
        trial.entries = {entry.name: entry for entry in known if entry.kind != "text"}
        trial.arrows = dict(known.arrows)
        trial.heads = {who: said for who, said in known.heads.items() if who != "text"}
    trial.say("text", _head(data), place)
    for task, body in data["tasks"].items():
        trial.put(Entry(name=task, kind="text", place=place, outputs=outputs_of(body), build=_as_written(body)))
    trial.arrows = {arrow: at for arrow, at in trial.arrows.items() if all(end in trial.entries for end in arrow)}
    return trial


def _as_written(body: Any) -> Callable[[Draft, bool], Built]:
    return lambda draft, pickled: Built(body=body)


def _head(data: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in data.items() if key not in ("name", "tasks")}


def _loaded(trial: Draft, whole: Whole, name: str, lines: Mapping[str, int]) -> Workflow:
    problems = [
        Problem(trial.where(task) if task else problem.path, problem.reason, problem.cure)
        for task, problem in whole.problems
    ]
    try:
        workflow = spec.load(whole.data, name=name, lines=lines)
    except SpecError as error:
        raise SpecError([*error.problems, *problems]) if problems else error from None
    if problems:
        raise SpecError(problems)
    return workflow


def _remember(trial: Draft, data: Mapping[str, Json], full: Mapping[str, Json], before: set[str], place: Place) -> None:
    """Keep what the cell, its line and the kernel said: not the defaults of functions, which may change."""
    head = _head(data)
    own = head.get("params") or {}
    params = {key: value for key, value in full.get("params", {}).items() if key in own or key not in before}
    flags = {key: full[key] for key in ("mode", "max_parallel") if key in full}
    trial.say("text", {**head, **flags, **({"params": params} if params else {})}, place)
