"""Query arguments of lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.paging import PageQuery, pagination, parse

SORTS = ["name", "created_at"]


def test_nothing_asked_is_the_first_page_newest_first() -> None:
    assert parse({}, SORTS, "created_at") == PageQuery(sort_by="created_at")
    assert PageQuery(sort_by="x").offset == 0


def test_everything_may_be_asked() -> None:
    args = {
        "page": ["3"], "page_size": ["7"], "status": ["failed,running", "queued"], "sort_by": ["name"],
        "order": ["ASC"], "search": ["et"], "workflow": ["etl"],
    }  # fmt: skip
    query = parse(args, SORTS, "created_at", extra=["workflow"])
    assert query == PageQuery(
        page=3, page_size=7, status=("failed", "running", "queued"), sort_by="name", order="asc", search="et",
        workflow="etl",
    )  # fmt: skip
    assert query.offset == 14


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"pgae": ["1"]}, "unknown query argument 'pgae'; did you mean 'page'?"),
        ({"workflow": ["x"]}, "unknown query argument 'workflow'"),
        ({"page": ["0"]}, "page must be a whole number from 1 to 1000000, not '0'"),
        ({"page": ["-1"]}, "page must be a whole number from 1 to 1000000, not '-1'"),
        ({"page": [""]}, "page must be a whole number from 1 to 1000000, not ''"),
        ({"page": ["٣"]}, "page must be a whole number from 1 to 1000000, not '٣'"),
        ({"page": ["000000000001" + "9" * 9000]}, "page must be a whole number from 1 to 1000000, not '000000000001"),
        ({"page_size": ["201"]}, "page_size must be a whole number from 1 to 200, not '201'"),
        ({"status": ["done"]}, "status must be one of created, queued, .*, not 'done'"),
        ({"sort_by": ["name; DROP TABLE run"]}, "sort_by must be one of name, created_at, not 'name; DROP TABLE run'"),
        ({"order": ["up"]}, "order must be one of asc, desc, not 'up'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(args: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(args, SORTS, "created_at")
    head, _, tail = message.partition(".*")
    assert caught.value.message.startswith(head)
    assert caught.value.message.endswith(tail)


@given(st.integers(0, 1000), st.integers(1, 50))
def test_the_pages_hold_each_item_once(total: int, size: int) -> None:
    items, seen, page = list(range(total)), list[int](), 1
    while True:
        query = PageQuery(page=page, page_size=size, sort_by="name")
        told = pagination(query, total)
        seen += items[query.offset : query.offset + size]
        assert told["has_prev"] == (page > 1)
        if not told["has_next"]:
            break
        page += 1
    assert seen == items
    assert told["total_pages"] == page
