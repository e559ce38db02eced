"""Pages of lists: what may be asked, checked against what a list offers."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.model import State
from wattle_jupyter.wire import Pagination

MAX_PAGE_SIZE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """One page of a list. ``sort_by`` is one of the list's own names, hence safe as a key into its columns."""

    page: int = 1
    page_size: int = 20
    status: tuple[str, ...] = ()
    sort_by: str
    order: Literal["asc", "desc"] = "desc"
    search: str = ""
    workflow: str = ""

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


def parse(
    args: Mapping[str, list[str]], sorts: Collection[str], default: str, extra: Collection[str] = ()
) -> PageQuery:
    """Query arguments → PageQuery. Raises InvalidRequest that names the argument and what it may be."""
    known = {"page", "page_size", "status", "sort_by", "order", "search", "_xsrf", "token", *extra}
    for name in args:
        if name not in known:
            raise InvalidRequest(f"unknown query argument {name!r}{suggestion(name, known)}")
    last = {name: values[-1] for name, values in args.items()}
    status = tuple(s for value in args.get("status", []) for s in value.split(",") if s)
    return PageQuery(
        page=_number(last, "page", 1, 1, 1_000_000),
        page_size=_number(last, "page_size", 20, 1, MAX_PAGE_SIZE),
        status=tuple(_one_of("status", s, [state.value for state in State]) for s in status),
        sort_by=_one_of("sort_by", last.get("sort_by", default), list(sorts)),
        order="asc" if _one_of("order", last.get("order", "desc").lower(), ["asc", "desc"]) == "asc" else "desc",
        search=last.get("search", "")[:200],
        workflow=last.get("workflow", ""),
    )


def pagination(query: PageQuery, total: int) -> Pagination:
    pages = max(1, -(-total // query.page_size))
    return Pagination(
        page=query.page,
        page_size=query.page_size,
        total=total,
        total_pages=pages,
        has_next=query.page < pages,
        has_prev=query.page > 1,
    )


def suggestion(name: str, known: Collection[str]) -> str:
    """``; did you mean 'page'?`` or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _number(args: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = args.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
        raise InvalidRequest(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}")
    return int(text)


def _one_of(name: str, value: str, allowed: list[str]) -> str:
    if value not in allowed:
        raise InvalidRequest(f"{name} must be one of {', '.join(allowed)}, not {value[:40]!r}")
    return value
