"""What ``sh`` makes of a text: whether it is needed at all, and in which quotes a place in the text stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_BUILTINS = """
. : alias bg break case cd command continue eval exec exit export fc fg for getopts hash if jobs local read readonly
return set shift source test time times trap type ulimit umask unalias unset until wait while
"""
BUILTINS = frozenset(_BUILTINS.split())
_OPAQUE = frozenset(
    """
    . alias case command conda do done elif else env esac eval exec export fi for function hash if in mamba micromamba
    module newgrp pixi select source su sudo then type until unalias which while { } !
    """.split()  # noqa: SIM905  a text is easier to keep
)
"""Words after which nobody but the shell knows what is a command, or where it is looked for."""
_EVERYWHERE = frozenset(("echo", "printf", "true", "false", "[", "pwd", "kill"))  # built in, though programs, too
_TEMPLATE = re.compile(r"\{\{.*?\}\}")
_ASSIGNED = re.compile(r"[A-Za-z_]\w*\+?=")
_UNKNOWN = frozenset("$`*?[~\0")
_PLAIN_QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*\"""")
_SYNTAX = re.compile(r"""[|&;<>()$`\\*?\[\]#~{}!\n'"]""")
_WORD_START = frozenset(" \t\n;|&(<>")


def argv(text: str) -> tuple[str, ...] | None:
    """The words of a command line that means the same with and without ``sh``, else None: ``sh`` has to read it."""
    if _SYNTAX.search(_PLAIN_QUOTED.sub("q", text)):
        return None
    words = shlex.split(text)
    if not words or "=" in words[0] or words[0] in BUILTINS:
        return None
    return tuple(words)


def commands(text: str) -> list[str]:
    """Programs that a text for ``sh`` is sure to look for on PATH, in their order. Empty if there is any doubt.

    Only pipelines and sequences (``;``, ``&&``, line breaks) are understood: a command after ``||``, in ``if`` or in
    ``$( )`` may well be missing on purpose.
    """
    lexer = shlex.shlex(_TEMPLATE.sub("\0", text).replace("\\\n", " "), posix=True, punctuation_chars=";|&<>()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        words = list(lexer)
    except ValueError:  # a quote that is never closed: the shell will say so
        return []
    return _first_words(words)


def _first_words(words: Sequence[str]) -> list[str]:
    found: list[str] = []
    first, file = True, False  # does a command stand here, or the file of a redirection?
    for word in words:
        if word and set(word) <= set(";|&<>()\n"):
            if "(" in word or ")" in word or "||" in word or "<<" in word:
                return []
            file = word[-1] in "<>" or word in (">&", "<&")
            first = first or not (set(word) & set("<>"))
        elif file:
            file = False
        elif first and _ASSIGNED.match(word):
            if word.startswith("PATH="):
                return []
        elif first:
            if not word or word in _OPAQUE or word.startswith("#") or word.isdigit():
                return []
            first = False
            if word not in BUILTINS and word not in _EVERYWHERE and "/" not in word and not set(word) & _UNKNOWN:
                found.append(word)
    return list(dict.fromkeys(found))


class Quoting:
    """Follows a text as ``sh`` reads it and puts values in so that they stay data, whatever quotes they stand in."""

    def __init__(self) -> None:
        self._open: list[str] = []  # what is open, outermost first: ' " ` # ( ${
        self._word = False  # is the character before part of a word?
        self.doubt = ""  # why no value can be put in safely from here on

    @property
    def inside(self) -> str:
        return self._open[-1] if self._open else ""

    def trouble(self) -> str:
        """Why a value cannot be put in here; empty if it can."""
        places = {"`": "inside backquotes", "${": "inside ${ }"}
        return self.doubt or next((places[o] for o in self._open if o in places), "")

    def put(self, text: str, word: str) -> str:
        """``text`` made safe for this place; ``word`` is how it is written outside quotes."""
        self._word = True
        if self.inside == "'":
            return text.replace("'", "'\\''")
        if self.inside == '"':
            return re.sub(r'([\\$`"])', r"\\\1", text)
        if self.inside == "#":
            return " ".join(text.split())  # a line break would end the comment and run the rest
        return word

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            at += self._step(text, at)

    def _step(self, text: str, at: int) -> int:
        """Read on from ``at``; how many characters were taken."""
        inside, char = self.inside, text[at]
        if inside in ("'", "#"):
            return self._close(char == ("'" if inside == "'" else "\n"))
        if char == "\\":
            self._word = True
            return 2
        if text[at : at + 2] in ("${", "$("):
            return self._push("${" if text[at + 1] == "{" else "(", 2)
        if char in '`"':
            return self._close(True) if inside == char else self._push(char, 1)
        return 1 if inside == '"' else self._bare(text, at)

    def _bare(self, text: str, at: int) -> int:
        char = text[at]
        if text.startswith("$'", at):
            self.doubt = "after $'…', which shells read differently"
        elif text.startswith("<<", at):
            self.doubt = "after a here-document (<<)"
        elif self._open and not self._word and re.match(r"case\s", text[at:]):
            self.doubt = "after a `case` inside $( )"
        elif char == "'":
            return self._push("'", 1)
        elif char == "#" and not self._word:
            return self._push("#", 1)
        elif char == "(":
            return self._push("(", 1)
        elif (char, self.inside) in ((")", "("), ("}", "${")):
            return self._close(True)
        self._word = char not in _WORD_START
        return 1

    def _push(self, what: str, length: int) -> int:
        self._open.append(what)
        self._word = what not in "(`"
        return length

    def _close(self, closes: bool) -> int:
        if closes:
            self._word = self._open.pop() != "#"
        return 1
