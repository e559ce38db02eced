"""Databases that are damaged at random places, cut short, emptied or gone: opened, or refused with the cure."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_executor import FakeExecutor, World

from faults.recovery import fill
from wattle_jupyter import backups
from wattle_jupyter.engine import Engine
from wattle_jupyter.errors import StoreUnavailable, WattleError
from wattle_jupyter.guard import Mark, write_mark
from wattle_jupyter.paging import PageQuery
from wattle_jupyter.settings import Settings

RUNS = 60


@dataclass
class Figures:
    damaged: int = 0
    opened: int = 0  # the damage was where nothing is, or in what no check can see
    refused: int = 0
    restored: int = 0  # of the refused ones: all runs of the backup were there again
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def play(folder: Path, number: int = 500, seed: int = 1) -> Figures:
    """A store with a backup; each time a fresh copy of it is damaged in one way and given to an engine."""
    figures, rng, sound = Figures(), random.Random(seed), folder / "sound"
    asyncio.run(_make(sound))
    for n in range(number):
        store = folder / "store"
        shutil.copytree(sound, store)
        write_mark(store, Mark("it was killed"))
        kind = rng.choice(sorted(KINDS))
        KINDS[kind](store / "wattle.db", rng)
        figures.damaged += 1
        figures.kinds[kind] += 1
        asyncio.run(_give(store, f"{kind}, number {n} of seed {seed}", figures))
        shutil.rmtree(store)
    return figures


async def _make(folder: Path) -> None:
    await fill(folder, RUNS)
    backups.make_unowned(folder)


async def _give(store: Path, what: str, figures: Figures) -> None:
    try:
        engine = await asyncio.wait_for(_open(store), 20)
    except StoreUnavailable as error:
        figures.refused += 1
        if "wattle restore" not in str(error):
            figures.wrong.append(f"{what}: refused without the cure: {error}")
        await _restore(store, what, figures)
        return
    except Exception as error:
        figures.wrong.append(f"{what}: {error!r}")
        return
    figures.opened += 1
    await _use(engine, what, figures)


async def _open(store: Path) -> Engine:
    return await Engine.open(Settings(), store, executor=FakeExecutor(World()))


async def _use(engine: Engine, what: str, figures: Figures) -> None:
    """What pages ask for is answered, or refused in words."""
    try:
        found = await _listed(engine)
        for run in found[:20]:
            with suppress(WattleError):
                await engine.scheduler.detail(run["id"])
        if len(found) < RUNS:
            figures.wrong.append(f"{what}: opened with {len(found)} of {RUNS} runs")
    except StoreUnavailable as error:
        if "wattle restore" not in str(error):
            figures.wrong.append(f"{what}: without the cure: {error}")
    except Exception as error:
        figures.wrong.append(f"{what}: asked: {error!r}")
    finally:
        await engine.close()


async def _listed(engine: Engine) -> list[Any]:
    text, _ = await engine.runs.page(PageQuery(sort_by="created_at", page_size=RUNS))
    return list(json.loads(text))


async def _restore(store: Path, what: str, figures: Figures) -> None:
    """As `wattle restore last` does."""
    backups.restore(store, backups.find(store, "last"))
    engine = await _open(store)
    found = await _listed(engine)
    await engine.close()
    figures.restored += len(found) == RUNS
    if len(found) != RUNS:
        figures.wrong.append(f"{what}: restored with {len(found)} of {RUNS} runs")


# ----------------------------------------------------------------------------------------------------------------- how


def _flip(path: Path, rng: random.Random) -> None:
    """One byte somewhere."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _page(path: Path, rng: random.Random, content: bytes = b"") -> None:
    """One block of the disk holds something else."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data) // 4096) * 4096
    data[at : at + 4096] = content or rng.randbytes(4096)
    path.write_bytes(data)


def _zeros(path: Path, rng: random.Random) -> None:
    _page(path, rng, bytes(4096))


def _swap(path: Path, rng: random.Random) -> None:
    """Two blocks of the disk changed places."""
    data = bytearray(path.read_bytes())
    one, two = (rng.randrange(1, len(data) // 4096) * 4096 for _ in range(2))
    data[one : one + 4096], data[two : two + 4096] = data[two : two + 4096], data[one : one + 4096]
    path.write_bytes(data)


def _cut(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(rng.randrange(path.stat().st_size))


def _empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def _gone(path: Path, _: random.Random) -> None:
    path.unlink()


def _text(path: Path, rng: random.Random) -> None:
    """The head of the file is of another program."""
    data = bytearray(path.read_bytes())
    data[:100] = rng.randbytes(100)
    path.write_bytes(data)


KINDS: dict[str, Any] = {
    "a flipped bit": _flip,
    "a block of noise": _page,
    "a block of zeros": _zeros,
    "two blocks swapped": _swap,
    "cut short": _cut,
    "empty": _empty,
    "gone": _gone,
    "another head": _text,
}
