"""`wattle doctor` recognises each fault of a machine, says it in words and names the cure."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import descriptors, disk
from faults.catalog import FAULTS
from faults.patient import Patient
from keeper_stores import keeper_pid
from processes import EngineProcess, scratch, until

from wattle_jupyter import doctor, symptoms
from wattle_jupyter.migrations import SCHEMA

Make = Callable[..., EngineProcess]


def problems(store: Path) -> list[str]:
    found = doctor.examine(store)
    report = doctor.report(found)
    assert all(text in report for text in found["problems"])
    return [text for text in found["problems"] if "server extension" not in text]  # that is of this environment


def used(folder: Path, name: str = "store") -> Path:
    """A store that was used and left."""
    store = folder / name
    (store / "attempts" / ("a" * 32)).mkdir(parents=True)
    store.chmod(0o700)
    db = sqlite3.connect(store / "wattle.db")
    db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
    db.executemany("INSERT INTO meta VALUES (?, ?)", [(f"k{n}", "x" * 100) for n in range(300)])
    db.execute("CREATE INDEX other ON meta (value, key)")
    db.execute(f"PRAGMA user_version = {SCHEMA}")
    db.commit()
    db.close()
    return store


def only(found: list[str]) -> str:
    (one,) = found
    return one


def test_a_sound_store_is_said_to_be_sound(tmp_path: Path) -> None:
    store = used(tmp_path)
    found = doctor.examine(store)
    assert found["database"].startswith("sound, ")
    assert found["database"].endswith(f"schema {SCHEMA}")
    assert "free" in found["disk"]
    assert problems(store) == []


def test_a_full_disk() -> None:
    if reason := FAULTS["disk"].cannot():
        pytest.skip(reason)
    with scratch() as folder, disk.small_disk(folder / "s", 2):
        ballast = disk.Ballast(folder / "s")
        ballast.take(0)
        said = only(problems(folder / "s"))
        assert said.startswith(f"the disk of the store {folder / 's'} is full (0 bytes free): nothing is started")
        assert said.endswith("free some space there: work then goes on by itself")


def test_a_disk_that_takes_no_more_files_and_one_that_cannot_be_written() -> None:
    if reason := FAULTS["disk"].cannot():
        pytest.skip(reason)
    with scratch() as folder, disk.small_disk(folder / "s", 4):
        subprocess.run(["mount", "-o", "remount,nr_inodes=3", str(folder / "s")], check=True)
        for name in "ab":
            (folder / "s" / name).touch()
        assert "takes no more files" in only(problems(folder / "s"))
        subprocess.run(["mount", "-o", "remount,ro", str(folder / "s")], check=True)
        assert any("is mounted read-only" in text for text in problems(folder / "s"))


def test_a_damaged_a_truncated_an_empty_and_a_missing_database(tmp_path: Path) -> None:
    for name, content, words in (
        ("damaged", b"no database at all" * 500, "is damaged: file is not a database"),
        ("empty", b"", "is empty, though runs were kept in it"),
        ("gone", None, "is gone, though runs were kept in it"),
    ):
        store = used(tmp_path, name)
        if content is None:
            (store / "wattle.db").unlink()
        else:
            (store / "wattle.db").write_bytes(content)
        assert f"wattle.db {words}" in only(problems(store))
    store = used(tmp_path, "cut")
    with (store / "wattle.db").open("r+b") as file:
        file.truncate(9000)
    assert "wattle.db is damaged: " in only(problems(store))
    store = used(tmp_path, "swapped")  # an index that does not belong to its table
    db = sqlite3.connect(store / "wattle.db")
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'meta') "
               "WHERE name = 'other'")  # fmt: skip
    db.commit()
    db.close()
    assert "wattle.db is damaged: " in only(problems(store))


def test_a_backup_is_named_as_the_cure(tmp_path: Path) -> None:
    store = used(tmp_path)
    (store / "backups").mkdir()
    shutil.copy(store / "wattle.db", store / "backups" / "20260101T000000.000Z-by-hand.db")
    (store / "wattle.db").write_bytes(b"x" * 4096)
    assert "`wattle restore 20260101T000000.000Z-by-hand.db` brings back the backup of " in only(problems(store))


def test_schemas_of_other_versions(tmp_path: Path) -> None:
    newer, older = used(tmp_path, "newer"), used(tmp_path, "older")
    for store, schema in ((newer, SCHEMA + 7), (older, 1)):
        db = sqlite3.connect(store / "wattle.db")
        db.execute(f"PRAGMA user_version = {schema}")
        db.close()
    assert f"(schema {SCHEMA + 7}, this one knows {SCHEMA}); upgrade this installation" in only(problems(newer))
    assert doctor.examine(older)["database"].endswith("the next owner brings it up to date, after a backup")
    assert problems(older) == []


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    store = used(tmp_path)
    (store / "session").write_text("{}")
    then = time.time() + 2 * 86_400
    os.utime(store / "session", (then, then))
    assert "files of the store are 48 h newer than now; set it right" in only(problems(store))


def test_a_suspended_keeper(make_engine: Make) -> None:
    engine = make_engine().launch()
    pid = keeper_pid(engine.store)
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: doctor.examine(engine.store)["keeper"] == f"pid {pid}, suspended")
        assert f"kill -CONT {pid}" in problems(engine.store)[0]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert problems(engine.store) == []


def test_a_server_that_has_nearly_all_its_files_open() -> None:
    if reason := FAULTS["descriptors"].cannot():
        pytest.skip(reason)
    with scratch() as folder:
        server = Patient(folder / "home", folder / "s", ["prlimit", f"--nofile={descriptors.LIMIT}"])
        server.launch_here()
        try:
            with descriptors.visitors(server):
                found: list[str] = []
                symptoms.crowded(server.server_pid, "the owner", found)
                assert f"of at most {descriptors.LIMIT} files and connections open: more is refused" in only(found)
        finally:
            server.end_all()
            disk.end_keeper(folder / "s")


def test_what_the_oom_killer_did_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("oom 3\noom_kill 3\n")
    monkeypatch.setattr("wattle_jupyter.host.process.oom_paths", lambda _: [str(tmp_path / "events")])
    found: list[str] = []
    told = symptoms.keeper(os.getpid(), found)
    assert told == f"pid {os.getpid()}; the OOM killer ended 3 processes in its control group: give it more memory"
    assert found == []


def test_what_is_gone_is_not_looked_at() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    found: list[str] = []
    symptoms.crowded(child.pid, "the owner", found)
    assert found == []
