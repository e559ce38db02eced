"""The audit log: who changed what, and nothing that is not to be known."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import EngineProcess, ServerProcess, until

from wattle_jupyter.audit import Audit
from wattle_jupyter.operations import OPERATIONS
from wattle_jupyter.wire import AuditEntry

LOG = logging.getLogger("test")


def entry(n: int) -> AuditEntry:
    return AuditEntry(at="", user="ada", verb="POST runs", target=f"{n:032x}", status=201, outcome="done")


def test_the_newest_come_first_and_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    audit = Audit(tmp_path, LOG)
    for n in range(5):
        audit.note(entry(n))
    assert [int(e["target"], 16) for e in audit.newest(3)] == [4, 3, 2]
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_the_log_is_bounded_and_forgets_the_oldest(tmp_path: Path) -> None:
    audit = Audit(tmp_path, LOG, most=2000)
    for n in range(100):
        audit.note(entry(n))
        assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 2 * 2000 + 200
    kept = [int(e["target"], 16) for e in audit.newest(1000)]
    assert kept == list(range(99, 99 - len(kept), -1))
    assert 10 < len(kept) < 40


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    audit = Audit(tmp_path, LOG)
    audit.note(entry(1))
    with (tmp_path / "audit.log").open("ab") as file:
        file.write(b'{"at":"20\n')
    audit.note(entry(2))
    assert [int(e["target"], 16) for e in audit.newest(9)] == [2, 1]


def test_long_names_are_cut_and_strange_ones_stay_on_their_line(tmp_path: Path) -> None:
    audit = Audit(tmp_path, LOG)
    audit.note({**entry(1), "target": "a\n\x1b[31m" + "x" * 9999})
    (found,) = audit.newest(9)
    assert found["target"].startswith("a\n\x1b[31mxxx")
    assert len(found["target"]) == 200
    assert len((tmp_path / "audit.log").read_bytes().splitlines()) == 1


def test_half_a_line_on_a_full_disk_spoils_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(tmp_path, LOG)
    audit.note(entry(1))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
    audit.note(entry(2))
    monkeypatch.undo()
    audit.note(entry(3))
    assert (tmp_path / "audit.log").read_text().count("\n") == 2
    assert audit.newest(9) == [entry(3), entry(1)]


def test_a_disk_that_does_not_take_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "audit.log").mkdir()
    audit = Audit(tmp_path, LOG)
    for n in range(3):
        audit.note(entry(n))
    assert [record.getMessage() for record in caplog.records] == [
        f"wattle: {tmp_path}/audit.log cannot be written: Is a directory"
    ]


def test_every_request_that_is_to_change_something_is_written_down(
    make_engine: Callable[..., EngineProcess],
) -> None:
    engine = make_engine().launch()
    changing = [(o.verb, o.path) for o in OPERATIONS if o.action != "read"]
    assert len(changing) >= 12
    for verb, path in changing:
        engine.request(verb, path.replace("{hash}", "0" * 64).replace("{", "").replace("}", ""), {})
    engine.get("workflows")
    entries = engine.get("audit?limit=1000")
    assert [e["verb"] for e in reversed(entries)] == [f"{verb} {path}" for verb, path in changing]


def test_the_log_says_what_came_of_it_and_keeps_params_and_commands_to_itself(
    make_engine: Callable[..., EngineProcess],
) -> None:
    engine = make_engine().launch()
    secret = "hunter2-canary"
    spec = {"name": "w", "params": {"key": secret}, "tasks": {"t": {"run": f"echo {secret} {{{{ key }}}}"}}}
    run = engine.post("runs", {"spec": spec, "params": {"key": secret + "2"}}, Idempotency_Key="k" + secret)["id"]
    engine.ended(run)
    engine.request("POST", "runs/last/cancel")
    engine.request("POST", "workflows/nothing/start", {"params": {"key": secret}})
    told = [(e["verb"], e["target"], e["status"], e["outcome"]) for e in engine.get("audit")]
    assert told == [
        ("POST workflows/{name}/start", "nothing", 404, "NotFound"),
        ("POST runs/{run}/cancel", run, 200, "done"),
        ("POST runs", run, 201, "done"),
    ]
    assert secret not in (engine.store / "audit.log").read_text()
    assert {e["user"] for e in engine.get("audit")} != {""}
    status, answer = engine.request("GET", "audit?limit=0")
    assert (status, answer["message"]) == (400, "limit must be a whole number from 1 to 1000, not '0'")


def test_what_a_follower_passes_on_is_written_down_once_under_its_users_name(
    make_server: Callable[..., ServerProcess],
) -> None:
    owner = make_server().launch()
    follower = make_server(owner.store).launch()
    follower.run({"t": {"run": "true"}})
    log = owner.store / "audit.log"
    until(lambda: log.exists() and log.read_text().endswith("\n"))  # it is written beside the answer
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["verb"] for line in lines] == ["POST runs"]
    assert lines[0]["user"]


def test_strangers_write_nothing(server: ServerProcess) -> None:
    before = len(server.get("audit?limit=1000"))
    for headers in ({"Authorization": "token wrong"}, {"Authorization": ""}):
        assert server.request("POST", "runs", {}, headers)[0] == 403
    assert len(server.get("audit?limit=1000")) == before
