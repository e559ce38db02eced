"""Pages of the HTTP API, made from the OpenAPI document of the installed package."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from wattle_jupyter import openapi

_VERBS = ("get", "head", "put", "post", "patch", "delete")


def groups() -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    """First part of the path → its verb, path and operation."""
    found: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, verbs in openapi.document()["paths"].items():
        for verb in filter(verbs.__contains__, _VERBS):
            found.setdefault(path.split("/")[1], []).append((verb.upper(), path.lstrip("/"), verbs[verb]))
    return found


def kind(schema: dict[str, Any]) -> str:  # noqa: PLR0911  one line for each form of a schema
    """A JSON schema in words, with links to the types that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#type-{name.lower()})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if parts := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(kind(part) for part in parts)
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {kind(schema['additionalProperties'])}"
    return {"integer": "whole number", "string": "text"}.get(schema.get("type", ""), schema.get("type", "any JSON"))


def fields(schema: dict[str, Any]) -> Iterator[str]:
    """A table of an object's fields."""
    needed = set(schema.get("required", ()))
    yield "| field | type |"
    yield "|---|---|"
    for name, field in schema["properties"].items():
        default = field.get("default")
        stands = f"; `{default}` if absent" if default not in (None, [], {}, "") else ""
        yield f"| `{name}` | {kind(field)}{stands if name in needed else stands or ' (optional)'} |"


def answer(operation: dict[str, Any]) -> str:
    status, response = next(iter(operation["responses"].items()))
    for media, content in response.get("content", {}).items():
        schema = content.get("schema", {})
        if media != "application/json":
            return f"{status}, `{media}`"
        data = schema.get("properties", {}).get("data", {})
        if "pagination" in data.get("properties", {}):
            return f"{status}, a page of {kind(data['properties']['data']['items'])}"
        return f"{status}, {kind(data or schema)}"
    return f"{status}, {response['description']}"


def route(verb: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"(route-{operation['operationId'].replace('_', '-')})="
    yield f"## {verb} {path}"
    yield ""
    yield operation["summary"]
    yield ""
    asked = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
    yield f"Permission\n: `{operation['x-permission']}`\n"
    if asked:
        yield "Query\n: " + ", ".join(f"`{p['name']}`" for p in asked) + "\n"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema", {})
        if schema.get("properties"):
            yield "Body\n: " + ", ".join(f"`{name}` ({kind(one)})" for name, one in schema["properties"].items()) + "\n"
        elif "$ref" in schema:
            yield f"Body\n: {kind(schema)}\n"
        elif media != "application/json":
            yield f"Body\n: `{media}`\n"
    yield f"Answer\n: {answer(operation)}\n"


class Routes(SphinxDirective):
    """``{wattle-routes} runs``: every route whose path starts so."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        found = groups().get(self.arguments[0])
        if not found:
            raise self.error(f"there is no route under {self.arguments[0]}")
        return self.parse_text_to_nodes("\n".join(chain(*(route(*one) for one in found))), allow_section_headings=True)


class Types(SphinxDirective):
    """``{wattle-types}``: every named type."""

    optional_arguments: ClassVar = 0

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for name, schema in sorted(openapi.document()["components"]["schemas"].items()):
            lines += [f"(type-{name.lower()})=", f"## {name}", "", schema.get("description", "").replace("``", "`"), ""]
            lines += fields(schema) if schema.get("properties") else [kind(schema)]
            lines.append("")
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def mark(app: Sphinx, tree: nodes.document) -> None:
    """Give the sections of routes a class for the style sheet."""
    for section in tree.findall(nodes.section):
        title = section.next_node(nodes.title)
        if title is not None and title.astext().split(" ")[0].lower() in _VERBS:
            section["classes"].append("route")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("wattle-routes", Routes)
    app.add_directive("wattle-types", Types)
    app.connect("doctree-read", mark)
    return {"parallel_read_safe": True}
