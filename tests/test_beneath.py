"""No name and no race leads out of the store."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from processes import ServerProcess

from wattle_jupyter.beneath import open_beneath
from wattle_jupyter.errors import InvalidRequest, WattleError
from wattle_jupyter.logs import LogFile
from wattle_jupyter.objects import Objects

SECRET = b"the secret of somebody else"
ATTEMPT, HASH = "a" * 32, "ab" * 32

# what leads somewhere, in pieces that are put together
PIECES = ["..", ".", "/", "//", "\\", "%2e", "%2f", "%252e%252e%252f", "%00", "\0", "~", "secret", "log", "attempts"]
PIECES += ["link", "inside", "a" * 32, "ab", "ab" * 32, "é", "\udcff", " ", "\n", "/etc/passwd", "/proc/self/environ"]
PATHS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=8).map("".join)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with links out of it, to files and folders, and a secret beside it."""
    base = tmp_path_factory.mktemp("paths")
    (base / "secret").write_bytes(SECRET)
    (base / "elsewhere").mkdir()
    for name in ("log", "times", HASH):
        (base / "elsewhere" / name).write_bytes(SECRET)
    root = base / "store"
    for folder in ("attempts", f"attempts/{ATTEMPT}", "objects", "objects/ab", "inside"):
        (root / folder).mkdir(parents=True)
    (root / "inside" / "log").write_bytes(b"ours")
    (root / "link").symlink_to(base / "elsewhere")
    (root / "inside" / "link").symlink_to(base / "secret")
    (root / "attempts" / ATTEMPT / "log").symlink_to(base / "secret")
    (root / "attempts" / ("b" * 32)).symlink_to(base / "elsewhere")
    (root / "objects" / "ab" / HASH).symlink_to(base / "secret")
    (root / "objects" / "cd").symlink_to(base / "elsewhere")
    return root


def content(fd: int | None) -> bytes:
    if fd is None:
        return b""
    with os.fdopen(fd, "rb") as file:
        return file.read()


def look_everywhere(store: Path, path: str) -> None:
    parts = path.split("/")
    for names in ((path,), tuple(parts), ("inside", path), ("link", path), ("inside", *parts)):
        with contextlib.suppress(InvalidRequest, OSError, UnicodeEncodeError):
            assert content(open_beneath(store, *names)) in (b"", b"ours")
    with contextlib.suppress(ValueError, WattleError), LogFile(store, path) as log:
        assert log.read(0) == b""
    with contextlib.suppress(WattleError), Objects(store / "objects").open(path) as file:
        assert file.read() == b""


def test_a_plain_file_is_opened_and_nothing_else_is(store: Path) -> None:
    assert content(open_beneath(store, "inside", "log")) == b"ours"
    assert open_beneath(store, "inside") is None
    for names in (("link", "log"), ("inside", "link"), ("attempts", ATTEMPT, "log"), ("attempts", "b" * 32, "log")):
        with pytest.raises(OSError, match=r"Too many levels|Not a directory"):
            open_beneath(store, *names)
    for name in ("", ".", "..", "a/b", "/etc/passwd", "a\0b"):
        with pytest.raises(InvalidRequest, match="is no name of a file"):
            open_beneath(store, name)


LOOK = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@settings(LOOK, max_examples=400)
@given(PATHS)
@example(ATTEMPT)
@example("b" * 32)
@example(HASH)
@example("cd" + "0" * 62)
@example("../secret")
def test_no_name_leads_out_of_the_store(store: Path, path: str) -> None:
    look_everywhere(store, path)


@pytest.mark.long
@pytest.mark.timeout(1200)
@settings(LOOK, max_examples=20_000)
@given(PATHS)
def test_none_of_20_000_names_does(store: Path, path: str) -> None:
    look_everywhere(store, path)


# ------------------------------------------------------------------------------------------------ the race


