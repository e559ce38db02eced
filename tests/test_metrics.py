"""Metrics of a real server: at Jupyter's own ``/metrics``, as ``GET stats``, and in what is shipped for them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import EngineProcess, ServerProcess, until
from prometheus_client.parser import text_string_to_metric_families

from wattle_jupyter import tables

MONITORING = Path(__file__).resolve().parent.parent / "docs" / "monitoring"
SPEC = {"name": "metered", "tasks": {"a": {"run": "echo hello"}, "b": {"run": "exit 3", "needs": ["a"]}}}


def scraped(server: ServerProcess) -> dict[str, Any]:
    status, body = metrics_page(server, server.credentials)
    assert status == 200, body
    return {family.name: family for family in text_string_to_metric_families(body)}


def metrics_page(server: ServerProcess, headers: Mapping[str, str]) -> tuple[int, str]:
    connection = server.connection()
    with closing(connection):
        connection.request("GET", "/metrics", headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode()


def value(families: dict[str, Any], family: str, sample: str = "", **labels: str) -> float:
    named = [s for s in families[family].samples if s.name == (sample or family)]
    found = [s.value for s in named if labels.items() <= s.labels.items()]
    assert len(found) == 1, (family, labels, found)
    return float(found[0])


@pytest.fixture(scope="module")
def worked(server: ServerProcess) -> ServerProcess:
    assert server.ended(server.post("runs", {"spec": SPEC})["id"])["state"] == "failed"
    return server


def test_what_was_done_is_at_jupyters_own_metrics(worked: ServerProcess) -> None:
    found = scraped(worked)
    assert value(found, "wattle_runs_ended", "wattle_runs_ended_total", state="failed") == 1
    assert value(found, "wattle_attempts_ended", "wattle_attempts_ended_total", state="completed") == 1
    assert value(found, "wattle_attempts_ended", "wattle_attempts_ended_total", state="failed") == 1
    assert value(found, "wattle_log_bytes", "wattle_log_bytes_total") == len("hello\n")
    assert value(found, "wattle_queue_wait_seconds", "wattle_queue_wait_seconds_count") == 2
    assert value(found, "wattle_start_latency_seconds", "wattle_start_latency_seconds_count") == 2
    assert value(found, "wattle_request_seconds", "wattle_request_seconds_count", kind="create") == 1
    assert value(found, "wattle_slots_busy") == 0
    assert value(found, "wattle_keeper_up") == 1
    assert value(found, "wattle_keeper_resident_bytes") > 1 << 20
    assert value(found, "wattle_store_bytes") > 1 << 12
    assert value(found, "wattle_runs", state="running") == 0
    assert value(found, "wattle_loop_lag_seconds", "wattle_loop_lag_seconds_count") > 0


def test_buckets_rise_to_the_count(worked: ServerProcess) -> None:
    for family in scraped(worked).values():
        if family.name.startswith("wattle") and family.type == "histogram":
            for labels in {json.dumps({k: v for k, v in s.labels.items() if k != "le"}) for s in family.samples}:
                mine = [s for s in family.samples if json.loads(labels).items() <= s.labels.items()]
                buckets = [s.value for s in mine if s.name.endswith("_bucket")]
                assert buckets == sorted(buckets)
                assert [s.value for s in mine if s.name.endswith("_count")] == buckets[-1:]


def test_metrics_are_for_those_who_are_logged_in(worked: ServerProcess) -> None:
    assert metrics_page(worked, {"Authorization": "token wrong"})[0] == 403


def test_a_socket_and_its_logs_are_counted_while_they_are_open(engine: EngineProcess) -> None:
    from test_socket import Watcher  # noqa: PLC0415 - its fixtures are not wanted here

    before = engine.get("stats")["now"]
    run = engine.post("runs", {"spec": {"name": "s", "tasks": {"a": {"run": "sleep 30"}}}})["id"]
    attempt = until(lambda: engine.get(f"runs/{run}/tasks/a")["attempt"])
    watcher = Watcher(engine)
    watcher.ask(type="subscribe", log=attempt, offset=0)
    until(lambda: engine.get("stats")["now"]["log_subscriptions"] == before["log_subscriptions"] + 1)
    now = engine.get("stats")["now"]
    assert (now["sockets"], now["slots_busy"]) == (before["sockets"] + 1, 1)
    watcher.close()
    until(lambda: engine.get("stats")["now"]["sockets"] == before["sockets"])
    assert engine.get("stats")["now"]["log_subscriptions"] == before["log_subscriptions"]
    engine.post(f"runs/{run}/cancel")
    until(lambda: engine.get("stats")["runs"] == {"queued": 0, "running": 0})


def test_streams_do_not_count_as_slow_requests(engine: EngineProcess) -> None:
    run = engine.post("runs", {"spec": {"name": "s", "tasks": {"a": {"run": "sleep 1; echo done"}}}})["id"]
    until(lambda: engine.get(f"runs/{run}")["tasks"][0]["state"] == "running")
    assert b"done" in engine.raw("GET", f"runs/{run}/tasks/a/logs/stream")[1]
    took = engine.get("stats")["latency"]["query"]
    assert took["max"] < 0.9


def test_stats_can_be_read(worked: ServerProcess) -> None:
    text = tables.stats(worked.get("stats"))
    assert "runs   0 running, 0 queued; ended: 1 failed" in text
    assert "attempts ended: 1 completed, 1 failed" in text
    assert re.search(r"^start a run +1 +[\d.]+ m?s +[\d.]+ m?s", text, re.MULTILINE)
    assert re.search(r"^commit to disk +\d+ +", text, re.MULTILINE)


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "prometheus-alerts.yml"])
def test_what_is_shipped_asks_only_for_what_there_is(worked: ServerProcess, file: str) -> None:
    known = set(scraped(worked)) | {"up", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"}
    suffixes = re.compile(r"_(total|bucket|count|sum)$")
    text = (MONITORING / file).read_text()
    asked = set(re.findall(r"\bwattle_\w+|\bprocess_\w+", " ".join(expressions(text, file))))
    assert asked, file
    assert {suffixes.sub("", name) for name in asked} <= {suffixes.sub("", name) for name in known}


def expressions(text: str, file: str) -> list[str]:
    if file.endswith(".yml"):
        return [rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return [target["expr"] for panel in json.loads(text)["panels"] for target in panel.get("targets", [])]


def test_every_metric_is_on_the_page_about_them(worked: ServerProcess) -> None:
    page = (MONITORING.parent / "monitoring.md").read_text()
    ours = {name for name in scraped(worked) if name.startswith("wattle_")}
    assert ours
    assert {name for name in ours if f"`{name}" not in page} == set()
