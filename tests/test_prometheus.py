"""A real Prometheus reads a real server: its target is up, the series are there, the rules are loaded, one rises.

Needs ``prometheus`` and ``promtool`` on PATH (Debian: ``apt-get install prometheus``).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from processes import ServerProcess, free_port, until

MONITORING = Path(__file__).resolve().parent.parent / "docs" / "monitoring"
SPEC = {"name": "metered", "tasks": {"a": {"run": "echo hello"}, "b": {"run": "exit 3", "needs": ["a"]}}}

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("promtool"), reason="Prometheus is not installed: apt-get install prometheus"),
]

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: wattle
    metrics_path: /metrics
    authorization: {{type: token, credentials: secret}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
rule_files: ["{rules}"]
"""


class Prometheus:
    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def ask(self, path: str) -> Any:
        with urlopen(f"{self.base}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        return list(self.ask(f"query?query={quote(expression)}")["result"])

    def up(self) -> bool:
        try:
            return self.query("up")[0]["value"][1] == "1"
        except (OSError, IndexError):
            return False


@pytest.fixture(scope="module")
def prometheus(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(port=server.port, rules=MONITORING / "prometheus-alerts.yml"))
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [
                "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=said, stderr=said,
        )  # fmt: skip
    try:
        made = Prometheus(port)
        until(made.up)
        yield made
    finally:
        process.terminate()
        process.wait(30)


def test_the_rules_are_good() -> None:
    rules = MONITORING / "prometheus-alerts.yml"
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_server_did_can_be_asked_for(server: ServerProcess, prometheus: Prometheus) -> None:
    server.ended(server.post("runs", {"spec": SPEC})["id"])
    until(lambda: prometheus.query('wattle_runs_ended_total{state="failed"} == 1'))
    until(lambda: prometheus.query("wattle_commit_seconds_count > 1"))
    assert prometheus.query("wattle_info")[0]["metric"]["job"] == "wattle"


def test_every_panel_of_the_dashboard_is_a_question_that_prometheus_takes(prometheus: Prometheus) -> None:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    asked = [target["expr"].replace("$job", "wattle") for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) > 20
    silent = []
    for expression in asked:
        if not prometheus.query(expression) and "rate(" not in expression:  # a rate needs two scrapes of something
            silent.append(expression)
    assert silent == []


def test_an_alert_is_raised_when_the_server_goes(server: ServerProcess, prometheus: Prometheus) -> None:
    names = {rule["name"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]}
    assert {"WattleDown", "WattleTrouble", "WattleAttemptsLost", "WattleLoopBlocked"} <= names
    server.end()
    until(lambda: any(a["labels"]["alertname"] == "WattleDown" for a in prometheus.ask("alerts")["alerts"]), 60)
    server.launch()
    until(prometheus.up)
