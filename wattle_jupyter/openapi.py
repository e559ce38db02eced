"""The OpenAPI 3.1 document, made from the list of operations and the wire types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from wattle_jupyter import wire
from wattle_jupyter._version import __version__
from wattle_jupyter.operations import OPERATIONS, Operation
from wattle_jupyter.shapes import WorkersShape, WorkflowShape

_REF = "#/components/schemas/{model}"
_ERRORS = (400, 401, 403, 404, 409, 413, 429, 503)


@cache
def document(base_url: str = "/") -> dict[str, Any]:
    """The whole document for a server under ``base_url``."""
    schemas = _schemas()
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(f"/{operation.path}", {})[operation.verb.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "wattle-jupyter", "version": __version__},
        "servers": [{"url": f"{base_url.rstrip('/')}/wattle/api"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
    }


@cache
def _schemas() -> dict[str, Any]:
    kinds = [o.answer for o in OPERATIONS if isinstance(o.answer, type) and o.answer.__module__ == wire.__name__]
    named = [*dict.fromkeys(kinds), wire.Pagination, wire.ErrorBody, wire.SavedRun, *wire.ALIASES.values()]
    made, top = TypeAdapter.json_schemas([(k, "serialization", TypeAdapter(k)) for k in named], ref_template=_REF)
    aliases = {name: made[alias, "serialization"] for name, alias in wire.ALIASES.items()}
    defined = {name: _with_names(schema, aliases) for name, schema in top.get("$defs", {}).items()}
    spec_schema = TypeAdapter(WorkflowShape | WorkersShape).json_schema(ref_template=_REF)
    return {**aliases, **defined, **spec_schema.pop("$defs", {}), "WorkflowSpec": spec_schema}


def _with_names(schema: Any, aliases: Mapping[str, Any]) -> Any:
    """The schema with a reference wherever it spells out what has a name: pydantic knows the names of classes only."""
    if isinstance(schema, list):
        return [_with_names(item, aliases) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: value for key, value in schema.items() if key != "title"}
    for name, alias in aliases.items():
        if plain == alias:
            return {"$ref": _REF.format(model=name)}
    return {key: _with_names(value, aliases) for key, value in schema.items()}


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [_parameter(name, "path") for name in re.findall(r"{(\w+)}", operation.path)]
    parameters += [_parameter(name, "query") for name in operation.query]
    if operation.verb == "POST":
        parameters.append(_parameter("Idempotency-Key", "header"))
    made: dict[str, Any] = {
        "operationId": f"{operation.verb.lower()}_{re.sub(r'[^a-z]+', '_', operation.path.lower()).strip('_')}",
        "summary": operation.summary,
        "x-permission": operation.action,
        "parameters": parameters,
        "responses": {str(operation.status): _answer(operation)},
    }
    error = {"$ref": _REF.format(model="ErrorBody")}
    for status in _ERRORS:
        made["responses"][str(status)] = {"description": "Error", "content": {"application/json": {"schema": error}}}
    if operation.bytes_body:
        schema = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        made["requestBody"] = {"required": True, "content": schema}
    if operation.verb == "POST":
        content = {"application/json": {"schema": _body(operation)}}
        made["requestBody"] = {"required": operation.spec_body, "content": content}
    return made


def _parameter(name: str, place: str) -> dict[str, Any]:
    number = name in ("page", "page_size", "offset", "limit", "since")
    schema = {"type": "integer"} if number else {"type": "string"}
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _body(operation: Operation) -> dict[str, Any]:
    if operation.spec_body:
        return {"$ref": _REF.format(model="WorkflowSpec")}
    fields: dict[str, Any] = {
        "params": {"type": "object"},
        "mode": {"enum": ["dependency", "sequential", "parallel"]},
        "priority": {"enum": ["high", "normal", "low"]},
        "cause": {"enum": ["api", "cell", "cli", "sidebar"]},
        "workflow": {"type": "string"},
        "keep_runs": {"type": "integer", "minimum": 0},
        "keep_days": {"type": "integer", "minimum": 0},
        "spec": {"$ref": _REF.format(model="WorkflowSpec")},
        "tasks": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    }
    chosen = {name: fields[name] for name in operation.body}
    return {"type": "object", "properties": chosen, "additionalProperties": False}


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.status == 101:
        return {"description": "Switching protocols; the messages are the schemas that end in Message."}
    if operation.media != "application/json":
        return {"description": "Stream", "content": {operation.media: {"schema": {"type": "string"}}}}
    if operation.verb == "HEAD":
        return {"description": "It is."}
    if operation.answer is None:
        return {"description": "OK", "content": {operation.media: {"schema": {"type": "object"}}}}
    is_wire = isinstance(operation.answer, type) and operation.answer.__module__ == wire.__name__
    data: dict[str, Any] = {"$ref": _REF.format(model=operation.answer.__name__)} if is_wire else {"type": "object"}
    if operation.listed:
        data = {"type": "array", "items": data}
    if operation.paged:
        page = {"data": {"type": "array", "items": data}, "pagination": {"$ref": _REF.format(model="Pagination")}}
        data = {"type": "object", "properties": page, "required": ["data", "pagination"]}
    envelope = {"success": {"const": True}, "data": data}
    schema = {"type": "object", "properties": envelope, "required": ["success", "data"]}
    return {"description": "OK", "content": {operation.media: {"schema": schema}}}
