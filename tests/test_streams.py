"""Server-sent events: logs and events that go on where a client left off."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import EngineProcess, until

TEXT = "äöü€😀 und so weiter\n" * 40


def frames(content: bytes) -> list[dict[str, str]]:
    blocks = [block for block in content.decode().split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def text_of(found: list[dict[str, str]]) -> str:
    return "".join(json.loads(f["data"])["text"] for f in found if f["event"] == "log")


def first_frames(engine: EngineProcess, path: str, count: int, **headers: str) -> list[dict[str, str]]:
    """So many whole frames of a stream that goes on, then the line is cut."""
    connection, response = engine.open("GET", path, None, {k.replace("_", "-"): v for k, v in headers.items()})
    with closing(connection), response:
        assert response.status == 200
        content = b""
        while content.count(b"\n\n") < count:
            content += response.read1(65536)
    return frames(content[: content.rindex(b"\n\n") + 2])[:count]


@pytest.fixture(scope="module")
def run(engine: EngineProcess, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("text") / "text"
    file.write_text(TEXT)
    found = engine.run({"x": f"cat {file}"}, "text")
    engine.ended(found)
    return found


@pytest.mark.parametrize("offset", [0, 2, 4, 6, 9, len(TEXT.encode()) - 1, len(TEXT.encode())])
def test_a_log_is_resumed_at_the_last_id(engine: EngineProcess, run: str, offset: int) -> None:
    _, content, _ = engine.raw("GET", f"runs/{run}/tasks/x/logs/stream", None, {"Last-Event-ID": str(offset)})
    assert text_of(frames(content)) == TEXT.encode()[offset:].decode()
    assert frames(content)[-1]["event"] == "end"


def test_the_header_of_a_reconnect_goes_before_the_argument(engine: EngineProcess, run: str) -> None:
    path = f"runs/{run}/tasks/x/logs/stream?offset=4"
    assert text_of(frames(engine.raw("GET", path)[1])) == TEXT.encode()[4:].decode()
    _, content, _ = engine.raw("GET", path, None, {"Last-Event-ID": "6"})
    assert text_of(frames(content)) == TEXT.encode()[6:].decode()


def test_a_character_that_comes_in_two_halves_is_one_after_a_cut_between_them(
    engine: EngineProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = f"printf 'a\\303'; while [ ! -e {gate} ]; do sleep 0.02; done; printf '\\251b'"
    run = engine.run({"x": command}, "half")
    engine.running(run, "x")
    path = f"runs/{run}/tasks/x/logs/stream"
    (first,) = first_frames(engine, path, 1)
    assert (json.loads(first["data"])["text"], first["id"]) == ("a", "1")
    gate.touch()
    _, content, _ = engine.raw("GET", path, None, {"Last-Event-ID": first["id"]})
    assert text_of(frames(content)) == "éb"


def test_half_a_character_at_the_end_of_a_log_is_not_swallowed(engine: EngineProcess) -> None:
    run = engine.run({"x": "printf 'a\\303'"}, "cut")
    engine.ended(run)
    assert text_of(frames(engine.raw("GET", f"runs/{run}/tasks/x/logs/stream")[1])) == "a\ufffd"


def test_the_stream_of_a_task_that_waits_begins_when_it_does(engine: EngineProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    tasks = {"a": f"while [ ! -e {gate} ]; do sleep 0.02; done", "b": {"run": "echo b", "needs": ["a"]}}
    run = engine.run(tasks, "later")
    connection, response = engine.open("GET", f"runs/{run}/tasks/b/logs/stream")
    with closing(connection), response:
        gate.touch()
        found = frames(response.read())
    assert text_of(found) == "b\n"


def test_the_stream_of_a_task_that_never_starts_ends(engine: EngineProcess) -> None:
    run = engine.run({"a": "false", "b": {"run": "true", "needs": ["a"]}}, "never")
    _, content, _ = engine.raw("GET", f"runs/{run}/tasks/b/logs/stream")
    assert frames(content) == [{"event": "end", "data": '{"attempt":null}'}]


def test_events_are_streamed_and_resumed_without_a_gap(engine: EngineProcess) -> None:
    before = engine.run({"x": "true"}, "before")
    since = int(engine.ended(before)["seq"])
    run = engine.run({"x": "true", "y": {"run": "true", "needs": ["x"]}}, "events")
    engine.ended(run)
    first = first_frames(engine, f"events?since={since}&run={run}", 1)
    rest = first_frames(engine, f"events?since=0&run={run}", 1, Last_Event_ID=first[0]["id"])
    views: list[Any] = [json.loads(f["data"]) for f in first + rest]
    assert [v["kind"] for v in views] == ["run.created", "run.changed"]
    assert [str(v["seq"]) for v in views] == [first[0]["id"], rest[0]["id"]]
    assert views[1]["seq"] > views[0]["seq"] > since


def test_a_stream_that_nobody_reads_any_more_is_let_go(engine: EngineProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = engine.run({"x": f"echo x; while [ ! -e {gate} ]; do sleep 0.02; done"}, "left")
    engine.running(run, "x")
    process = psutil.Process(engine.pid)
    before = process.num_fds()
    for _ in range(20):
        first_frames(engine, f"runs/{run}/tasks/x/logs/stream", 1)
    until(lambda: process.num_fds() <= before + 1)
    gate.touch()
    engine.ended(run)


@pytest.mark.parametrize("path", ["nope/logs/stream", "x/logs/stream?attempt=nope"])
def test_the_stream_of_what_is_not_there_is_refused_before_it_begins(
    engine: EngineProcess, run: str, path: str
) -> None:
    status, answer, _ = engine.raw("GET", f"runs/{run}/tasks/{path}")
    assert status == 404
    assert json.loads(answer)["error"] == "NotFound"
