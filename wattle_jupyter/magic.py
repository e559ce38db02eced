"""``%%wattle NAME`` defines a workflow, ``%wattle VERB …`` does the rest; with tab completion."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wattle_jupyter.errors import Problem, SpecError, WattleError

if TYPE_CHECKING:  # the rest when it is used: loading the extension is to be quick
    from wattle_jupyter.client import Client
    from wattle_jupyter.completion import Completion
    from wattle_jupyter.model import Json, Workflow

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
    magic.matcher = _matcher(magic)
    shell.Completer.custom_matchers.append(magic.matcher)
    _loaded[id(shell)] = magic
    # some 50 ms of imports that the first Tab need not wait for
    threading.Thread(target=lambda: magic.completion, name="wattle-warm-up", daemon=True).start()


def unload(shell: Any) -> None:
    """Take away what :func:`load` brought."""
    magic = _loaded.pop(id(shell), None)
    if magic is None:
        return
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("wattle", None)
    shell.Completer.custom_matchers[:] = [m for m in shell.Completer.custom_matchers if m is not magic.matcher]


_loaded: dict[int, _Magic] = {}


def _matcher(magic: _Magic) -> Any:
    """The completion as a matcher of IPython, beside its own."""
    from IPython.core.completer import context_matcher  # noqa: PLC0415  there when a shell is

    @context_matcher()  # type: ignore[untyped-decorator]  # IPython is not typed
    def wattle_matcher(context: Any) -> Any:
        return magic.completion.answer(context)

    return wattle_matcher


class _Magic:
    """The magic of one shell."""

    matcher: Any = None

    def __init__(self, shell: Any) -> None:
        self.shell = shell

    @cached_property
    def completion(self) -> Completion:
        from wattle_jupyter.completion import Completion  # noqa: PLC0415

        return Completion(self.names)

    def wattle(self, line: str, cell: str | None = None) -> object:
        """Workflows of tasks that run outside the kernel, and go on without it.

        Define one, a line per task (`name <- what it needs: command`):

            %%wattle etl
            fetch:           curl -sS https://example.org/raw.csv -o raw.csv
            clean <- fetch:  python clean.py --rows {{ n }}

        Or make a cell of Python a task of it; it runs in the workflow, not here:

            %%wattle etl.clean -n fetch -o rows
            rows = [line for line in open("raw.csv") if line.strip()]

            -n TASK    a task that it needs; the outputs of that are there by their names
            -o NAME    a variable that it leaves for others; without: the last expression, as `result`
            -i NAME    a variable of this kernel that it takes, as it is now; modules, functions and classes come along
            -p NAME    a parameter; -p NAME=VALUE gives it a value

        Run it, look at it:

            %wattle run etl -w        run it and wait; an interrupt detaches, the run goes on
            %wattle status last       how the newest run is doing
            %wattle logs last/clean   what a task wrote
            %wattle VERB -h           explains a verb; `%wattle` lists them all
        """
        from wattle_jupyter import cellline, verbs  # noqa: PLC0415

        try:
            _refuse_left_over_braces(line)
            if cell is None:
                return self._do(line)
            if cellline.is_cell_task(line):
                self._define_task(line, cell)
            else:
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
        from wattle_jupyter import verbs  # noqa: PLC0415

        scene = verbs.Scene(write=_print, prog="%wattle", notebook=True, cause="cell")
        outcome = verbs.do(verbs.split(line, "%wattle"), scene)
        if outcome.value is not None and "--json" not in line.split():
            return outcome.value
        if outcome.text:
            _print(outcome.text)
        return None

    # --------------------------------------------------------------------------------------------------- %%wattle NAME

    def _define(self, line: str, body: str) -> None:
        from wattle_jupyter import cell, spec, textcell  # noqa: PLC0415  pydantic when the first cell is defined

        args = _flags(line)
        try:
            data, lines = cell.parse(body)
            workflow, whole = textcell.join(args.name, data, lines, lambda found: self._completed(found, args))
        except SpecError as error:
            raise WattleCellError(block(error, args.name, line, body), **error.details) from None
        client = self._client()
        for content in whole.payloads.values():
            client.put_object(content)
        detail = client.define(spec.dump(workflow))
        for warning in detail["warnings"]:
            _print(f"warning: {warning}")
        self._display(workflow)

    def _define_task(self, line: str, body: str) -> None:
        from wattle_jupyter import celldraft, cellline  # noqa: PLC0415  cloudpickle when the first cell is defined
        from wattle_jupyter.notebook import WorkflowError  # noqa: PLC0415

        read = cellline.read(line)
        try:
            joined = celldraft.join(read, body, self.shell, self._client)
        except WorkflowError:
            raise  # about the other tasks; it shows itself
        except SpecError as error:
            raise WattleCellError(block(error, f"{read.workflow}.{read.task}", line, body), **error.details) from None
        for said in joined.said:
            _print(said)
        self._display(joined.workflow)

    def _completed(self, data: dict[str, Json], args: Any) -> dict[str, Json]:
        """The spec of the cell with what the kernel and the line know."""
        from wattle_jupyter import spec, verbs  # noqa: PLC0415
        from wattle_jupyter.notebook import here  # noqa: PLC0415

        found = {**here(), **data}
        flags = {"mode": args.mode, "max_parallel": args.jobs}
        found.update({key: value for key, value in flags.items() if value is not None})
        given = dict(map(verbs.parameter, args.param))
        captured = capture(spec.free_names(found) - set(given), self.names())
        own = found.get("params", {})
        if isinstance(own, dict) and (captured or given):  # anything else is for the spec to refuse
            found["params"] = {**captured, **own, **given}
        return found

    def names(self) -> dict[str, object]:
        """What the user defined, without what IPython put there."""
        hidden = self.shell.user_ns_hidden
        return {name: value for name, value in self.shell.user_ns.items() if name not in hidden}

    def _client(self) -> Client:
        from wattle_jupyter import verbs  # noqa: PLC0415

        return verbs.Scene(write=_print).client

    def _display(self, workflow: Workflow) -> None:
        from IPython.display import display  # noqa: PLC0415

        from wattle_jupyter.run import Drawing  # noqa: PLC0415

        display(Drawing(workflow))  # type: ignore[no-untyped-call]  # IPython is half typed


def _flags(line: str) -> Any:
    from wattle_jupyter import verbs  # noqa: PLC0415

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
    from wattle_jupyter.notebook import as_json  # noqa: PLC0415  when the first cell is defined

    return {name: as_json(name, user[name], f"`{{{{ {name} }}}}`") for name in sorted(names) if name in user}


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
    from wattle_jupyter import verbs  # noqa: PLC0415

    if found := _LEFT_OVER.search(line):
        raise verbs.BadUsage(
            f"%wattle: `{found[0]}` in the line could not be worked out; define `{found[1]}`, or double the braces"
        )


def _usage_error(message: str) -> Exception:
    from IPython.core.error import UsageError  # noqa: PLC0415  there when a magic runs

    return UsageError(message)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  this is what the magic is for
