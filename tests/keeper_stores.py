"""Stores for tests of the keeper: whatever a test left running in one is ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wattle_jupyter.host import process


def keeper_pid(store: Path) -> int:
    return int(json.loads((store / "keeper.lock").read_text())["pid"])


def kill_keeper(store: Path) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper_pid(store), signal.SIGKILL)


def end_tasks(store: Path) -> None:
    ids = set(os.listdir(store / "attempts"))
    for proc in process.scan():
        if process.cookie(proc.pid) in ids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(proc.pid, signal.SIGKILL)


@pytest.fixture
def store() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="wattle-"))
    yield path
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        kill_keeper(path)
    with contextlib.suppress(FileNotFoundError):
        end_tasks(path)
    journal = path / "keeper.log"
    words = journal.read_text() if journal.exists() else ""
    shutil.rmtree(path)
    assert "Traceback" not in words, words