@contextlib.contextmanager
def exchanging(path: Path, link_to: Path) -> Iterator[None]:
    """``path`` and a link to ``link_to`` take turns at its name, as fast as they can."""
    other, over = path.with_name(path.name + "-other"), threading.Event()
    other.symlink_to(link_to)

    def exchange() -> None:
        aside = path.with_name(path.name + "-aside")
        while not over.is_set():
            for source in (other, aside):
                with contextlib.suppress(OSError):
                    path.rename(aside if source is other else other)
                    source.rename(path)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def checked(path: Path, root: Path) -> bytes:
    """What this would be without the walk: a check, then an open."""
    if not os.path.realpath(path).startswith(f"{root}{os.sep}"):
        return b""
    return path.read_bytes()


def race(folder: Path, read: Callable[[], bytes], seconds: float) -> tuple[int, int]:
    """How often the right bytes were read, and how often the secret, while folders and files are exchanged."""
    ours = leaked = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (seconds < 10 and ours > 2000):
        try:
            found = read()
        except (OSError, WattleError):
            continue
        ours, leaked = ours + (found == b"ours"), leaked + (found == SECRET)
    return ours, leaked


def run_races(base: Path, seconds: float) -> list[tuple[int, int]]:
    store, secrets = base / "store", base / "secrets"
    attempt, objects = store / "attempts" / ATTEMPT, store / "objects" / "ab"
    for folder in (attempt, objects, secrets):
        folder.mkdir(parents=True)
    for name in ("log", HASH):
        (secrets / name).write_bytes(SECRET)
    (attempt / "log").write_bytes(b"ours")
    (objects / HASH).write_bytes(b"ours")

    def log() -> bytes:
        with LogFile(store, ATTEMPT) as file:
            return file.read(0)

    def thing() -> bytes:
        with Objects(store / "objects").open(HASH) as file:
            return file.read()

    found = []
    for path, target, read in (
        (attempt, secrets, log),
        (attempt / "log", secrets / "log", log),
        (objects, secrets, thing),
        (objects / HASH, secrets / HASH, thing),
    ):
        with exchanging(path, target):
            found.append(race(base, read, seconds))
        for name in (path.with_name(path.name + "-other"), path.with_name(path.name + "-aside")):
            if name.is_symlink():
                name.unlink()
            elif name.exists():
                path.unlink(missing_ok=True)
                name.rename(path)
    return found


def test_who_exchanges_a_folder_for_a_link_meanwhile_gets_nothing_out(tmp_path: Path) -> None:
    for ours, leaked in run_races(tmp_path, 2):
        assert ours > 0
        assert leaked == 0


@pytest.mark.long
def test_nor_within_ten_seconds_in_which_a_check_before_the_open_is_outrun(tmp_path: Path) -> None:
    assert [leaked for _, leaked in run_races(tmp_path, 10)] == [0, 0, 0, 0]
    root, secrets = tmp_path / "careless", tmp_path / "secrets"
    (root / "inside").mkdir(parents=True)
    (root / "inside" / "log").write_bytes(b"ours")
    with exchanging(root / "inside", secrets):
        assert race(tmp_path, lambda: checked(root / "inside" / "log", root), 20)[1] > 0


# ------------------------------------------------------------------------------------------------ over HTTP


def test_no_path_of_a_request_leads_out_of_the_store(server: ServerProcess) -> None:
    run = server.run({"t": {"run": "true"}})
    server.ended(run)
    (server.store.parent / "secret").write_bytes(SECRET)

    @settings(LOOK, max_examples=40)
    @given(PATHS.filter(lambda path: path.isascii() and path.isprintable()))
    def ask(path: str) -> None:
        path = path.replace(" ", "%20").replace("#", "%23")
        for place in (
            f"objects/{path}",
            f"runs/{run}/tasks/t/outputs/{path}",
            f"runs/{run}/tasks/t/logs?attempt={path}",
        ):
            for form in (place, place.replace("..", "%2e%2e").replace("\\", "%5c")):
                status, said, _ = server.raw("GET", form)
                assert status < 500
                assert SECRET not in said
                assert b"root:" not in said

    ask()
