"""The ``wattle`` command. Exit codes: 0 well, 1 the run failed or an error, 2 bad usage, 130 interrupted (detached)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from wattle_jupyter import verbs
from wattle_jupyter._version import __version__
from wattle_jupyter.errors import WattleError


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        print(__version__)
        return 0
    terminal = _Terminal()
    try:
        outcome = verbs.do(words, verbs.Scene(write=terminal.line, progress=terminal.progress()))
        terminal.line(outcome.text)
        sys.stdout.flush()
        return outcome.code
    except verbs.BadUsage as error:
        return terminal.complain(error, 2)
    except WattleError as error:
        return terminal.complain(error, 1)
    except (verbs.Detached, KeyboardInterrupt) as left:
        terminal.line(str(left))
        return 130
    except BrokenPipeError:
        # the reader went away (`| head`): nothing is wrong, and nothing more can be said
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Terminal:
    """Lines to stdout; on a terminal a last line on stderr that replaces itself."""

    def __init__(self) -> None:
        self._shown = False

    def line(self, text: str) -> None:
        self._clear()
        if text:
            print(text, flush=True)

    def progress(self) -> verbs.Write | None:
        return self._progress if sys.stderr.isatty() and sys.stdout.isatty() else None

    def complain(self, error: WattleError, code: int) -> int:
        self._clear()
        said = str(error)
        print(said if said.startswith(("wattle:", "wattle ")) else f"wattle: {said}", file=sys.stderr)
        return code

    def _progress(self, text: str) -> None:
        self._clear()
        if text:
            print(text, end="", file=sys.stderr, flush=True)
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
