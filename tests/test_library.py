"""Definitions: by name and version, by content."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from coroutines import asynchronous

from wattle_jupyter import library, liverun, spec
from wattle_jupyter.change import Change
from wattle_jupyter.errors import NotFound
from wattle_jupyter.library import Recipe, Shelf
from wattle_jupyter.model import Run
from wattle_jupyter.paging import PageQuery
from wattle_jupyter.store import Store


def definition(name: str, run: str = "true") -> dict[str, Any]:
    return {"name": name, "tasks": {"a": {"run": run}}}


def recipe(name: str, run: str) -> Recipe:
    form = definition(name, run)
    return Recipe(spec.restore(form), json.dumps(form), f"hash of {run}")


async def save(store: Store, name: str, run: str = "true", now: float = 1.0) -> tuple[str, bool]:
    row, event = await library.save(store, recipe(name, run), now)
    return row, event is not None


async def start(store: Store, name: str, run: str = "true") -> str:
    """Row of the definition of a new run."""
    form = definition(name, run)
    row = Run(
        id=uuid.uuid4().hex, workflow=name, workflow_hash=f"hash of {run}", snapshot=json.dumps(form), params={},
        mode="dependency", priority="normal", user="ada",
    )  # fmt: skip
    live = liverun.create(row, spec.restore(form), iter(lambda: uuid.uuid4().hex, ""))
    await store.commit(Change(at=1.0, new_runs={row.id: live}))
    return row.snapshot_id


def by(sort: str, **query: Any) -> PageQuery:
    return PageQuery(sort_by=sort, **query)


@asynchronous
async def test_each_new_content_is_a_version_and_the_same_again_is_none(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    first = await save(store, "w", "one", 1.0)
    assert first[1]
    assert await save(store, "w", "one", 2.0) == (first[0], False)
    assert (await save(store, "w", "two", 3.0))[1]
    found = await library.current(store, "w")
    assert (found.summary["version"], json.loads(found.text), found.summary["status"]) == (
        2,
        definition("w", "two"),
        "created",
    )
    assert (found.summary["created_at"][17:19], found.summary["updated_at"][17:19]) == ("01", "03")
    assert await save(store, "w", "one", 4.0) == (first[0], True)  # back to what it was
    assert (await library.current(store, "w")).summary["version"] == 3
    await store.close()


@asynchronous
async def test_what_is_only_run_is_kept_without_a_name_until_it_gets_one(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    row = await start(store, "w")
    with pytest.raises(NotFound, match="no workflow 'w'"):
        await library.current(store, "w")
    assert await library.names(store) == []
    assert await start(store, "w") == row
    assert await save(store, "w") == (row, True)
    assert await start(store, "w") == row
    assert await start(store, "w", "other") != row
    assert await store.all("SELECT id, version FROM workflow WHERE id = ?", (row,)) == [(row, 1)]
    assert (await library.current(store, "w")).id == row
    await store.close()


@asynchronous
async def test_what_is_deleted_is_gone_until_it_is_defined_again(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await save(store, "w", "one")
    await save(store, "w", "two")
    event = await library.delete(store, "w", 5.0)
    assert (event.kind, event.body, event.seq) == ("workflow.deleted", {"name": "w"}, 3)
    for again in (library.current(store, "w"), library.delete(store, "w", 6.0)):
        with pytest.raises(NotFound):
            await again
    assert (await library.page(store, by("name")))[0] == []
    assert (await save(store, "w", "two", 7.0))[1]
    assert (await library.current(store, "w")).summary["version"] == 3
    await store.close()


@asynchronous
async def test_pages_are_sorted_filtered_and_counted(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    for i, name in enumerate(["beta", "alpha", "gamma_50%", "Delta"]):
        await save(store, name, now=float(i))
    found, told = await library.page(store, by("name", order="asc", page_size=3))
    assert [w["name"] for w in found] == ["Delta", "alpha", "beta"]
    assert (told["total"], told["has_next"]) == (4, True)
    found, _ = await library.page(store, by("created_at", order="desc"))
    assert [w["name"] for w in found] == ["Delta", "gamma_50%", "alpha", "beta"]
    for search, names in {"ELT": ["Delta"], "50%": ["gamma_50%"], "_": ["gamma_50%"], "'; --": []}.items():
        assert [w["name"] for w in (await library.page(store, by("name", search=search)))[0]] == names
    assert len((await library.page(store, by("name", status=("created", "failed"))))[0]) == 4
    assert (await library.page(store, by("name", status=("failed",))))[0] == []
    assert (await library.page(store, by("name", page=9)))[0] == []
    await store.close()


# ------------------------------------------------------------------------------------------------------- recipes


async def stored(store: Store, name: str, tasks: int = 1, run: str = "true") -> Recipe:
    """The definition of a workflow with so many tasks, kept."""
    listed = {f"t{n}": {"run": run} for n in range(tasks)}
    recipe = Recipe.of(spec.load({"name": name, "working_dir": "/", "tasks": listed}))
    await library.save(store, recipe, 1.0)
    return recipe


@asynchronous
async def test_a_recipe_is_made_once_and_a_new_version_is_another_one(tmp_path: Path) -> None:
    store, shelf = await Store.open(tmp_path), Shelf()
    kept = await stored(store, "w")
    first = await library.recipe(store, shelf, "w")
    assert first == kept
    assert await library.recipe(store, shelf, "w") is first
    changed = await stored(store, "w", run="false")
    assert await library.recipe(store, shelf, "w") == changed
    await stored(store, "w")  # back to what it was
    assert await library.recipe(store, shelf, "w") is first
    await library.delete(store, "w", 2.0)
    for name in ("w", "other"):
        with pytest.raises(NotFound, match=f"no workflow '{name}'"):
            await library.recipe(store, shelf, name)
    await store.close()


@asynchronous
async def test_many_that_ask_for_a_recipe_at_once_get_the_same_one(tmp_path: Path) -> None:
    store, shelf = await Store.open(tmp_path), Shelf()
    await stored(store, "w", tasks=50)
    found = await asyncio.gather(*(library.recipe(store, shelf, "w") for _ in range(50)))
    assert {id(recipe) for recipe in found} == {id(await library.recipe(store, shelf, "w"))}
    await store.close()


def test_what_was_asked_for_last_stays_on_the_shelf_and_too_large_a_recipe_is_not_kept() -> None:
    shelf = Shelf(most=10)
    recipes = {
        size: Recipe.of(spec.load({"name": "w", "working_dir": "/", "tasks": {f"t{n}": "true" for n in range(size)}}))
        for size in (3, 4, 5, 11)
    }
    for size, recipe in recipes.items():
        shelf.put(f"row {size}", recipe)
        shelf.put(f"row {size}", recipe)
        assert shelf.get("row 3") is recipes[3]
    assert shelf.get("row 4") is None  # 3 + 4 + 5 are too many, and 3 was asked for since
    assert shelf.get("row 5") is recipes[5]
    assert shelf.get("row 11") is None
