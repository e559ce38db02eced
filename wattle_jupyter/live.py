"""What moves while somebody waits: a table or a bar in a terminal, the live view in a notebook.

Lines that are said stay, and are the same everywhere; only what is below them moves. Drawn with ``rich`` where it is
installed, else as one line that replaces itself; nothing moves where nobody looks (a pipe, a file).
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol, TextIO

from wattle_jupyter import tables
from wattle_jupyter.model import State
from wattle_jupyter.wire import ProgressView, TaskRunView

ROWS = 12
"""Most tasks that a live table shows at once."""

Changed = Callable[[Sequence[TaskRunView]], None]


class Board:
    """The tasks of a run as they were told of, last."""

    def __init__(self) -> None:
        self.views: dict[str, TaskRunView] = {}
        self.far: dict[str, ProgressView] = {}  # by task: how far it is, as it said last

    def take(self, changed: Sequence[TaskRunView]) -> list[TaskRunView]:
        """Those of them whose state is another than before; a task that waits for its turn is no news."""
        news = [v for v in changed if v["state"] != self._state(v["task"])]
        self.views.update((view["task"], view) for view in changed)
        return news

    def _state(self, task: str) -> str:
        return self.views[task]["state"] if task in self.views else "created"

    def count(self, *states: str) -> int:
        return sum(view["state"] in states for view in self.views.values())

    @property
    def done(self) -> int:
        return sum(State(view["state"]).final for view in self.views.values())

    def summary(self) -> str:
        """``3/10 done, 2 running, 1 failed``."""
        parts = [f"{self.done}/{len(self.views)} done", f"{self.count('running')} running"]
        failed = self.count("failed")
        return ", ".join([*parts, f"{failed} failed"] if failed else parts)

    def active(self) -> list[TaskRunView]:
        """What runs, the oldest first, then what waits for its turn."""
        order = {"running": 0, "waiting": 1, "queued": 2}
        chosen = [view for view in self.views.values() if view["state"] in order]
        return sorted(chosen, key=lambda view: (order[view["state"]], view["started_at"] or ""))


class Screen(Protocol):
    """A terminal with lines that stay and below them something that moves."""

    def line(self, text: str) -> None: ...

    def show(self, board: Board) -> None: ...

    def close(self) -> None: ...


class PlainScreen:
    """One line on ``err`` that replaces itself; what stays goes to ``out``."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out, self._err = out, err
        self._shown = False

    def line(self, text: str) -> None:
        self._clear()
        print(text, file=self._out, flush=True)

    def show(self, board: Board) -> None:
        self._clear()
        print(board.summary(), end="", file=self._err, flush=True)
        self._shown = True

    def close(self) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=self._err, flush=True)
            self._shown = False


class RichScreen:
    """A table of what runs with a bar below it, or the bar alone; gone when it is closed."""

    def __init__(self, out: TextIO, *, table: bool) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        self._table = table
        self._board = Board()
        self._console = Console(file=out)
        # drawn anew four times a second as well: what runs gets older between two events
        self._live = Live(get_renderable=self._draw, console=self._console, transient=True, redirect_stderr=False)
        self._live.start()

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, board: Board) -> None:
        self._board = board
        self._live.refresh()

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> Any:
        from rich.console import Group  # noqa: PLC0415

        board = self._board
        return Group(*([self._rows(board)] if self._table else []), self._bar(board)) if board.views else ""

    def _rows(self, board: Board) -> Any:
        from rich.table import Table  # noqa: PLC0415

        active = board.active()
        room = max(1, min(ROWS, self._console.height - 4))
        grid = Table.grid(padding=(0, 2))
        for view in active[:room]:
            style = "cyan" if view["state"] == "running" else "dim"
            state = _text(tables.state(view, board.far.get(view["task"])), style)
            grid.add_row(state, _text(tables.fit(view["task"], self._console.width - 35)), _text(_age(view)[:14]))
        if len(active) > room:
            grid.add_row("", _text(f"… and {len(active) - room:,} more", "dim"), "")
        return grid

    def _bar(self, board: Board) -> Any:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        width = max(5, min(40, self._console.width - 40))
        style = "red" if board.count("failed") else "green"
        bar = ProgressBar(len(board.views), board.done, width, complete_style=style, finished_style=style)
        grid = Table.grid(padding=(0, 2))
        grid.add_row(bar, _text(board.summary()))
        return grid


def _text(text: str, style: str = "") -> Any:
    from rich.text import Text  # noqa: PLC0415

    return Text(text, style)  # not a plain str: `[x]` in a name would be markup


def _age(view: TaskRunView) -> str:
    if view["state"] != "running" or not view["started_at"]:
        return view["reason"]
    age = max(0.0, time.time() - datetime.fromisoformat(view["started_at"]).timestamp())
    return tables.duration(age)


def screen(out: TextIO, err: TextIO, *, table: bool = True) -> Screen | None:
    """What moves on these two; None if nobody looks at them."""
    if not (_is_terminal(out) and _is_terminal(err)):
        return None
    try:
        return RichScreen(out, table=table)
    except ImportError:  # the extra `terminal` is not installed
        return PlainScreen(out, err)


def _is_terminal(file: TextIO | None) -> bool:
    return file is not None and file.isatty()


@contextlib.contextmanager
def bar() -> Iterator[Changed | None]:
    """A bar on stderr while the block runs, to be told of changes; None where stderr is no terminal."""
    shown = screen(sys.stderr, sys.stderr, table=False)
    board = Board()

    def tell(changed: Sequence[TaskRunView]) -> None:
        board.take(changed)
        if shown:
            shown.show(board)

    try:
        yield tell if shown else None
    finally:
        if shown:
            shown.close()


@contextlib.contextmanager
def cell(run: object) -> Iterator[None]:
    """The live view of ``run`` in the cell while the block runs; taken away for what the cell shows at its end.

    Only for a person at the front end, and only in a cell that does nothing else: what it printed would be cleared,
    too. So the saved notebook is the same as that of a batch run, where nothing is shown meanwhile.
    """
    alone = _waits_alone()
    if alone:
        from IPython.display import display  # noqa: PLC0415

        display(run)  # type: ignore[no-untyped-call]  # IPython is half typed
    try:
        yield None
    finally:
        if alone:
            from IPython.display import clear_output  # noqa: PLC0415

            clear_output(wait=True)  # type: ignore[no-untyped-call]


def _waits_alone() -> bool:
    """Is the cell that runs just now one statement, of a front end where a person can be asked things?"""
    shell = sys.modules["IPython"].get_ipython()
    if not getattr(shell.kernel, "_allow_stdin", False):  # as nbclient, nbval and papermill send it
        return False
    import ast  # noqa: PLC0415

    code = (shell.get_parent() or {}).get("content", {}).get("code", "")
    try:
        return len(ast.parse(shell.transform_cell(code)).body) == 1
    except SyntaxError:
        return False
