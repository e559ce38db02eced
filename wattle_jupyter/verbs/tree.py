"""The argparse tree that all verbs hang in. Never exits, never prints."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from wattle_jupyter.verbs.scene import BadUsage, Help, Outcome, Scene

ALIASES = {"ls": "list"}

Do = Callable[[argparse.Namespace, Scene], Outcome]


class Formatter(argparse.RawDescriptionHelpFormatter):
    """``-p, --param NAME=VALUE``, as newer versions of Python write it."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class Parser(argparse.ArgumentParser):
    """Never exits, never prints; no abbreviations of options, so that new ones break nobody."""

    example = ""  # a line that works

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "add_help": False, **kwargs})
        self.formatter_class = Formatter
        self.add_argument("-h", "--help", action=ShowHelp, nargs=0, help="show this help")

    def error(self, message: str) -> NoReturn:
        missing = message.removeprefix("the following arguments are required: ")
        said = message.removeprefix("argument ") if missing == message else f"{missing} is missing"
        usage = f"for example: {self.example}" if self.example else " ".join(self.format_usage().split())
        raise BadUsage(f"{self.prog}: {said} ({usage})")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """As argparse does, in words that are the same in all versions of Python."""
        if action.choices is not None and value not in action.choices:
            *most, last = map(str, action.choices)
            raise argparse.ArgumentError(action, f"must be {', '.join(most)} or {last}, not '{value}'")


class ShowHelp(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Help(parser.format_help().rstrip())


@dataclass(frozen=True)
class Verb:
    """One verb: what it does, how it is explained, what it takes."""

    name: str
    do: Do
    help: str
    examples: tuple[str, ...]
    args: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = field(default=())
    more: str = ""  # what is said below the help


def arg(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """An argument of a verb, as ``add_argument`` takes it."""
    return names, options


class Trunk(Parser):
    """The whole tree: greets with what to do first, then lists the verbs."""

    greeting = ""
    table: Sequence[Verb] = ()

    def format_help(self) -> str:
        names = [", ".join([verb.name, *_aliases(verb)]) for verb in self.table]
        wide = max(map(len, names), default=0)
        listed = [f"  {name:<{wide}}  {verb.help}" for name, verb in zip(names, self.table, strict=True)]
        return "\n".join([self.greeting.replace("{prog}", self.prog), "verbs:", *listed, "", self.epilog or ""])


def grow(table: Sequence[Verb], prog: str, greeting: str, epilog: str) -> argparse.ArgumentParser:
    """The tree of these verbs."""
    tree = Trunk(prog=prog, epilog=epilog.replace("{prog}", prog))
    tree.greeting, tree.table = greeting, table
    places = tree.add_subparsers(metavar="VERB", parser_class=Parser, required=True)
    for verb in table:
        _plant(places, verb, prog)
    return tree


def _aliases(verb: Verb) -> list[str]:
    return [short for short, name in ALIASES.items() if name == verb.name]


def _plant(places: Any, verb: Verb, prog: str) -> None:
    examples = "\n".join(
        ["examples:" if len(verb.examples) > 1 else "example:", *(f"  {prog} {e}" for e in verb.examples)]
    )
    about = f"{verb.help[:1].upper()}{verb.help[1:]}." + (f" {verb.more}" if verb.more else "")
    about = textwrap.fill(about, max(40, shutil.get_terminal_size().columns - 2), break_on_hyphens=False)
    parser = places.add_parser(verb.name, aliases=_aliases(verb), help=verb.help, description=about, epilog=examples)
    parser.example = f"{prog} {verb.examples[0]}"
    for names, options in verb.args:
        parser.add_argument(*names, **options)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(do=verb.do, verb=verb.name)


def branches(tree: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name of each verb and alias → its parser."""
    for action in tree._actions:
        if isinstance(action, argparse._SubParsersAction):
            return cast(dict[str, argparse.ArgumentParser], action.choices)
    return {}
