"""Where a benchmark works, and with what: folders, tools, virtual environments, processes of ours."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import dags

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".bench"
"""Virtual environments of peers. `.gitignore` names it."""


class CannotRun(Exception):
    """Something that this benchmark needs is not there. The text says what and how to get it."""


@dataclass(frozen=True)
class Options:
    """``quick``: fewer turns and less work, to see that all of it works. ``folder`` is where files are made.

    ``long``: go further where that takes minutes. ``minutes``: of what lasts as long as it is told to; None: as usual.
    """

    quick: bool
    folder: Path
    long: bool = False
    minutes: float | None = None

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 7

    def fresh(self, name: str) -> Path:
        """A new folder. Nothing is deleted while something is measured: ext4 is slow where inodes were freed lately."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))


def environment(**more: str) -> dict[str, str]:
    """As a user has it: with compiled modules, which matter much for programs that start."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "VIRTUAL_ENV")
    return {**{k: v for k, v in os.environ.items() if k not in dropped}, **more}


def need(program: str, package: str) -> str:
    """Path of a program; installs its Debian package where that is possible."""
    found = shutil.which(program)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "--no-install-recommends", package]):
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = shutil.which(program)
    if found is None:
        raise CannotRun(f"{program} is missing: apt-get install {package}")
    return found


def spawn_loop(folder: Path) -> Path:
    """The loop in C, compiled."""
    path = folder / "spawn_loop"
    if not path.exists():
        source = Path(__file__).with_name("spawn_loop.c")
        subprocess.run([need("gcc", "gcc"), "-O2", "-o", path, source], check=True)
    return path


def venv(name: str, *packages: str, forced: Sequence[str] = ()) -> Path:
    """The interpreter of a virtual environment with these packages, made once.

    ``forced`` are installed last, whatever the others want: a peer that breaks with the newest of a library.
    """
    folder = VENVS / name
    python, stamp = folder / "bin" / "python", folder / "packages"
    wanted = "\n".join((*packages, *forced))
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"setting up {folder.relative_to(ROOT)} with {', '.join(packages)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if uv := shutil.which("uv"):
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
            install = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *packages]
        else:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        subprocess.run(install, check=True, env=environment(), stdin=subprocess.DEVNULL)
        if forced:
            head = install[: len(install) - len(packages)]
            subprocess.run([*head, "--no-deps", *forced], check=True, env=environment(), stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise CannotRun(f"{' '.join(packages)} cannot be installed (exit code {error.returncode})") from error
    stamp.write_text(wanted)
    return python


def timed(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> float:
    """Seconds that a command takes from its start to its end. CannotRun with its last words if it fails."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        code = subprocess.run(
            words, cwd=cwd, env=env or environment(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False
        ).returncode
        seconds = time.perf_counter() - began
        if code:
            said.seek(0)
            tail = said.read().decode(errors="replace")[-1500:]
            raise CannotRun(f"{' '.join(words)[:200]} ended with exit code {code}:\n{tail}")
    return seconds


def engine_command(folder: Path, parallelism: int, dag: Path, times: int = 1) -> list[str]:
    return [sys.executable, "-m", "benchmarks.engine", str(folder), str(parallelism), str(dag), str(times)]


def engine(options: Options, dag: Path, parallelism: int, times: int = 1) -> list[dict[str, float]]:
    """What :mod:`benchmarks.engine` says of each time; in a fresh store."""
    command = engine_command(options.fresh("store"), parallelism, dag, times)
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotRun(f"our engine failed:\n{done.stderr[-1500:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def ninja(options: Options, dag: dags.Dag, parallelism: int) -> float:
    folder = options.fresh("ninja")
    dags.write_ninja(dag, folder / "build")
    return timed([need("ninja", "ninja-build"), "-C", folder / "build", "--quiet", "-j", str(parallelism)])


@contextlib.contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many processes that take all the processor time they get."""
    code = "while True: pass"
    running = [subprocess.Popen([sys.executable, "-c", code], start_new_session=True) for _ in range(count)]
    time.sleep(0.5)
    try:
        yield
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
