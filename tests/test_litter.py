"""Objects that nothing names any more go; what is named, young, or asked for meanwhile stays."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from coroutines import asynchronous
from payloads import function
from processes import EngineProcess, until

from wattle_jupyter import litter, preflight, spec
from wattle_jupyter.client import Client
from wattle_jupyter.objects import Objects
from wattle_jupyter.run import Run
from wattle_jupyter.store import Store

DAY_OLD = 90_000.0


def put(objects: Objects, content: bytes) -> str:
    with objects.writer() as writer:
        writer.write(content)
        return writer.publish()


def age(path: Path, seconds: float = DAY_OLD) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def found(objects: Objects, kept: set[str]) -> set[str]:
    return {piece.name for piece in litter.find(objects.folder, kept, time.time() - litter.AGE)}


def test_what_is_old_and_not_named_is_found(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")
    named, young, old = (put(objects, content) for content in (b"named", b"young", b"old"))
    for name in (named, old):
        age(objects.path(name))
    assert found(objects, {named}) == {old}
    assert found(objects, set()) == {named, old}
    assert young not in found(objects, set())


def test_a_copy_goes_with_its_other_names_and_a_script_with_its_folder(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")
    (tmp_path / "page.html").write_text("<p>")
    kept = objects.keep(str(tmp_path / "page.html"))
    assert kept is not None
    (tmp_path / "train.py").write_text("print(1)")
    workflow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"a": "train.py"}})
    script = Path(preflight.snapshot_scripts(workflow, objects.folder)["a"])
    age(objects.path(kept[0]))
    age(script.parent)
    before = time.time() - litter.AGE
    pieces = litter.find(objects.folder, set(), before)
    assert sorted(piece.size for piece in pieces) == [3, 8]
    assert all(litter.throw_away(objects.folder, piece, before) for piece in pieces)
    assert [p for p in objects.folder.rglob("*") if p.is_file() or p.name.startswith(kept[0])] == []
    assert preflight.snapshot_scripts(workflow, objects.folder)["a"] == str(script)
    assert script.read_text() == "print(1)"


@pytest.mark.parametrize("who", ["asks", "puts it there again", "starts it again"])
def test_what_somebody_wants_before_it_goes_stays(tmp_path: Path, who: str) -> None:
    objects = Objects(tmp_path / "objects")
    name = put(objects, b"wanted")
    (tmp_path / "t.py").write_text("1")
    workflow = spec.load({"name": "w", "working_dir": str(tmp_path), "tasks": {"a": "t.py"}})
    script = Path(preflight.snapshot_scripts(workflow, objects.folder)["a"])
    age(objects.path(name))
    age(script.parent)
    before = time.time() - litter.AGE
    pieces = {piece.name: piece for piece in litter.find(objects.folder, set(), before)}
    if who == "asks":
        assert objects.wanted(name) == 6
    elif who == "puts it there again":
        assert put(objects, b"wanted") == name
    else:
        name = script.parent.name
        preflight.snapshot_scripts(workflow, objects.folder)
    assert not litter.throw_away(objects.folder, pieces[name], before)
    assert objects.path(name).exists() if len(name) == 64 else script.exists()
    assert not litter.throw_away(objects.folder, litter.Piece("0" * 64, (tmp_path / "gone",), 0.0, 0), before)


@asynchronous
async def test_the_database_and_the_outputs_of_tasks_that_go_on_name_objects(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    texts = [digit * 64 for digit in "12345"]
    script = "6" * 32

    def fill(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("INSERT INTO schedule VALUES ('s', 'w', ?, 'on', NULL, 0)", (f'{{"object":"{texts[0]}"}}',))
        db.execute("INSERT INTO pool VALUES (?, 1)", (texts[4],))

    await store.write(fill)
    folder = tmp_path / "attempts" / "a"
    folder.mkdir(parents=True)
    (folder / "output").write_text(f'{{"x": {{"$object": "{texts[1]}"}}}}\n{{"y": "/o/66/{script}/t.py"}}\n')
    assert await store.read(litter.named) == {texts[0]}
    assert litter.left_so_far(tmp_path, ["a", "none"]) == {texts[1], script}
    assert await store.read(litter.active) == []
    await store.close()


def test_a_deleted_run_takes_its_objects_with_it_and_another_one_keeps_them(
    make_engine: Callable[..., EngineProcess],
) -> None:
    engine = make_engine().launch(WATTLE_STORE__UNDO_DAYS="0")
    client = Client(engine.store, start=False)
    objects = Objects(engine.store / "objects")
    runs = []
    for number in (1, 2):
        code = client.put_object(function(f"def f(): return {{'n': {number}, 'bytes': b'x' * 200_000}}"))
        task = {"call": {"object": code, "params": []}, "outputs": {"result": None}}
        head = {"name": f"w{number}", "working_dir": str(engine.home), "python": sys.executable}
        runs.append(Run(client, client.submit(spec={**head, "tasks": {"a": task}})))
        runs[-1].wait(quiet=True)
        assert runs[-1].status == "completed"
    names = {path.name for path in objects.folder.glob("??/*")}
    assert len(names) == 4
    for name in names:
        age(objects.path(name))
    assert engine.get("cleanup?keep_runs=1")["objects"] == 0
    status, _ = engine.request("DELETE", f"runs/{runs[0].id}")
    assert status == 200
    engine.end()
    engine.launch(WATTLE_STORE__UNDO_DAYS="0")  # each start sweeps
    until(lambda: len([*objects.folder.glob("??/*")]) == 2)
    assert runs[1]["a"].result()["n"] == 2
