"""Text to data: YAML (the 1.2 core schema), JSON and TOML, each with limits and with errors that name the line; and
data to YAML.

YAML is built from the parser's events, not by a loader: that gives the line of every key, refuses duplicate keys, and
counts what aliases expand to, so that a small text can not become a large one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import yaml

from wattle_jupyter.errors import Problem, SpecError
from wattle_jupyter.model import Json

Where = tuple[str | int, ...]
Lines = dict[Where, int]

MAX_DEPTH = 50
MAX_NODES = 5_000_000  # YAML nodes with all aliases expanded; a spec of 100,000 tasks has about 2,000,000
MAX_ALIASED = 100_000  # of these, how many may come from aliases
_DIGITS = 30  # a longer run of digits is an identifier, not a number

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_QUOTE = "put the text in quotes, or write `|` and the text indented on the next lines"
_YAML_WORDS: Mapping[str, tuple[str, str]] = {
    "mapping values are not allowed": ("a `: ` inside a text without quotes", _QUOTE),
    "cannot start any token": (
        "a tab in the indentation, or a text that starts with `@`, `%` or a backquote",
        "indent with spaces; put such a text in quotes",
    ),
    "found a tab character": ("a tab in the indentation", "indent with spaces"),
    "unexpected end of stream": ("a quote that is never closed", "close it"),
    "could not find expected ':'": ("a line without `name:`", "write `name: value`"),
    "did not find expected ',' or '}'": ("braces that are not closed, or a text that starts with `{`", _QUOTE),
    "did not find expected ',' or ']'": ("brackets that are not closed, or a text that starts with `[`", _QUOTE),
    "did not find expected key": ("indentation that fits no line before it", "align it with the lines around it"),
    "did not find expected '-' indicator": ("a line in a list that does not start with `- `", "align it with the list"),
    "did not find expected <document start>": ("text after the end", "remove it, or indent it"),
    "found undefined alias": (
        "an alias (`*name`) that nothing defines",
        "put the text in quotes if it is not an alias",
    ),
    "found unknown escape": ("a backslash in double quotes that YAML does not know", "use single quotes, or `\\\\`"),
    "control characters are not allowed": ("a control character", "remove it"),
    "expected alphabetic or numeric": ("`&` or `*` without a name after it", _QUOTE),
    "block sequence entries are not allowed": ("a `-` where no list can start", _QUOTE),
    "unexpected indentation": ("more indentation than the lines before", "align it"),
}


def is_path(text: str) -> bool:
    """Is the text of an output a file's path (it holds ``/`` or a suffix), rather than the description of a value?"""
    return "/" in text or re.search(r"[^\s.]\.[A-Za-z0-9]{1,12}$", text) is not None


