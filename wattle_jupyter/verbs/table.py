"""All verbs, in the order of the help."""

from __future__ import annotations

import argparse

from wattle_jupyter.verbs import care, changing, following, looking, machine, starting
from wattle_jupyter.verbs.tree import Verb, arg

_RUN = "id of a run, a prefix of it (4 characters or more), or `last`"
_STORE = arg("--store", metavar="DIR", help="the store's folder")

GREETING = """\
Workflows of tasks, run durably outside the kernel.

first steps:
  {prog} run FILE -w    run the workflow of a file and watch it
  {prog} status last    how the newest run is doing
  {prog} logs last -f   what its tasks write

a file to begin with, say hello.yaml:
  tasks:
    hello: echo hello
    world: {run: echo world, needs: [hello]}
"""

EPILOG = """\
`{prog} VERB -h` shows a verb's options and examples.
exit codes: 0 done, 1 the run failed or it could not be done, 2 bad usage,
            3 the engine cannot be reached, 130 interrupted (the run goes on)
"""


def _lines(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a number of lines, not '{text}'")
    return int(text)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not '{text}'") from None


TABLE = (
    Verb("run", starting.run, "start a workflow, by name or from a file",
         ("run etl -w -p lr=0.1", "run etl.wattle.yaml -w"),
         (arg("workflow", metavar="NAME|FILE", help="a stored workflow, or a file that ends in .yaml, .json or .toml"),
          arg("-w", "--wait", action="store_true", help="wait until it ended"),
          arg("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter; JSON or text"),
          arg("--mode", choices=("dependency", "sequential", "parallel"), help="in which order tasks run"),
          arg("--priority", choices=("high", "normal", "low"), help="who gets a free slot first")),
         more="With -w the exit code says how it ended: 0 completed, 1 otherwise. Ctrl-C detaches; the run goes on."),
    Verb("list", looking.listed, "workflows that are defined", ("list",)),
    Verb("ps", looking.ps, "runs that have not ended", ("ps",)),
    Verb("show", looking.show, "the definition of a workflow; how one of its tasks is started",
         ("show etl", "show etl --yaml", "show etl/train --env", "show last/train --env"),
         (arg("workflow", metavar="NAME[/TASK]", help="a workflow, or a task of a workflow or of a run"),
          arg("--yaml", action="store_true", help="as a file that `create` takes"),
          arg("--env", action="store_true",
              help="command, folder, interpreter and environment of the task; secret values are masked"))),
    Verb("status", looking.status, "how a run is doing; without RUN, the newest runs", ("status last",),
         (arg("run", nargs="?", metavar="RUN", help=_RUN),)),
    Verb("logs", following.logs, "what tasks wrote",
         ("logs last/train --tail 20", "logs last -f", "logs last/train --since 10m"),
         (arg("run", metavar="RUN[/TASK]", help=_RUN),
          arg("-f", "--follow", action="store_true", help="as it grows; of a whole run, lines with their task's name"),
          arg("--tail", "-n", type=_lines, metavar="N", help="only the last N lines"),
          arg("--since", metavar="TIME", help="only what came after: 90s, 10m, 2h, 1d ago, or 2026-01-31T18:30")),
         more="With -f and --json: one JSON object a line."),
    Verb("create", starting.create, "store the workflow of a file", ("create etl.wattle.yaml",),
         (arg("file", metavar="FILE", help="YAML, JSON or TOML, by its suffix"),)),
    Verb("delete", changing.delete, "delete a workflow; its runs stay", ("delete etl --yes",),
         (arg("workflow", metavar="NAME", help="a stored workflow"),
          arg("-y", "--yes", action="store_true", help="do not ask"))),
    Verb("stop", changing.stop, "stop one task", ("stop last/train",), (arg("run", metavar="RUN/TASK", help=_RUN),)),
    Verb("cancel", changing.cancel, "stop all tasks of a run and start no more", ("cancel last",),
         (arg("run", metavar="RUN", help=_RUN),)),
    Verb("retry", changing.retry, "new attempts of what failed, or of one task", ("retry last", "retry last/train"),
         (arg("run", metavar="RUN[/TASK]", help=_RUN),)),
    Verb("graph", starting.graph, "draw a workflow", ("graph etl", "graph etl.wattle.yaml --svg"),
         (arg("workflow", metavar="NAME|FILE", help="a stored workflow or a file"),
          arg("--svg", action="store_true", help="as SVG"))),
    Verb("attach", starting.come_back, "come back to a run", ("attach last",), (arg("run", metavar="RUN", help=_RUN),),
         more="Waits until it ended, as `run -w` does, with the same exit codes."),
    Verb("backup", care.backup, "copy the database of the store", ("backup", "backup ~/wattle-backup.db"),
         (arg("path", nargs="?", metavar="PATH", help="a file or folder to copy it to as well"), _STORE),
         more="Without PATH it stays in the store's folder `backups`, which keeps the newest 10 beside those that a\n"
              "server makes by itself. Logs and results are not in it; they stay where they are."),
    Verb("restore", care.restore, "put a backup in the place of the database",
         ("restore last", "restore ~/wattle-backup.db"),
         (arg("backup", metavar="BACKUP", help="a file, the name of a backup of the store, or `last`"), _STORE),
         more="Refused while a server uses the store. What was there before is kept as one more backup."),
    Verb("clean", care.clean, "delete runs that are not needed any more",
         ("clean --keep-runs 50 --keep-days 90 --dry-run",),
         (arg("--keep-runs", type=_lines, default=0, metavar="N", help="keep the newest N runs of each workflow"),
          arg("--keep-days", type=_lines, default=0, metavar="N", help="keep what ended in the last N days"),
          arg("--dry-run", action="store_true", help="only say what would go")),
         more="A run goes if either limit says so. It can be brought back for a week."),
    Verb("undelete", care.undelete, "bring a deleted run back", ("undelete 1a2b",),
         (arg("run", metavar="RUN", help="its id, or the first 4 or more characters of it"),)),
    Verb("audit", care.audit, "who changed what", ("audit -n 20",),
         (arg("-n", "--number", type=_lines, default=50, metavar="N", help="the newest N (50)"),)),
    Verb("stats", machine.stats, "how much the engine does, and how fast", ("stats",)),
    Verb("doctor", machine.doctor, "look for what is wrong with the engine", ("doctor",), (_STORE,)),
    Verb("serve", machine.serve, "run the engine without JupyterLab", ("serve --idle 600",),
         (_STORE, arg("--idle", type=_seconds, metavar="SECONDS", help="end after so long idle (600)"))),
    Verb("completion", machine.completion, "print what makes a shell complete `wattle`",
         ("completion bash >> ~/.bashrc",),
         (arg("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish"),)),
)  # fmt: skip
