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
from hypothesis import example, given, settings
from hypothesis import strategies as st
from processes import API, EngineProcess, until

from wattle_jupyter.handlers import search as handler
from wattle_jupyter.host import search

PIECES = st.sampled_from([b"a", b"b", b"\n", b"\r", b"\x1b[31m", b"\x1b[0m", b"ERR", b"err", b"\xc3\xa4", b"\xff"])
SIGNS = st.sampled_from([b"error", b"x", b"\n", b"fail", b"failed", b"killed ", b"no "])
PATTERNS = st.sampled_from(["a", "ab", "ERR", "err", "b$", "^a", "a.*b", "x", "a|b", "(?:)", "ä", "$"])


@settings(deadline=None)
@given(st.lists(PIECES, max_size=25).map(b"".join), PATTERNS, st.booleans())
@example(b"", "(?:)", False)
@example(b"\n\n", "$", False)
@example(b"\n\x1b[31m", "(?:)", False)
def test_it_finds_what_a_look_at_each_line_finds(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, pattern: str, ignore_case: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "log"
    path.write_bytes(content)
    flags = re.IGNORECASE if ignore_case else 0
    wanted, at = [], 0
    for line in content.splitlines(keepends=True) if b"\r" not in content else _lines(content):
        seen = re.sub(rb"\x1b\[\d*m", b"", line)
        if seen and re.search(pattern.encode(), seen.rstrip(b"\n"), flags):  # colours alone are no last line
            wanted.append(at)
        at += len(line)
    found = search.find(str(path), pattern, ignore_case, 1000)
    del found["spans"]
    assert found == {"size": len(content), "count": len(wanted), "lines": wanted}
    if wanted:
        back = search.find(str(path), pattern, ignore_case, 1, last=True, count_all=False)
        assert (back["lines"], back["count"]) == (wanted[-1:], 1)
        middle = wanted[len(wanted) // 2]
        assert search.find(str(path), pattern, ignore_case, 1000, start=middle)["lines"] == [
            at for at in wanted if at >= middle
        ]
        assert search.find(str(path), pattern, ignore_case, 1000, stop=middle)["lines"] == [
            at for at in wanted if at < middle
        ]


def _lines(content: bytes) -> list[bytes]:
    return [line for line in re.findall(rb"[^\n]*\n|[^\n]+", content) if line]


def test_lines_at_the_borders_of_blocks_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_bytes(b"".join(b"%05d x\n" % i for i in range(1000)))
    for size in (64, 100, 4096):
        monkeypatch.setattr(search, "_BLOCK", size)
        found = search.find(str(tmp_path / "log"), "7 x$", False, 3)
        assert found == {"size": 8000, "count": 100, "lines": [56, 136, 216], "spans": [[(4, 7)]] * 3}
        back = search.find(str(tmp_path / "log"), "7 x$", False, 3, stop=7000, last=True, count_all=False)
        assert back["lines"] == [6776, 6856, 6936]
        last = search.find(str(tmp_path / "log"), "7 x$", False, 2, last=True)
        assert (last["count"], last["lines"]) == (100, [7896, 7976])


def test_a_line_that_is_not_finished_is_left_for_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one x\ntwo x")
    first = search.find(str(path), "x", False, 9, finished=True)
    assert (first["size"], first["lines"]) == (6, [0])
    with path.open("ab") as log:
        log.write(b"\nthree x\n")
    assert search.find(str(path), "x", False, 9, start=first["size"], finished=True)["lines"] == [6, 12]


def test_characters_that_match_are_counted_as_the_browser_does(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes("\x1b[31mä🎈\x1b[0mx x\n50 %\r60 % x\n".encode())
    assert search.find(str(path), "x", False, 9)["spans"] == [[(3, 4), (5, 6)], []]


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: bad row",
        "ERROR something",
        "Traceback (most recent call last):",
        "panicked at src/main.rs",
        "3 tests failed",
        "make: *** [all] Error 2",
        "bash: foo: command not found",
        "process exited with code 137",
        "exit status 1",
        "FATAL: no connection",
        "Killed",
        "Segmentation fault (core dumped)",
        "\x1b[31mError\x1b[0m: red",
        "cat: x: No such file or directory",
    ],
)
def test_what_people_look_for_after_a_failure_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "log").write_text(f"fine\n{line}\nfine\n")
    assert search.find(str(tmp_path / "log"), None, True, 9)["lines"] == [5]


@pytest.mark.parametrize(
    "line",
    [
        "0 errors, 3 passed",
        "no error",
        "ok=3 failed=0",
        "epoch 3 error=0.12 loss=1",
        "mean error: 0.031",
        "reading errors.csv",
        "pytest --fail-fast",
        "exit code 0",
        "finished without errors",
        "import terrain",
    ],
)
def test_what_only_speaks_of_errors_is_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "log").write_text(f"fine\n{line}\nfine\n")
    assert search.find(str(tmp_path / "log"), None, True, 9)["lines"] == []


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"error", b"x", b"\n", b"fail", b"failed", b"killed ", b"no "]), max_size=20).map(
        b"".join
    )
)
def test_every_line_that_looks_like_an_error_is_found_by_its_signs(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "log"
    path.write_bytes(content)
    wanted, at = [], 0
    for line in content.splitlines(keepends=True):
        if re.search(search.ERRORS, line.rstrip(b"\n")):
            wanted.append(at)
        at += len(line)
    assert search.find(str(path), None, True, 99)["lines"] == wanted


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
    every = engine.get(f"{log}/search?pattern=.&regex=1&limit=2")
    assert (every["count"], every["lines"], every["spans"][0]) == (4, [0, 6], [[i, i + 1] for i in range(5)])
    assert found["spans"] == [[[0, 5]]]
    assert engine.get(f"{log}/search?pattern=.&regex=1&from=1&to=15")["lines"] == [6]
    near = engine.get(f"{log}/search?pattern=t&from=7&near=1&limit=1")
    assert (near["count"], near["lines"]) == (1, [15])
    assert engine.get(f"{log}/search?pattern=t&to=15&last=1&near=1&limit=1")["lines"] == [0]
    assert engine.get(f"{log}/search?errors=1")["lines"] == [15]


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
