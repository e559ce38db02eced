"""Looking for a pattern in a log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from processes import API, EngineProcess, until

from wattle_jupyter import searching
from wattle_jupyter.errors import Conflict, TooManyRuns
from wattle_jupyter.host import ripgrep, scan, search
from wattle_jupyter.host.pattern import ESCAPES, read
from wattle_jupyter.searching import SIDE_BY_SIDE, Searching

WITH_RIPGREP = pytest.param(True, id="ripgrep", marks=pytest.mark.skipif(not ripgrep.program(), reason="no ripgrep"))
WAYS = pytest.mark.parametrize("helped", [pytest.param(False, id="python"), WITH_RIPGREP])

PIECES = st.sampled_from(
    [
        *(b"a", b"b", b"A", b"\n", b"\n", b"\r", b"ERR", b"err", b"or", b" ", b"7", b"\x00", b"x" * 30),
        *(b"\x1b[31m", b"\x1b[0m", b"\x1b", b"\x1b]0;ab\x07"),
        *(b"\xc3\xa4", b"\xc3\x84", b"\xff", b"[Omitted long matching line]"),
    ]
)
ATOMS = st.sampled_from(
    [
        *("a", "b", "ab", "ERR", "err", "error", "ä", ".", "x", "7", r"\x1b", r"\r", r"\x00", r"\n", "0m"),
        *(r"\d", r"\w", r"\W", r"\s", r"\S", "[ab]", "[^a]", "[^a-z]", "[ä]", r"[\s\S]", "(?s:.)"),
        *("^", "$", r"\A", r"\Z", r"\b", r"\B", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)"),
        *("(?:)", "(?:a|err)", "(?:|a)", "(?i:err)", "(?i:[^A])", "(?-i:A)", "(?>a|ab)"),
        *(r"(a)x?\1", "(?:(a)?(?(1)b|r))"),
    ]
)
REPEATS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "*?", "*+", "{0}"])
SEQUENCES = st.lists(st.tuples(ATOMS, REPEATS).map("".join), min_size=1, max_size=4).map("".join)
PATTERNS = (
    st.tuples(st.sampled_from(["", "", "", "(?i)", "(?s)"]), st.lists(SEQUENCES, min_size=1, max_size=3).map("|".join))
    .map("".join)
    .filter(lambda text: is_pattern(text))
)


def is_pattern(text: str) -> bool:
    try:
        re.compile(text.encode())
    except re.error:
        return False
    return True


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """All that is done with big logs is done with small ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ripgrep, "NEAR", 8)
        patch.setattr(ripgrep, "_WINDOW", 16)
        patch.setattr(ripgrep, "_ENOUGH", 2)
        patch.setattr(ripgrep, "_SPARSE", 6)
        patch.setattr(ripgrep, "_OPTIONS", (*ripgrep._OPTIONS, "--max-columns=40"))
        yield


def find(path: Path, helped: bool, pattern: str, ignore_case: bool, most: int, **more: Any) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_SMALL", -1 if helped else 1 << 60)
        return search.find(str(path), pattern, ignore_case, most, **more)


def looked_at_one_by_one(content: bytes, pattern: str, ignore_case: bool) -> list[int]:
    wanted = re.compile(pattern.encode(), re.IGNORECASE if ignore_case else 0)
    found, at = [], 0
    for line in content.splitlines(keepends=True) if b"\r" not in content else _lines(content):
        seen = re.sub(ESCAPES, b"", line)
        if seen and wanted.search(seen.removesuffix(b"\n")):  # colours alone are no last line
            found.append(at)
        at += len(line)
    return found


