"""The API over real processes: the envelope, pages, bad requests, repeats, limits of bodies."""

from __future__ import annotations

import contextlib
import json
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from processes import EngineProcess, ServerProcess, until

BAD = yaml.safe_load((Path(__file__).parent / "fixtures" / "bad_requests.yaml").read_text())


@pytest.fixture(scope="module")
def done(engine: EngineProcess) -> str:
    """A finished run of `done`, whose task is `only`."""
    engine.post("workflows", {"name": "done", "tasks": {"only": "printf 'h\\303\\251llo\\n'"}})
    run = engine.post("workflows/done/start")["id"]
    assert engine.ended(run)["state"] == "completed"
    return str(run)


# ------------------------------------------------------------------------------------------------ bad requests


@pytest.mark.parametrize("row", BAD, ids=lambda row: row["case"])
def test_a_bad_request_is_answered_in_words(engine: EngineProcess, done: str, row: dict[str, Any]) -> None:
    verb, path = row["request"].split(" ", 1)
    path = path.replace("/last", f"/{done}").replace(" ", "%20")
    body = row["raw"].encode("latin-1") if "raw" in row else row.get("body")
    status, content, headers = engine.raw(verb, path, body, row.get("headers", {}))
    answer = json.loads(content)
    assert (status, answer["error"], answer["message"].replace(done, "{run}")) == (
        row["status"], row["error"], row["message"],
    )  # fmt: skip
    assert sorted(answer) == ["details", "error", "message", "success"]
    assert answer["success"] is False
    assert headers["Content-Type"].startswith("application/json")


def test_all_faults_of_a_spec_come_at_once_with_their_places(engine: EngineProcess) -> None:
    spec = {"name": "a", "tasks": {"x": {"run": "true", "retries": -1, "needs": ["y"]}, "z": {"run": 3}}}
    status, answer = engine.request("POST", "workflows", spec)
    assert status == 400
    assert {p["path"] for p in answer["details"]["problems"]} >= {"tasks.x.retries", "tasks.z.run"}


def test_nesting_is_bounded(engine: EngineProcess) -> None:
    for depth in (70, 200_000):
        body = b'{"params":' + b"[" * depth + b"]" * depth + b"}"
        status, answer = engine.request("POST", "workflows/x/start", body)
        assert (status, answer["error"]) == (400, "InvalidRequest")


def test_what_was_refused_left_nothing_behind(engine: EngineProcess, done: str) -> None:
    names = {w["name"] for w in engine.get("workflows")["data"]}
    assert "a" not in names
    health = engine.get("health")
    assert (health["live"], health["ready"], health["state"], health["reasons"]) == (True, True, "ok", [])


# ------------------------------------------------------------------------------------------------ good ones


def test_info_says_who_is_there(engine: EngineProcess) -> None:
    info = engine.get("info")
    assert info["api"] == {"min": 1, "max": 1}
    assert len(info["store"]) == len(info["generation"]) == 32
    assert info["trouble"] is None


def test_a_run_tells_everything_about_its_tasks(engine: EngineProcess) -> None:
    tasks = {
        "a": {"run": 'echo "n=7" >> "$WATTLE_OUTPUT"; echo out', "outputs": {"n": None}},
        "b": {"run": "echo {{ a.n }}; exit 3", "retries": 1, "retry_delay": 0},
        "c": {"run": "true", "needs": ["b"]},
    }
    ended = engine.ended(engine.run(tasks, "told", params={"k": 1}))
    assert (ended["state"], ended["total"], ended["params"]) == ("failed", 3, {"k": 1})
    assert {k: v for k, v in ended["counts"].items() if v} == {"completed": 1, "failed": 1, "skipped": 1}
    assert {(e["src"], e["dst"], e["kind"]) for e in ended["edges"]} == {("a", "b", "data"), ("b", "c", "order")}
    a, b = engine.task(ended["id"], "a"), engine.task(ended["id"], "b")
    assert [(v["name"], v["kind"], v["value"]) for v in a["outputs"]] == [("n", "json", "7")]
    assert (a["exit_code"], b["exit_code"], b["reason"]) == (0, 3, "exit 3")
    assert [(h["n"], h["state"]) for h in b["history"]] == [(1, "failed"), (2, "failed")]
    assert all(h["ended_at"] >= h["started_at"] and h["log_size"] == 2 for h in b["history"])
    assert b["needs"] == ["a"]
    first = b["history"][0]["id"]
    assert engine.get(f"runs/{ended['id']}/tasks/b/logs?attempt={first}")["text"] == "7\n"
    assert engine.get(f"runs/{ended['id']}/snapshot")["spec"]["tasks"]["b"]["retries"] == 1


