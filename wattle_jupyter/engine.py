"""Store, executor and scheduler put together and taken apart again. Knows nothing of Jupyter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from wattle_jupyter.audit import Audit
from wattle_jupyter.clock import boot_time
from wattle_jupyter.executors import Executor
from wattle_jupyter.executors.local import LocalExecutor
from wattle_jupyter.looplag import LoopLag
from wattle_jupyter.objects import Objects
from wattle_jupyter.progresswatch import ProgressWatch
from wattle_jupyter.retention import Retention, Rule
from wattle_jupyter.runlist import RunList
from wattle_jupyter.safekeeping import Safekeeping
from wattle_jupyter.scheduler import Scheduler
from wattle_jupyter.searching import Searching
from wattle_jupyter.settings import Settings
from wattle_jupyter.statemachine import Limits
from wattle_jupyter.store import Store

AHEAD = 32
"""Brief tasks that the executor has in hand beside those that run: enough to keep it busy while a commit is made."""


class Engine:
    """Everything that owns one store while it lives. ``await Engine.open(…)``, ``await engine.close()``."""

    def __init__(self, settings: Settings, store: Store, scheduler: Scheduler, log: logging.Logger) -> None:
        self.settings = settings
        self.store = store
        self.runs = RunList(store)
        self.scheduler = scheduler
        self.audit = Audit(store.folder, log)
        self.progress = ProgressWatch(scheduler, log)
        self.searching = Searching()
        self.lag = LoopLag(scheduler.meter.turned)
        rule = Rule(settings.store.keep_runs, settings.store.keep_days)
        self.retention = Retention(scheduler, rule, settings.store.undo_days, log)
        hours, keep = settings.store.backup_hours, settings.store.keep_automatic
        self.safekeeping = Safekeeping(store, hours * 3600.0, keep, log)
        self._caring = [asyncio.create_task(care) for care in (self.retention.run(), self.safekeeping.run())]

    @classmethod
    async def open(
        cls,
        settings: Settings,
        folder: Path,
        *,
        executor: Executor | None = None,
        environ: Mapping[str, str] | None = None,
        log: logging.Logger | None = None,
    ) -> Engine:
        """Own the store in ``folder`` and take up what went on in it. Raises Unavailable with reason and cure."""
        log = log or logging.getLogger("wattle")
        executor = executor or LocalExecutor(folder, settings.scheduler.slots)
        try:
            store = await Store.open(folder, keep_backups=settings.store.keep_backups, owned=executor.rouse)
        except BaseException:
            await executor.close()
            raise
        if str(store.rejoined):
            log.warning("wattle: %s", store.rejoined)
        limits = Limits(
            slots=settings.scheduler.slots,
            ahead=AHEAD,
            max_active_runs=settings.scheduler.max_active_runs,
            max_queued_runs=settings.scheduler.max_queued_runs,
            loss_budget=settings.scheduler.loss_budget,
            grace=settings.execution.grace,
            timeout=settings.execution.timeout,
        )
        objects = Objects(folder / "objects", settings.store.max_object, settings.store.keep_outputs)
        scheduler = Scheduler(store, executor, limits, objects=objects, environ=environ, steady=boot_time, log=log)
        try:
            await asyncio.to_thread(objects.sweep)
            await scheduler.start()
        except BaseException:
            await executor.close()
            await store.close()
            raise
        return cls(settings, store, scheduler, log)

    async def close(self) -> None:
        """Detach from the executor and close the store. Tasks go on."""
        for task in self._caring:
            task.cancel()
        self.lag.stop()
        self.progress.close()
        await self.searching.close()
        await asyncio.gather(*self._caring, return_exceptions=True)
        await self.scheduler.stop()
        await self.store.close()