def _lines(content: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", content)


@WAYS
@settings(deadline=None, max_examples=60)
@given(
    st.lists(PIECES, max_size=25).map(b"".join),
    PATTERNS,
    st.booleans(),
    st.sampled_from([0, 50]),
    st.sampled_from([0, 50]),
    st.data(),
)
@example(b"", "(?:)", False, 50, 0, None)
@example(b"\n\n", "$", False, 50, 0, None)
@example(b"\n\x1b[31m", "(?:)", False, 50, 0, None)
def test_it_finds_what_a_look_at_each_line_finds(
    tmp_path_factory: pytest.TempPathFactory,
    helped: bool,
    content: bytes,
    pattern: str,
    ignore_case: bool,
    colourful: int,
    rare: int,
    data: st.DataObject | None,
) -> None:
    path = tmp_path_factory.getbasetemp() / "log"
    path.write_bytes(content)
    wanted = looked_at_one_by_one(content, pattern, ignore_case)
    most = data.draw(st.sampled_from([1, 3, 1000])) if data else 1000
    start, stop = sorted(data.draw(st.integers(0, len(content))) for _ in "ab") if data else (0, len(content))
    within = [at for at in wanted if start <= at < stop]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ripgrep, "_COLOURFUL", colourful)
        patch.setattr(ripgrep, "_RARE", rare)
        found = find(path, helped, pattern, ignore_case, most)
        assert (found["size"], found["count"], found["lines"]) == (len(content), len(wanted), wanted[:most])
        part = {"start": start, "stop": stop}
        found = find(path, helped, pattern, ignore_case, most, last=True, **part)
        assert (found["count"], found["lines"]) == (len(within), within[-most:])
        near = find(path, helped, pattern, ignore_case, most, count_all=False, **part)
        assert near["lines"] == within[:most]
        back = find(path, helped, pattern, ignore_case, most, last=True, count_all=False, **part)
        assert back["lines"] == within[-most:]


@WAYS
def test_lines_at_the_borders_of_blocks_are_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helped: bool
) -> None:
    (tmp_path / "log").write_bytes(b"".join(b"%05d x\n" % i for i in range(1000)))
    for size in (64, 100, 4096):
        monkeypatch.setattr(scan, "_BLOCK", size)
        found = find(tmp_path / "log", helped, "7 x$", False, 3)
        assert found == {"size": 8000, "count": 100, "lines": [56, 136, 216], "spans": [[(4, 7)]] * 3}
        back = find(tmp_path / "log", helped, "7 x$", False, 3, stop=7000, last=True, count_all=False)
        assert back["lines"] == [6776, 6856, 6936]
        last = find(tmp_path / "log", helped, "7 x$", False, 2, last=True)
        assert (last["count"], last["lines"]) == (100, [7896, 7976])


@pytest.mark.skipif(not ripgrep.program(), reason="no ripgrep")
@pytest.mark.parametrize(
    ("log", "counted"),
    [
        (b"yes\n" + b"no\n" * 90, False),
        ((b"yes\n" + b"no\n" * 9) * 9, False),
        (b"yes\n" * 90, True),
        ((b"yes\n" + b"no\n" * 9) * 9 + b"yes\n" * 90, True),
    ],
)
def test_lines_are_counted_one_by_one_where_few_match_and_by_ripgrep_from_where_many_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: bytes, counted: bool
) -> None:
    (tmp_path / "log").write_bytes(log)
    asked: list[int] = []
    count = ripgrep.Ripgrep._count

    def told(self: ripgrep.Ripgrep, begin: int, end: int) -> int:
        asked.append(begin)
        return count(self, begin, end)

    monkeypatch.setattr(ripgrep.Ripgrep, "_count", told)
    assert find(tmp_path / "log", True, "yes", False, 2)["count"] == log.count(b"yes")
    assert bool(asked) == counted


@WAYS
def test_a_line_of_many_blocks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helped: bool) -> None:
    monkeypatch.setattr(scan, "_FIRST", 16)
    monkeypatch.setattr(scan, "_BLOCK", 16)
    monkeypatch.setattr(scan, "LONGEST", 64)
    long = b"first\n" + b"x" * 500 + b"yes\x1b[0m" + b"x" * 500 + b"yes\nlast yes"
    (tmp_path / "log").write_bytes(long)
    assert find(tmp_path / "log", helped, "yes", False, 9)["lines"] == [6, len(long) - 8]
    assert find(tmp_path / "log", helped, "yes", False, 9, last=True, count_all=False)["lines"] == [6, len(long) - 8]
    assert find(tmp_path / "log", helped, "y[e]s", False, 1, stop=len(long) - 8, last=True)["lines"] == [6]


