"""Colours for cells: ``%%wattle`` with its own language, other cells as Python with magics in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from pygments.lexer import Lexer, RegexLexer, bygroups, inherit
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Operator, Punctuation, Text, Token
from sphinx.application import Sphinx


class WattleLexer(RegexLexer):
    """The cell language: names with arrows, fields, templates, comments. Commands stay plain."""

    name = "wattle"
    aliases: ClassVar = ["wattle"]
    _name = r"[A-Za-z_][\w.-]*"
    tokens: ClassVar = {
        "root": [
            (r"^%%?\w+", Keyword, "line"),
            (r"^[ \t]*#.*\n?", Comment),
            (
                rf"^({_name})([ \t]*)(<-)([ \t]*)([^:\n]*)(:)(?=\s)",
                bygroups(Name.Function, Text, Operator, Text, Name.Function, Punctuation),
                "line",
            ),
            (rf"^({_name})(:)(?=\s)", bygroups(Name.Function, Punctuation), "line"),
            (rf"^([ \t]+(?:- )?)({_name})(:)(?=\s)", bygroups(Text, Name.Attribute, Punctuation), "line"),
            (r"", Text, "line"),
        ],
        "line": [
            (r"\n", Text, "#pop"),
            (r"\\\{\{", Text),
            (r"\{\{[^}\n]*\}\}", Name.Variable),
            (r"[ \t]+#[ \t].*", Comment),
            (r"[^\s\\{#]+|[ \t]+|.", Text),
        ],
    }


class PythonCellLexer(PythonLexer):
    """Python in which a line may be a magic."""

    name = "Python cell"
    aliases: ClassVar = []
    tokens: ClassVar = {
        "root": [(r"^([ \t]*(?:[\w.]+[ \t]*=[ \t]*)?)(%%?\w+)(.*\n)", bygroups(Text, Keyword, Text)), inherit]
    }


class CellLexer(Lexer):
    """What a code cell of a notebook holds, by its first line."""

    name = "Jupyter cell"
    aliases: ClassVar = ["cell"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, Any, str]]:
        workflow = re.match(r"%%wattle[ \t]+(\S+)", text)
        if workflow and "." not in workflow[1]:
            yield from WattleLexer().get_tokens_unprocessed(text)
        else:
            yield from PythonCellLexer().get_tokens_unprocessed(text)


class LogLexer(Lexer):
    """What a cell printed: plain."""

    name = "cell output"
    aliases: ClassVar = ["output"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, Any, str]]:
        yield 0, Token.Generic.Output, text


def setup(app: Sphinx) -> dict[str, bool]:
    for alias, lexer in {"wattle": WattleLexer, "cell": CellLexer, "ipython": CellLexer, "output": LogLexer}.items():
        app.add_lexer(alias, lexer)
    return {"parallel_read_safe": True}
