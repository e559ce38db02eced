"""The folder of objects: whole files or none, bounded, named by what they hold; and the routes to it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from http.client import IncompleteRead
from io import BufferedReader
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from processes import API, EngineProcess, clear, scratch, until

from wattle_jupyter.client import Client
from wattle_jupyter.errors import InvalidRequest, NotFound, StoreUnavailable, TooLarge
from wattle_jupyter.objects import Objects, Writer, size_text


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(objects: Objects, content: bytes) -> str:
    with objects.writer() as writer:
        writer.write(content)
        return writer.publish()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---------------------------------------------------------------------------------------------------------- the folder


@given(st.lists(st.binary(max_size=100), max_size=5))
@hypothesis_settings(max_examples=20, deadline=None)
def test_what_was_written_comes_back_under_its_hash(pieces: list[bytes]) -> None:
    with scratch() as folder:
        objects, whole = Objects(folder), b"".join(pieces)
        with objects.writer() as writer:
            for piece in pieces:
                writer.write(piece)
            assert writer.publish() == sha(whole)
        assert (objects.size(sha(whole)), writer.size) == (len(whole), len(whole))
        with objects.verified(sha(whole)) as file:
            assert file.read() == whole


def test_an_object_is_one_file_that_nobody_may_write(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    assert put(objects, b"x") == put(objects, b"x")
    assert files(tmp_path) == [f"{sha(b'x')[:2]}/{sha(b'x')}"]
    assert objects.path(sha(b"x")).stat().st_mode & 0o777 == 0o400


def test_what_was_not_published_is_not_there(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    with objects.writer() as writer:
        writer.write(b"x")
    assert files(tmp_path) == []
    assert objects.size(sha(b"x")) is None
    with pytest.raises(NotFound, match="the store has no object 2d711642b726"):
        objects.open(sha(b"x"))


def test_more_than_the_limit_is_refused_with_the_cure(tmp_path: Path) -> None:
    objects = Objects(tmp_path, limit=2048)
    put(objects, bytes(2048))
    with objects.writer() as writer:
        writer.write(bytes(2000))
        with pytest.raises(TooLarge, match=r"larger than 2 KiB.*max_object.*write it to a file"):
            writer.write(bytes(49))
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n", "a/" * 32])
def test_only_a_hash_is_a_name(tmp_path: Path, name: str) -> None:
    objects = Objects(tmp_path)
    for look in (objects.path, objects.size, objects.open, objects.verified):
        with pytest.raises(InvalidRequest, match="64 hex digits"):
            look(name)  # type: ignore[operator]  # one of four


def test_a_damaged_object_is_not_given_out(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    path = objects.path(put(objects, b"x" * 100))
    path.chmod(0o600)
    path.write_bytes(b"x" * 99 + b"y")
    with pytest.raises(StoreUnavailable, match="is damaged"):
        objects.verified(path.name)


@pytest.mark.parametrize(
    ("code", "cure"), [(errno.ENOSPC, "free some space there"), (errno.EACCES, "make it yours to write")]
)
def test_a_disk_that_takes_nothing_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, cure: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with Objects(tmp_path).writer() as writer:
        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(StoreUnavailable, match=cure):
            writer.write(b"x")
    assert files(tmp_path) == []


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    kept = put(objects, b"x")
    living = objects.writer()
    for name in ("old", "young"):
        (tmp_path / "incoming" / name).write_bytes(b"half")
    for path in (tmp_path / "incoming").iterdir():
        if path.name != "young":
            os.utime(path, (0, time.time() - 3600))
    assert objects.sweep() == 1
    assert not (tmp_path / "incoming" / "old").exists()
    assert (tmp_path / "incoming" / "young").exists()
    living.write(b"y")
    living.publish()
    assert objects.size(kept) == 1


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (2048, "2 KiB"), (3_328_599_655, "3.1 GiB"), (12 << 20, "12 MiB"),
     (500 << 20, "500 MiB"), (3 << 40, "3 TiB")],
)  # fmt: skip
def test_sizes_are_said_as_people_do(size: int, text: str) -> None:
    assert size_text(size) == text


# ------------------------------------------------------------------------------------------------------- kept files


def clone(writer: Writer, file: BufferedReader) -> bool:
    """As if the file system could share blocks."""
    os.sendfile(writer._fd, file.fileno(), 0, 1 << 20)
    os.lseek(writer._fd, 0, os.SEEK_SET)
    return True


@pytest.mark.parametrize("shares", [False, True])
def test_a_kept_file_stays_as_it_was_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: bool
) -> None:
    if shares:
        monkeypatch.setattr(Writer, "_clone", clone)
    source, objects = tmp_path / "report.html", Objects(tmp_path / "objects")
    source.write_text("one")
    kept = objects.keep(str(source))
    assert kept == (sha(b"one"), 3)
    source.write_text("other")
    copy = objects.kept(kept[0], str(source))
    assert copy is not None
    assert (copy.name, copy.read_text()) == ("report.html", "one")
    assert objects.keep(str(source)) == (sha(b"other"), 5)


def test_the_same_content_may_be_kept_under_many_names(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")
    for name in ("a.csv", "b.csv", "a.csv"):
        (tmp_path / name).write_text("same")
        objects.keep(str(tmp_path / name))
    found = [objects.kept(sha(b"same"), str(tmp_path / name)) for name in ("a.csv", "b.csv", "c.csv")]
    assert [path and path.name for path in found] == ["a.csv", "b.csv", sha(b"same")]


def test_what_is_too_large_or_no_file_is_not_kept(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects", keep=3)
    (tmp_path / "big").write_text("four")
    os.mkfifo(tmp_path / "fifo")
    assert [objects.keep(str(path)) for path in (tmp_path / "big", tmp_path / "fifo", tmp_path)] == [None] * 3
    with pytest.raises(FileNotFoundError):
        objects.keep(str(tmp_path / "none"))


def test_a_file_that_grows_while_it_is_copied_is_not_kept_for_ever(tmp_path: Path) -> None:
    (tmp_path / "grows").write_bytes(bytes(10))
    writer, grows = Objects(tmp_path / "objects").writer(), (tmp_path / "grows").open("rb")
    with writer, grows, pytest.raises(OSError, match="it grew beyond 4 bytes"):
        writer.copy(grows, 4)


def test_where_blocks_can_be_shared_they_are_asked_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(fcntl, "ioctl", lambda fd, request, source: asked.append(request) or clone_of(fd, source))

    def clone_of(fd: int, source: int) -> None:
        os.sendfile(fd, source, 0, 100)
        os.lseek(fd, 0, os.SEEK_SET)

    (tmp_path / "a").write_text("text")
    assert Objects(tmp_path / "objects").keep(str(tmp_path / "a")) == (sha(b"text"), 4)
    assert asked == [0x40049409]


# ---------------------------------------------------------------------------------------------------------- over HTTP


@pytest.fixture(scope="module")
def small() -> Iterator[EngineProcess]:
    """An engine that takes objects of 1 MiB."""
    with scratch() as folder:
        made = EngineProcess(folder / "home", folder / "s")
        try:
            yield made.launch(WATTLE_STORE__MAX_OBJECT="1MiB")
        finally:
            made.end()
            clear(made.store)


def client(engine: EngineProcess) -> Client:
    return Client(engine.store, start=False)


def test_an_object_is_put_asked_for_and_fetched(engine: EngineProcess) -> None:
    content = os.urandom(3_000_000)
    path = f"objects/{sha(content)}"
    assert engine.raw("HEAD", path)[0] == 404
    status, answer = engine.request("PUT", path, content, {"Content-Type": "application/octet-stream"})
    assert (status, answer["data"]) == (201, {"hash": sha(content), "size": len(content)})
    status, nothing, headers = engine.raw("HEAD", path)
    assert (status, nothing, headers["Content-Length"]) == (200, b"", str(len(content)))
    status, found, headers = engine.raw("GET", path)
    assert (status, found) == (200, content)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Disposition"].startswith("attachment; ")
    assert headers["Content-Type"] == "application/octet-stream"


def test_bytes_with_another_hash_are_refused(engine: EngineProcess) -> None:
    status, answer = engine.request("PUT", f"objects/{sha(b'a')}", b"b")
    assert (status, answer["error"]) == (400, "InvalidRequest")
    assert answer["message"] == (
        "the body has the SHA-256 3e23e8160039…, not ca978112ca1b…: it changed on its way; send it again"
    )
    assert engine.raw("HEAD", f"objects/{sha(b'a')}")[0] == 404
    assert list((engine.store / "objects" / "incoming").iterdir()) == []


@pytest.mark.parametrize(("verb", "body"), [("GET", None), ("PUT", b"x")])
def test_what_is_no_hash_names_no_object(engine: EngineProcess, verb: str, body: bytes | None) -> None:
    status, answer = engine.request(verb, "objects/..%2F..%2Fwattle.db", body)
    assert (status, answer["error"]) == (400, "InvalidRequest")


def test_over_the_limit_is_said_with_the_cure(small: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3 << 20))
    for content in (bytes((1 << 20) + 1), tmp_path / "big"):
        with pytest.raises(TooLarge, match=r"the object has .* MiB; the limit is 1 MiB .*write it to a file"):
            client(small).put_object(content)
    client(small).put_object(bytes(1 << 20))


def test_over_the_limit_is_said_too_if_nobody_announced_it(small: EngineProcess) -> None:
    connection = small.connection()
    pieces = (bytes(1 << 18) for _ in range(6))
    connection.request("PUT", f"{API}objects/{'a' * 64}", pieces, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, b"larger than 1 MiB" in answer.read()) == (413, True)
    connection.close()
    assert list((small.store / "objects" / "incoming").iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(engine: EngineProcess) -> None:
    incoming = engine.store / "objects" / "incoming"
    connection = engine.connection()
    connection.putrequest("PUT", f"{API}objects/{'a' * 64}")
    connection.putheader("Content-Length", str(8 << 20))
    connection.endheaders(bytes(2 << 20))
    until(lambda: list(incoming.iterdir()))
    connection.close()
    until(lambda: not list(incoming.iterdir()))


def test_a_client_sends_only_what_is_not_there(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content of a file")
    name = client(engine).put_object(tmp_path / "file")
    made = (engine.store / "objects" / name[:2] / name).stat().st_ino
    assert client(engine).put_object(b"content of a file") == name
    assert (engine.store / "objects" / name[:2] / name).stat().st_ino == made
    with client(engine).get_object(name) as file:
        assert file.read() == b"content of a file"
    with pytest.raises(NotFound, match="the store has no object"):
        client(engine).get_object("0" * 64)


def test_a_client_does_not_take_a_damaged_object(engine: EngineProcess) -> None:
    name = client(engine).put_object(b"will be damaged")
    path = engine.store / "objects" / name[:2] / name
    path.chmod(0o600)
    path.write_bytes(b"was damaged now")
    with pytest.raises(StoreUnavailable, match="is damaged"):
        client(engine).get_object(name)


def test_no_object_is_whole_in_the_memory_of_the_server(engine: EngineProcess, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(300 << 20)
    client(engine).put_object(os.urandom(10 << 20))
    process = psutil.Process(engine.pid)
    before = process.memory_info().rss
    with client(engine).get_object(client(engine).put_object(tmp_path / "big")) as found:
        assert found.seek(0, os.SEEK_END) == 300 << 20
    assert process.memory_info().rss - before < 100 << 20


@pytest.mark.parametrize(("size", "whole"), [(8 << 20, False), (256 << 20, True)])
def test_a_file_that_changes_while_it_is_sent_is_not_taken_for_another(
    engine: EngineProcess, tmp_path: Path, size: int, whole: bool
) -> None:
    big = {"run": "truncate -s 128M big.bin", "outputs": {"big": "big.bin"}}  # too large for a copy to be kept
    run = engine.run({"a": big}, working_dir=str(tmp_path))
    assert engine.ended(run)["state"] == "completed", engine.task(run, "a")
    connection = engine.connection()
    connection.request("GET", f"{API}runs/{run}/tasks/a/outputs/big")
    answer = connection.getresponse()
    os.truncate(tmp_path / "big.bin", size)
    if whole:
        assert len(answer.read()) == 128 << 20
    else:
        with pytest.raises(IncompleteRead):
            answer.read()
    connection.close()
