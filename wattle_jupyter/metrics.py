"""What the engine counts and times, for Prometheus (Jupyter's own ``/metrics``) and for ``GET stats``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from wattle_jupyter import backups
from wattle_jupyter._version import __version__
from wattle_jupyter.engine import Engine
from wattle_jupyter.guard import DATABASE
from wattle_jupyter.meter import Histogram
from wattle_jupyter.wire import Latency, Stats

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Exposed(Collector):
    """The engines of this process. There is one, but in tests, and for a moment when a store was taken away."""

    def __init__(self) -> None:
        self.engines: list[Engine] = []

    def describe(self) -> list[Any]:
        return []  # else the registry would collect once, at import

    def collect(self) -> Iterator[Any]:
        if self.engines:
            yield from families(self.engines[-1])


_exposed = _Exposed()
REGISTRY.register(_exposed)


def expose(engine: Engine) -> None:
    """Show this engine at ``/metrics`` of the server in this process."""
    _exposed.engines.append(engine)


def withdraw(engine: Engine) -> None:
    """Show it no longer. Harmless if it was not shown."""
    if engine in _exposed.engines:
        _exposed.engines.remove(engine)


def families(engine: Engine) -> Iterator[Family]:
    """All metrics, with their values as of now."""
    meter, scheduler = engine.scheduler.meter, engine.scheduler
    facts = facts_of(engine)
    info = GaugeMetricFamily("wattle_info", "Version of wattle-jupyter.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    runs = GaugeMetricFamily("wattle_runs", "Runs that have not ended.", labels=["state"])
    for state, number in scheduler.runs_by_state().items():
        runs.add_metric([state], number)
    yield runs
    for name, (text, value) in facts.items():
        yield GaugeMetricFamily(name, text, value=value)
    yield _total("wattle_runs_ended", "Runs that ended.", meter.runs_ended)
    yield _total("wattle_attempts_ended", "Attempts that ended.", meter.attempts_ended)
    yield CounterMetricFamily("wattle_events", "Committed changes.", value=meter.events)
    yield CounterMetricFamily("wattle_log_bytes", "Bytes of logs of attempts that ended.", value=meter.log_bytes)
    requests = HistogramMetricFamily(
        "wattle_request_seconds", "Requests to the API but streams: create starts a run.", labels=["kind"]
    )
    for kind, histogram in meter.requests.items():
        requests.add_metric([kind], _buckets(histogram), histogram.sum)
    yield requests
    yield _histogram("wattle_queue_wait_seconds", "From ready to the decision to start.", meter.queue_wait)
    yield _histogram("wattle_start_latency_seconds", "From that decision to the running process.", meter.start_latency)
    yield _histogram("wattle_commit_seconds", "Commits of changes to the database.", meter.commit)
    yield _histogram(
        "wattle_loop_lag_seconds", "Turns of the server's event loop: nobody else is heard.", meter.loop_lag
    )
    yield _histogram("wattle_loop_work_seconds", "Processor time of these turns.", meter.loop_work)


def facts_of(engine: Engine) -> dict[str, tuple[str, float]]:
    """What is a single number now, by name: what it is, and the number."""
    scheduler, meter, folder = engine.scheduler, engine.scheduler.meter, engine.store.folder
    host = scheduler.executor.hosts()[0]
    return {
        "wattle_tasks_queued": ("Tasks that are ready and wait for a slot.", scheduler.queued_tasks),
        "wattle_slots": ("Tasks that may run at the same time.", scheduler.limits.slots),
        "wattle_slots_busy": ("Slots that are taken.", scheduler.active),
        "wattle_sockets": ("Open WebSockets.", meter.sockets),
        "wattle_log_subscriptions": ("Logs that are watched through them.", meter.subscriptions),
        "wattle_trouble": ("1 while something keeps the engine from working.", float(scheduler.trouble is not None)),
        "wattle_keeper_up": ("1 while the keeper answers.", float(host.state == "up")),
        "wattle_keeper_resident_bytes": ("Memory of the keeper.", _resident(host.pid)),
        "wattle_backup_timestamp_seconds": ("When the newest backup was made; 0: there is none.", _backup(folder)),
        "wattle_backup_trouble": (
            "1 while the automatic backup that is due cannot be made.",
            float(bool(engine.safekeeping.trouble)),
        ),
        "wattle_store_bytes": ("Size of the database and of its write-ahead log.", _size(folder)),
        "wattle_disk_free_bytes": ("Free space where the store lies.", _free(folder)),
    }


def stats(engine: Engine) -> Stats:
    """The same for people and pages: the median and the 95th percentile instead of buckets."""
    meter, scheduler = engine.scheduler.meter, engine.scheduler
    timed = {
        **meter.requests,
        "queue_wait": meter.queue_wait,
        "start_latency": meter.start_latency,
        "commit": meter.commit,
        "loop_lag": meter.loop_lag,
        "loop_work": meter.loop_work,
    }
    facts = {name.removeprefix("wattle_"): value for name, (_, value) in facts_of(engine).items()}
    return Stats(
        runs=scheduler.runs_by_state(),
        runs_ended=dict(meter.runs_ended),
        attempts_ended=dict(meter.attempts_ended),
        events=meter.events,
        log_bytes=meter.log_bytes,
        now=facts,
        latency={name: _latency(histogram) for name, histogram in timed.items()},
    )


def _latency(histogram: Histogram) -> Latency:
    return Latency(count=histogram.count, p50=histogram.quantile(0.5), p95=histogram.quantile(0.95), max=histogram.max)


def _total(name: str, text: str, counted: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=["state"])
    for state, number in counted.items():
        family.add_metric([state], number)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, buckets=_buckets(histogram), sum_value=histogram.sum)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """As Prometheus wants them: each holds what the ones before it hold."""
    reached, found = 0, []
    for bound, number in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        reached += number
        found.append(("+Inf" if bound == float("inf") else repr(bound), float(reached)))
    return found


def _resident(pid: int | None) -> float:
    """Bytes; 0 where the platform does not tell."""
    try:
        with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 - read at each scrape: as cheap as can be
            return float(int(file.read().split()[1]) * _PAGE)
    except (OSError, IndexError):
        return 0.0


def _size(folder: Any) -> float:
    found = 0.0
    for name in (DATABASE, f"{DATABASE}-wal"):
        try:
            found += (folder / name).stat().st_size
        except OSError:
            continue
    return found


def _backup(folder: Any) -> float:
    try:
        newest = backups.newest(folder)
    except OSError:
        return 0.0
    return newest.at if newest else 0.0


def _free(folder: Any) -> float:
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return 0.0
