"""What stands after ``%%wattle`` when the cell is to be a task: ``etl.clean -n fetch -o df -i x --retries 2``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from keyword import iskeyword
from typing import Any, NamedTuple

from wattle_jupyter.model import Json
from wattle_jupyter.verbs import BadUsage, Parser, parameter, split

TASK_FIELDS: Mapping[str, str] = {
    "retries": "attempts after the first",
    "retry_delay": "time before the first retry, such as 5s",
    "retry_backoff": "factor for each further delay",
    "retry_max_delay": "longest delay",
    "timeout": "time until the task is stopped, such as 5m",
    "grace": "time from SIGTERM to SIGKILL",
    "priority": "high, normal or low",
    "working_dir": "where it runs, relative to the workflow's folder",
}
"""Fields of a task that the line may set, as ``--retry-delay 5s``."""
SWITCHES: Mapping[str, str] = {"keep_children": "leave processes alone that outlive the cell"}

_NUMBERS = frozenset({"retries", "retry_backoff"})


class Input(NamedTuple):
    """``-i name`` or ``-i name=task/output``."""

    name: str
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """What stands after ``%%wattle``."""

    workflow: str
    task: str
    needs: Sequence[str] = ()
    outputs: Mapping[str, str | None] = field(default_factory=dict)  # name → path of a file
    inputs: Sequence[Input] = ()
    params: Mapping[str, Json] = field(default_factory=dict)
    from_kernel: Sequence[str] = ()  # params whose values are variables of the kernel
    fields: Mapping[str, Json] = field(default_factory=dict)


def is_cell_task(line: str) -> bool:
    """Does the line of ``%%wattle`` make its cell a task? It does if its first word has a dot."""
    first = line.split(maxsplit=1)[:1]
    return bool(first) and not first[0].startswith("-") and "." in first[0]


def parser() -> Parser:
    """Of what stands after ``%%wattle WORKFLOW.TASK``."""
    tree = Parser(prog="%%wattle", usage="%%%%wattle WORKFLOW.TASK [-n TASK] [-o NAME] [-i NAME] [-p NAME=VALUE] …")
    tree.add_argument("name", metavar="WORKFLOW.TASK", help="the workflow, and what the cell is called in it")
    tree.add_argument("-n", "--needs", **_MANY, metavar="TASK", help="a task that ends before; its outputs are there")
    tree.add_argument(
        "-o", "--output", **_MANY, metavar="NAME[=FILE]", help="a variable, or a file, that the cell leaves"
    )
    tree.add_argument("-i", "--input", **_MANY, metavar="NAME[=TASK/OUTPUT]",
                      help="a variable of the kernel as it is now, or a task's output under this name")  # fmt: skip
    tree.add_argument("-p", "--param", **_MANY, metavar="NAME[=VALUE]", help="a parameter of the workflow")
    tree.add_argument("-e", "--env", **_MANY, metavar="NAME=VALUE", help="an environment variable of the task")
    tree.add_argument("--name", dest="task", metavar="NAME", help="what the task is called, if that has a dot")
    for field_name, words in TASK_FIELDS.items():
        tree.add_argument(f"--{field_name.replace('_', '-')}", metavar="VALUE", help=words)
    for field_name, words in SWITCHES.items():
        tree.add_argument(f"--{field_name.replace('_', '-')}", action="store_true", default=None, help=words)
    return tree


def options() -> list[str]:
    """All options of the line."""
    return sorted(name for action in parser()._actions for name in action.option_strings)


_MANY: Any = {"action": "extend", "nargs": "+", "default": []}


def read(text: str) -> Line:
    """The line of a cell task. Raises BadUsage."""
    tree = parser()
    args, rest = tree.parse_known_args(split(text, "%%wattle"))
    if rest:
        _refuse_words_of_the_workflow(rest, args.name)
        known = [name for action in tree._actions for name in action.option_strings if name.startswith("--")]
        close = get_close_matches(rest[0], known, 1, 0.6)
        raise BadUsage(f"%%wattle: unknown: {' '.join(rest)}" + (f"; did you mean `{close[0]}`?" if close else ""))
    workflow, _, task = args.name.rpartition(".")
    if not workflow or not task:
        raise BadUsage(
            f"%%wattle {args.name}: write the workflow, a dot, and the name of the task: `%%wattle etl.clean`"
        )
    given = {key: getattr(args, key) for key in (*TASK_FIELDS, *SWITCHES)}
    fields = {key: _number(value) if key in _NUMBERS else value for key, value in given.items() if value is not None}
    env = dict(_pair(word, "-e", "NAME=VALUE") for word in args.env)
    return Line(
        workflow=workflow,
        task=args.task or task,
        needs=[name for word in args.needs for name in word.split(",") if name],
        outputs=dict(map(_output, args.output)),
        inputs=list(map(_input, args.input)),
        params=dict(map(parameter, (word for word in args.param if "=" in word))),
        from_kernel=[_identifier(word, "-p") for word in args.param if "=" not in word],
        fields={**fields, **({"env": env} if env else {})},
    )


def _refuse_words_of_the_workflow(rest: Sequence[str], name: str) -> None:
    for word in rest:
        if word.partition("=")[0] in ("--mode", "-j", "--jobs"):
            workflow = name.rpartition(".")[0] or name
            raise BadUsage(f"%%wattle: {word} is for the whole workflow; say it in `%%wattle {workflow} {word} …`")


def _pair(word: str, flag: str, form: str) -> tuple[str, str]:
    name, found, value = word.partition("=")
    if not found:
        raise BadUsage(f"%%wattle: {flag} {word}: write {flag} {form}")
    return name, value


def _output(word: str) -> tuple[str, str | None]:
    name, found, path = word.partition("=")
    if found and not path:
        raise BadUsage(f"%%wattle: -o {word}: write -o NAME for a variable, -o NAME=FILE for a file")
    return _identifier(name, "-o"), path if found else None


def _input(word: str) -> Input:
    name, found, source = word.partition("=")
    if found and not source:
        raise BadUsage(f"%%wattle: -i {word}: write -i NAME for a snapshot, -i NAME=TASK/OUTPUT for a task's output")
    return Input(_identifier(name, "-i"), source if found else None)


def _identifier(word: str, flag: str) -> str:
    if not word.isidentifier() or iskeyword(word):
        raise BadUsage(f"%%wattle: {flag} {word}: `{word}` is not a name of a variable")
    return word


def _number(text: str) -> Json:
    """As a number if it is one; what else it may be the spec tells."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
