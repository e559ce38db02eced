"""``%%wattle NAME`` defines a workflow, ``%wattle VERB …`` does the rest; with tab completion."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from wattle_jupyter import verbs
from wattle_jupyter.client import Client
from wattle_jupyter.errors import InvalidRequest, Problem, SpecError, WattleError
from wattle_jupyter.model import Json
from wattle_jupyter.places import store_dir
from wattle_jupyter.run import Drawing

_LEFT_OVER = re.compile(r"\{\s*([A-Za-z_]\w*)[^{}:\"]*\}")


class WattleCellError(WattleError):
    """What a magic could not do, as one block: IPython shows it instead of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


def load(shell: Any) -> None:
    """Register magic and completion with an IPython shell; a second time changes nothing."""
    unload(shell)
    magic = _Magic(shell)
    shell.register_magic_function(magic.wattle, "line_cell", "wattle")
    magic.matcher = _matcher(_Completion(magic))
    shell.Completer.custom_matchers.append(magic.matcher)
    _loaded[id(shell)] = magic


def unload(shell: Any) -> None:
    """Take away what :func:`load` brought."""
    magic = _loaded.pop(id(shell), None)
    if magic is None:
        return
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("wattle", None)
    shell.Completer.custom_matchers[:] = [m for m in shell.Completer.custom_matchers if m is not magic.matcher]


_loaded: dict[int, _Magic] = {}


class _Magic:
    """The magic of one shell."""

    matcher: Any = None

    def __init__(self, shell: Any) -> None:
        self.shell = shell

    def wattle(self, line: str, cell: str | None = None) -> object:
        """Workflows of tasks that run outside the kernel. `%wattle` lists the verbs, `%wattle VERB -h` explains one.

        As `%%wattle NAME` it defines a workflow: a line per task, `name <- what it needs: command`.
        """
        try:
            _refuse_left_over_braces(line)
            if cell is None:
                return self._do(line)
            self._define(line, cell)
        except verbs.BadUsage as error:
            raise _usage_error(str(error)) from None
        except verbs.Detached as left:
            _print(str(left))
        except WattleError as error:
            raise WattleCellError(str(error), **error.details) from None
        return None

    # ---------------------------------------------------------------------------------------------------- %wattle VERB

    def _do(self, line: str) -> object:
        scene = verbs.Scene(write=_print, prog="%wattle", notebook=True, cause="cell")
        outcome = verbs.do(verbs.split(line, "%wattle"), scene)
        if outcome.value is not None and "--json" not in line.split():
            return outcome.value
        if outcome.text:
            _print(outcome.text)
        return None

    # --------------------------------------------------------------------------------------------------- %%wattle NAME

    def _define(self, line: str, body: str) -> None:
        from wattle_jupyter import cell, spec  # noqa: PLC0415  pydantic when the first cell is defined

        args = _flags(line)
        try:
            data, lines = cell.parse(body)
            data = self._completed(data, args)
            workflow = spec.load(data, name=args.name, lines=lines)
        except SpecError as error:
            raise WattleCellError(block(error, args.name, line, body), **error.details) from None
        detail = self._client().define(spec.dump(workflow))
        for warning in detail["warnings"]:
            _print(f"warning: {warning}")
        self._display(Drawing(workflow))

    def _completed(self, data: dict[str, Json], args: Any) -> dict[str, Json]:
        """The spec of the cell with what the kernel and the line know."""
        from wattle_jupyter import spec  # noqa: PLC0415

        found = {"working_dir": os.getcwd(), "python": sys.executable, **data}  # noqa: PTH109  as text
        flags = {"mode": args.mode, "max_parallel": args.jobs}
        found.update({key: value for key, value in flags.items() if value is not None})
        given = dict(map(verbs.parameter, args.param))
        captured = capture(spec.free_names(found) - set(given), self._names())
        own = found.get("params", {})
        if isinstance(own, dict) and (captured or given):  # anything else is for the spec to refuse
            found["params"] = {**captured, **own, **given}
        return found

    def _names(self) -> dict[str, object]:
        """What the user defined, without what IPython put there."""
        hidden = self.shell.user_ns_hidden
        return {name: value for name, value in self.shell.user_ns.items() if name not in hidden}

    def _client(self) -> Client:
        return verbs.Scene(write=_print).client

    def _display(self, drawing: Drawing) -> None:
        from IPython.display import display  # noqa: PLC0415

        display(drawing)  # type: ignore[no-untyped-call]  # IPython is half typed


def _flags(line: str) -> Any:
    parser = verbs.Parser(prog="%%wattle")
    parser.add_argument("name", metavar="NAME", help="what the workflow is called")
    parser.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    parser.add_argument("--mode", choices=("dependency", "sequential", "parallel"), help="in which order tasks run")
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="at most N tasks at a time")
    try:
        return parser.parse_args(verbs.split(line, "%%wattle"))
    except verbs.Help as shown:
        raise verbs.BadUsage(str(shown)) from None


def capture(names: set[str], user: Mapping[str, object]) -> dict[str, Json]:
    """The values that templates name, as JSON. Names that nobody defined are left to the spec, which knows more."""
    return {name: _as_json(name, user[name]) for name in sorted(names) if name in user}


