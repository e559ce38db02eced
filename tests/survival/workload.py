"""Seeded workflows. Their tasks write to a ledger when they start and end, so every start is seen, recorded or not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BODY = r"""
kind=$1 lines=$2 pause=$3
say() {
  i=$1
  while [ "$i" -lt "$2" ]; do
    case $i in *[13579]) echo "$WATTLE_ATTEMPT $i" >&2 ;; *) echo "$WATTLE_ATTEMPT $i" ;; esac
    i=$((i + 1))
  done
}
ended() {
  echo "E $WATTLE_TASK_RUN $WATTLE_ATTEMPT $1" >>"$LEDGER"
  exit "$1"
}
[ -z "${TIMES-}" ] || echo "$WATTLE_ATTEMPT $(date +%s.%N)" >>"$TIMES"
echo "S $WATTLE_TASK_RUN $WATTLE_ATTEMPT $$ ${WATTLE_INPUT_P0-} ${WATTLE_INPUT_P1-}" >>"$LEDGER"
case $kind in
  daemon)
    setsid sh -c 'trap "" TERM; exec sleep 600' >/dev/null 2>&1 &
    (setsid sleep 600 >/dev/null 2>&1 &)
    ;;
  stubborn) trap '' TERM ;;
esac
say 0 $((lines / 2))
[ "$pause" = 0 ] || sleep "$pause"
[ "$kind" != stubborn ] || while :; do sleep 1; done
say $((lines / 2)) "$lines"
case $kind in
  flaky) [ -e "$FLAGS/$WATTLE_TASK_RUN" ] || { : >"$FLAGS/$WATTLE_TASK_RUN"; ended 7; } ;;
  hopeless) ended 3 ;;
esac
echo "v=$WATTLE_ATTEMPT" >>"$WATTLE_OUTPUT"
printf tail
ended 0
"""

KINDS = {"plain": 40, "instant": 25, "chatty": 8, "flaky": 10, "daemon": 8, "hopeless": 4, "stubborn": 5}
"""Kind of task → how often. ``daemon`` leaves processes behind, one deaf to SIGTERM; ``stubborn`` is deaf itself."""

FAILS = {"flaky": (7, None), "hopeless": (3, None)}
"""How an attempt of this kind fails: exit code and signal. All others do not fail by themselves."""


@dataclass(frozen=True)
class Job:
    """What a task of the workload does."""

    kind: str
    lines: int
    retries: int
    parents: tuple[str, ...]
    inputs: tuple[str, ...]

    def log(self, attempt: str, code: int) -> bytes:
        """Every byte that an attempt writes that ends with this code."""
        text = "".join(f"{attempt} {i}\n" for i in range(self.lines))
        return (text + ("tail" if code == 0 else "")).encode()

    def may_fail_with(self, code: int | None, signal: int | None) -> bool:
        return FAILS.get(self.kind) == (code, signal)


class Workload:
    """Workflow after workflow, the same ones for the same seed. ``jobs[workflow][task]`` says what was asked for."""

    def __init__(self, folder: Path, rng: random.Random, *, brisk: bool = False) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.jobs: dict[str, dict[str, Job]] = {}
        self._rng = rng
        self._pauses = [0.05, 0.3, 0.8] if brisk else [0.05, 0.3, 0.8, 1.5, 2.5, 4.0]
        self._most = 12 if brisk else 22
        self._body = folder / "body"
        (folder / "flags").mkdir(parents=True)
        (folder / "cwd").mkdir()
        self.ledger.touch()
        self._body.write_text(BODY)

    def next(self) -> dict[str, Any]:
        """A new workflow: chains and fans of 8 to 22 tasks."""
        name = f"w{len(self.jobs)}"
        jobs: dict[str, Job] = {}
        self.jobs[name] = jobs
        tasks = {task: self._task(task, jobs) for task in self._names()}
        env = {"LEDGER": str(self.ledger), "FLAGS": str(self.folder / "flags")}
        return {"name": name, "tasks": tasks, "env": env, "working_dir": str(self.folder / "cwd"), "concurrent": True}

    def _names(self) -> Iterator[str]:
        return (f"t{i}" for i in range(self._rng.randint(8, self._most)))

    def _task(self, name: str, jobs: dict[str, Job]) -> dict[str, Any]:
        rng = self._rng
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        sound = [n for n, job in jobs.items() if job.kind not in ("hopeless", "stubborn") or rng.random() < 0.3]
        near = sound[-8:]
        parents = tuple(rng.sample(near, min(len(near), rng.choice([0, 0, 1, 1, 1, 2]))))
        inputs = parents if rng.random() < 0.5 else ()
        lines = {"instant": rng.randint(0, 3), "chatty": 3000}.get(kind, rng.randint(4, 60))
        pause = 0.0 if kind == "instant" else rng.choice(self._pauses)
        retries = {"flaky": 2, "hopeless": 1}.get(kind, 0)
        jobs[name] = Job(kind, lines, retries, parents, inputs)
        return self._form(jobs[name], pause, exit_file=rng.random() < 0.25)

    def _form(self, job: Job, pause: float, *, exit_file: bool) -> dict[str, Any]:
        task: dict[str, Any] = {
            "run": ["/bin/sh", str(self._body), job.kind, str(job.lines), f"{pause:g}"],
            "outputs": {"v": None},
            "retries": job.retries,
            "retry_delay": 0.1,
            "grace": 0.3,
            "needs": [p for p in job.parents if p not in job.inputs],
            "inputs": {f"p{i}": f"{p}/v" for i, p in enumerate(job.inputs)},
        }
        if job.kind == "stubborn":
            task["timeout"] = 0.7
        if exit_file:
            task["exit_file"] = True
        return task


class Sampler(Workload):
    """The same small workflow each time: one task of every kind that can end by itself, with values between them."""

    SHAPE = (
        ("plain", 0.1, ()),
        ("instant", 0.0, ("t0",)),
        ("flaky", 0.0, ("t0",)),
        ("daemon", 0.1, ("t1", "t2")),
        ("chatty", 0.0, ()),
        ("stubborn", 0.0, ()),
    )

    def __init__(self, folder: Path, rng: random.Random, *, timed: bool = False) -> None:
        super().__init__(folder, rng)
        self._timed = timed

    def next(self) -> dict[str, Any]:
        """With ``timed`` the file ``times`` says when each attempt began."""
        spec = super().next()
        if self._timed:
            spec["env"]["TIMES"] = str(self.folder / "times")
        return spec

    def _names(self) -> Iterator[str]:
        return (f"t{i}" for i in range(len(self.SHAPE)))

    def _task(self, name: str, jobs: dict[str, Job]) -> dict[str, Any]:
        kind, pause, parents = self.SHAPE[len(jobs)]
        lines, retries = (300 if kind == "chatty" else 6), (0 if kind == "stubborn" else 3)
        job = jobs[name] = Job(kind, lines, retries, parents, parents[:1])
        return self._form(job, pause, exit_file=False)


@dataclass(frozen=True)
class Witness:
    """One line of the ledger: an attempt started (``code`` None) or ended."""

    task_run: str
    attempt: str
    code: int | None
    inputs: tuple[str, ...] = ()


def read_ledger(path: Path) -> list[Witness]:
    """All lines in the order in which they were written; each was one write of O_APPEND."""
    found = []
    for line in path.read_text().splitlines():
        mark, task_run, attempt, *rest = line.split()
        if mark == "S":
            found.append(Witness(task_run, attempt, None, tuple(rest[1:])))
        else:
            found.append(Witness(task_run, attempt, int(rest[0])))
    return found
