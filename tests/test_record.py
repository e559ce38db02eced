"""The record of an attempt: claim, lock and truth in one file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattle_jupyter.host.files import Attempts, checked_id, remove_tree
from wattle_jupyter.host.judge import settled
from wattle_jupyter.host.record import Record, parse

CLAIM = {"k": "claim", "attempt": "a" * 32, "boot": "b", "epoch": 3}


@pytest.fixture
def dir_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_published_record_holds_its_claim_and_its_lock(dir_fd: int) -> None:
    record = Record.publish(dir_fd, CLAIM)
    other = Record.open(dir_fd)
    assert other.lines == [CLAIM]
    assert not other.lock()
    record.close()
    assert other.lock()
    other.close()


def test_a_second_claim_fails_and_changes_nothing(dir_fd: int, tmp_path: Path) -> None:
    Record.publish(dir_fd, CLAIM).close()
    with pytest.raises(FileExistsError):
        Record.publish(dir_fd, {"k": "tombstone", "verdict": "lost", "why": ""})
    record = Record.open(dir_fd)
    assert record.lines == [CLAIM]
    assert os.listdir(tmp_path) == ["record"]
    record.close()


def test_a_draft_left_by_a_crash_right_after_the_link_does_not_harm_the_record(dir_fd: int, tmp_path: Path) -> None:
    Record.publish(dir_fd, CLAIM).close()
    os.link(tmp_path / "record", tmp_path / "record.new")  # the crash came before the unlink
    with pytest.raises(FileExistsError):
        Record.publish(dir_fd, {"k": "claim"})
    record = Record.open(dir_fd)
    assert record.lines == [CLAIM]
    record.close()


def test_the_lock_outlives_its_maker_in_a_process_that_inherited_it(dir_fd: int) -> None:
    record = Record.publish(dir_fd, CLAIM)
    heirloom = os.dup(record.fd)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[heirloom]) as heir:
        os.close(heirloom)
        record.close()
        again = Record.open(dir_fd)
        assert not again.lock()
        assert heir.stdin is not None
        heir.stdin.write(b"\n")
        heir.stdin.close()
        heir.wait()
        assert again.lock()
        again.close()


def test_lines_are_found_again_in_order(dir_fd: int) -> None:
    record = Record.publish(dir_fd, CLAIM)
    lines: list[dict[str, Any]] = [{"k": "start", "pid": 1}, {"k": "exit", "code": 0, "why": "x" * 5000}]
    for line in lines:
        record.append(line)
    record.close()
    again = Record.open(dir_fd)
    assert again.lines == [CLAIM, *lines]
    assert again.find("exit") == lines[1]
    assert again.find("swept") is None
    again.append({"k": "swept"})
    again.close()
    last = Record.open(dir_fd)
    assert last.lines == [CLAIM, *lines, {"k": "swept"}]
    last.close()


def test_a_link_in_place_of_a_record_is_refused(dir_fd: int, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(json.dumps(CLAIM) + "\n")
    (tmp_path / "record").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Record.open(dir_fd)


lines_of_records = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=8), max_size=3).map(lambda d: d | {"k": "x"}),
    max_size=5,
)


@given(lines_of_records, st.integers(min_value=0), st.binary(max_size=20))
def test_a_torn_end_hides_only_the_line_that_it_tears(lines: list[dict[str, Any]], cut: int, junk: bytes) -> None:
    encoded = [json.dumps(line).encode() + b"\n" for line in lines]
    whole = b"".join(encoded)
    torn = whole[: cut % (len(whole) + 1)]
    found, end = parse(torn + bytes(64) + junk.replace(b"\n", b""))
    assert found == lines[: len(found)]
    assert end == sum(len(line) for line in encoded[: len(found)])
    assert torn.count(b"\n") == len(found)


@pytest.mark.parametrize("junk", [b"\xff\n", b"[]\n", b"{}\n", b'{"k": 1}\n', b"\0\0\n"])
def test_what_is_no_line_ends_the_record(junk: bytes) -> None:
    assert parse(b'{"k":"claim"}\n' + junk + b'{"k":"exit"}\n') == ([{"k": "claim"}], 14)


def verdict(dir_fd: int, *lines: dict[str, Any]) -> dict[str, Any] | None:
    record = Record.publish(dir_fd, lines[0])
    for line in lines[1:]:
        record.append(line)
    fact = settled("a" * 32, record)
    record.close()
    os.unlink("record", dir_fd=dir_fd)
    return fact


def test_a_record_says_what_became_of_its_attempt(dir_fd: int) -> None:
    start = {"k": "start", "pid": 5, "ticks": 6, "started_at": 1.0, "deadline": None}
    end = {"k": "exit", "code": 3, "signal": None, "why": "", "ended_at": 2.0, "peak_rss": 7}
    assert verdict(dir_fd, CLAIM) is None
    assert verdict(dir_fd, CLAIM, start) is None
    assert verdict(dir_fd, CLAIM, start, end) is None  # what it left behind may still run
    swept = verdict(dir_fd, CLAIM, start, end, {"k": "swept", "log_size": 9, "first": None})
    assert swept == {
        "id": "a" * 32, "kind": "exited", "boot_id": "b", "epoch": 3, "pid": 5, "ticks": 6, "started_at": 1.0,
        "code": 3, "signal": None, "why": "", "ended_at": 2.0, "peak_rss": 7, "log_size": 9,
    }  # fmt: skip
    never = verdict(dir_fd, CLAIM, {"k": "never_started", "why": "no such command: x"})
    assert never is not None
    assert (never["kind"], never["why"]) == ("never_started", "no such command: x")
    lost = verdict(dir_fd, CLAIM, start, {"k": "lost", "why": "gone", "log_size": 4})
    assert lost is not None
    assert (lost["kind"], lost["why"], lost["log_size"]) == ("lost", "gone", 4)
    grave = verdict(dir_fd, {"k": "tombstone", "verdict": "lost", "why": "w"})
    assert grave is not None
    assert (grave["kind"], grave["why"]) == ("lost", "w")


@pytest.mark.parametrize("bad", ["", "a" * 31, "A" * 32, "../" + "a" * 29, "a" * 32 + "\n", None, 5])
def test_only_ids_become_names_of_directories(bad: object) -> None:
    with pytest.raises(ValueError, match="not an attempt id"):
        checked_id(bad)
    assert checked_id("0123456789abcdef" * 2)


def test_deleting_an_attempt_follows_no_link(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "file").touch()
    attempts = Attempts(str(tmp_path))
    os.close(attempts.open("a" * 32, create=True))
    inside = tmp_path / "attempts" / ("a" * 32)
    (inside / "deep").mkdir()
    (inside / "deep" / "link").symlink_to(keep)
    (inside / "link").symlink_to(keep / "file")
    attempts.remove("a" * 32)
    attempts.remove("a" * 32)
    assert not inside.exists()
    assert (keep / "file").exists()
    (tmp_path / "attempts" / ("b" * 32)).symlink_to(keep)
    fd = os.open(tmp_path / "attempts", os.O_RDONLY)
    with pytest.raises(OSError, match="Not a directory"):
        remove_tree("b" * 32, fd)
    os.close(fd)
    assert (keep / "file").exists()
