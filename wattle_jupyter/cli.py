"""The ``wattle`` command.

Exit codes: 0 done; 1 the run failed, or what was asked for could not be done; 2 bad usage; 3 the engine cannot be
reached or cannot work just now; 130 interrupted: detached, the run goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Sequence

from wattle_jupyter import verbs
from wattle_jupyter._version import __version__
from wattle_jupyter.errors import Unavailable, WattleError

FAILED, USAGE, NO_ENGINE, DETACHED = 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could come next
        from wattle_jupyter.shellcompletion import complete  # noqa: PLC0415

        complete()
    if words == ["--version"]:
        print(__version__)
        return 0
    try:
        outcome = verbs.do(words, scene())
        line(outcome.text)
        sys.stdout.flush()
        return outcome.code
    except WattleError as error:
        return complain(error, as_json="--json" in words)
    except (verbs.Detached, KeyboardInterrupt) as left:
        line(str(left))
        return DETACHED
    except BrokenPipeError:
        # the reader went away (`| head`): nothing is wrong, and nothing more can be said
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def scene() -> verbs.Scene:
    """This terminal, or what takes its place. What is not a terminal gets whole lines and no colours."""
    terminal = sys.stdout.isatty()
    return verbs.Scene(
        write=line,
        moving=terminal,
        width=shutil.get_terminal_size().columns if terminal else None,
        colour=terminal and not os.environ.get("NO_COLOR"),
        ask=input if terminal and sys.stdin.isatty() else None,
    )


def line(text: str) -> None:
    if text:
        print(text, flush=True)


def complain(error: WattleError, *, as_json: bool) -> int:
    """Say on stderr what went wrong: a line for people, or the error as the API words it."""
    said = str(error)
    if as_json:
        body = {"success": False, "error": type(error).__name__, "message": said, "details": error.details}
        print(json.dumps(body, ensure_ascii=False), file=sys.stderr)
    else:
        print(said if said.startswith(("wattle:", "wattle ")) else f"wattle: {said}", file=sys.stderr)
    return USAGE if isinstance(error, verbs.BadUsage) else NO_ENGINE if isinstance(error, Unavailable) else FAILED
