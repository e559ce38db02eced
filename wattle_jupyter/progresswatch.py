"""How far running tasks are, read from the ends of their logs while somebody watches. Nothing of it is stored.

One look a second at the runs that are watched, and at a log only when it has grown. Nobody watches, or nothing of what
is watched runs: no timer, no look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from wattle_jupyter import gauge
from wattle_jupyter.aside import Turn
from wattle_jupyter.errors import Conflict, Unavailable
from wattle_jupyter.gauge import Progress
from wattle_jupyter.logs import LogFile
from wattle_jupyter.scheduler import Scheduler
from wattle_jupyter.wire import ProgressView, TaskRunView

LOOK = 1.0
"""Seconds between two looks."""

_BREATH = 0.1  # seconds in which further watchers may come before the next look
_KEPT = 2_000  # attempts whose last word is kept in memory, running or not

Told = dict[str, ProgressView]
"""By the name of the task."""


@dataclass(slots=True)
class _Known:
    """An attempt's last word, and how long its log was then."""

    size: int = -1
    progress: Progress | None = None
    view: ProgressView | None = None


@dataclass(slots=True)
class _Running:
    """What runs of a run, as pairs of task and attempt, when ``seq`` was its newest event. ``fresh`` came since the
    look before: that it runs may not be known everywhere yet."""

    seq: int
    attempts: list[tuple[str, str]]
    fresh: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Watcher:
    """Somebody who wants to know of these runs. Who is slow hears the last word only."""

    runs: frozenset[str]
    _told: dict[str, Told] = field(default_factory=dict)
    _news: dict[str, Told] = field(default_factory=dict)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, run: str, found: Told) -> None:
        """All that is known of the run."""
        before = self._told.get(run, {})
        news = {task: view for task, view in found.items() if before.get(task) is not view}
        self._told[run] = found
        if news:
            self._news.setdefault(run, {}).update(news)
            self._ready.set()

    async def news(self) -> dict[str, Told]:
        """What is new since the last call, by run; waits until there is something. At first: all that is known."""
        await self._ready.wait()
        self._ready.clear()
        news, self._news = self._news, {}
        return news


class ProgressWatch:
    """Reads for all who watch; ``close`` it with the engine."""

    def __init__(self, scheduler: Scheduler, log: logging.Logger) -> None:
        self._scheduler = scheduler
        self._log = log
        self._watchers: set[Watcher] = set()
        self._known: dict[str, _Known] = {}  # by attempt
        self._running: dict[str, _Running] = {}  # by run
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watcher(self, runs: Iterable[str]) -> Iterator[Watcher]:
        """Have these runs, by their whole ids, watched while the block runs. One that does not go on tells nothing."""
        made = Watcher(frozenset(runs))
        self._watchers.add(made)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._look_on())
        try:
            yield made
        finally:
            self._watchers.discard(made)
            if not self._watchers:
                self.close()

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._running.clear()

    def of_task(self, view: TaskRunView) -> ProgressView | None:
        """How far a task run is; None if it does not run or does not say."""
        return self._look_at(view["attempt"]) if view["state"] == "running" and view["attempt"] else None

    async def of_run(self, run: str) -> Told:
        """How far the running tasks of a run are, as far as they say."""
        return await self._look(await self._attempts(run))

    # ---------------------------------------------------------------------------------------------------- the watching

    @property
    def _runs(self) -> set[str]:
        return {run for watcher in self._watchers for run in watcher.runs if run in self._scheduler.live}

    async def _look_on(self) -> None:
        try:
            while True:
                self._wake.clear()
                seq = self._scheduler.hub.newest
                busy = await self._look_round()
                await asyncio.sleep(_BREATH)
                await self._rest(busy, seq)
        except Exception:  # noqa: BLE001  whatever it was, it is told
            self._log.exception("wattle: how far tasks are is not told any more")

    async def _rest(self, busy: bool, seq: int) -> None:
        """Until the next look is due, or somebody comes, or, if nothing runs, until something begins to."""
        if busy:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK - _BREATH)
            return
        heeding = asyncio.create_task(self._heed_commits(seq))
        try:
            await self._wake.wait()
        finally:
            heeding.cancel()

    async def _heed_commits(self, seq: int) -> None:
        try:
            async for events in self._scheduler.hub.follow(seq):
                if any(event.run in watcher.runs for event in events for watcher in self._watchers):
                    self._wake.set()
        except Unavailable:  # the store cannot be read just now
            await asyncio.sleep(LOOK)
            self._wake.set()

    async def _look_round(self) -> bool:
        """Look at all that is watched and tell of it; whether any of it runs."""
        found = {run: await self._look_again(run) for run in self._runs}
        self._running = {run: running for run, running in self._running.items() if run in found}
        turn = Turn()
        for watcher in list(self._watchers):
            for run in watcher.runs & found.keys():
                watcher.hear(run, found[run])
            await turn.over()
        return any(running.attempts for running in self._running.values())

    async def _look_again(self, run: str) -> Told:
        published = self._scheduler.live.get(run)
        before = self._running.get(run)
        if published is None:
            self._running.pop(run, None)
            return {}
        seq = published.detail["seq"]
        if before is not None and before.seq == seq:
            now = _Running(seq, before.attempts)
        else:
            attempts = await self._attempts(run)
            known = {attempt for _, attempt in before.attempts} if before is not None else None
            fresh = frozenset(a for _, a in attempts if a not in known) if known is not None else frozenset[str]()
            now = _Running(seq, attempts, fresh)
        self._running[run] = now
        return await self._look([one for one in now.attempts if one[1] not in now.fresh])

    async def _attempts(self, run: str) -> list[tuple[str, str]]:
        """Task and attempt of all that runs of a run, as last committed."""
        published = self._scheduler.live.get(run)
        found: list[tuple[str, str]] = []
        if published is None:
            return found
        turn, number = Turn(), published.detail["counts"]["running"]
        for i, view in enumerate(published.detail["tasks"]):
            if len(found) >= number:
                break
            if view["state"] == "running" and view["attempt"]:
                found.append((view["task"], view["attempt"]))
            if i % 1000 == 999:
                await turn.over()
        return found

    async def _look(self, attempts: Iterable[tuple[str, str]]) -> Told:
        turn, found = Turn(), Told()
        for task, attempt in attempts:
            view = self._look_at(attempt)
            if view is not None:
                found[task] = view
            await turn.over()
        return found

    def _look_at(self, attempt: str) -> ProgressView | None:
        known = self._known.pop(attempt, None) or _Known()
        self._known[attempt] = known  # now it is the last that is forgotten
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        with suppress(Conflict, OSError), LogFile(self._scheduler.store.folder, attempt) as log:  # its readers hear why
            size = log.size()
            if size != known.size:
                known.size = size
                progress = gauge.read(log.read(max(0, size - gauge.TAIL), gauge.TAIL), known.progress)
                if progress is not None and progress != known.progress:
                    known.progress, known.view = progress, _view(attempt, progress)
        return known.view


def _view(attempt: str, progress: Progress) -> ProgressView:
    return ProgressView(
        attempt=attempt, fraction=progress.fraction, done=progress.done, total=progress.total, text=progress.text
    )