def test_a_log_that_may_be_one_endless_line_is_not_given_to_ripgrep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_bytes(b"one\ntwo two two\n" + b"x" * 500 + b"yes\nlast\n")
    monkeypatch.setattr(ripgrep, "_SPOT", 64)
    monkeypatch.setattr(ripgrep, "program", lambda: "/nonexistent/rg")
    assert find(tmp_path / "log", True, "yes", False, 9)["lines"] == [16]


@pytest.mark.skipif(not ripgrep.program(), reason="no ripgrep")
@pytest.mark.parametrize("pattern", [r"(?:\w{900}){900}|last", r"la(?:s|\n)t", r"last(?L:)"])
def test_what_ripgrep_does_not_understand_is_found_without_it(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "log").write_bytes(b"one long line first\nlast\nlast\n")
    assert find(tmp_path / "log", True, pattern, False, 9)["lines"] == [20, 25]


@pytest.mark.skipif(not ripgrep.program(), reason="no ripgrep")
def test_a_log_that_was_exchanged_is_not_given_to_ripgrep(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(f"a line to begin with\n{name}\n".encode())
    wanted = read("[ab]$", False)
    assert wanted.plain is not None
    assert wanted.coloured is not None
    with (tmp_path / "a").open("rb") as log:
        alone = scan.Scan(log.fileno(), wanted)
        helped = ripgrep.Ripgrep("rg", str(tmp_path / "b"), alone, wanted.plain, wanted.coloured)
        with pytest.raises(ripgrep.Failed, match="exchanged"):
            list(helped.forth(0, 23))


def test_a_ripgrep_that_breaks_off_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_bytes(b"a line to begin with\nyes\nno\nyes\n")
    broken = tmp_path / "rg"
    broken.write_text("#!/bin/sh\necho 0:yes\nkill -9 $$\n")
    broken.chmod(0o700)
    monkeypatch.setattr(ripgrep, "program", lambda: str(broken))
    found = find(tmp_path / "log", True, "yes", False, 9)
    assert (found["count"], found["lines"]) == (2, [21, 28])


def test_ripgrep_is_looked_for_on_the_path_and_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"relative{os.pathsep}{tmp_path / 'a'}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "b" / "python"))
    assert ripgrep.program() is None
    for folder in ("b", "a"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rg").write_text("")
        assert ripgrep.program() != str(tmp_path / folder / "rg")  # it cannot be run
        (tmp_path / folder / "rg").chmod(0o700)
        assert ripgrep.program() == str(tmp_path / folder / "rg")


@pytest.mark.parametrize(
    ("pattern", "needles"),
    [
        ("Traceback", {b"Traceback"}),
        (r"loss=0\.000[0-9]{3} ", {b"loss=0.000"}),
        ("(ERROR|FATAL): [a-z]+", {b"ERROR", b"FATAL"}),
        ("(?i)Err.*(?:Disk|Full){2}", {b"disk", b"full"}),
        (r"\d+(?:abc)+|xyz", {b"abc", b"xyz"}),
        ("(?:abc)*|xyz", set()),
        ("(?=abc)x", set()),
        ("ab", set()),
    ],
)
def test_what_each_line_must_hold_is_read_from_the_pattern(pattern: str, needles: set[bytes]) -> None:
    assert set(read(pattern, False).needles) == needles


@pytest.mark.parametrize(
    ("pattern", "exact"),
    [("error: [a-z]+$", True), (r"\bfail\w*?(?:ed|s)?\b", True), ("(?<!no )error", False), ("(a)\\1", False)],
)
def test_ripgrep_is_believed_only_where_it_means_the_same(pattern: str, exact: bool) -> None:
    plain = read(pattern, False).plain
    assert plain is not None
    assert plain.exact == exact


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


@settings(deadline=None, max_examples=60)
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
    monkeypatch.setattr(searching, "PATIENCE", 0.5)
    made = Searching()
    with pytest.raises(Conflict, match=r"longer than 0.5 s; make the pattern simpler"):
        await made.find(tmp_path / "log", {"pattern": "(a+)+$", "ignore_case": False, "most": 1})
    assert processes() == []
    await made.close()


def test_a_task_without_a_log_has_no_lines(engine: EngineProcess) -> None:
    run = engine.run({"a": "true"})
    engine.ended(run)
    assert engine.get(f"runs/{run}/tasks/a/logs/search?pattern=x")["count"] == 0


async def test_no_more_searches_go_on_at_once_than_there_is_room_for(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\n")
    asked = {"pattern": "a", "ignore_case": False, "most": 1}
    made = Searching()
    many = [made.find(tmp_path / "log", asked) for _ in range(SIDE_BY_SIDE + 2)]
    found = await asyncio.gather(*many, return_exceptions=True)
    assert [type(one) for one in found] == [dict] * SIDE_BY_SIDE + [TooManyRuns] * 2
    assert (await made.find(tmp_path / "log", asked))["count"] == 1
    await made.close()
    assert processes() == []


async def test_after_a_search_a_process_is_ready_for_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\nb\n")
    made = Searching()
    for pattern in ("a", "b", "a"):
        before = processes()
        assert (await made.find(tmp_path / "log", {"pattern": pattern, "ignore_case": False, "most": 1}))["count"] == 1
        assert not set(before) & set(processes()), "each searches once"
        await awaited(lambda: made._ready is not None)
        assert len(processes()) == 1
    await made.close()
    assert processes() == []


async def test_who_is_ready_for_long_goes_and_who_died_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_bytes(b"a\n")
    asked = {"pattern": "a", "ignore_case": False, "most": 1}
    made = Searching()
    assert (await made.find(tmp_path / "log", asked))["count"] == 1
    await awaited(lambda: made._ready is not None)
    (ready,) = processes()
    ready.kill()
    await awaited(lambda: made._ready is not None and made._ready.returncode is not None)
    monkeypatch.setattr(searching, "READY", 0.1)
    assert (await made.find(tmp_path / "log", asked))["count"] == 1
    await awaited(lambda: made._ready is not None)
    await awaited(lambda: processes() == [])
    assert (await made.find(tmp_path / "log", asked))["count"] == 1
    await made.close()


async def test_a_search_that_was_called_off_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a" * 60 + b"!\n")
    made = Searching()
    going = asyncio.create_task(made.find(tmp_path / "log", {"pattern": "(a+)+$", "ignore_case": False, "most": 1}))
    await awaited(lambda: len(processes()) == 1)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    assert processes() == []
    await made.close()


async def awaited(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_search_ends_when_nobody_waits_for_it_any_more(make_engine: Callable[..., EngineProcess]) -> None:
    engine = make_engine().launch()
    run = engine.run({"a": f"echo {'a' * 60}!"})
    engine.ended(run)
    server = psutil.Process(engine.pid)
    connection = engine.connection()
    connection.request("GET", f"{API}runs/{run}/tasks/a/logs/search?pattern=(a%2B)%2B%24&regex=1")
    until(lambda: processes(server))
    connection.close()
    until(lambda: not processes(server), timeout=searching.PATIENCE / 2)


def processes(server: psutil.Process | None = None) -> list[psutil.Process]:
    """Those that search for it (this process), or wait to."""
    found = []
    for process in (server or psutil.Process()).children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):  # it has just ended
            found += [process] if searching.PROGRAM in process.cmdline() else []
    return found


def test_a_process_that_was_ready_in_vain_ends_with_its_server() -> None:
    code = "from wattle_jupyter.host import search; search.main()"
    ended = subprocess.run([sys.executable, "-c", code], input=b"", timeout=60, check=False, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_search_whose_server_was_killed_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a" * 60 + b"!\n")
    asked = {"path": str(tmp_path / "log"), "pattern": "(a+)+$", "ignore_case": False, "most": 1}
    code = "from wattle_jupyter.host import search; search._LIFE = 1; search.main()"
    ended = subprocess.run([sys.executable, "-c", code], input=json.dumps(asked).encode(), timeout=60, check=False)
    assert ended.returncode == -signal.SIGALRM
