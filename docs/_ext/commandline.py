"""Writes ``docs/command-line.md`` from the tree of verbs: ``python docs/_ext/commandline.py``."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["COLUMNS"] = "90"  # as wide as a page

from wattle_jupyter import verbs

PAGE = Path(__file__).resolve().parent.parent / "command-line.md"

HEAD = """\
<!-- Made by docs/_ext/commandline.py; a test compares it with the verbs. -->
# The command line

`wattle` in a terminal, `jupyter wattle`, and `%wattle` in a notebook have the same verbs. They reach the engine of your
store wherever it runs, and start one if there is none.

A *RUN* is the id of a run, the first 4 or more characters of it, or `last`. A task of a run is `RUN/TASK`.

In a terminal `run -w` and `attach` show a table of what runs below the lines of what happened; in a pipe, only the
lines. Colours and live tables need `pip install "wattle-jupyter[terminal]"`; without it one line says how far the run
is. `NO_COLOR` takes the colours of `logs -f` away. Ctrl-C detaches: the run goes on.

## Exit codes

| code | means |
|---|---|
| 0 | done; with `run -w` and `attach`: the run completed |
| 1 | the run failed or was cancelled, or what was asked for could not be done |
| 2 | bad usage: the command line makes no sense |
| 3 | the engine cannot be reached, or cannot work just now |
| 130 | interrupted: detached, the run goes on |

## JSON for programs

Every verb takes `--json` and prints one JSON document, the same that the HTTP API answers. `logs -f --json` prints one
object a line as the lines come. Errors are JSON on stderr then.

## Completion

```sh
pip install "wattle-jupyter[terminal]"
wattle completion bash >> ~/.bashrc     # zsh: ~/.zshrc, fish: ~/.config/fish/completions/wattle.fish
```

Verbs, options, workflows, runs, tasks and workflow files are offered. No engine is started for a key press.

## Verbs
"""


def page() -> str:
    """The whole text."""
    parsers = verbs.verbs()
    names = [verb.name for verb in verbs.TABLE]
    parts = [f"### {name}\n\n```text\n{parsers[name].format_help().rstrip()}\n```\n" for name in names]
    return "\n".join([HEAD, *parts])


if __name__ == "__main__":
    PAGE.write_text(page())