def test_a_run_is_found_by_prefix_and_as_the_last(engine: EngineProcess) -> None:
    run = engine.run({"x": "true"}, "prefixed")
    engine.ended(run)
    assert engine.get(f"runs/{run[:8]}")["id"] == run
    assert engine.get("runs/last")["id"] == run


def test_a_definition_has_versions_and_its_runs_outlive_it(engine: EngineProcess) -> None:
    engine.post("workflows", {"name": "v", "tasks": {"x": "true"}})
    again = engine.post("workflows", {"name": "v", "tasks": {"x": "true"}})
    assert again["version"] == 1
    second = engine.post("workflows", {"name": "v", "tasks": {"x": "true", "y": "true"}})
    assert (second["version"], second["total"]) == (2, 2)
    run = engine.ended(engine.post("workflows/v/start", {"cause": "cli"})["id"])
    assert (run["cause"], run["workflow_hash"]) == ("cli", second["hash"])
    run = engine.ended(engine.post("workflows/v/start", {"priority": "high", "mode": "sequential"})["id"])
    assert (run["priority"], run["mode"]) == ("high", "sequential")
    assert engine.request("DELETE", "workflows/v") == (200, {"success": True, "data": {"name": "v"}})
    assert engine.request("GET", "workflows/v")[0] == 404
    assert engine.get(f"runs/{run['id']}")["state"] == "completed"


def test_a_definition_warns_of_what_its_next_run_will_stumble_over(engine: EngineProcess) -> None:
    status, answer = engine.request(
        "POST", "workflows", {"name": "warned", "tasks": {"x": {"run": ["no-such-program"]}}}
    )
    assert status == 201
    assert answer["data"]["warnings"] == [
        "tasks.x.run: command not found: no-such-program; install it, or give its full path"
    ]
    assert engine.request("POST", "workflows/warned/start")[0] == 400


def test_names_that_look_like_routes_are_names(engine: EngineProcess) -> None:
    for name in ("start", "workers", "health", "ready"):
        engine.post("workflows", {"name": name, "tasks": {"logs": "echo here"}})
        run = engine.ended(engine.post(f"workflows/{name}/start")["id"])
        assert run["workflow"] == name
        assert engine.get(f"workers/{name}/logs/logs")["text"] == "here\n"


