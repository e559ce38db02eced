"""A cell that is a task joins its workflow: the one of this kernel, the stored one of that name, or a new one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from wattle_jupyter import cellpayload, celltask, spec
from wattle_jupyter.cellline import Line
from wattle_jupyter.celltask import Around, CellTask
from wattle_jupyter.client import Client
from wattle_jupyter.errors import NotFound, Problem, SpecError
from wattle_jupyter.model import Json, Workflow
from wattle_jupyter.notebook import Built, Draft, Entry, Notebook, Place, notebook

STORED = "stored workflow"
"""Cell of the tasks that were there before this kernel defined anything of the workflow."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A workflow with the cell's task in it, stored."""

    workflow: Workflow
    said: list[str]  # what was captured, what is odd


def join(line: Line, body: str, shell: Any, client: Callable[[], Client]) -> Joined:
    """Make the cell a task of its workflow and store that. SpecError with all that is wrong; then nothing changed."""
    book = notebook()
    draft, said = _draft(line.workflow, book, client)
    try:
        joined = _joined(line, body, shell, client, draft)
        return replace(joined, said=[*said, *joined.said])
    except BaseException:
        if line.task not in draft.entries and all(entry.place.cell == STORED for entry in draft):
            book.drafts.pop(line.workflow, None)  # the next try looks at what is stored by then
        raise


def _joined(line: Line, body: str, shell: Any, client: Callable[[], Client], draft: Draft) -> Joined:
    user = variables_of(shell)
    given = celltask.given_params(line, user)
    found = _resolved(
        line, body, draft, Around(user=user, tasks={}, params=given, ipythons={*shell.user_ns} - {*user}), shell
    )
    name, data = cellpayload.pack(found, shell.user_ns)
    _check(found, name, draft, given)
    built = Built(body=found.form(name), params=given, payloads={name: data})
    place = replace(draft.book.here(), line=None)
    build = lambda draft, pickled: built  # noqa: E731
    before = draft.entries.get(line.task)
    draft.put(Entry(name=line.task, kind="cell", place=place, outputs=tuple(found.outputs), build=build))
    try:
        workflow, warnings = _stored(draft, client())
    except SpecError:  # with the others it cannot work
        del draft.entries[line.task]
        draft.entries.update({line.task: before} if before else {})
        raise
    told = found.told()
    said = [f"note: {note}" for note in found.notes] + [f"warning: {text}" for text in warnings]
    return Joined(workflow=workflow, said=[*said, *([told] if told else [])])


def variables_of(shell: Any) -> dict[str, Any]:
    """What the user defined, without what IPython put there."""
    hidden, nothing = shell.user_ns_hidden, object()
    return {name: value for name, value in shell.user_ns.items() if hidden.get(name, nothing) is not value}


def _resolved(line: Line, body: str, draft: Draft, around: Around, shell: Any) -> CellTask:
    tasks = {entry.name: entry.outputs for entry in draft if entry.name != line.task}
    params = draft.whole(pickled=False).data.get("params", {})
    whole = replace(around, tasks=tasks, params={**params, **around.params})
    return celltask.resolve(line, body, whole, shell.input_transformer_manager.transform_cell)


def _check(found: CellTask, name: str, draft: Draft, given: Mapping[str, Json]) -> None:
    """SpecError for what is wrong with this task, whatever may be wrong with others."""
    others = {entry.name: {"run": ["true"], "outputs": dict.fromkeys(entry.outputs)} for entry in draft}
    said = draft.head().get("params", {})
    problems = [
        Problem("", f"-p {key}: the workflow says {key} = {said[key]!r}", "change it there, or give it to the run")
        for key, value in given.items()
        if key in said and said[key] != value
    ]
    params = {**draft.whole(pickled=False).data.get("params", {}), **given}
    try:
        spec.load({"name": draft.name, "tasks": {**others, found.line.task: found.form(name)}, "params": params})
    except SpecError as error:
        start = f"tasks.{found.line.task}."
        problems += [replace(problem, path=problem.path.removeprefix(start)) for problem in error.problems]
    if problems:
        raise SpecError(problems)


def _stored(draft: Draft, client: Client) -> tuple[Workflow, list[str]]:
    whole = draft.whole()
    workflow = draft.load(whole)
    for data in whole.payloads.values():
        client.put_object(data)
    return workflow, client.define(spec.dump(workflow))["warnings"]


# ---------------------------------------------------------------------------------------------------- the workflow


def _draft(name: str, book: Notebook, client: Callable[[], Client]) -> tuple[Draft, list[str]]:
    """The workflow of this name, and what to say about where it is from."""
    if name in book.drafts and (book.drafts[name].entries or book.drafts[name].heads):
        return book.drafts[name], []
    try:
        known = client().workflow(name)["spec"]
    except NotFound:
        return book.draft(name), []
    return adopt(book.draft(name), known)


def adopt(draft: Draft, known: Mapping[str, Json]) -> tuple[Draft, list[str]]:
    """The draft with the tasks of a stored workflow. They run by this kernel's interpreter from now on."""
    place = Place(STORED, "the stored workflow")
    head = {key: value for key, value in known.items() if key not in ("name", "tasks", "python")}
    draft.say("text", head, place)  # as a cell of commands would, which takes its place
    for task, body in known["tasks"].items():
        form = {"run": body} if isinstance(body, str | list) else dict(body)
        outputs = tuple(form.get("outputs") or ())
        build = lambda _, __, form=form: Built(body=form)  # noqa: E731
        draft.put(Entry(name=task, kind="text", place=place, outputs=outputs, build=build))
    there = ", ".join(list(known["tasks"])[:8]) + (", …" if len(known["tasks"]) > 8 else "")
    said = [f"{draft.name} is the stored workflow, with {there}; this task joins it"]
    python = known.get("python")
    if python is not None and python != sys.executable:
        said.append(f"its tasks ran by {python}; from now on they run by this kernel's {sys.executable}")
    return draft, said
