"""Is the engine well, and if not, what is wrong: one check for each thing that it needs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from wattle_jupyter.engine import Engine
from wattle_jupyter.wire import Health, HealthCheck

LITTLE_SPACE = 512 << 20  # bytes: a night of chatty tasks fills that
NO_SPACE = 1 << 20  # bytes: some hundred attempts with short logs
FULL_QUEUE = 0.9  # of the runs that may wait
SLOW_LOOP = 1.0  # seconds that nobody was answered

_WORST = {"failed": 2, "degraded": 1, "ok": 0}


async def examine(engine: Engine) -> list[HealthCheck]:
    """All checks. ``failed``: no work is started; ``degraded``: it goes on, and somebody should look."""
    free = await asyncio.to_thread(_free, engine.store.folder)
    return [_store(engine), _executor(engine), _disk(free), _backup(engine), _queue(engine), _loop(engine)]


def summed_up(checks: list[HealthCheck]) -> Health:
    """The whole is as well as the worst of its parts."""
    state = max((check["state"] for check in checks), key=_WORST.__getitem__)
    reasons = [check["reason"] for check in checks if check["reason"]]
    return Health(live=True, ready=state != "failed", state=state, reasons=reasons, checks=checks)


def _check(name: str, failed: str | None = None, degraded: str | None = None) -> HealthCheck:
    state = "failed" if failed else "degraded" if degraded else "ok"
    return HealthCheck(name=name, state=state, reason=failed or degraded or "")  # type: ignore[typeddict-item]


def _store(engine: Engine) -> HealthCheck:
    troubles = engine.scheduler.troubles
    return _check("store", troubles.get("store") or troubles.get("scheduler"))


def _executor(engine: Engine) -> HealthCheck:
    down = [host for host in engine.scheduler.executor.hosts() if host.state != "up"]
    said = engine.scheduler.troubles.get("executor") or engine.scheduler.troubles.get("host")
    return _check("executor", said or (f"{down[0].name}: {down[0].reason or down[0].state}" if down else None))


def _disk(free: int) -> HealthCheck:
    text = f"{free >> 20} MiB are free where the store lies; delete runs (`wattle clean`) or make room"
    return _check("disk", text if free < NO_SPACE else None, text if free < LITTLE_SPACE else None)


def _backup(engine: Engine) -> HealthCheck:
    return _check("backup", degraded=engine.safekeeping.trouble)


def _queue(engine: Engine) -> HealthCheck:
    waiting, most = engine.scheduler.queued_runs, engine.scheduler.limits.max_queued_runs
    text = f"{waiting} of at most {most} runs wait; further ones will be refused. Raise [scheduler] max_queued_runs"
    return _check("queue", degraded=text if waiting >= FULL_QUEUE * most else None)


def _loop(engine: Engine) -> HealthCheck:
    took = engine.lag.worst()
    text = f"the server was busy for {took:.1f} s at a time in the last minute: something blocks its event loop"
    return _check("loop", degraded=text if took > SLOW_LOOP else None)


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0  # the folder is gone or cannot be read: the store says more