def test_cancel_stops_what_runs_and_retry_goes_on_from_there(engine: EngineProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    tasks = {"a": f"while [ ! -e {gate} ]; do sleep 0.05; done", "b": {"run": "true", "needs": ["a"]}}
    run = engine.run(tasks, "cancelled")
    engine.running(run, "a")
    assert engine.post(f"runs/{run}/cancel")["cancel_at"]
    ended = engine.ended(run)
    assert ended["state"] == "cancelled"
    assert {t["task"]: t["state"] for t in ended["tasks"]} == {"a": "cancelled", "b": "cancelled"}
    gate.touch()
    engine.post(f"runs/{run}/retry")
    assert until(lambda: engine.state(run) == "completed")
    assert [h["round"] for h in engine.task(run, "a")["history"]] == [1, 2]


def test_one_task_is_stopped_and_tried_again(engine: EngineProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    tasks = {"a": f"while [ ! -e {gate} ]; do sleep 0.05; done", "b": "true"}
    run = engine.run(tasks, "stopped")
    engine.running(run, "a")
    engine.post(f"runs/{run}/tasks/a/stop")
    assert {t["task"]: t["state"] for t in engine.ended(run)["tasks"]} == {"a": "cancelled", "b": "completed"}
    gate.touch()
    engine.post(f"runs/{run}/tasks/a/retry")
    assert until(lambda: engine.state(run) == "completed")
    assert len(engine.task(run, "b")["history"]) == 1


# ------------------------------------------------------------------------------------------------ pages


@pytest.fixture(scope="module")
def five(engine: EngineProcess) -> list[str]:
    """Runs of workflows p0 … p4; p3 failed."""
    runs = [engine.run({"x": "exit 1" if n == 3 else "true"}, f"p{n}") for n in range(5)]
    for run in runs:
        engine.ended(run)
    return runs


def test_runs_come_in_pages_newest_first(engine: EngineProcess, five: list[str]) -> None:
    found, pages = [], []
    for number in (1, 2, 3):
        page = engine.get(f"runs?page={number}&page_size=2&search=p")
        pages.append(page["pagination"])
        found += [r["id"] for r in page["data"] if r["id"] in five]
    assert pages[0]["has_prev"] is False
    assert pages[0]["has_next"] is True
    all_of_them = [r["id"] for r in engine.get("runs?page_size=200")["data"]]
    assert [r for r in all_of_them if r in five] == five[::-1]
    assert found == [r for r in five[::-1] if r in found]


def test_runs_are_filtered_by_state_workflow_and_text(engine: EngineProcess, five: list[str]) -> None:
    assert [r["id"] for r in engine.get("runs?workflow=p3")["data"]] == [five[3]]
    failed = {r["id"] for r in engine.get("runs?status=failed,cancelled&page_size=200")["data"]}
    assert failed & set(five) == {five[3]}
    both = engine.get("runs?status=failed&status=completed&page_size=200")["data"]
    assert set(five) <= {r["id"] for r in both}
    assert [r["id"] for r in engine.get(f"runs?search={five[2][:10].upper()}")["data"]] == [five[2]]
    assert engine.get("runs?search=%25")["data"] == []


@pytest.mark.parametrize("column", ["created_at", "started_at", "ended_at", "workflow", "state"])
def test_runs_are_sorted_both_ways(engine: EngineProcess, five: list[str], column: str) -> None:
    up = [r[column] for r in engine.get(f"runs?sort_by={column}&order=asc&page_size=200")["data"]]
    down = [r[column] for r in engine.get(f"runs?sort_by={column}&order=desc&page_size=200")["data"]]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)


def test_a_page_beyond_the_last_is_empty(engine: EngineProcess, five: list[str]) -> None:
    page = engine.get("runs?page=1000")
    assert page["data"] == []
    assert page["pagination"]["has_next"] is False


# ------------------------------------------------------------------------------------------------ logs


def test_a_log_is_read_from_any_offset(engine: EngineProcess, done: str) -> None:
    whole = engine.get(f"runs/{done}/tasks/only/logs")
    assert (whole["text"], whole["size"], whole["next_offset"], whole["end"]) == ("héllo\n", 7, 7, True)
    assert engine.get(f"runs/{done}/tasks/only/logs?offset=-4")["text"] == "llo\n"
    assert engine.get(f"runs/{done}/tasks/only/logs?offset=7")["end"] is True
    cut = engine.get(f"runs/{done}/tasks/only/logs?offset=-7&limit=4")
    assert (cut["text"], cut["next_offset"], cut["end"]) == ("hél", 4, False)


def test_pages_of_a_log_of_many_bytes_add_up_to_it(engine: EngineProcess) -> None:
    run = engine.run({"x": "for i in $(seq 500); do printf 'äöü€😀%s' $i; done"}, "utf")
    engine.ended(run)
    text, offset, end = "", 0, False
    while not end:
        page = engine.get(f"runs/{run}/tasks/x/logs?offset={offset}&limit=7")
        text, offset, end = text + page["text"], page["next_offset"], page["end"]
    assert text == "".join(f"äöü€😀{i}" for i in range(1, 501))


def test_a_log_is_downloaded_as_a_file(engine: EngineProcess, done: str) -> None:
    status, content, headers = engine.raw("GET", f"runs/{done}/tasks/only/logs?download=1")
    assert (status, content) == (200, "héllo\n".encode())
    assert headers["Content-Disposition"] == 'attachment; filename="done-only-1.log"'
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_bytes_that_are_no_text_are_shown_and_kept(engine: EngineProcess) -> None:
    run = engine.run({"x": "printf 'a\\377b'"}, "bytes")
    engine.ended(run)
    assert engine.get(f"runs/{run}/tasks/x/logs")["text"] == "a\ufffdb"
    assert engine.raw("GET", f"runs/{run}/tasks/x/logs?download=1")[1] == b"a\xffb"


def test_a_task_that_never_ran_has_an_empty_log(engine: EngineProcess) -> None:
    run = engine.run({"a": "false", "b": {"run": "true", "needs": ["a"]}}, "empty")
    engine.ended(run)
    page = engine.get(f"runs/{run}/tasks/b/logs")
    assert (page["attempt"], page["text"], page["end"]) == ("", "", True)


# ------------------------------------------------------------------------------------------------ repeats


def test_the_same_request_twenty_times_at_once_starts_one_run(engine: EngineProcess) -> None:
    body = {"spec": {"name": "once", "tasks": {"x": "true"}}}
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda _: engine.post("runs", body, Idempotency_Key="key-once")["id"], range(20)))
    assert len(ids) == 1
    engine.ended(ids.pop())
    assert engine.get("runs?workflow=once")["pagination"]["total"] == 1
    assert engine.post("runs", body, Idempotency_Key="key-once")["state"] == "completed"
    assert engine.post("runs", body, Idempotency_Key="key-other")["state"] != "completed"


