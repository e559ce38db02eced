"""Rows of figures: alternated, medians, ratios."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Row = dict[str, Any]


def alternated(subjects: Sequence[str], times: int, measure: Callable[[str], Row | None]) -> dict[str, Row]:
    """Each subject in turn, ``times`` over; the median of each figure. What gives up once is not asked again."""
    found: dict[str, list[Row]] = {subject: [] for subject in subjects}
    given_up: set[str] = set()
    for _ in range(times):
        for subject in subjects:
            if subject in given_up:
                continue
            begin = time.monotonic()
            row = measure(subject)
            print(f"  {subject}: {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
            if row is None:
                given_up.add(subject)
            else:
                found[subject].append(row)
    return {subject: {} if subject in given_up else medians(rows) for subject, rows in found.items()}


def medians(rows: Iterable[Row]) -> Row:
    rows = list(rows)
    figures = {key: [row[key] for row in rows if row[key] is not None] for key in (rows[0] if rows else ())}
    return {key: statistics.median(found) if found else None for key, found in figures.items()}


def compared(work: str, found: dict[str, Row], key: str, none: str = "gave up") -> list[Row]:
    """A row for each subject; ``times`` says how its ``key`` compares with that of the first one, ours."""
    ours = next(iter(found.values()))[key]
    times = {subject: row[key] / max(ours, 0.1) if row and row[key] else none for subject, row in found.items()}
    return [{"work": work, "subject": subject, **row, "times": times[subject]} for subject, row in found.items()]


def load() -> float:
    return round(os.getloadavg()[0], 1)


def show(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Row]) -> str:
    """A Markdown table; ``columns`` are key and heading. A key that a row has not got is a dash."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    body = [line(figure(row.get(key)) for key, _ in columns) for row in rows]
    head = [line(heading for _, heading in columns), "|" + "---|" * 2 + "--:|" * (len(columns) - 2)]
    return "\n".join([f"**{title}**", "", *head, *body])


def figure(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:,.1f}"
