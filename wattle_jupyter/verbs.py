"""The verbs: one tree for ``%wattle`` in a notebook, ``wattle`` and ``jupyter wattle`` in a terminal."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, cast

from wattle_jupyter import client as clients
from wattle_jupyter import tables
from wattle_jupyter.client import Client
from wattle_jupyter.errors import InvalidRequest, NotFound, Problem, SpecError, WattleError
from wattle_jupyter.model import Json, State
from wattle_jupyter.places import store_dir
from wattle_jupyter.run import Drawing, Run, attach, did_you_mean, read_tail
from wattle_jupyter.wire import TaskRunView

Write = Callable[[str], None]

ALIASES = {"ls": "list"}
SUFFIXES = (".yaml", ".yml", ".json", ".toml")


class BadUsage(InvalidRequest):
    """The command line makes no sense; the message is one line."""


class Detached(Exception):
    """An interrupt ended the waiting, not the run; the text says how to come back."""


class Help(Exception):
    """Carries the help of the verb that ``-h`` stands in."""


@dataclass(kw_only=True)
class Scene:
    """Where a verb is used: how it reaches the engine, and what the place can show."""

    write: Write
    prog: str = "wattle"
    notebook: bool = False
    cause: str = "cli"
    store: Path | None = None
    progress: Write | None = None  # one line that replaces itself, on a terminal
    _client: Client | None = None

    @property
    def client(self) -> Client:
        """The owner of the store; one is started if there is none."""
        if self._client is None:
            self._client = clients.find(self.store)
        return self._client


@dataclass(kw_only=True)
class Outcome:
    """What a verb found: text for people, data for programs, a value for the notebook, an exit code."""

    text: str = ""
    data: Json = None
    value: object = None
    code: int = 0


def do(words: Sequence[str], scene: Scene) -> Outcome:
    """Carry out one command line. Raises BadUsage for a bad one, WattleError if it cannot be done."""
    try:
        args = parse(words, scene.prog)
    except Help as shown:
        return Outcome(text=str(shown))
    scene.store = Path(args.store).expanduser().absolute() if getattr(args, "store", None) else scene.store
    try:
        outcome: Outcome = args.do(args, scene)
    except NotFound as error:
        raise _with_candidates(error, args, scene) from None
    if args.json:
        return Outcome(text=json.dumps(outcome.data, indent=2, ensure_ascii=False), code=outcome.code)
    return outcome


def parse(words: Sequence[str], prog: str) -> argparse.Namespace:
    """The words as arguments; ``Help`` if help was asked for, as it is by no words at all."""
    tree = build(prog)
    if not words:
        raise Help(tree.format_help().rstrip())
    names = verbs(tree)
    if not words[0].startswith("-") and words[0] not in names:
        raise BadUsage(f"{prog}: no verb `{words[0]}`{did_you_mean(words[0], sorted(names))}")
    args, rest = tree.parse_known_args(list(words))
    if rest:
        names[args.verb].error(f"unrecognized arguments: {' '.join(rest)}{_option_meant(rest[0], names[args.verb])}")
    return args


def _option_meant(word: str, parser: argparse.ArgumentParser) -> str:
    known = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    meant = did_you_mean(word.partition("=")[0], known) if word.startswith("--") else ""
    return meant if "did you mean" in meant else ""


def split(line: str, prog: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise BadUsage(f"{prog}: {str(error).lower()} in: {line}") from None


# ------------------------------------------------------------------------------------------------------------- the tree


class Parser(argparse.ArgumentParser):
    """Never exits, never prints; no abbreviations of options, so that new ones break nobody."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "add_help": False, **kwargs})
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        self.add_argument("-h", "--help", action=ShowHelp, nargs=0, help="show this help")

    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split())
        raise BadUsage(f"{self.prog}: {message} ({usage})")


