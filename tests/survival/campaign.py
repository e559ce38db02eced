"""Many rounds, some at a time, added up."""

from __future__ import annotations

import compileall
import contextlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from processes import scratch

import wattle_jupyter
from survival.round import Round
from survival.scene import Tally

LANES = 4  # stores at a time: much of a round is waiting
PER_ROUND = 15  # kills of one store


def copy_package(folder: Path) -> Path:
    """The package as it is now, so that an edit meanwhile changes nothing. Returns the folder that holds it."""
    source = Path(wattle_jupyter.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "static", "labextension")
    shutil.copytree(source, folder / "wattle_jupyter", ignore=ignored)
    compileall.compile_dir(folder, quiet=1)  # once, not in each process
    return folder


@contextlib.contextmanager
def packaged() -> Iterator[tuple[Path, Path]]:
    """A scratch folder and the package to run in it."""
    with scratch() as folder:
        yield folder, copy_package(folder / "p")


def play(kills: int, seed: int, *, per_round: int = PER_ROUND, told: Callable[[Tally, str], None]) -> Tally:
    """At least so many kills. Every third round runs a full Jupyter server, the others ``wattle serve``."""
    total = Tally()
    rounds = max(1, round(kills / per_round))
    per_round = -(-kills // rounds)
    with packaged() as (folder, package):

        def one(number: int) -> Tally:
            jupyter = number % 3 == 2
            place = folder / f"r{number}"
            tally = Round(place, package, f"{seed}-{number}", jupyter=jupyter).play(per_round)
            told(tally, f"round {number} ({'jupyter server' if jupyter else 'wattle serve'})")
            shutil.rmtree(place, ignore_errors=True)
            return tally

        with ThreadPoolExecutor(LANES) as pool:
            for tally in pool.map(one, range(rounds)):
                total.add(tally)
    return total
