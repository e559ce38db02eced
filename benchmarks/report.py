"""Rows as a JSON file, a Markdown table and an SVG plot; the tables in the pages that show them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.workshop import ROOT

RESULTS = Path(__file__).with_name("results")
ORDER = (
    "noop", "peers", "science", "hogs", "scale", "huge", "transitions", "rest", "creates", "sockets", "streams",
    "flood", "search", "starting",
)  # fmt: skip
"""In which the summary tells of them."""
PAGES = (ROOT / "docs" / "performance.md", ROOT / "README.md")
_BAR, _LABEL, _WIDTH = 22, 330, 900
Rows = Sequence[Mapping[str, Any]]
_FIRST_WORDS = re.compile(r", | \(")


@dataclass(frozen=True)
class Look:
    """How the rows of a benchmark are shown, and how they were measured. A module has its own as ``LOOK``."""

    table: Callable[[Rows], str]
    plot: Callable[[str, Rows], str]
    how: str
    brief: Callable[[Rows], str] | None = None  # a smaller picture, for pages that tell of everything


def save(name: str, title: str, note: str, rows: Rows, machine: Mapping[str, Any], look: Look | None = None) -> None:
    look = look or TURNS
    RESULTS.mkdir(exist_ok=True)
    found = {"name": name, "title": title, "note": note, "machine": machine, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / f"{name}.svg").write_text(look.plot(title, rows))
    if look.brief is not None:
        (RESULTS / f"{name}-brief.svg").write_text(look.brief(rows))
    for page in PAGES:
        if page.exists():
            text = filled(page.read_text(), name, block(found, look))
            page.write_text(filled(text, "summary", summary()))


def filled(text: str, name: str, block: str) -> str:
    """``text`` with the block of this benchmark between its two marks, if it has them."""
    marks = f"<!-- bench:{name} -->", f"<!-- end of bench:{name} -->"
    pattern = re.compile(f"{re.escape(marks[0])}\n.*?{re.escape(marks[1])}", re.DOTALL)
    return pattern.sub(lambda _: f"{marks[0]}\n{block}\n{marks[1]}", text)


def block(found: Mapping[str, Any], look: Look) -> str:
    machine = found["machine"]
    where = (
        f"Measured {machine['at']} on {machine['cores']} cores ({machine['cpu']}, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, {machine['file_system']}, Python {machine['python']}), load "
        f"{machine['load']} before; {look.how}."
    )
    return f"{found['note']}\n\n{look.table(found['rows'])}\n\n{where}"


def summary() -> str:
    """All results that had a target, a line for each comparison; figures from the least to the most."""
    lines = ["| work | who : beside whom | measured | target | |", "|---|---|--:|--:|---|"]
    for path in sorted(RESULTS.glob("*.json"), key=_place):
        found = json.loads(path.read_text())
        groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
        for row in found["rows"] if isinstance(found.get("rows"), list) else ():
            if row.get("target") and "beside" in row:  # curves and samples over time have none
                groups.setdefault((row["who"], row["beside"], row["target"]), []).append(row)
        lines += [_line(_FIRST_WORDS.split(found["title"])[0], rows) for rows in groups.values()]
    return "\n".join(lines)


def _place(path: Path) -> tuple[int, str]:
    return (ORDER.index(path.stem) if path.stem in ORDER else len(ORDER), path.stem)


def _line(subject: str, rows: Rows) -> str:
    first = rows[0]
    endings = {row["work"].rpartition(", ")[2] for row in rows}  # `chain 200, 2 at once`: what all have in common
    work = f"{subject}, {endings.pop()}" if len(endings) == 1 else subject
    measured = [_measured(row) for row in rows]
    unit = measured[0][1]
    figures = "–".join(dict.fromkeys(number(value) for value in (min(measured)[0], max(measured)[0])))
    met = sum(bool(row["met"]) for row in rows)
    verdict = "met" if met == len(rows) else f"{met} of {len(rows)} met" if met else "missed"
    pair = " : ".join(filter(None, (first["who"], first["beside"])))
    return f"| {work} | {pair} | {figures}{unit} | {first['target']} | {verdict} |"


def _measured(row: Mapping[str, Any]) -> tuple[float, str]:
    """What the target is about, and its unit."""
    for words, name in (("p95", "p95 ms"), ("ms more", "added ms")):
        if words in row["target"] and name in row["more"]:
            return float(row["more"][name]), " ms"
    if row["ratio"] is not None:
        return float(row["ratio"]), " ×"
    return float(row["median"]), row["unit"] if row["unit"].startswith("/") else f" {row['unit']}"


def table(rows: Rows) -> str:
    lines = ["| work | who | median | least | runs | ratio | target | |", "|---|---|--:|--:|--:|--:|--:|---|"]
    for row in rows:
        times = "" if row["ratio"] is None else f"{row['ratio']:.2f} × {row['beside']}"
        verdict = "" if row["met"] is None else ("met" if row["met"] else "missed")
        more = ", ".join(f"{key} {number(value)}" for key, value in row["more"].items())
        lines.append(
            f"| {row['work']} | {row['who']}{f' ({more})' if more else ''} | {number(row['median'])} {row['unit']} "
            f"| {number(row['least'])} | {row['runs']} | {times} | {row['target']} | {verdict} |"
        )
    return "\n".join(lines)


def number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def plot(title: str, rows: Rows) -> str:
    """Bars of the medians, a group for each piece of work, each group to its own longest bar. No library."""
    parts: list[str] = []
    top = 40
    works: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        group = works.setdefault(row["work"], [])
        if all(other["who"] != row["who"] for other in group):
            group.append(row)
    for work, group in works.items():
        parts.append(f'<text x="8" y="{top + 14}" class="w">{escape(work)}</text>')
        top += 20
        longest = max(row["median"] for row in group) or 1.0
        for row in sorted(group, key=lambda row: float(row["median"])):
            width = max(1.0, (_WIDTH - _LABEL - 130) * row["median"] / longest)
            ours = " o" if row["who"].startswith("wattle") else ""
            parts.append(f'<text x="{_LABEL - 8}" y="{top + 15}" class="l">{escape(row["who"])}</text>')
            parts.append(f'<rect x="{_LABEL}" y="{top + 3}" width="{width:.0f}" height="{_BAR - 6}" class="b{ours}"/>')
            label = f"{number(row['median'])} {row['unit']}"
            parts.append(f'<text x="{_LABEL + width + 6:.0f}" y="{top + 15}" class="n">{escape(label)}</text>')
            top += _BAR
        top += 8
    style = (
        "text{font:12px system-ui,sans-serif;fill:#333}.t{font-size:15px;font-weight:600}.w{font-weight:600}"
        ".l{text-anchor:end}.b{fill:#9aa7b4}.o{fill:#2f7d4f}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.b{fill:#5b6772}.o{fill:#4fae77}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 8}" role="img" '
        f'aria-label="{escape(title, quote=True)}"><style>{style}</style>'
        f'<text x="8" y="22" class="t">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


TURNS = Look(table, plot, "medians of runs that took turns")
