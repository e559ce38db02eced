"""Many rounds, some at a time, added up."""

from __future__ import annotations

import compileall
import contextlib
import math
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from processes import scratch

import wattle_jupyter
from survival import points, powercut
from survival.hands import Hands
from survival.round import Round
from survival.scene import Tally

T = TypeVar("T")

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


def in_lanes(jobs: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Some jobs at a time, their results in order."""
    with ThreadPoolExecutor(LANES) as pool:
        yield from pool.map(lambda job: job(), jobs)


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

        for tally in in_lanes(partial(one, number) for number in range(rounds)):
            total.add(tally)
    return total


def hand_over(times: int, seed: int, *, per_store: int = 12, told: Callable[[Tally, str], None]) -> Tally:
    """At least so many hand-overs of a store between servers."""
    total = Tally()
    stores = max(1, round(times / per_store))

    def one(number: int) -> Tally:
        tally = Hands(folder / f"h{number}", package, f"{seed}-{number}").play(-(-times // stores))
        told(tally, f"store {number} with two servers")
        shutil.rmtree(folder / f"h{number}", ignore_errors=True)
        return tally

    with packaged() as (folder, package):
        for tally in in_lanes(partial(one, number) for number in range(stores)):
            total.add(tally)
    return total


@dataclass
class Played:
    """Crash points of one victim: how many there are, how many were played, reached, and what followed."""

    there: int = 0
    played: int = 0
    fired: int = 0
    tally: Tally = field(default_factory=Tally)
    missed: list[str] = field(default_factory=list)  # points with violations


def crash_everywhere(
    victim: str,
    most: int | None,
    seed: int,
    *,
    jupyter: bool = False,
    told: Callable[[str], None],
    hurry: float = math.inf,
) -> Played:
    """All crash points of a victim, or a sample; none is begun after ``hurry`` seconds."""
    result = Played()

    def one(number: int, point: points.Point) -> tuple[points.Point, points.PointScene] | None:
        if time.monotonic() > end:
            return None
        scene = points.PointScene(folder / f"p{number}", package, jupyter=jupyter)
        scene.play(point)
        told(f"{point}: {'fired' if scene.fired else 'not reached'}, {len(scene.tally.violations)} violations")
        shutil.rmtree(folder / f"p{number}", ignore_errors=True)
        return point, scene

    with packaged() as (folder, package):
        found = points.points(folder / "count", package, victim, jupyter=jupyter)
        chosen = list(points.sample(found, len(found) if most is None else most, random.Random(seed)))
        result.there = len(found)
        end = time.monotonic() + hurry
        for answer in in_lanes(partial(one, number, point) for number, point in enumerate(chosen)):
            if answer is not None:
                point, scene = answer
                result.played += 1
                result.fired += scene.fired
                result.tally.add(scene.tally)
                result.missed += [f"{point}: {what}" for what in scene.tally.violations]
    return result


def cut_power(cuts: int, seed: int) -> powercut.Cuts:
    """The power goes after so many calls, three ways each."""
    with packaged() as (folder, package):
        return powercut.play(folder / "cut", package, cuts, random.Random(seed))