def _as_json(name: str, value: object) -> Json:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise InvalidRequest(
            f"`{{{{ {name} }}}}`: {name} is a {kind}, and only JSON values (text, numbers, booleans, lists, dicts) "
            f"travel to tasks; {_cure(name, value)}"
        ) from None


def _cure(name: str, value: object) -> str:
    if isinstance(value, PurePath):
        return f"write {name} = str({name}) first"
    if isinstance(value, (set, frozenset)):
        return f"write {name} = sorted({name}) first"
    if isinstance(value, float):
        return "NaN and infinity are not JSON: pass a text or None"
    for method in ("tolist", "isoformat"):
        if hasattr(value, method):
            return f"write {name} = {name}.{method}() first"
    return "write it to a file and pass the file's path"


def block(error: SpecError, name: str, line: str, body: str) -> str:
    """All problems of a cell, each below the line that it is about."""
    rows = [f"%%wattle {line}".rstrip(), *body.splitlines()]
    count = len(error.problems)
    head = f"{name} cannot work: {count} problem{'' if count == 1 else 's'}"
    return "\n".join([head, *(_pointed(problem, rows) for problem in error.problems)])


def _pointed(problem: Problem, rows: list[str]) -> str:
    if problem.line is None or not 0 < problem.line < len(rows):
        return f"\n  {replace(problem, line=None)}"
    number = problem.line + 1  # the cell's first line is the magic itself
    return f"\n  {number:>3} | {rows[problem.line]}\n   {'':>3}^ {replace(problem, line=None)}"


def _refuse_left_over_braces(line: str) -> None:
    """IPython has put values in for ``{x}`` by now; it leaves the whole line as it is if one of them is unknown."""
    if found := _LEFT_OVER.search(line):
        raise verbs.BadUsage(
            f"%wattle: `{found[0]}` in the line could not be worked out; define `{found[1]}`, or double the braces"
        )


def _usage_error(message: str) -> Exception:
    from IPython.core.error import UsageError  # noqa: PLC0415  there when a magic runs

    return UsageError(message)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  this is what the magic is for


# ----------------------------------------------------------------------------------------------------------- completion


class _Completion:
    """Candidates for what stands left of the cursor. Names come from the engine if it is there and quick."""

    PATIENCE = 0.035  # seconds that a key press may wait for names; slower answers serve the next one
    FRESH = 2.0  # seconds

    def __init__(self, magic: _Magic) -> None:
        self.magic = magic
        self._names: dict[str, list[str]] = {}
        self._asked = -self.FRESH
        self._lock = threading.Lock()

    def candidates(self, text: str) -> list[str] | None:
        """None if the text is not one of ours."""
        found = re.match(r"\s*(?:[\w.]+\s*=\s*)?%wattle\s+(.*)$", text, re.DOTALL)
        if found is None:
            return None
        *words, last = re.split(r"\s+", found[1])
        return [word for word in self._all(words, last) if word.startswith(last)]

    def _all(self, words: list[str], last: str) -> list[str]:
        parsers = verbs.verbs()
        if not words:
            return sorted(parsers)
        parser = parsers.get(words[0])
        if parser is None:
            return []
        actions = [action for action in parser._actions if not isinstance(action, verbs.ShowHelp)]
        for action in actions:
            if words[-1] in action.option_strings and action.choices:
                return list(action.choices)
        if last.startswith("-"):
            return sorted(option for action in actions for option in action.option_strings)
        place = next((action.dest for action in actions if not action.option_strings), "")
        return self.names().get(place, [])

    def names(self) -> dict[str, list[str]]:
        """Workflows and runs as of the last two seconds."""
        with self._lock:
            due = time.monotonic() - self._asked > self.FRESH
            if due:
                self._asked = time.monotonic()
        if due:
            asking = threading.Thread(target=self._ask, name="wattle-complete", daemon=True)
            asking.start()
            asking.join(self.PATIENCE)
        return self._names

    def _ask(self) -> None:
        client = Client(store_dir(os.environ), start=False, timeout=2.0)
        try:
            workflows = [view["name"] for view in client.workflows(sort_by="updated_at", order="desc")]
            runs = [view["id"][:8] for view in client.runs(limit=20, sort_by="created_at", order="desc")]
        except (WattleError, OSError):
            return  # no engine: nothing to offer, and a key press is no place for errors
        self._names = {"workflow": workflows, "run": ["last", *runs]}


def _matcher(completion: _Completion) -> Any:
    from IPython.core.completer import SimpleCompletion, context_matcher  # noqa: PLC0415

    @context_matcher()  # type: ignore[untyped-decorator]  # IPython is not typed
    def wattle_matcher(context: Any) -> dict[str, Any]:
        found = completion.candidates(context.text_until_cursor)
        if found is None:
            return {"completions": [], "suppress": False}
        last = re.split(r"\s+", context.text_until_cursor)[-1]
        # IPython replaces only what it takes for the word at the cursor
        skip = len(last) - len(context.token) if last.endswith(context.token) else 0
        return {"completions": [SimpleCompletion(text=word[skip:]) for word in found], "suppress": True}

    return wattle_matcher
