"""What is fuzzed: for each parser how it is fed, what it may refuse with, and what must hold for what it takes."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from wattle_jupyter import cell, cellline, command, freevars, notation, outputs, settings, shell, spec, template
from wattle_jupyter.audit import Audit
from wattle_jupyter.errors import InvalidRequest, SpecError, TooLarge
from wattle_jupyter.handlers.base import WattleHandler
from wattle_jupyter.handlers.socket import SocketHandler
from wattle_jupyter.host import protocol, record
from wattle_jupyter.verbs.scene import Help

SEEDS = Path(__file__).parent / "seeds"


@dataclass(frozen=True, slots=True)
class Parser:
    """``feed`` raises for what breaks a promise; what the parser may refuse with, it keeps to itself."""

    name: str
    feed: Callable[[bytes], None]
    words: Sequence[str] = ()  # what a mutation may put in

    def seeds(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted((SEEDS / self.name).iterdir())]


def text_of(data: bytes) -> str:
    """Any text that Python can hold, half surrogate pairs too."""
    return data.decode("utf-8", "surrogateescape" if data[:1] == b"\xff" else "replace")


def _spec(found: object, **more: Any) -> None:
    """What is a workflow reads back as the same one, from its canonical form and from its YAML."""
    with suppress(SpecError, TooLarge):
        workflow = spec.load(found, **more)
        form = json.loads(json.dumps(spec.dump(workflow)))
        assert spec.load(form) == workflow == spec.restore(form)
        assert spec.load(notation.yaml_data(spec.to_yaml(workflow))[0]) == workflow


def _cell(data: bytes) -> None:
    with suppress(SpecError):
        found, lines = cell.parse(text_of(data))
        spec.free_names(found)
        _spec(found, name="w", lines=lines)


def _notation(read: Callable[[str], object]) -> Callable[[bytes], None]:
    def feed(data: bytes) -> None:
        with suppress(SpecError):
            _spec(read(text_of(data)))

    return feed


def _template(data: bytes) -> None:
    text = text_of(data)
    assert template.render(template.escape(text), _nothing, quote=False) == text
    with suppress(SpecError):
        known = template.references(text)
        template.complete(text, {ref.name: "key" for ref in known if ref.key is None})
        template.render(text, lambda ref: ["a b", text, None, {"k": text}], quote=False)
        template.render(text, lambda ref: ["a b", text, None, {"k": text}], quote=True)


def _nothing(reference: template.Reference) -> None:
    raise AssertionError(f"an escaped text holds {reference}")


def _command(data: bytes) -> None:
    text = text_of(data)
    words, script = command.parse(text) if text.strip() else ((), None)
    if words:
        command.hidden_notebook(words, script)
        assert script is None or text.strip().startswith(script) or words[0] == script
        form = command.form(words, script)
        assert command.parse(form if isinstance(form, str) else list(form)) == (words, script) or "{{" in text
    split = shell.argv(text)
    assert split is None or list(split) == shlex.split(text)
    shell.commands(text)


def _cell_line(data: bytes) -> None:
    text = text_of(data)
    if cellline.is_cell_task(text):
        with suppress(InvalidRequest, Help):
            cellline.read(text)


def _free_names(data: bytes) -> None:
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):  # as compiling it would
        freevars.names(text_of(data))


def _body(data: bytes) -> None:
    """What the server takes as JSON can be stored and sent back."""
    handler: Any = WattleHandler.__new__(WattleHandler)
    handler.received, handler.request = bytearray(data), SimpleNamespace(headers={})
    with suppress(InvalidRequest, SpecError, TooLarge):
        found = handler.read_json()
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        _spec(found)


def _message(data: bytes) -> None:
    with suppress(InvalidRequest):
        asked = SocketHandler._parse(text_of(data))
        json.dumps(asked).encode()


def _values(data: bytes) -> None:
    """Lines of $WATTLE_OUTPUT: a problem in words, or values that can be stored."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        found, _ = outputs.read_values(Path(file.name))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def _record(data: bytes) -> None:
    lines, end = record.parse(data)
    assert 0 <= end <= len(data)
    assert record.parse(data[:end]) == (lines, end)


def _talk(data: bytes) -> None:
    """However the bytes are cut, the messages are the same."""
    whole, cut = protocol.Lines(), protocol.Lines()
    with suppress(ValueError):
        expected = list(whole.feed(data))
        found = [message for i in range(len(data)) for message in cut.feed(data[i : i + 1])]
        assert json.dumps(found) == json.dumps(expected)


def _settings(data: bytes) -> None:
    with suppress(InvalidRequest):
        settings.load(text_of(data), {})


def _audit(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "audit.log").write_bytes(data)
        for entry in Audit(Path(folder), SimpleNamespace(warning=print)).newest(100):  # type: ignore[arg-type]
            json.dumps(entry)


_SPEC = ("tasks:", "workers:", "run:", "needs:", "params:", "outputs:", "retries:", "timeout:", "env:", "{{ x }}", "<-")
_JSON = ('{"', '":', '"tasks"', '"run"', '"needs"', "[", "]", "}", "\\ud800", "1e999", "NaN")
_SHELL = ("'", '"', "`", "$(", "${", "<<EOF", "\\", "#", ";", "|", "&&", "{{ x }}", "{{ x | raw }}", "\\{{")

PARSERS = {
    parser.name: parser
    for parser in (
        Parser("cell", _cell, (*_SPEC, " -> ", "a: ", "|\n", "\t")),
        Parser("yaml", _notation(lambda text: notation.yaml_data(text)[0]), (*_SPEC, "&a", "*a", "!!", "---", "? ")),
        Parser("json", _notation(notation.json_data), _JSON),
        Parser("toml", _notation(notation.toml_data), ("[tasks.a]", 'run = "x"', "'''", "1979-05-27", "inf")),
        Parser("template", _template, _SHELL),
        Parser("command", _command, (*_SHELL, "python ", "a.py", "x.ipynb", "A=1")),
        Parser("cellline", _cell_line, ("etl.clean", " -n ", " -o ", "x=a/b", " -p ", " --retries ", " -e ", "'")),
        Parser("freevars", _free_names, ("def f():", "lambda x:", "[x for x in y]", "await ", "class A:", "global x")),
        Parser("body", _body, _JSON),
        Parser("message", _message, ('"type"', '"since"', '"subscribe"', *_JSON)),
        Parser("values", _values, ("x=1\n", '{"x":', '"$object"', "\r\n", *_JSON)),
        Parser("record", _record, ('{"k":"claim"}\n', '"k"', "\n", "\0", *_JSON)),
        Parser("talk", _talk, ('{"k":"hello"}\n', "\n", *_JSON)),
        Parser("settings", _settings, ("[server]", "[scheduler]", "slots = ", "[store]", "[logging]", "level", "dir")),
        Parser("audit", _audit, ('{"at":"","user":""}\n', "\n", *_JSON)),
    )
}
