"""Reading logs that still grow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from coroutines import asynchronous

from wattle_jupyter.errors import Conflict
from wattle_jupyter.logs import PIECE, LogFile, follow

ID = "0123456789abcdef" * 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "attempts" / ID
    folder.mkdir(parents=True)
    return folder / "log"


@pytest.mark.parametrize("bad", ["", "x", ID.upper(), ID + "0", "../" + ID, ID + "\n", ID[:-1] + "/", "٠" * 32])
def test_what_is_no_id_reaches_no_path(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ValueError, match="not an attempt's id"):
        LogFile(tmp_path, bad)


def test_a_log_that_is_not_there_yet_is_empty_and_then_is_read(tmp_path: Path, path: Path) -> None:
    with LogFile(tmp_path, ID) as file:
        assert (file.size(), file.read(0)) == (0, b"")
        path.write_bytes(b"hello")
        assert (file.size(), file.read(0), file.read(3), file.read(5), file.read(99)) == (5, b"hello", b"lo", b"", b"")
        with path.open("ab") as log:
            log.write(b" world")
        assert file.read(5) == b" world"
        assert file.read(0, 4) == b"hell"


def test_a_log_of_a_store_without_the_attempt_is_empty(tmp_path: Path) -> None:
    with LogFile(tmp_path, "f" * 32) as file:
        assert (file.size(), file.read(0)) == (0, b"")


@pytest.mark.parametrize("make", [lambda p: p.symlink_to("/etc/passwd"), lambda p: p.mkdir(), lambda p: os.mkfifo(p)])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with LogFile(tmp_path, ID) as file, pytest.raises(Conflict, match=f"the log of attempt {ID} cannot be read"):
        file.read(0)


def test_a_closed_file_holds_no_descriptor(tmp_path: Path, path: Path) -> None:
    path.write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    with LogFile(tmp_path, ID) as file:
        file.read(0)
        assert len(os.listdir("/proc/self/fd")) == before + 1
    file.close()
    assert len(os.listdir("/proc/self/fd")) == before


@asynchronous
async def test_a_follower_gets_every_byte_once_in_order_and_ends(tmp_path: Path, path: Path) -> None:
    final: list[int] = []
    lines = [b"%d\n" % i * 50 for i in range(200)]

    async def write() -> None:
        for i, line in enumerate(lines):
            with path.open("ab") as log:
                log.write(line)
            if i % 20 == 0:
                await asyncio.sleep(0.001)
        final.append(path.stat().st_size)

    writer = asyncio.create_task(write())
    got, offset = b"", 7
    with LogFile(tmp_path, ID) as file:
        async for chunk in follow(file, offset, lambda: final[0] if final else None):
            assert (chunk.attempt, chunk.offset) == (ID, offset + len(got))
            got += chunk.data
    await writer
    assert got == b"".join(lines)[7:]


@asynchronous
async def test_a_follower_of_a_log_that_ended_gets_it_in_pieces(tmp_path: Path, path: Path) -> None:
    path.write_bytes(bytes(2 * PIECE + 1))
    with LogFile(tmp_path, ID) as file:
        sizes = [len(chunk.data) async for chunk in follow(file, 0, lambda: 2 * PIECE + 1)]
    assert sizes == [PIECE, PIECE, 1]


@asynchronous
async def test_a_follower_of_an_attempt_that_never_started_ends(tmp_path: Path) -> None:
    with LogFile(tmp_path, ID) as file:
        assert [chunk async for chunk in follow(file, 0, lambda: 0)] == []
