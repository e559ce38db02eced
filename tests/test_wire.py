"""The wire types of the server and those of the browser are the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, NotRequired, get_args, get_origin, get_type_hints

import pytest
from typing_extensions import is_typeddict

from wattle_jupyter import draw, spec, wire
from wattle_jupyter.model import State

TYPESCRIPT = (Path(__file__).resolve().parent.parent / "js" / "src" / "core" / "wire.ts").read_text()
INTERFACE = re.compile(r"export interface (\w+)(?: extends (\w+))? \{\n(.*?)\n\}", re.DOTALL)
FIELD = re.compile(r"^  (\w+)(\??): (.+);$", re.MULTILINE)
ALIAS = {"StateName": wire.StateName, "AttemptStateName": wire.AttemptStateName}
PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", Any: "unknown", type(None): "null"}


def interfaces() -> dict[str, dict[str, str]]:
    """Fields of each interface, those that it extends included; a ``?`` goes with the name."""
    found: dict[str, dict[str, str]] = {}
    for name, base, body in INTERFACE.findall(TYPESCRIPT):
        own = {field + optional: kind for field, optional, kind in FIELD.findall(body)}
        found[name] = {**found.get(base, {}), **own}
    return found


def in_typescript(kind: Any) -> str:
    """The TypeScript name of a Python type."""
    for name, alias in ALIAS.items():
        if kind == alias:
            return name
    if kind in PLAIN:
        return PLAIN[kind]
    if is_typeddict(kind):
        return str(kind.__name__)
    args = get_args(kind)
    if get_origin(kind) is Literal:
        return " | ".join("false" if a is False else f"'{a}'" for a in args)
    if get_origin(kind) is list:
        return f"{in_typescript(args[0])}[]"
    if get_origin(kind) is dict:
        return f"Record<string, {in_typescript(args[1])}>"
    return " | ".join(map(in_typescript, args))  # a union


def in_python(name: str) -> dict[str, str]:
    hints = get_type_hints(getattr(wire, name), include_extras=True)
    made: dict[str, str] = {}
    for field, kind in hints.items():
        optional = get_origin(kind) is NotRequired
        made[field + "?" * optional] = in_typescript(get_args(kind)[0] if optional else kind)
    return made


SAVED = "SavedRun"  # the data of an output; `draw.mime` makes it, and a test of its own below reads it


@pytest.mark.parametrize("name", sorted(interfaces().keys() - {SAVED}))
def test_an_interface_is_its_typed_dict(name: str) -> None:
    assert interfaces()[name] == in_python(name)


def test_most_of_the_wire_is_known_to_the_browser() -> None:
    assert {"RunDetail", "TaskRunView", "TaskRunDetail", "LogPage", "HelloMessage", "ErrorBody"} <= set(interfaces())


@pytest.mark.parametrize(("name", "kind"), ALIAS.items())
def test_states_have_the_same_names(name: str, kind: Any) -> None:
    found = re.search(rf"export type {name} =([^;]+);", TYPESCRIPT)
    assert found is not None
    assert re.findall(r"'(\w+)'", found[1]) == list(get_args(kind))


def test_numbers_and_names_that_both_sides_hold_are_equal() -> None:
    assert f"API_VERSION = {wire.API_VERSION};" in TYPESCRIPT
    assert f"RUN_MIME = '{wire.RUN_MIME}';" in TYPESCRIPT


def test_kinds_of_events_are_the_same() -> None:
    kinds = re.findall(r"kind: ((?:'[\w.]+'(?: \| )?)+)", TYPESCRIPT)
    named = {name for group in kinds for name in re.findall(r"'(\w+\.\w+)'", group)}
    assert named == set(get_args(get_type_hints(wire.EventView)["kind"]))


def test_the_data_of_an_output_has_the_fields_that_the_browser_reads() -> None:
    workflow = spec.load({"name": "w", "tasks": {"a": "x", "b": {"run": "x", "needs": ["a"]}}})
    data = draw.mime(workflow, {"a": State.COMPLETED, "b": State.FAILED})
    fields = interfaces()[SAVED]
    assert list(data) == list(fields)
    for part in ("tasks", "edges"):
        assert all(re.findall(r"(\w+)\??:", fields[part]) == list(item) for item in data[part])