class ShowHelp(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Help(parser.format_help().rstrip())


@dataclass(frozen=True)
class _Verb:
    name: str
    do: Callable[[argparse.Namespace, Scene], Outcome]
    help: str
    example: str
    args: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = field(default=())


def _arg(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, options


def build(prog: str) -> argparse.ArgumentParser:
    tree = Parser(prog=prog, description="Workflows of tasks, run durably outside the kernel.", epilog=_EPILOG)
    places = tree.add_subparsers(metavar="VERB", parser_class=Parser, required=True)
    for verb in TABLE:
        example = f"example:\n  {prog} {verb.example}"
        aliases = [short for short, name in ALIASES.items() if name == verb.name]
        place = places.add_parser(verb.name, aliases=aliases, help=verb.help, description=verb.help, epilog=example)
        for names, options in verb.args:
            place.add_argument(*names, **options)
        place.add_argument("--json", action="store_true", help="print JSON, for programs")
        place.set_defaults(do=verb.do, verb=verb.name)
    return tree


def verbs(tree: argparse.ArgumentParser | None = None) -> dict[str, argparse.ArgumentParser]:
    """Name of each verb and alias → its parser."""
    for action in (tree or build("wattle"))._actions:
        if isinstance(action, argparse._SubParsersAction):
            return cast(dict[str, argparse.ArgumentParser], action.choices)
    return {}


# ------------------------------------------------------------------------------------------------------ starting things


def _run(args: argparse.Namespace, scene: Scene) -> Outcome:
    params = dict(map(parameter, args.param))
    asked = {"params": params or None, "mode": args.mode, "priority": args.priority, "cause": scene.cause}
    if is_file(args.workflow):
        spec = load_file(args.workflow, params)
        run = Run(scene.client, scene.client.submit(spec=spec, **asked))
    else:
        run = Run(scene.client, scene.client.submit(args.workflow, **asked))
    if not args.wait:
        text = f"run {run.id[:8]} of {run.workflow} started; `{scene.prog} status {run.id[:8]}`"
        return Outcome(text=text, data={"run": run.id}, value=run)
    return _waited(run, scene, quiet=args.json)


def _waited(run: Run, scene: Scene, *, quiet: bool) -> Outcome:
    reporter = None if scene.notebook or quiet else _Reporter(run, scene)
    try:
        run.wait(progress=reporter, quiet=True)  # said below, in the words of the place
    except KeyboardInterrupt:
        raise Detached(
            f"Detached; the run of {run.workflow} goes on. Back to it: `{scene.prog} attach {run.id[:8]}`; "
            f"end it: `{scene.prog} cancel {run.id[:8]}`"
        ) from None
    detail = run.detail()
    text = tables.summary(detail)
    failed = [view["task"] for view in detail["tasks"] if view["state"] == "failed" and view["attempt"]]
    if reporter and failed:
        scene.write(f"what {failed[0]} wrote: `{scene.prog} logs {run.id[:8]}/{failed[0]}`")
    return Outcome(text=text, data=detail, value=run, code=0 if detail["state"] == "completed" else 1)


class _Reporter:
    """Says a plain line per change of state, and how far the whole is where that can replace itself."""

    def __init__(self, run: Run, scene: Scene) -> None:
        self._scene = scene
        self._states: dict[str, str] = {}
        scene.write(f"run {run.id[:8]} of {run.workflow}")

    def __call__(self, changed: Sequence[TaskRunView]) -> None:
        for view in changed:
            if self._states.get(view["task"], "created") != view["state"]:
                self._tell(view)
            self._states[view["task"]] = view["state"]
        if self._scene.progress:
            done = sum(State(state).final for state in self._states.values())
            running = sum(state == "running" for state in self._states.values())
            self._scene.progress(f"{done}/{len(self._states)} done, {running} running")

    def _tell(self, view: TaskRunView) -> None:
        if self._scene.progress:
            self._scene.progress("")
        self._scene.write(tables.task_line(view))


def is_file(name: str) -> bool:
    return name.endswith(SUFFIXES) or "/" in name


def load_file(name: str, params: dict[str, Json] | None = None) -> dict[str, Json]:
    """The checked spec of a workflow file. Relative paths in it start at its folder."""
    from wattle_jupyter import spec  # noqa: PLC0415  pydantic only where a spec is read

    path = Path(name).expanduser().absolute()
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark first
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"{name} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    try:
        data = _completed(spec.from_text(text, path.suffix), path, params)
        return spec.dump(spec.load(data))
    except SpecError as error:
        raise _of_file(error, name) from None


def _completed(data: object, path: Path, params: dict[str, Json] | None) -> object:
    """The content of a workflow file with what its place and the command line know."""
    from wattle_jupyter import spec  # noqa: PLC0415

    if isinstance(data, dict):
        if data and not {"tasks", "workers"} & set(data):
            cure = "write `tasks:` and the tasks indented under it; only a %%wattle cell goes without"
            raise SpecError([Problem("", "the file has no `tasks`", cure)])
        data.setdefault("name", path.name.split(".")[0])
        data.setdefault("working_dir", str(path.parent))
        data.setdefault("python", sys.executable)
        free = spec.free_names(data) if params else set()
        given = {key: value for key, value in (params or {}).items() if key in free}
        if given:
            data["params"] = {**(data.get("params") or {}), **given}
    return data


def _of_file(error: SpecError, name: str) -> WattleError:
    """The same error as one block that names the file."""
    told = [str(_about_name(problem) if problem.path == "name" else problem) for problem in error.problems]
    if len(told) == 1:
        return InvalidRequest(f"{name}: {told[0]}", **error.details)
    return InvalidRequest("\n  ".join([f"{name} cannot work: {len(told)} problems", *told]), **error.details)


def _about_name(problem: Problem) -> Problem:
    return replace(problem, cure=f"write `name: …` in the file, else it is taken from the file's name; {problem.cure}")


def parameter(text: str) -> tuple[str, Json]:
    name, found, value = text.partition("=")
    if not found or not name.isidentifier():
        raise BadUsage(f"-p {text}: a parameter is given as name=value")
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return name, value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are words, not JSON


def _create(args: argparse.Namespace, scene: Scene) -> Outcome:
    spec = load_file(args.file)
    detail = scene.client.define(spec)
    warnings = "".join(f"\nwarning: {text}" for text in detail["warnings"])
    start = f"start it with `{scene.prog} run {detail['name']}`"
    text = f"{detail['name']}: {tables.some(detail['total'], 'task')}; {start}{warnings}"
    return Outcome(text=text, data=detail)


# -------------------------------------------------------------------------------------------------------------- looking


def _list(args: argparse.Namespace, scene: Scene) -> Outcome:
    found = scene.client.workflows(sort_by="name", order="asc")
    nothing = f"no workflows yet; define one with %%wattle, or `{scene.prog} create FILE`"
    return Outcome(text=tables.workflows(found) if found else nothing, data=found)


def _ps(args: argparse.Namespace, scene: Scene) -> Outcome:
    found = scene.client.runs(status="created,queued,waiting,running", sort_by="created_at", order="desc")
    return Outcome(text=tables.runs(found) if found else "nothing runs", data=found)


def _show(args: argparse.Namespace, scene: Scene) -> Outcome:
    detail = scene.client.workflow(args.workflow)
    drawing = drawing_of(detail["spec"])
    return Outcome(text=f"{tables.definition(detail)}\n{drawing}", data=detail)


def _status(args: argparse.Namespace, scene: Scene) -> Outcome:
    if args.run is None:
        found = scene.client.runs(limit=20, sort_by="created_at", order="desc")
        return Outcome(text=tables.runs(found) if found else "no runs yet", data=found)
    name = _whole(args.run, "logs", args, scene)  # before an engine is started for a slip
    detail = scene.client.run(name)
    return Outcome(text=tables.status(detail, exact=not scene.notebook), data=detail)


def _logs(args: argparse.Namespace, scene: Scene) -> Outcome:
    name, task = _place(args.run)
    run = Run(scene.client, scene.client.run(name))
    if args.follow:
        return _followed(run, task, args.tail, scene)
    text = run.logs(task, args.tail)
    return Outcome(text=str(text).rstrip("\n"), data={"run": run.id, "task": task, "text": str(text)})


def _followed(run: Run, task: str | None, tail: int | None, scene: Scene) -> Outcome:
    names = [view["task"] for view in run.detail()["tasks"]]
    if task is None and len(names) > 1:
        raise BadUsage(f"{scene.prog} logs: -f follows one task, say which: {run.id[:8]}/{names[0]}")
    handle = run[task or names[0]]
    if tail is None:
        start, attempt, offset = "", run.client.log(run.id, handle.task, limit=4)["attempt"] or None, 0
    else:
        start, attempt, offset = read_tail(run.client, run.id, handle.task, tail)
    with run.client.log_stream(run.id, handle.task, offset=offset, attempt=attempt) as texts:
        _print_lines(chain([start], texts), scene)
    return Outcome()


def _print_lines(texts: Iterable[str], scene: Scene) -> None:
    """Whole lines as they come."""
    rest = ""
    for text in texts:
        *lines, rest = (rest + text).split("\n")
        if lines:
            scene.write("\n".join(lines))
    if rest:
        scene.write(rest)


def _graph(args: argparse.Namespace, scene: Scene) -> Outcome:
    stored = not is_file(args.workflow)
    drawing = drawing_of(scene.client.workflow(args.workflow)["spec"] if stored else load_file(args.workflow))
    text = drawing.svg() if args.svg else str(drawing)
    return Outcome(text=text, data=drawing.data(), value=drawing)


def drawing_of(data: Json) -> Drawing:
    from wattle_jupyter import spec  # noqa: PLC0415

    return Drawing(spec.load(data))


def _attach(args: argparse.Namespace, scene: Scene) -> Outcome:
    run = attach(_whole(args.run, "logs", args, scene), client=scene.client)
    if scene.notebook or args.json:
        return Outcome(data=run.detail(), value=run)
    return _waited(run, scene, quiet=False)


# ------------------------------------------------------------------------------------------------------------- changing


def _stop(args: argparse.Namespace, scene: Scene) -> Outcome:
    name, task = _place(args.run)
    if task is None:
        raise BadUsage(f"{scene.prog} stop: which task? `{name}/TASK` (the whole run: `{scene.prog} cancel {name}`)")
    view = scene.client.stop(name, task)
    return Outcome(text=f"{task}: {tables.asked(view['state'], 'stop')}", data=view)


def _cancel(args: argparse.Namespace, scene: Scene) -> Outcome:
    name = _whole(args.run, "stop", args, scene)
    run = scene.client.cancel(name)
    return Outcome(text=f"{run['workflow']}: {tables.asked(run['state'], 'end')}", data=run)


def _retry(args: argparse.Namespace, scene: Scene) -> Outcome:
    name, task = _place(args.run)
    known = scene.client.retry(name) if task is None else scene.client.retry_task(name, task)
    return Outcome(text=f"{known['workflow']}: {known['state']}", data=known, value=Run(scene.client, known))


def _place(text: str) -> tuple[str, str | None]:
    """``RUN/TASK`` as two."""
    run, _, task = text.partition("/")
    return run, task or None


def _whole(text: str, verb: str, args: argparse.Namespace, scene: Scene) -> str:
    """The name of a run. Raises BadUsage if a task is named as well, with the verb that takes one."""
    run, task = _place(text)
    if task is not None:
        raise BadUsage(f"{scene.prog} {args.verb}: takes a run, `{run}`; for one task: `{scene.prog} {verb} {text}`")
    return run


def _lines(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a number of lines, not '{text}'")
    return int(text)


# ---------------------------------------------------------------------------------------------------- the engine itself


def _doctor(args: argparse.Namespace, scene: Scene) -> Outcome:
    from wattle_jupyter import doctor  # noqa: PLC0415

    found = doctor.examine(scene.store or store_dir(os.environ))
    return Outcome(text=doctor.report(found), data=found, code=0 if found["well"] else 1)


def _serve(args: argparse.Namespace, scene: Scene) -> Outcome:
    if scene.notebook:
        raise BadUsage("%wattle serve: a kernel starts the engine by itself; `wattle serve` is for terminals")
    from wattle_jupyter.serve import serve  # noqa: PLC0415

    return Outcome(code=serve(args.store, args.idle))


def _with_candidates(error: NotFound, args: argparse.Namespace, scene: Scene) -> WattleError:
    """The same error, with what was probably meant."""
    if "did you mean" in str(error) or "there are:" in str(error):
        return error
    name = getattr(args, "workflow", None)
    if name is not None and f"{name}" in str(error):  # else it is about the run, which went with its store
        known = [view["name"] for view in scene.client.workflows()]
        hint = did_you_mean(name, known) or "; none is defined yet"
        if Path(name).exists():
            hint = f"; the name of a workflow file ends in {', '.join(SUFFIXES)}"
        return NotFound(f"no workflow `{name}`{hint}", **error.details)
    run, task = _place(getattr(args, "run", None) or "")
    if task is None:
        return error
    names = [view["task"] for view in scene.client.run(run)["tasks"]]
    return NotFound(f"no task `{task}` in this run{did_you_mean(task, names)}", **error.details)


_RUN = "id of a run, a prefix of it (4 characters or more), or `last`"
_WAIT = _arg("-w", "--wait", action="store_true", help="wait until it ended")
_MODE = _arg("--mode", choices=("dependency", "sequential", "parallel"), help="in which order tasks run")
_PARAM = _arg("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter; JSON or text")
_PRIORITY = _arg("--priority", choices=("high", "normal", "low"), help="who gets a free slot first")
_EPILOG = "`VERB -h` shows a verb's options and an example."

TABLE = (
    _Verb("run", _run, "start a workflow, by name or from a file", "run etl -w -p lr=0.1",
          (_arg("workflow", metavar="NAME|FILE"), _WAIT, _PARAM, _MODE, _PRIORITY)),
    _Verb("list", _list, "workflows that are defined", "list"),
    _Verb("ps", _ps, "runs that have not ended", "ps"),
    _Verb("show", _show, "the definition of a workflow", "show etl", (_arg("workflow", metavar="NAME"),)),
    _Verb("status", _status, "how a run is doing; without RUN, the newest runs", "status last",
          (_arg("run", nargs="?", metavar="RUN", help=_RUN),)),
    _Verb("logs", _logs, "what tasks wrote", "logs last/train --tail 20",
          (_arg("run", metavar="RUN[/TASK]", help=_RUN),
           _arg("-f", "--follow", action="store_true", help="as it grows"),
           _arg("--tail", "-n", type=_lines, metavar="N", help="only the last N lines"))),
    _Verb("create", _create, "store the workflow of a file", "create etl.wattle.yaml", (_arg("file", metavar="FILE"),)),
    _Verb("stop", _stop, "stop one task", "stop last/train", (_arg("run", metavar="RUN/TASK", help=_RUN),)),
    _Verb("cancel", _cancel, "stop all tasks of a run and start no more", "cancel last",
          (_arg("run", metavar="RUN", help=_RUN),)),
    _Verb("retry", _retry, "new attempts of what failed, or of one task", "retry last/train",
          (_arg("run", metavar="RUN[/TASK]", help=_RUN),)),
    _Verb("graph", _graph, "draw a workflow", "graph etl --svg",
          (_arg("workflow", metavar="NAME|FILE"), _arg("--svg", action="store_true", help="as SVG"))),
    _Verb("attach", _attach, "come back to a run", "attach last", (_arg("run", metavar="RUN", help=_RUN),)),
    _Verb("doctor", _doctor, "look for what is wrong with the engine", "doctor",
          (_arg("--store", metavar="DIR", help="the store's folder"),)),
    _Verb("serve", _serve, "run the engine without JupyterLab", "serve --idle 600",
          (_arg("--store", metavar="DIR", help="the store's folder"),
           _arg("--idle", type=float, metavar="SECONDS", help="end after so long idle (600)"))),
)  # fmt: skip
"""All verbs, in the order of the help."""