def yaml_data(text: str) -> tuple[Json, Lines]:
    """Data of a YAML text, and the 1-based line of every key and item."""
    try:
        return _YamlBuilder(text).document()
    except yaml.MarkedYAMLError as error:
        raise SpecError([_yaml_problem(error)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        reason = "a character that YAML does not allow (a control character, or half of a surrogate pair)"
        raise SpecError([Problem("", reason, "remove it", line)]) from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise SpecError([Problem("", "half of a surrogate pair", "remove it", line)]) from None


_HALF = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")


def json_data(text: str) -> Json:
    """Data of a JSON text. Duplicate keys and NaN are refused."""

    def pairs(items: list[tuple[str, Json]]) -> dict[str, Json]:
        made = dict(items)
        if len(made) < len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            _fail(f"the key `{twice}` is there twice in one object", "keep one of them", _second(text, twice))
        return made

    def constant(name: str) -> NoReturn:
        _fail(f"{name} is not JSON", "write a number, text or null", _line_of(text, name))

    try:
        found: Json = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        if _HALF.search(text):
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError:
        _fail("half of a surrogate pair", "remove it", None)
    except json.JSONDecodeError as error:
        _fail(f"not valid JSON at character {error.colno}: {_json_words(error.msg)}", "", error.lineno)
    except RecursionError:
        _fail(f"nested deeper than {MAX_DEPTH} levels", "make it flatter", None)
    except ValueError as error:  # a number with thousands of digits
        if isinstance(error, SpecError):
            raise
        _fail("a number with too many digits", "write it as text", None)


def toml_data(text: str) -> Json:
    """Data of a TOML text."""
    import tomllib  # noqa: PLC0415  few specs are TOML

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at ")
        line = re.match(r"line (\d+)", place)
        _fail(f"not valid TOML: {message[:1].lower()}{message[1:]}", "", int(line[1]) if line else text.count("\n") + 1)
    except RecursionError:
        _fail(f"nested deeper than {MAX_DEPTH} levels", "make it flatter", None)
    except ValueError:  # what Python says of thousands of digits
        _fail("a number with too many digits", "write it as text", None)


def path_text(where: Where) -> str:
    """``("tasks", "a", "needs", 0)`` as ``tasks.a.needs[0]``."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _fail(reason: str, cure: str, line: int | None) -> NoReturn:
    raise SpecError([Problem("", reason, cure, line)])


def _json_words(message: str) -> str:
    return message[:1].lower() + message[1:]


def _line_of(text: str, word: str) -> int:
    return text.count("\n", 0, max(text.find(word), 0)) + 1


def _second(text: str, key: str) -> int | None:
    found = [match.start() for match in re.finditer(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:", text)]
    return text.count("\n", 0, found[1]) + 1 if len(found) > 1 else None


def _yaml_problem(error: yaml.MarkedYAMLError) -> Problem:
    said = f"{error.context or ''} {error.problem or ''}"
    reason, cure = next((words for sign, words in _YAML_WORDS.items() if sign in said), ("not valid YAML", _QUOTE))
    opened = "end of stream" in said or "',' or" in said
    mark = error.context_mark if opened and error.context_mark else error.problem_mark or error.context_mark
    return Problem("", reason, cure, mark.line + 1 if mark else None)


class _YamlBuilder:
    """Builds data from events. ``nodes`` counts what was built, aliases expanded."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = iter(yaml.parse(text, yaml.CSafeLoader))
        self._anchors: dict[str, tuple[Json, int]] = {}
        self._lines: Lines = {}
        self._nodes = self._aliased = 0

    def document(self) -> tuple[Json, Lines]:
        data = None
        next(self._events)  # start of the stream
        event = next(self._events)
        if isinstance(event, yaml.DocumentStartEvent):
            data = self._node(next(self._events), ())
            next(self._events)  # end of the document
            event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            _fail("a second document (`---`)", "write one workflow in a text", event.start_mark.line + 1)
        return data, self._lines

    def _node(self, event: Any, where: Where) -> Json:
        line = event.start_mark.line + 1
        if len(where) > MAX_DEPTH:
            _fail(f"nested deeper than {MAX_DEPTH} levels", "make it flatter", line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        before = self._nodes
        self._count(1, line)
        data = self._content(event, where)
        if event.anchor:
            self._anchors[event.anchor] = (data, self._nodes - before)
        return data

    def _content(self, event: Any, where: Where) -> Json:
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if event.tag not in (None, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            _fail(f"the tag `{event.tag}` is not taken", "remove it", event.start_mark.line + 1)
        return self._mapping(where) if isinstance(event, yaml.MappingStartEvent) else self._sequence(where)

    def _alias(self, anchor: str, line: int) -> Json:
        if anchor not in self._anchors:
            _fail(
                f"the alias `*{anchor}` that nothing before it defines",
                "put the text in quotes if it is not an alias",
                line,
            )
        data, size = self._anchors[anchor]
        self._aliased += size
        self._count(size, line)
        return data

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._aliased > MAX_ALIASED or self._nodes > MAX_NODES:
            _fail("aliases that expand to more than a workflow may hold", "write it out", line)

    def _sequence(self, where: Where) -> list[Json]:
        items: list[Json] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = (*where, len(items))
            self._lines[here] = event.start_mark.line + 1
            items.append(self._node(event, here))
        return items

    def _mapping(self, where: Where) -> dict[str, Json]:
        made: dict[str, Json] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            key = self._key(event, line)
            if key in made:
                _fail(f"`{path_text((*where, key))}` is there twice", "keep one of them", line)
            here = (*where, key)
            self._lines[here] = line
            made[key] = self._node(next(self._events), here)
        return made

    def _key(self, event: Any, line: int) -> str:
        if isinstance(event, yaml.AliasEvent):
            key = self._alias(str(event.anchor), line)
            if isinstance(key, str):
                return key
        if not isinstance(event, yaml.ScalarEvent):
            _fail(
                "a key that is not a plain name",
                "write `name: value`, and texts that start with { or [ in quotes",
                line,
            )
        if event.value == "<<" and not event.style:
            _fail("a merge key (`<<`)", "YAML 1.2 has none; write the fields out", line)
        if event.anchor:
            self._anchors[event.anchor] = (event.value, 1)
        return str(event.value)


def _scalar(event: Any) -> Json:
    text: str = event.value
    if event.tag == "tag:yaml.org,2002:str" or (event.tag is None and event.style) or event.tag == "!":
        return text
    if event.tag is not None:
        _fail(f"the tag `{event.tag}` is not taken", "remove it", event.start_mark.line + 1)
    return _plain(text)


def _plain(text: str) -> Json:
    """A scalar without quotes: null, bool, int and float as in the YAML 1.2 core schema, but no leading zeros."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text) and len(text) <= _DIGITS:
        return int(text, 0)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    if len(text) <= _DIGITS and _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def split_arrow(key: str) -> tuple[str, list[str] | None]:
    """``clean <- a, b`` as ``("clean", ["a", "b"])``; None for the needs of a key without an arrow."""
    name, arrow, needs = key.partition("<-")
    return name.strip(), [need.strip() for need in needs.split(",")] if arrow else None


# ------------------------------------------------------------------------------------------------------------- writing

_BARE = re.compile(r"[A-Za-z0-9_./~$(][^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]*")
_BARE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_BLOCK_TEXT = re.compile(r"(?![\s#])[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]*")
_ESCAPED = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_WORDS_OF_1_1 = frozenset(["yes", "no", "on", "off", "true", "false", "null"])  # no text to older readers
_NUMBER_OF_1_1 = re.compile(r"[-+.\d][\d_.,:eExoXOa-fA-F+-]*[Zz]?([ tT][\d:.+-]*[Zz]?)?")


def yaml_text(data: Mapping[str, Json]) -> str:
    """A mapping of JSON values as YAML in block style, in the mapping's order; :func:`yaml_data` reads the same back.

    Text of several lines is a block (``|``) where that can hold it.
    """
    return "".join(f"{line}\n" for line in _mapping_lines(data, ""))


def _mapping_lines(data: Mapping[str, Json], indent: str) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry_lines(f"{indent}{_key_text(key)}:", value, indent)


def _entry_lines(head: str, value: Json, indent: str) -> Iterator[str]:
    deeper = f"{indent}  "
    if isinstance(value, Mapping) and value:
        yield head
        yield from _mapping_lines(value, deeper)
    elif isinstance(value, list | tuple) and value:
        yield head
        for item in value:
            yield from _item_lines(item, deeper)
    elif isinstance(value, str) and "\n" in value and (mark := _block_mark(value)):
        yield f"{head} {mark}"
        lines = value.split("\n")
        lines = lines if mark == "|-" else lines[:-1]
        yield from (f"{deeper}{line}" if line else "" for line in lines)
    else:
        yield f"{head} {_flow(value)}" if value is not None else head


def _item_lines(item: Json, indent: str) -> Iterator[str]:
    if isinstance(item, Mapping | list | tuple) and item:
        yield f"{indent}-"
        deeper = f"{indent}  "
        if isinstance(item, Mapping):
            yield from _mapping_lines(item, deeper)
        else:
            for inner in item:
                yield from _item_lines(inner, deeper)
    else:
        yield f"{indent}- {_flow(item)}"


def _block_mark(text: str) -> str | None:
    """How a block of this text begins; None if a block cannot hold it."""
    if not _BLOCK_TEXT.fullmatch(text) or text.endswith("\n\n"):
        return None
    return "|" if text.endswith("\n") else "|-"


def _flow(value: Json) -> str:
    if isinstance(value, str):
        return _bare(value) or _quoted(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    return json.dumps(value)


def _key_text(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) and key.lower() not in _WORDS_OF_1_1 else _quoted(key)


def _bare(text: str) -> str | None:
    """The text without quotes if every reader takes it for this text."""
    odd = ": " in text or " #" in text or text[-1:] in (" ", ":", "\t") or "\t#" in text or ":\t" in text
    if odd or not _BARE.fullmatch(text) or not isinstance(_plain(text), str) or text.startswith(("---", "...")):
        return None
    return None if text.lower() in _WORDS_OF_1_1 or _NUMBER_OF_1_1.fullmatch(text) else text


def _quoted(text: str) -> str:
    if "'" not in text and text.isprintable() and '"' in text:
        return f"'{text}'"
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
