"""Definitions: by name and version, by content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from coroutines import asynchronous

from wattle_jupyter import library
from wattle_jupyter.errors import NotFound
from wattle_jupyter.paging import PageQuery
from wattle_jupyter.store import Store


def definition(name: str, run: str = "true") -> dict[str, Any]:
    return {"name": name, "tasks": {"a": {"run": run}}}


async def save(store: Store, name: str, run: str = "true", now: float = 1.0, named: bool = True) -> tuple[str, bool]:
    row, event = await library.save(store, definition(name, run), f"hash of {run}", now, named=named)
    return row, event is not None


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
    row, told = await save(store, "w", named=False)
    assert not told
    with pytest.raises(NotFound, match="no workflow 'w'"):
        await library.current(store, "w")
    assert await library.names(store) == []
    assert await save(store, "w", named=False) == (row, False)
    assert await save(store, "w") == (row, True)
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