def test_a_repeated_retry_makes_one_attempt(engine: EngineProcess) -> None:
    run = engine.run({"x": "false"}, "again")
    engine.ended(run)
    for _ in range(3):
        engine.post(f"runs/{run}/retry", Idempotency_Key="retry-once")
        engine.ended(run)
    assert len(engine.task(run, "x")["history"]) == 2


def test_a_key_is_good_for_one_kind_of_request(engine: EngineProcess, done: str) -> None:
    engine.post(f"runs/{done}/cancel", Idempotency_Key="mixed")
    status, answer = engine.request("POST", f"runs/{done}/retry", headers={"Idempotency-Key": "mixed"})
    assert status == 409
    assert answer["message"] == ("this Idempotency-Key was used for another request; make a new key for each request")


# ------------------------------------------------------------------------------------------------ limits


def test_a_full_queue_refuses_with_429(make_engine: Callable[..., EngineProcess]) -> None:
    api = make_engine().launch(WATTLE_SCHEDULER__MAX_QUEUED_RUNS="1", WATTLE_SCHEDULER__MAX_ACTIVE_RUNS="1")
    first = api.run({"x": "sleep 60"}, "first")
    second = api.run({"x": "true"}, "second")
    assert api.get(f"runs/{second}")["reason"] == "waits for a place: the limit is 1 active at a time"
    status, answer = api.request("POST", "runs", {"spec": {"name": "third", "tasks": {"x": "true"}}})
    assert (status, answer["error"]) == (429, "TooManyRuns")
    assert answer["message"] == (
        "1 runs wait already, which is the limit of this store; wait for some to end or cancel some"
    )
    api.post(f"runs/{first}/cancel")
    assert api.ended(second)["state"] == "completed"


def test_the_limits_of_bodies_are_settings(make_engine: Callable[..., EngineProcess]) -> None:
    api = make_engine().launch(WATTLE_SERVER__MAX_BODY="2000", WATTLE_SERVER__MAX_SPEC="4000")
    spec = {"name": "s", "tasks": {"x": "true"}, "description": "d" * 2500}
    assert api.request("POST", "workflows", spec)[0] == 201
    status, answer = api.request("POST", "workflows/s/start", {"params": {"a": "d" * 2500}})
    assert (status, answer["error"]) == (413, "TooLarge")
    status, answer = api.request("POST", "workflows", {**spec, "description": "d" * 5000})
    assert status == 413
    assert answer["message"].endswith("the limit here is 4000")


@pytest.mark.parametrize("token", ["token secret", "token wrong"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_refused_before_it_is_taken_in(server: ServerProcess, token: str, chunked: bool) -> None:
    server.get("info")
    before = psutil.Process(server.pid).memory_info().rss
    size, piece = 100 << 20, b"x" * (1 << 16)
    how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"POST {server.base}runs/last/cancel HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n{how}\r\n\r\n"
    frame = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            while sent < size:
                connection.sendall(frame)
                sent += len(piece)
    assert sent < 20 << 20
    assert psutil.Process(server.pid).memory_info().rss - before < 20 << 20


def test_a_body_that_is_announced_too_large_is_answered_with_413(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        head = f"POST {server.base}runs/last/cancel HTTP/1.1\r\nHost: localhost\r\nAuthorization: token secret\r\n"
        connection.sendall(f"{head}Content-Length: {100 << 20}\r\n\r\n".encode())
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert f"the body has {100 << 20} bytes; the limit here is {1 << 20}" in answer


# ------------------------------------------------------------------------------------------------ what must not leak


def test_no_value_of_the_servers_environment_gets_out(make_engine: Callable[..., EngineProcess]) -> None:
    canary = uuid.uuid4().hex
    api = make_engine().launch(MY_SECRET=canary, JUPYTER_TOKEN=canary, JUPYTERHUB_API_TOKEN=canary)
    run = api.run({"x": "env | grep -c '^JUPYTER.*TOKEN'; true"}, "quiet")
    api.ended(run)
    assert api.get(f"runs/{run}/tasks/x/logs")["text"] == "0\n"
    for path in ("info", "health", f"runs/{run}", f"runs/{run}/snapshot", f"runs/{run}/tasks/x", "workflows", "runs"):
        assert canary.encode() not in api.raw("GET", path)[1]
    assert canary not in api.said()
