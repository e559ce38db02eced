"""What people read when the world is not as a workflow needs it: one table of situations and exact messages."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from processes import EngineProcess, ServerProcess

from wattle_jupyter import client, owner, spec
from wattle_jupyter.errors import WattleError
from wattle_jupyter.migrations import SCHEMA
from wattle_jupyter.store import Store

TABLE: dict[str, str] = yaml.safe_load((Path(__file__).parent / "fixtures" / "bad_situations.yaml").read_text())


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(WattleError) as caught:
        act()
    return str(caught.value)


def submitted(engine: EngineProcess, data: dict[str, object]) -> str:
    status, answer = engine.request("POST", "runs", {"spec": spec.dump(spec.load(data))})
    assert status == 400, answer
    return str(answer["message"])


# ---------------------------------------------------------------------------- what the disk lacks, before anything runs


def test_a_command_that_is_not_installed(engine: EngineProcess) -> None:
    said = submitted(engine, {"name": "w", "working_dir": "/", "tasks": {"a": {"run": ["no-such-program", "-x"]}}})
    assert said == TABLE["missing command"]


def test_a_script_that_is_not_there(engine: EngineProcess, tmp_path: Path) -> None:
    said = submitted(engine, {"name": "w", "working_dir": str(tmp_path), "tasks": {"a": "train.py --fast"}})
    assert said == TABLE["missing script"].format(folder=tmp_path)


def test_a_folder_that_is_not_there(engine: EngineProcess, tmp_path: Path) -> None:
    said = submitted(engine, {"name": "w", "working_dir": str(tmp_path / "gone"), "tasks": {"a": "true"}})
    assert said == TABLE["missing folder"].format(folder=tmp_path)


def test_a_kernel_whose_interpreter_is_gone(engine: EngineProcess, tmp_path: Path) -> None:
    python = str(tmp_path / "bin" / "python")
    said = submitted(engine, {"name": "w", "working_dir": "/", "python": python, "tasks": {"a": "true"}})
    assert said == TABLE["dead kernel"].format(python=python)


def test_all_that_is_missing_is_told_at_once(engine: EngineProcess, tmp_path: Path) -> None:
    tasks = {"a": {"run": ["no-such-program"]}, "b": "train.py", "c": {"run": "true", "working_dir": "gone"}}
    said = submitted(engine, {"name": "w", "working_dir": str(tmp_path), "tasks": tasks})
    assert said == TABLE["three at once"].format(folder=tmp_path).rstrip()


def test_a_process_that_cannot_be_started_says_why(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("not a program")
    data = {"name": "w", "working_dir": str(tmp_path), "tasks": {"a": {"run": ["./tool"]}}}
    run = engine.post("runs", {"spec": data})
    ended = engine.ended(run["id"])
    assert ended["reason"] == TABLE["not executable"].format(folder=tmp_path)


# -------------------------------------------------------------------------------------------- no server, or a wrong one


def test_no_server_at_all(tmp_path: Path) -> None:
    assert refused(lambda: client.find(tmp_path, start=False).runs()) == TABLE["no server"].format(store=tmp_path)


def test_a_store_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = tmp_path / "file" / "store"
    assert refused(lambda: client.find(store).runs()) == TABLE["unwritable folder"].format(store=store)


@pytest.mark.parametrize("protocol", [0, 99])
def test_an_owner_that_speaks_another_protocol(tmp_path: Path, protocol: int) -> None:
    sign = {"protocol": protocol, "version": "0.0.1", "socket": "x", "pid": 1}
    (tmp_path / "owner.json").write_text(json.dumps(sign))
    assert refused(lambda: owner.read(tmp_path)) == TABLE["old protocol" if protocol == 0 else "new protocol"]


def test_an_owner_file_that_others_may_write(tmp_path: Path) -> None:
    path = tmp_path / "owner.json"
    path.write_text("{}")
    path.chmod(0o666)
    assert refused(lambda: owner.read(tmp_path)) == TABLE["forged owner"].format(path=path)


def test_a_wrong_token(server: ServerProcess) -> None:
    status, answer = server.request("GET", "runs", headers={"Authorization": "token wrong"})
    assert (status, answer["message"]) == (403, TABLE["wrong token"])


# ------------------------------------------------------------------------------------------------------------ the store


def opened(folder: Path) -> str:
    return refused(lambda: asyncio.run(Store.open(folder)))


def test_a_database_that_is_none(scratch_store: Path) -> None:
    scratch_store.mkdir()
    (scratch_store / "wattle.db").write_bytes(b"this is not a database, it is some text" * 100)
    assert opened(scratch_store) == TABLE["corrupt database"].format(store=scratch_store)


def test_a_database_of_a_later_version(scratch_store: Path) -> None:
    scratch_store.mkdir()
    with sqlite3.connect(scratch_store / "wattle.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert opened(scratch_store) == TABLE["newer database"].format(store=scratch_store, schema=SCHEMA)


def test_a_store_that_another_server_owns(engine: EngineProcess) -> None:
    assert opened(engine.store) == TABLE["owned store"].format(store=engine.store)


def test_every_line_of_the_table_is_used() -> None:
    places = ("test_bad_situations", "test_ladder", "test_followers", "test_door")
    text = "".join(Path(__file__).with_name(f"{place}.py").read_text() for place in places)
    assert [case for case in TABLE if f'"{case}"' not in text] == []
