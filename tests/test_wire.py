"""The wire types of the browser are made from those of the server, and what is sent is as they say."""

from __future__ import annotations

from typing import Any, get_args

import jsonschema
import pytest
import typescript

from wattle_jupyter import draw, openapi, spec, wire
from wattle_jupyter.model import AttemptState, State

DOCUMENT = openapi.document()


def test_the_types_of_the_browser_are_those_of_the_server() -> None:
    assert typescript.TARGET.read_text() == typescript.current(), "run `python3 dev.py wire`"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer"}, "number"),
        ({}, "unknown"),
        ({"const": False}, "false"),
        ({"type": "object", "additionalProperties": True}, "Record<string, unknown>"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "Record<string, number>"),
        ({"type": "object", "properties": {}}, "Record<string, never>"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Edge"}}, "Edge[]"),
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "(string | null)[]"),
    ],
)
def test_a_schema_has_its_type(schema: Any, said: str) -> None:
    assert f"\nexport type Edge = {said};\n" in typescript.source({"Edge": schema})


def test_fields_that_may_be_absent_and_values_with_a_name_are_declared() -> None:
    shape = {
        "description": "Of ``x``.",
        "properties": {"a": {"type": "string"}, "b": {"type": "null"}},
        "required": ["a"],
    }
    made = typescript.source({"Edge": shape, "StateName": {"enum": ["x", "y"]}, "WorkflowShape": {"type": "string"}})
    assert "/** Of `x`. */\nexport interface Edge {\n  a: string;\n  b?: null;\n}" in made
    assert (
        "export const STATE_NAMES = ['x', 'y'] as const;\nexport type StateName = (typeof STATE_NAMES)[number];" in made
    )
    assert "WorkflowShape" not in made


def test_states_have_the_same_names_everywhere() -> None:
    assert list(get_args(wire.StateName)) == [str(state) for state in State]
    assert list(get_args(wire.AttemptStateName)) == [str(state) for state in AttemptState]


def test_the_document_says_by_name_what_has_one() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert wire.ALIASES.keys() <= schemas.keys()
    assert schemas["RunSummary"]["properties"]["state"] == {"$ref": "#/components/schemas/StateName"}
    assert schemas["EventsMessage"]["properties"]["events"]["items"] == {"$ref": "#/components/schemas/EventView"}


def test_the_data_of_an_output_is_a_saved_run() -> None:
    workflow = spec.load({"name": "w", "tasks": {"a": "x", "b": {"run": "x", "needs": ["a"]}}})
    saved = {"$ref": "#/components/schemas/SavedRun", "components": DOCUMENT["components"]}
    for states in (None, {"a": State.COMPLETED, "b": State.FAILED}):
        data = draw.mime(workflow, states)
        jsonschema.Draft202012Validator(saved).validate(data)
        assert list(data) == list(DOCUMENT["components"]["schemas"]["SavedRun"]["properties"])
