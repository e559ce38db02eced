"""Many small pictures on one page, as SVG, without a library: a panel for each quantity, a line for each series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.trend import Points

_WIDTH, _HEIGHT, _ACROSS = 300, 210, 3
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 44, 12, 34  # of the area with the lines, inside its panel
_HEAD = 34
_COLOURS = ("a", "b", "c", "d")
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#333}.t{font-size:15px;font-weight:600}.w{font-weight:600}"
    ".n{fill:#666}.g{stroke:#e3e6e9}.l{fill:none;stroke-width:1.8}.end{text-anchor:end}.mid{text-anchor:middle}"
    ".i{stroke:#b9c2ca;stroke-dasharray:3 3}.a{stroke:#2f7d4f}.b{stroke:#3566b0}.c{stroke:#b5651d}.d{stroke:#8a4fa3}"
    "text.a,circle.a{fill:#2f7d4f}text.b,circle.b{fill:#3566b0}text.c,circle.c{fill:#b5651d}"
    "text.d,circle.d{fill:#8a4fa3}text.a,text.b,text.c,text.d{stroke:none}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.n{fill:#9aa5ae}.g{stroke:#3a424a}.i{stroke:#56616b}"
    ".a{stroke:#4fae77}.b{stroke:#7fa8e8}.c{stroke:#e09a5a}.d{stroke:#c295d8}text.a,circle.a{fill:#4fae77}"
    "text.b,circle.b{fill:#7fa8e8}text.c,circle.c{fill:#e09a5a}text.d,circle.d{fill:#c295d8}}"
)


@dataclass(frozen=True)
class Panel:
    """``lines`` by name. ``log``: both axes, and a broken line as steep as linear growth."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    log: bool = False
    note: str = ""


class Axis:
    """Numbers on ``length`` pixels, and where lines go across."""

    def __init__(self, numbers: Iterable[float], length: float, *, log: bool) -> None:
        found = list(numbers)
        self.log, self.length = log, length
        least, most = min(found), max(found)
        self.ticks = _decades(least, most) if log else _rounds(min(0.0, least), max(0.0, most))
        self.low = self._place(self.ticks[0] if log else min(self.ticks[0], least))
        self.high = self._place(self.ticks[-1] if log else max(self.ticks[-1], most))

    def at(self, number: float) -> float:
        return (self._place(number) - self.low) / (self.high - self.low) * self.length

    def _place(self, number: float) -> float:
        return math.log10(number) if self.log else number


def _decades(least: float, most: float) -> list[float]:
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0**n for n in range(low, max(high, low + 1) + 1)]


def _rounds(least: float, most: float) -> list[float]:
    """From ``least`` to ``most``; two at least."""
    step = _step(most - least)
    return [n * step for n in range(math.ceil(least / step), max(1, math.floor(most / step)) + 1)]


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are three to six of it."""
    rough = (span or 1.0) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next((n * power for n in (1, 2, 5) if n * power >= rough), 10 * power)


def draw(title: str, panels: Sequence[Panel]) -> str:
    rows = -(-len(panels) // _ACROSS)
    parts = [
        f'<g transform="translate({n % _ACROSS * _WIDTH} {_HEAD + n // _ACROSS * _HEIGHT})">{_panel(panel)}</g>'
        for n, panel in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH * _ACROSS} {_HEAD + rows * _HEIGHT}" '
        f'role="img" aria-label="{escape(title, quote=True)}"><style>{STYLE}</style>'
        f'<text x="8" y="22" class="t">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


def _panel(panel: Panel) -> str:
    points = [point for line in panel.lines.values() for point in line if not panel.log or min(point) > 0]
    words = f'<text x="8" y="14" class="w">{escape(panel.title)}</text>{_names(panel)}'
    if not points:
        return words
    x = Axis((x for x, _ in points), _WIDTH - _LEFT - _RIGHT, log=panel.log)
    y = Axis((y for _, y in points), _HEIGHT - _TOP - _BOTTOM, log=panel.log)
    lines = [_line(line, x, y, _COLOURS[n % 4], dots=panel.log) for n, line in enumerate(panel.lines.values())]
    ideal = _ideal(points, x, y) if panel.log else ""
    return f'{words}<g transform="translate({_LEFT} {_TOP})">{_grid(panel, x, y)}{ideal}{"".join(lines)}</g>'


def _names(panel: Panel) -> str:
    place, parts = 8.0, []
    names = list(panel.lines) if len(panel.lines) > 1 else []
    for n, name in enumerate(names):
        parts.append(f'<text x="{place:.0f}" y="30" class="{_COLOURS[n % 4]}">{escape(name)}</text>')
        place += 6.0 * len(name) + 12
    return "".join(parts) + (f'<text x="{place:.0f}" y="30" class="n">{escape(panel.note)}</text>')


def _grid(panel: Panel, x: Axis, y: Axis) -> str:
    parts = []
    for tick in y.ticks[:: 1 + len(y.ticks) // 7]:
        at = y.length - y.at(tick)
        parts.append(f'<path class="g" d="M0 {at:.1f}H{x.length}"/>')
        parts.append(f'<text x="-5" y="{at + 4:.1f}" class="n end">{short(tick)}</text>')
    for tick in x.ticks[:: 1 + len(x.ticks) // 7]:
        at = x.at(tick)
        parts.append(f'<path class="g" d="M{at:.1f} 0V{y.length}"/>')
        parts.append(f'<text x="{at:.1f}" y="{y.length + 14}" class="n mid">{short(tick)}</text>')
    parts.append(f'<text x="{x.length}" y="{y.length + 27}" class="n end">{escape(panel.x)}</text>')
    parts.append(f'<text x="{8 - _LEFT}" y="{y.length + 27}" class="n">{escape(panel.y)}</text>')
    return "".join(parts)


def _line(points: Points, x: Axis, y: Axis, colour: str, *, dots: bool) -> str:
    places = [(x.at(a), y.length - y.at(b)) for a, b in points if not x.log or min(a, b) > 0]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    marks = [f'<circle class="{colour}" cx="{a:.1f}" cy="{b:.1f}" r="2.4"/>' for a, b in places if dots]
    return f'<polyline class="l {colour}" points="{path}"/>{"".join(marks)}'


def _ideal(points: Points, x: Axis, y: Axis) -> str:
    """As steep as linear growth, up to the largest point."""
    a, b = max(points)
    back = min(a / x.ticks[0], b / y.ticks[0])
    start, end = (x.at(a / back), y.length - y.at(b / back)), (x.at(a), y.length - y.at(b))
    return f'<path class="i" d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"/>'


def short(number: float) -> str:
    """With k, M or G where that is shorter.

    >>> [short(n) for n in (0.001, 0.25, 30, 1000, 2_500_000)]
    ['0.001', '0.25', '30', '1 k', '2.5 M']
    """
    for power, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= power:
            return f"{number / power:g} {name}"
    return f"{number:.12g}" if abs(number) >= 1e-4 or not number else f"{number:.0e}"
