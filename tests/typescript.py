"""The wire types as TypeScript, made from the OpenAPI document: ``python3 dev.py wire`` writes them.

They are in git, so that the front end is built without Python; a test compares them with the document.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattle_jupyter import openapi, wire

TARGET = Path(__file__).resolve().parent.parent / "js" / "src" / "core" / "wire.ts"

_HEAD = """\
/**
 * What travels between server and browser. Made by `python3 dev.py wire` from the server's OpenAPI document: change
 * the Python package's `wire` instead.
 *
 * Times are UTC ISO 8601 strings with `Z` and milliseconds, durations seconds, sizes bytes. A key that may be unknown
 * is present and `null`.
 */
"""
_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_WIDE = 120


def source(schemas: Mapping[str, Any]) -> str:
    """The module for these schemas of the document, those of `wire` alone: specs are for servers."""
    names = [name for name in schemas if hasattr(wire, name)]
    numbers = [f"export const API_VERSION = {wire.API_VERSION};", f"export const RUN_MIME = '{wire.RUN_MIME}';"]
    return "\n".join([_HEAD, *numbers, "", "\n\n".join(_declaration(name, schemas[name]) for name in names), ""])


def _declaration(name: str, schema: Mapping[str, Any]) -> str:
    said = _comment(schema.get("description", ""))
    if "enum" in schema:
        all_ = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() + "S"
        values = _broken(f"export const {all_} = [", [_quoted(value) for value in schema["enum"]], "] as const;")
        return f"{said}{values}\nexport type {name} = (typeof {all_})[number];"
    if "properties" not in schema or not schema["properties"]:
        return f"{said}export type {name} = {_type(schema)};"
    needed = schema.get("required", ())
    fields = [
        f"  {key}{'' if key in needed else '?'}: {_type(field)};\n" for key, field in schema["properties"].items()
    ]
    return f"{said}export interface {name} {{\n{''.join(fields)}}}"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(_quoted, schema["enum"]))
    if "const" in schema:
        return _quoted(schema["const"])
    if schema.get("type") == "array":
        inner = _type(schema["items"])
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if schema.get("type") == "object":
        return f"Record<string, {_values(schema)}>"
    return _PLAIN[schema["type"]] if "type" in schema else "unknown"


def _values(schema: Mapping[str, Any]) -> str:
    more = schema.get("additionalProperties", False)
    return _type(more) if isinstance(more, dict) else "unknown" if more else "never"


def _quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def _broken(head: str, items: list[str], tail: str) -> str:
    line = head + ", ".join(items) + tail
    return (
        line
        if len(line) <= _WIDE
        else "\n".join([head, *(f"  {item}," for item in items[:-1]), f"  {items[-1]}", tail])
    )


def _comment(text: str) -> str:
    if not text:
        return ""
    text = text.replace("``", "`")
    if len(text) + 7 <= _WIDE and "\n" not in text:
        return f"/** {text} */\n"
    lines = textwrap.wrap(" ".join(text.split()), _WIDE - 3)
    return "/**\n" + "".join(f" * {line}\n" for line in lines) + " */\n"


def current() -> str:
    """What the file should hold."""
    return source(openapi.document()["components"]["schemas"])


if __name__ == "__main__":
    TARGET.write_text(current())
