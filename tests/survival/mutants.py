"""Broken protocols. A harness that does not catch them proves nothing.

Each mutant is the package with a few lines exchanged; lines that are no longer there are an error, so that mutants do
not rot. All are faults of this protocol that pass when nothing is killed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from survival import points, powercut
from survival.campaign import LANES, packaged
from survival.round import SEQUENCES, Round


@dataclass(frozen=True)
class Mutant:
    """``patches``: (file, old lines, new lines). ``sequences``: the kills that it fears, so that it is caught soon."""

    name: str
    patches: Sequence[tuple[str, str, str]]
    sequences: Mapping[str, int]
    kills: int = 8
    rounds: int = 4
    short: bool = False


_KEEPER = {"keeper": 1}
_REPLACED = (
    (
        "host/record.py",
        "            os.link(_DRAFT, NAME, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)",
        "            os.rename(_DRAFT, NAME, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)",
    ),
)

MUTANTS = (
    Mutant(
        "started before committed",
        [
            (
                "scheduler.py",
                "        if change:\n            await self._commit(change)\n        for run",
                "        early = [self.launcher.spec(live, task, attempt) for live, task, attempt in effects.start]\n"
                "        self._outbox.put(early, (), ())\n        await self._outbox.drained()\n"
                "        if change:\n            await self._commit(change)\n        for run",
            ),
            ("scheduler.py", "        self._outbox.put(starts, effects", "        self._outbox.put((), effects"),
        ],
        SEQUENCES,
        short=True,
    ),
    Mutant(
        "shown before committed",
        [
            (
                "scheduler.py",
                "                    events = await self.store.commit(change)",
                "                    first = self.hub.newest + 1\n"
                "                    self._publish(change, [\n"
                "                        Event(first + i, d.run, d.kind, change.at, d.body)\n"
                "                        for i, d in enumerate(change.events)\n"
                "                    ])\n"
                "                    await asyncio.sleep(0)\n"
                "                    events = await self.store.commit(change)",
            ),
            (
                "scheduler.py",
                "time.monotonic() - began)\n            self._publish(change, events)",
                "time.monotonic() - began)",
            ),
        ],
        SEQUENCES,
        short=True,
    ),
    Mutant(
        "several transactions",
        [
            (
                "store.py",
                "                statement.run(db)\n",
                '                statement.run(db)\n                db.execute("COMMIT")\n'
                '                db.execute("BEGIN IMMEDIATE")\n',
            )
        ],
        SEQUENCES,
    ),
    Mutant(
        "sent again, not refused",
        [
            *_REPLACED,
            (
                "executors/local.py",
                "                self._queued.pop(fact.id, None)\n                self._running",
                "                self._running",
            ),
        ],
        _KEEPER,
    ),
    Mutant("claim does not exclude", _REPLACED, {"keeper": 3, "both": 1}, kills=20),
    Mutant(
        "no tombstone",
        [("host/judge.py", "            Record.publish(dir_fd, line).close()", "            pass")],
        {"both": 1},
    ),
    Mutant(
        "living called lost",
        [
            (
                "host/judge.py",
                "        if not rebooted and start is not None and self._kernel.alive(attempt.pid, attempt.ticks):",
                "        if not rebooted and start is not None and attempt.pid < 0:",
            )
        ],
        _KEEPER,
    ),
    Mutant(
        "lock not inherited",
        [
            (
                "host/spawn.py",
                "            self._heirloom(): record,\n",
                "",
            )
        ],
        _KEEPER,
        short=True,
    ),
    Mutant(
        "log from its start",
        [("host/pipes.py", "os.lseek(self.log, 0, os.SEEK_END)", "os.lseek(self.log, 0, os.SEEK_SET)")],
        _KEEPER,
    ),
    Mutant(
        "pipe not held",
        [
            (
                "executors/local.py",
                "            self.fifo = os.open(directory / FIFO, os.O_RDWR",
                "            self.fifo = -1  # (directory / FIFO, os.O_RDWR",
            )
        ],
        _KEEPER,
        kills=20,
    ),
    Mutant(
        "exit not recorded",
        [
            (
                "host/keeper.py",
                '        if end["kind"] == "exited":\n            self._note',
                '        if end["kind"] == "":\n            self._note',
            )
        ],
        SEQUENCES,
    ),
    Mutant(
        "no sweep",
        [
            (
                "host/keeper.py",
                "        if attempt.keep_children or self._trees.nothing_left(attempt)",
                "        if True or self._trees.nothing_left(attempt)",
            )
        ],
        SEQUENCES,
    ),
)


@dataclass(frozen=True)
class Aimed:
    """A mutant for the crash points of one victim, at calls of these names."""

    mutant: str
    victim: str
    calls: Sequence[str]
    most: int = 40


AIMED = (
    Aimed("started before committed", "server", ("pwrite64", "fdatasync")),
    Aimed("shown before committed", "server", ("pwrite64", "fdatasync")),
    Aimed("no tombstone", "keeper", ("linkat", "mkdirat", "fallocate", "sendto")),
    # "living called lost" is for the random kills: after these nobody can say that somebody watched
    Aimed("log from its start", "keeper", ("splice", "sendto", "pwrite64")),
    Aimed("sent again, not refused", "keeper", ("pwrite64", "sendto", "splice")),
)

UNSYNCED = Mutant(
    "commits not forced to disk",
    [("store.py", '"PRAGMA synchronous = FULL"', '"PRAGMA synchronous = NORMAL"')],
    {},
)
"""For the power cuts: nothing that is killed could tell."""


def apply(mutant: Mutant, package: Path) -> None:
    """Exchange the lines in a copy of the package. LookupError if they are not there, or not once."""
    for name, old, new in mutant.patches:
        path = package / "wattle_jupyter" / name
        text = path.read_text()
        if text.count(old) != 1:
            raise LookupError(f"mutant {mutant.name!r}: {name} holds these lines {text.count(old)} times:\n{old}")
        path.write_text(text.replace(old, new))


def play(seed: int, chosen: Sequence[Mutant] = MUTANTS) -> Iterator[tuple[str, str]]:
    """Name of each mutant and how it was caught, ``""`` if it was not."""
    with packaged() as (folder, package):

        def one(mutant: Mutant) -> str:
            place = folder / mutant.name.replace(" ", "-")
            shutil.copytree(package, place / "p")
            apply(mutant, place / "p")
            return _hunt(mutant, place, seed)

        with ThreadPoolExecutor(LANES) as pool:
            for mutant, how in zip(chosen, pool.map(one, chosen), strict=True):
                yield mutant.name, how


def play_points(seed: int) -> Iterator[tuple[str, str]]:
    """The same for the mutants that crash points must catch, one by one."""
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    with packaged() as (folder, package):
        for aimed in AIMED:
            place = folder / f"{aimed.mutant} {aimed.victim}".replace(" ", "-")
            shutil.copytree(package, place / "p")
            apply(by_name[aimed.mutant], place / "p")
            yield f"{aimed.mutant} (crash points of the {aimed.victim})", _hunt_points(aimed, place, seed)


def _hunt_points(aimed: Aimed, place: Path, seed: int) -> str:
    try:
        found = points.points(place / "count", place / "p", aimed.victim)
    except AssertionError as error:
        return f"without any kill: {str(error)[:100]}"
    chosen = [point for point in found if point.call in aimed.calls]
    for number, point in enumerate(points.sample(chosen, aimed.most, random.Random(seed))):
        tally = points.PointScene(place / f"p{number}", place / "p").play(point)
        if tally.violations:
            invariant, what = tally.violations[0]
            return f"after {number + 1} of {len(chosen)} points by: {invariant}: {what[:100]}"
    return ""


def play_power(seed: int, cuts: int = 60) -> tuple[str, str]:
    """The mutant that the power cuts must catch."""
    with packaged() as (folder, package):
        apply(UNSYNCED, package)
        result = powercut.play(folder / "cut", package, cuts, random.Random(seed), hasty=True)
    looked = result.images.total()
    how = f"after {looked} images by: {result.violations[0][0]}" if result.violations else ""
    return f"{UNSYNCED.name} (power cuts)", how


def _hunt(mutant: Mutant, place: Path, seed: int) -> str:
    kills = 0
    for number in range(mutant.rounds):
        name = f"{seed}-{mutant.name}-{number}"
        tally = Round(place / f"r{number}", place / "p", name, hasty=True, sequences=mutant.sequences).play(
            mutant.kills
        )
        kills += tally.kills.total()
        if tally.violations:
            broken = ", ".join(dict.fromkeys(invariant for invariant, _ in tally.violations))
            return f"after {kills} kills by: {broken}: {tally.violations[0][1][:100]}"
    return ""
