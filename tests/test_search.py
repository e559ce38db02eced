"""Looking for a pattern in a log."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from processes import API, EngineProcess, until

from wattle_jupyter.handlers import search as handler
from wattle_jupyter.host import search

PIECES = st.sampled_from([b"a", b"b", b"\n", b"\r", b"\x1b[31m", b"\x1b[0m", b"ERR", b"err", b"\xc3\xa4", b"\xff"])
PATTERNS = st.sampled_from(["a", "ab", "ERR", "err", "b$", "^a", "a.*b", "x", "a|b", "(?:)", "ä", "$"])


@given(st.lists(PIECES, max_size=25).map(b"".join), PATTERNS, st.booleans())
@example(b"", "(?:)", False)
@example(b"\n\n", "$", False)
def test_it_finds_what_a_look_at_each_line_finds(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, pattern: str, ignore_case: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "log"
    path.write_bytes(content)
    flags = re.IGNORECASE if ignore_case else 0
    wanted, at = [], 0
    for line in content.splitlines(keepends=True) if b"\r" not in content else _lines(content):
        if re.search(pattern.encode(), re.sub(rb"\x1b\[\d*m", b"", line.rstrip(b"\n")), flags):
            wanted.append(at)
        at += len(line)
    found = search.find(str(path), pattern, ignore_case, 1000)
    assert found == {"size": len(content), "count": len(wanted), "lines": wanted}


def _lines(content: bytes) -> list[bytes]:
    return [line for line in re.findall(rb"[^\n]*\n|[^\n]+", content) if line]


def test_lines_at_the_borders_of_blocks_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_bytes(b"".join(b"%05d x\n" % i for i in range(1000)))
    for size in (64, 100, 4096):
        monkeypatch.setattr(search, "_BLOCK", size)
        found = search.find(str(tmp_path / "log"), "7 x$", False, 3)
        assert found == {"size": 8000, "count": 100, "lines": [56, 136, 216]}


@pytest.fixture
def log(engine: EngineProcess) -> str:
    """Address of a log with an error in colour on its third line."""
    code = r"printf 'start\nall fine\n\033[31mERR\033[0mOR: lost\nthe end\n'"
    run = engine.run({"a": code})
    engine.ended(run)
    return f"runs/{run}/tasks/a/logs"


def test_a_log_is_searched_as_it_is_seen(engine: EngineProcess, log: str) -> None:
    found = engine.get(f"{log}/search?pattern=error")
    assert (found["count"], found["lines"], found["size"]) == (1, [15], engine.get(log)["size"])
    assert engine.get(f"{log}?offset={found['lines'][0]}")["text"].startswith("\x1b[31mERR")
    assert engine.get(f"{log}/search?pattern=error&case=1")["count"] == 0
    assert engine.get(f"{log}/search?pattern=%5E(the%7Call)&regex=1")["lines"] == [6, 36]
    assert engine.get(f"{log}/search?pattern=%5E(the%7Call)")["count"] == 0
    assert engine.get(f"{log}/search?pattern=.&regex=1&limit=2") == found | {"count": 4, "lines": [0, 6]}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("pattern=", "1 to 1,000 characters"),
        ("pattern=(&regex=1", "is not a regular expression"),
        ("pattern=a&limit=0", "limit must be a whole number from 1"),
        ("pattern=" + "a" * 1001, "1 to 1,000 characters"),
    ],
)
def test_a_bad_pattern_is_refused_in_words(engine: EngineProcess, log: str, query: str, words: str) -> None:
    status, body = engine.request("GET", f"{log}/search?{query}")
    assert status == 400
    assert words in body["message"]


async def test_a_pattern_that_runs_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_bytes(b"a" * 60 + b"!\n")
    monkeypatch.setattr(handler, "PATIENCE", 0.5)
    with pytest.raises(handler.Conflict, match=r"longer than 0.5 s; make the pattern simpler"):
        await handler.look(tmp_path / "log", {"pattern": "(a+)+$", "ignore_case": False, "most": 1})
    assert not handler._running


def test_a_task_without_a_log_has_no_lines(engine: EngineProcess) -> None:
    run = engine.run({"a": "true"})
    engine.ended(run)
    assert engine.get(f"runs/{run}/tasks/a/logs/search?pattern=x")["count"] == 0


async def test_no_more_searches_go_on_at_once_than_there_is_room_for(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\n")
    asked = {"pattern": "a", "ignore_case": False, "most": 1}
    many = [handler.look(tmp_path / "log", asked) for _ in range(handler._SIDE_BY_SIDE + 2)]
    found = await asyncio.gather(*many, return_exceptions=True)
    assert [type(one) for one in found] == [dict] * handler._SIDE_BY_SIDE + [handler.TooManyRuns] * 2
    assert not handler._running


def test_a_search_ends_when_nobody_waits_for_it_any_more(engine: EngineProcess) -> None:
    run = engine.run({"a": f"echo {'a' * 60}!"})
    engine.ended(run)
    server = psutil.Process(engine.pid)
    connection = engine.connection()
    connection.request("GET", f"{API}runs/{run}/tasks/a/logs/search?pattern=(a%2B)%2B%24&regex=1")
    until(lambda: searching(server))
    connection.close()
    until(lambda: not searching(server), timeout=handler.PATIENCE / 2)


def searching(server: psutil.Process) -> list[psutil.Process]:
    return [process for process in server.children() if search.__file__ in process.cmdline()]


def test_a_search_whose_server_was_killed_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a" * 60 + b"!\n")
    asked = {"path": str(tmp_path / "log"), "pattern": "(a+)+$", "ignore_case": False, "most": 1}
    code = "from wattle_jupyter.host import search; search._LIFE = 1; search.main()"
    ended = subprocess.run([sys.executable, "-c", code], input=json.dumps(asked).encode(), timeout=60, check=False)
    assert ended.returncode == -signal.SIGALRM
