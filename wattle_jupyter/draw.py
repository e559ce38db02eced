"""A workflow as SVG, as text and as data of a notebook's output. The same workflow and states give the same bytes.

The SVG is plain, so that it survives the sanitisers of sites that show notebooks, and looks right on white and on dark:
no script, style sheet, link or variable; boxes have their own ground, lines a middle grey.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from html import escape

from wattle_jupyter.layout import Layout, place
from wattle_jupyter.model import Json, State, Workflow
from wattle_jupyter.plan import Plan

MOST_BOXES = 120
"""Beyond so many tasks the drawing shows layers with counts."""

_HEIGHT = 40  # of a box
_ROW = 56  # from box to box
_GAP = 64  # between layers
_MARGIN = 12
_LEAST, _MOST = 92, 220  # width of a box
_CHAR = 7.3  # width of a character of the name, at 13 px
_LINE = "#8b949e"
_FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', Helvetica, Arial, sans-serif"

# ground, line, text
_PLAN = ("#f6f8fa", "#8b949e", "#24292f")
_COLOURS: Mapping[State, tuple[str, str, str]] = {
    State.CREATED: ("#f6f8fa", "#8b949e", "#57606a"),
    State.QUEUED: ("#fff8e5", "#b88900", "#6b4f00"),
    State.WAITING: ("#fff8e5", "#b88900", "#6b4f00"),
    State.RUNNING: ("#e3f0ff", "#2f7de1", "#0b3d86"),
    State.COMPLETED: ("#e6f6ea", "#2c974b", "#12512a"),
    State.FAILED: ("#ffebe9", "#d1352b", "#86130d"),
    State.CANCELLED: ("#f3e9fb", "#8250c4", "#4a2482"),
    State.SKIPPED: ("#eef0f2", "#8b949e", "#57606a"),
}
_ICONS: Mapping[State, str] = {
    State.CREATED: "○",
    State.QUEUED: "◔",
    State.WAITING: "◷",
    State.RUNNING: "▶",
    State.COMPLETED: "✓",
    State.FAILED: "✗",
    State.CANCELLED: "■",
    State.SKIPPED: "↷",
}
# the same as lines in a square of 16, so that no font has to have them
_SHAPES: Mapping[State, str] = {
    State.CREATED: "M8 3.5a4.5 4.5 0 1 0 .01 0z",
    State.QUEUED: "M8 3a5 5 0 1 0 .01 0zM8 5v3.3h2.6",
    State.WAITING: "M8 3a5 5 0 1 0 .01 0zM8 5v3.3h2.6",
    State.RUNNING: "M5.5 3.5l7 4.5l-7 4.5z",
    State.COMPLETED: "M3.5 8.5l3 3l6-7",
    State.FAILED: "M4 4l8 8M12 4l-8 8",
    State.CANCELLED: "M4 4h8v8h-8z",
    State.SKIPPED: "M3 11c1-6 8-7 10-2M13 5v4h-4",
}


def run_state(states: Mapping[str, State]) -> State:
    """The state of a run whose tasks are in these states."""
    found = set(states.values())
    if found - {s for s in State if s.final}:
        return State.RUNNING if found & {State.RUNNING, State.COMPLETED, State.FAILED} else State.CREATED
    return next((s for s in (State.FAILED, State.CANCELLED) if s in found), State.COMPLETED)


# ----------------------------------------------------------------------------------------------------------- text


def text(
    workflow: Workflow, states: Mapping[str, State] | None = None, reasons: Mapping[str, str] | None = None
) -> str:
    """One line for each task, upstream first: icon, name, what it waits for, and the reason if there is one."""
    plan = Plan(workflow)
    title = f"{workflow.name}: {_how_many(len(workflow.tasks), 'task')}"
    if states is not None and workflow.tasks:
        title += f", {_summary([_state(states, name) for name in plan.order])}"
    width = max((_cells(name) for name in plan.order if plan.upstream[name]), default=0)
    lines = [_text_line(plan, name, width, states, reasons or {}) for name in plan.order]
    return "\n".join([title, *lines])


def _text_line(
    plan: Plan, name: str, width: int, states: Mapping[str, State] | None, reasons: Mapping[str, str]
) -> str:
    icon = "•" if states is None else _ICONS[_state(states, name)]
    line = f"  {icon} {name}"
    if plan.upstream[name]:
        line += " " * (width - _cells(name)) + f" ← {', '.join(plan.upstream[name])}"
    if states is not None:
        line += _said(_state(states, name), reasons.get(name, ""))
    return line


def _said(state: State, reason: str) -> str:
    reason = " ".join(reason.split())
    if state in (State.COMPLETED, State.CREATED):
        return ""
    return f"  [{state}: {reason}]" if reason else f"  [{state}]"


def _state(states: Mapping[str, State], name: str) -> State:
    return State(states.get(name, State.CREATED))


def _how_many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _summary(states: Sequence[State]) -> str:
    counts = {state: states.count(state) for state in State}
    return ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)


# ----------------------------------------------------------------------------------------------------------- data


def mime(
    workflow: Workflow, states: Mapping[str, State] | None = None, reasons: Mapping[str, str] | None = None
) -> dict[str, Json]:
    """The data of an output of type ``application/vnd.wattle.run.v1+json``; states are None in a plan."""
    plan = Plan(workflow)
    said = reasons or {}
    tasks = [
        {"task": name, "state": None if states is None else str(_state(states, name)), "reason": said.get(name, "")}
        for name in workflow.tasks
    ]
    state = None if states is None else str(run_state({name: _state(states, name) for name in workflow.tasks}))
    edges = [dict(edge) for edge in plan.edges]
    return {"version": 1, "workflow": workflow.name, "state": state, "tasks": tasks, "edges": edges}


# ------------------------------------------------------------------------------------------------------------ svg


def svg(workflow: Workflow, states: Mapping[str, State] | None = None) -> str:
    """The graph from left to right, each box with icon, colour and word of its state."""
    plan = Plan(workflow)
    if len(workflow.tasks) > MOST_BOXES:
        return _summary_svg(workflow, plan, states)
    layout = place(plan.layers(), [(edge["src"], edge["dst"]) for edge in plan.edges])
    boxes = _Boxes(layout, 0 if states is None else 9)
    edges = [
        boxes.edge(e["src"], e["dst"], p, e["kind"] == "data") for e, p in zip(plan.edges, layout.paths, strict=True)
    ]
    drawn = [boxes.box(name, None if states is None else _state(states, name)) for name in plan.order]
    described = ", ".join(name if states is None else f"{name} {_state(states, name)}" for name in plan.order)
    return _document(boxes.width, boxes.height, f"Workflow {workflow.name}", described, [*edges, *drawn])


class _Boxes:
    """Turns rows and layers into pixels."""

    def __init__(self, layout: Layout, least_chars: int) -> None:
        self._rows = layout.rows
        self._left: dict[str, float] = {}
        self._widths: dict[str, float] = {}
        self._columns: list[tuple[float, float]] = []  # left and right of each layer
        self._layer = {name: i for i, layer in enumerate(layout.layers) for name in layer}
        x = float(_MARGIN)
        for layer in layout.layers:
            width = max((_box_width(name, least_chars) for name in layer), default=_LEAST)
            self._left.update(dict.fromkeys(layer, x))
            self._widths.update(dict.fromkeys(layer, width))
            self._columns.append((x, x + width))
            x += width + _GAP
        self.width = x - _GAP + _MARGIN if layout.layers else 2 * _MARGIN
        self.height = layout.height * _ROW + _HEIGHT + 2 * _MARGIN

    def _y(self, row: float) -> float:
        return _MARGIN + _HEIGHT / 2 + row * _ROW

    def edge(self, src: str, dst: str, path: Sequence[float], data: bool) -> str:
        """A smooth line; a stronger one where data flows."""
        x, y = self._left[src] + self._widths[src], self._y(self._rows[src])
        steps = [f"M{_n(x)} {_n(y)}"]
        for i, row in enumerate(path, self._layer[src] + 1):
            left, right = self._columns[i]
            steps += [_curve(x, y, left, self._y(row)), f"H{_n(right)}"]
            x, y = right, self._y(row)
        end, at = self._left[dst], self._y(self._rows[dst])
        steps.append(_curve(x, y, end - 5, at))
        width = 2.2 if data else 1.3
        line = f'<path d="{"".join(steps)}" fill="none" stroke="{_LINE}" stroke-width="{width}"/>'
        tip = f"M{_n(end)} {_n(at)}l-8 -4v8z"
        return f'{line}<path d="{tip}" fill="{_LINE}"/>'

    def box(self, name: str, state: State | None) -> str:
        x, y, width = self._left[name], self._y(self._rows[name]) - _HEIGHT / 2, self._widths[name]
        label = _clip(name, int((width - (24 if state is None else 44)) / _CHAR))
        title = name if state is None else f"{name}: {state}"
        if state is None:
            inner = _label(x + width / 2, y + 25, label, _PLAN[2], anchor="middle")
        else:
            inner = _icon(state, x + 10, y + 12) + _label(x + 32, y + 17.5, label, _COLOURS[state][2])
            inner += _label(x + 32, y + 32, str(state), _COLOURS[state][2], size=11)
        return f"<g><title>{_xml(title)}</title>{_rect(x, y, width, _HEIGHT, state)}{inner}</g>"


def _box_width(name: str, least_chars: int) -> float:
    chars = max(_cells(name), least_chars)
    return float(min(_MOST, max(_LEAST, round(chars * _CHAR) + (44 if least_chars else 28))))


def _summary_svg(workflow: Workflow, plan: Plan, states: Mapping[str, State] | None) -> str:
    """Layers as boxes with their number of tasks, a bar of the states under each; at most twelve, then in groups."""
    layers = plan.layers()
    size = -(-len(layers) // 12)
    groups = [[name for layer in layers[i : i + size] for name in layer] for i in range(0, len(layers), size)]
    parts: list[str] = []
    for i, names in enumerate(groups):
        x, y = _MARGIN + i * 148, _MARGIN + 26
        if i:
            parts.append(f'<path d="M{x - 28} {y + 27}h20" stroke="{_LINE}" stroke-width="1.5"/>')
            parts.append(f'<path d="M{x} {y + 27}l-8 -4v8z" fill="{_LINE}"/>')
        title = f"Layer {i + 1}" if size == 1 else f"Layers {i * size + 1}–{min((i + 1) * size, len(layers))}"
        parts += [_rect(x, y, 120, 54, None), _label(x + 60, y + 18, title, _PLAN[2], size=11, anchor="middle")]
        parts.append(_label(x + 60, y + 35, _how_many(len(names), "task"), _PLAN[2], anchor="middle"))
        parts += _bar(x + 10, y + 42, [] if states is None else [_state(states, name) for name in names])
    total = f"{workflow.name}: {_how_many(len(workflow.tasks), 'task')} in {_how_many(len(layers), 'layer')}"
    if states is not None:
        total += f", {_summary([_state(states, name) for name in workflow.tasks])}"
    parts.append(_label(_MARGIN, _MARGIN + 12, total, "#7d8590"))
    width = max(len(groups) * 148 - 28, round(_cells(total) * _CHAR)) + 2 * _MARGIN
    return _document(width, 2 * _MARGIN + 80, f"Workflow {workflow.name}", total, parts)


def _bar(x: float, y: float, states: Sequence[State]) -> list[str]:
    """How the 100 pixels of a layer are divided between states."""
    parts: list[str] = []
    done = 0
    for state in State:
        count = states.count(state)
        if count:
            left, right = 100 * done / len(states), 100 * (done + count) / len(states)
            box = f'x="{_n(x + left)}" y="{_n(y)}" width="{_n(right - left)}" height="5"'
            parts.append(f'<rect {box} fill="{_COLOURS[state][1]}"><title>{count:,} {state}</title></rect>')
            done += count
    return parts


def _document(width: float, height: float, title: str, described: str, parts: Sequence[str]) -> str:
    size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{_FONT}">'
    return "\n".join([head, f"<title>{_xml(title)}</title>", f"<desc>{_xml(described)}</desc>", *parts, "</svg>"])


def _rect(x: float, y: float, width: float, height: float, state: State | None) -> str:
    ground, line, _ = _PLAN if state is None else _COLOURS[state]
    dash = ' stroke-dasharray="4 3"' if state in (State.SKIPPED, State.CREATED) else ""
    place_ = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
    return f'<rect {place_} rx="7" fill="{ground}" stroke="{line}" stroke-width="1.5"{dash}/>'


def _icon(state: State, x: float, y: float) -> str:
    colour = _COLOURS[state][1]
    fill = colour if state in (State.RUNNING, State.CANCELLED) else "none"
    stroke = f'stroke="{colour}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
    return f'<path transform="translate({_n(x)} {_n(y)})" d="{_SHAPES[state]}" fill="{fill}" {stroke}/>'


def _label(x: float, y: float, said: str, colour: str, *, size: int = 13, anchor: str = "start") -> str:
    weight = ' font-weight="600"' if size == 13 else ""
    middle = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size}"{weight}{middle} fill="{colour}">{_xml(said)}</text>'


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    if abs(y - to_y) < 0.05:
        return f"H{_n(to_x)}"
    middle = (x + to_x) / 2
    return f"C{_n(middle)} {_n(y)} {_n(middle)} {_n(to_y)} {_n(to_x)} {_n(to_y)}"


def _cells(said: str) -> int:
    """Columns that a text takes where all letters are equally wide."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in said)


def _clip(said: str, most: int) -> str:
    return said if len(said) <= most else said[: max(most - 1, 1)] + "…"


def _xml(said: str) -> str:
    return escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", said))


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
