"""A number that belonged to a task belongs to somebody else: nobody may take the one for the other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from keeper_stores import kill_keeper
from processes import until

from faults.patient import Patient
from faults.work import Work
from wattle_jupyter.host import process

NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@dataclass
class Figures:
    reused: int = 0
    strangers_hurt: int = 0
    wrong: list[str] = field(default_factory=list)


def cannot() -> str:
    """Why the numbers of processes cannot be chosen here, or ``""``."""
    command = [*NAMESPACE, "sh", "-c", "echo 300 > /proc/sys/kernel/ns_last_pid"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"no pid namespace: {done.stderr.strip()}" if done.returncode else ""


def play(folder: Path, rounds: int = 1) -> Figures:
    """In a namespace of its own, where this process can say which number comes next."""
    total = Figures()
    for number in range(rounds):
        command = [*NAMESPACE, sys.executable, "-m", "faults.pids", str(folder / str(number))]
        tests = str(Path(__file__).parent.parent)
        done = subprocess.run(command, cwd=tests, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            total.wrong.append(f"the round ended with {done.returncode}: {done.stderr[-2000:]}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        total.reused += found["reused"]
        total.strangers_hurt += found["strangers_hurt"]
        total.wrong += found["wrong"]
    return total


def inside(folder: Path) -> Figures:
    """Everything of a running attempt is killed, a stranger gets its number, and a new server comes."""
    store, figures = folder / "store", Figures()
    folder.mkdir(parents=True)
    server, work = Patient(folder / "home", store), Work(folder)
    server.launch_here()
    run = work.submit(server, tasks=2, lines=3, nap=4.0)
    assert run is not None, work.account
    task = server.running(run, "first")["history"][-1]
    lines = [json.loads(line) for line in _record(store, task["id"]) if line.startswith("{")]
    start = next(line for line in lines if line["k"] == "start")
    server.end_all()
    kill_keeper(store)
    os.killpg(start["pid"], signal.SIGKILL)
    until(lambda: _reaped() or process.look(start["pid"]) is None)
    stranger = _stranger(start["pid"])
    figures.reused += 1
    server.launch_here()
    until(lambda: len(server.task(run, "first")["history"]) > 1, 30)
    first = server.task(run, "first")["history"][0]
    if first["state"] != "lost":
        figures.wrong.append(f"the attempt whose process was killed is {first['state']}")
    server.post(f"runs/{run}/cancel")
    ended = server.ended(run, 30)
    if ended["state"] != "cancelled":
        figures.wrong.append(f"the run is {ended['state']}")
    if stranger.poll() is not None:
        figures.strangers_hurt += 1
        figures.wrong.append("the stranger was ended")
    stranger.kill()
    server.end_all()
    kill_keeper(store)
    return figures


def _record(store: Path, attempt: str) -> list[str]:
    return (store / "attempts" / attempt / "record").read_bytes().rstrip(b"\0").decode().splitlines()


def _reaped() -> bool:
    """We are the first process here: what nobody waits for is ours to bury."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return False


def _stranger(pid: int) -> subprocess.Popen[bytes]:
    for _ in range(100):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        found = subprocess.Popen(["sleep", "300"], start_new_session=True)
        if found.pid == pid:
            return found
        found.kill()
        found.wait()
    raise AssertionError(f"nobody got the number {pid}")


if __name__ == "__main__":
    print(json.dumps(asdict(inside(Path(sys.argv[1])))))
