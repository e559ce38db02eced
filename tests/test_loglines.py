"""A log as lines, from any byte on, and their numbers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coroutines import asynchronous
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import EngineProcess, until

from wattle_jupyter import loglines, logs
from wattle_jupyter.handlers import lines as handler
from wattle_jupyter.loglines import LONGEST, LineIndex, LineIndexes, Piece, line_start, lines_before, lines_from
from wattle_jupyter.logs import LogFile

ID = "0123456789abcdef" * 2
PIECES = st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"\r", b"\xc3\xa4", b"\xff", b"x" * 40])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "attempts" / ID
    folder.mkdir(parents=True)
    return folder / "log"


@pytest.fixture
def file(tmp_path: Path, path: Path) -> Iterator[LogFile]:
    with LogFile(tmp_path, ID) as file:
        yield file


def whole(content: bytes) -> list[tuple[int, str]]:
    """Every line with where it begins."""
    found, at = [], 0
    for line in content.split(b"\n"):
        if line or at + len(line) < len(content):
            found.append((at, line.decode("utf-8", "replace")))
        at += len(line) + 1
    return found


def shown(*pieces: Piece) -> list[tuple[int, str]]:
    return [line for piece in pieces for line in zip(piece.offsets, piece.text, strict=True)]


@settings(deadline=None)
@given(st.lists(PIECES, max_size=30).map(b"".join), st.integers(1, 60), st.data())
def test_pieces_in_a_row_are_the_log_whichever_way_they_are_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, limit: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "attempts" / ID
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log").write_bytes(content)
    end = len(content)
    with LogFile(folder.parents[1], ID) as file:
        middle = line_start(file, data.draw(st.integers(0, end)))
        assert middle == content.rfind(b"\n", 0, middle) + 1 or middle == 0
        after, at = [], middle
        while at < end and (piece := lines_from(file, at, limit, end)).offsets:
            after.append(piece)
            at = piece.next_offset
        before: list[Piece] = []
        at = middle
        while at > 0:
            piece = lines_before(file, at, limit)
            assert piece.next_offset == at
            before.insert(0, piece)
            at = piece.offsets[0]
    expected = whole(content)
    # of a last character that is cut in two there is nothing yet
    assert [(at, text.rstrip("\ufffd")) for at, text in shown(*before, *after)] == [
        (at, text.rstrip("\ufffd")) for at, text in expected
    ]


def test_of_a_very_long_line_the_beginning_is_there_and_the_next_line_follows(path: Path, file: LogFile) -> None:
    path.write_bytes(b"one\n" + b"x" * 3_000_000 + b"\nthree\n")
    piece = lines_from(file, 0, 64_000, file.size())
    assert [(at, len(text)) for at, text in shown(piece)] == [(0, 3), (4, LONGEST), (3_000_005, 5)]
    assert (piece.cut, piece.broken, piece.next_offset) == ([1], [], 3_000_011)
    assert shown(lines_before(file, file.size(), 6)) == [(3_000_005, "three")]
    assert line_start(file, 2_000_000) == 4


def test_of_a_progress_bar_that_was_rewritten_for_hours_the_newest_is_there(path: Path, file: LogFile) -> None:
    path.write_bytes(b"".join(b"\r%4d of 9999" % i for i in range(9_000)) + b"\nend\n")
    assert [text for _, text in shown(lines_from(file, 0, 1000, file.size()))] == ["8999 of 9999", "end"]


def test_a_line_without_end_is_read_in_pieces_that_take_no_long_look(
    path: Path, file: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loglines, "FAR", 100_000)
    path.write_bytes(b"x" * 450_000 + b"\nend\n")
    at, broken = 0, []
    while at < file.size():
        piece = lines_from(file, at, 10**6, file.size())
        broken += [at for i, at in enumerate(piece.offsets) if i in piece.broken]
        at = piece.next_offset
    assert broken == [0, 100_000, 200_000, 300_000]
    assert line_start(file, 440_000) == 440_000  # too far to look back


def test_an_unfinished_line_is_there_up_to_its_last_whole_character(path: Path, file: LogFile) -> None:
    path.write_bytes("fertig\nhalb ä".encode()[:-1])
    piece = lines_from(file, 0, 1000, file.size())
    assert (shown(piece), piece.broken, piece.next_offset) == ([(0, "fertig"), (7, "halb ")], [1], 12)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60))
def test_numbers_and_places_of_lines_belong_together(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "attempts" / ID
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log").write_bytes(b"".join(b"x" * length + b"\n" for length in lengths))
    with pytest.MonkeyPatch.context() as patch, LogFile(folder.parents[1], ID) as file:
        patch.setattr(loglines, "_STEP", 16)
        index = LineIndex()
        while index.grow(file, file.size(), 64):
            pass
        offset = 0
        for number, length in enumerate(lengths):
            assert (index.find(file, number), index.before(file, offset)) == (offset, number)
            offset += length + 1
        assert index.before(file, offset) == len(lengths)
        assert index.find(file, len(lengths) + 1) is None


def test_an_index_grows_with_its_log(path: Path, file: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loglines, "_STEP", 100)
    index = LineIndex()
    path.write_bytes(b"123456789\n" * 35)
    assert index.before(file, 250) is None
    assert not index.grow(file, 350)
    assert (index.known, index.before(file, 250), index.before(file, 350)) == (300, 25, 35)
    with path.open("ab") as log:
        log.write(b"\n" * 100)
    assert not index.grow(file, 450)
    assert index.before(file, 450) == 135


@asynchronous
async def test_a_log_is_counted_beside_what_else_goes_on(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loglines, "_STRIDE", 1 << 18)
    path.write_bytes(b"123456789\n" * 300_000)
    indexes = LineIndexes(kept=2)
    early = await indexes.count(tmp_path, ID, 0)
    assert early.known < 3_000_000 - (1 << 18)
    index = await indexes.count(tmp_path, ID, 30)
    assert early is index
    with LogFile(tmp_path, ID) as file:
        assert index.before(file, 3_000_000) == 300_000
    for i in range(3):
        await indexes.count(tmp_path, f"{i:032x}", 1)
    assert indexes.of(tmp_path, ID) is not index  # only the newest are kept


def test_bytes_are_dated_by_the_time_index(path: Path, file: LogFile) -> None:
    assert file.times(0, 10) == []
    path.write_bytes(b"x" * 100)
    os.utime(path, (50, 50))
    assert file.times(0, 10) == [(50.0, 100)]  # written at once
    points = [(10.0 + i, 10 * i) for i in range(1, 11)]
    path.with_name("times").write_bytes(b"".join(logs._POINT.pack(*point) for point in points) + b"half")
    assert file.times(0, 10) == [(11.0, 10)]
    assert file.times(10, 35) == [(12.0, 20), (13.0, 30), (14.0, 40)]
    assert file.times(95, 1000) == [(20.0, 100)]
    assert file.times(100, 1000) == []
    assert file.times(0, 100, most=4) == [points[0], points[3], points[6], points[9]]


# ------------------------------------------------------------------------------------------------------- the routes


@pytest.fixture
def address(engine: EngineProcess) -> str:
    run = engine.run({"a": "seq 1 1000; printf 'no end'"})
    engine.ended(run)
    return f"runs/{run}/tasks/a/logs"


def test_a_window_moves_through_a_log(engine: EngineProcess, address: str) -> None:
    end = engine.get(f"{address}/lines?before=end&limit=20")
    assert (end["text"][-2:], end["end"], end["lines"], end["size"]) == (["1000", "no end"], True, 1001, 3899)
    assert (end["line"], end["broken"]) == (1001 - len(end["text"]), [len(end["text"]) - 1])
    earlier = engine.get(f"{address}/lines?before={end['offset']}&limit=20")
    assert earlier["next_offset"] == end["offset"]
    assert earlier["text"] == [str(earlier["line"] + 1 + i) for i in range(len(earlier["text"]))]
    later = engine.get(f"{address}/lines?next={earlier['next_offset']}&limit=20")
    assert (later["offset"], later["text"][0]) == (end["offset"], end["text"][0])
    line = engine.get(f"{address}/lines?line=499&limit=1")
    assert (line["text"], line["line"]) == (["500"], 499)
    inside = engine.get(f"{address}/lines?offset={line['offset'] + 2}&limit=1")
    assert inside["offset"] == line["offset"]
    assert engine.get(f"{address}/lines?line=5000&limit=1")["text"] == ["no end"]
    assert engine.get(f"{address}/lines?offset=99999")["text"] == ["no end"]
    assert engine.get(f"{address}/lines?next=99999")["text"] == []


def test_lines_are_dated(engine: EngineProcess) -> None:
    begin = time.time()
    run = engine.run({"a": "echo one; sleep 0.5; echo two"})
    engine.ended(run)
    times = engine.get(f"runs/{run}/tasks/a/logs/times")
    (first, last) = times["points"]
    assert begin - 1 < first[0] < last[0] < time.time() + 1
    assert (first[1], last[1]) == (4, 8)
    assert times["started_at"].endswith("Z")
    assert engine.get(f"runs/{run}/tasks/a/logs/times?offset=4")["points"] == [last]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("lines?before=x", "before must be a whole number"),
        ("lines?limit=0", "limit must be a whole number from 1"),
        ("lines?line=-1", "line must be a whole number from 0"),
        ("times?offset=5&end=4", "end must not be before offset"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(engine: EngineProcess, address: str, query: str, words: str) -> None:
    status, body = engine.request("GET", f"{address}/{query}")
    assert status == 400
    assert words in body["message"]


def test_a_task_that_has_not_started_has_no_lines(engine: EngineProcess) -> None:
    run = engine.run({"a": "sleep 600", "b": {"run": "true", "needs": ["a"]}})
    path = f"runs/{run}/tasks/b/logs"
    assert engine.get(f"{path}/lines")["text"] == []
    assert engine.get(f"{path}/times")["points"] == []
    engine.post(f"runs/{run}/cancel")


def test_lines_of_a_log_that_grows_are_followed_by_their_places(engine: EngineProcess, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = engine.run({"a": f"printf 'half'; while [ ! -e {go} ]; do sleep 0.02; done; echo ' and half'; echo more"})
    path = f"runs/{run}/tasks/a/logs/lines"
    page: dict[str, Any] = until(lambda: (found := engine.get(path))["text"] and found)
    assert (page["text"], page["broken"], page["end"], page["lines"]) == (["half"], [0], False, 1)
    go.touch()
    engine.ended(run)
    rest = engine.get(f"{path}?next={page['next_offset']}")
    assert (rest["text"], rest["line"], rest["end"]) == ([" and half", "more"], 0, True)


async def test_counting_that_takes_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert handler.PATIENCE < 30  # the browser, and proxies, wait longer than that
