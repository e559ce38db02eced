"""A home that two machines share, and locks that do not hold between them: no task runs twice."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keeper_stores import keeper_pid, kill_keeper
from processes import EngineProcess, until

from wattle_jupyter.host import process
from wattle_jupyter.host.files import Attempts
from wattle_jupyter.host.judge import Judge
from wattle_jupyter.host.process import FEATURES, Kernel
from wattle_jupyter.host.record import Record
from wattle_jupyter.host.tree import Trees

Make = Callable[..., Any]

MOUNTED = """
mount --bind "$1" /etc/machine-id && mount --bind "$2" /proc/sys/kernel/random/boot_id && shift 2 && exec "$@"
"""


def another_machine(folder: Path) -> tuple[str, ...]:
    """What a process is started under so that it believes to be elsewhere. Skips where that cannot be made."""
    (folder / "machine").write_text("0123456789abcdef0123456789abcdef\n")
    (folder / "boot").write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    under = ("unshare", "-m", "sh", "-c", MOUNTED, "sh", str(folder / "machine"), str(folder / "boot"))
    try:
        done = subprocess.run([*under, "cat", "/etc/machine-id"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare(1) to pretend with that this is another machine")
    if not done.stdout.startswith("0123"):
        pytest.skip(f"this user may not mount over /etc/machine-id: {done.stderr.strip()}")
    return under


def test_what_runs_on_another_machine_is_not_started_here_and_goes_on_when_that_one_is_back(
    make_engine: Make, tmp_path: Path
) -> None:
    under = another_machine(tmp_path)
    go = tmp_path / "go"
    here: EngineProcess = make_engine()
    here.launch()
    first = f"echo one >> {tmp_path}/starts; while [ ! -e {go} ]; do sleep 0.05; done"
    run = here.run({"a": first, "b": {"run": f"echo two >> {tmp_path}/starts", "needs": ["a"]}})
    here.running(run, "a")
    here.process.kill()
    here.process.wait()
    kill_keeper(here.store)  # that machine cannot be reached; its task lives on

    there: EngineProcess = make_engine(here.store)
    there.under = under
    there.launch()
    task = until(lambda: (t := there.task(run, "a"))["reason"] and t)
    assert (task["state"], task["reason"]) == ("running", "it was started on another machine")
    assert there.task(run, "b")["state"] == "created"
    other = there.run({"c": "echo c"}, name="other")
    assert there.ended(other)["state"] == "completed", "it works for all else"
    assert process.look(keeper_pid(there.store)) is not None
    assert there.end() == 0
    kill_keeper(here.store)

    back: EngineProcess = make_engine(here.store)
    back.launch()
    go.touch()
    assert back.ended(run)["state"] == "completed"
    assert (tmp_path / "starts").read_text() == "one\ntwo\n"
    assert [view["attempts"] for view in back.get(f"runs/{run}")["tasks"]] == [1, 1]


def test_an_attempt_that_one_machine_called_off_is_not_started_by_the_other(tmp_path: Path) -> None:
    """Between commit and claim the other machine's keeper judges: publishing by link decides, whoever comes second."""

    one, other = Kernel(FEATURES), Kernel(FEATURES)
    other.machine, other.boot = "another", "another boot"
    attempts = Attempts(str(tmp_path))
    said = Judge(attempts, other, Trees(other)).judge("a" * 32, one.boot)
    assert isinstance(said, dict)
    assert said["kind"] == "lost"
    dir_fd = attempts.open("a" * 32)
    with pytest.raises(FileExistsError):
        Record.publish(dir_fd, {"k": "claim", "machine": one.machine})
