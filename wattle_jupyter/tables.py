"""What verbs print: plain text, aligned. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from wattle_jupyter.gauge import percent
from wattle_jupyter.model import State
from wattle_jupyter.objects import size_text
from wattle_jupyter.wire import (
    ProgressView,
    RunDetail,
    RunNow,
    RunSummary,
    Stats,
    TaskEnvironment,
    TaskRunView,
    WorkflowDetail,
    WorkflowSummary,
)

ICONS = {
    "created": "·",
    "queued": "◦",
    "waiting": "◔",
    "running": "▶",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "■",
    "skipped": "–",
}


NARROW = 8
"""Columns are not cut any narrower."""

RUN_HEAD = ("run", "workflow", "state", "done", "took", "reason")
TASK_HEAD = ("state", "task", "took", "attempts", "reason")


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Rows under their heads, each column as wide as its widest cell.

    If that is more than ``width``, the widest columns are cut, with a ``…`` in the cells that lose something.
    """
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROW:
        widths[widths.index(max(widths))] -= 1
    cut = [[fit(cell, n).ljust(n) for cell, n in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in cut)


def fit(line: str, width: int | None) -> str:
    """The line, cut off with a ``…`` if it is longer than ``width``."""
    return line if width is None or len(line) <= width else line[: max(1, width - 1)] + "…"


def html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as an HTML table; all text is escaped."""
    top = "".join(f"<th style='text-align:left'>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def seconds(start: str | None, end: str | None) -> str:
    """The time between two instants: ``< 0.1 s``, ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``; else empty."""
    if not start or not end:
        return ""
    return duration(max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()))


def duration(took: float) -> str:
    """Seconds for people."""
    if took < 0.1:
        return "< 0.1 s"
    if took < 10:
        return f"{took:.1f} s"
    if took < 60:
        return f"{took:.0f} s"
    minutes, rest = divmod(round(took), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


LATENCIES = {
    "create": "start a run",
    "query": "answer a question",
    "change": "take another change",
    "queue_wait": "ready task waits for a slot",
    "start_latency": "start its process",
    "commit": "commit to disk",
    "loop_lag": "turn of the event loop",
    "loop_work": "processor time of that",
}
"""What each of the times of ``stats`` is the time of."""


def stats(found: Stats) -> str:
    """What the engine has done, and how fast."""
    now, ended = found["now"], found["runs_ended"]
    lines = [
        f"runs   {found['runs']['running']:,} running, {found['runs']['queued']:,} queued; ended: {_counted(ended)}",
        f"tasks  {now['slots_busy']:,.0f} of {now['slots']:,.0f} slots busy, {now['tasks_queued']:,.0f} wait; "
        f"attempts ended: {_counted(found['attempts_ended'])}",
        f"told   {found['events']:,} events; {some(int(now['sockets']), 'page')} listening",
        f"stored {size_text(found['log_bytes'])} of logs of these attempts; the database has "
        f"{size_text(now['store_bytes'])}",
        "",
    ]
    rows = [
        (text, f"{took['count']:,}", *(milliseconds(took[q]) for q in ("p50", "p95", "max")))
        for name, text in LATENCIES.items()
        if (took := found["latency"][name])["count"]
    ]
    return "\n".join(lines) + columns(("time to", "times", "median", "95 %", "longest"), rows)


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {state}" for state, number in sorted(states.items())) or "none yet"


def milliseconds(seconds: float | None) -> str:
    """``0.3 ms``, ``12 ms``, ``1.4 s``; seconds from the first on."""
    if seconds is None:
        return ""
    if seconds >= 1:
        return duration(seconds)
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def some(number: int, word: str) -> str:
    """``1 task``, ``3 tasks``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def workflows(found: Sequence[WorkflowSummary], width: int | None = None) -> str:
    ran = [w["status"] if w["latest_run"] else "none yet" for w in found]
    rows = [(w["name"], str(w["total"]), w["mode"], r, w["description"]) for w, r in zip(found, ran, strict=True)]
    return columns(("workflow", "tasks", "mode", "latest run", "description"), rows, width)


def runs(found: Sequence[RunSummary], width: int | None = None) -> str:
    return columns(RUN_HEAD, [_run_row(run) for run in found], width)


def runs_html(found: Sequence[RunSummary]) -> str:
    return html(RUN_HEAD, [_run_row(run) for run in found])


Far = Mapping[str, ProgressView]
"""How far running tasks are, by name."""


def tasks(views: Sequence[TaskRunView], far: Far | None = None, width: int | None = None) -> str:
    return columns(TASK_HEAD, [_task_row(view, far or {}) for view in views], width)


def tasks_html(views: Sequence[TaskRunView], far: Far | None = None) -> str:
    return html(TASK_HEAD, [_task_row(view, far or {}) for view in views])


def _task_row(view: TaskRunView, far: Far) -> tuple[str, ...]:
    return state(view, far.get(view["task"])), view["task"], _took(view), str(view["attempts"]), view["reason"]


def _run_row(run: RunSummary) -> tuple[str, ...]:
    counts = run["counts"]
    done = counts["completed"] + counts["failed"] + counts["cancelled"] + counts["skipped"]
    took = seconds(run["started_at"], run["ended_at"])
    return run["id"][:8], run["workflow"], run["state"], f"{done}/{run['total']}", took, run["reason"]


def definition(detail: WorkflowDetail) -> str:
    about = f": {detail['description']}" if detail["description"] else ""
    params = "".join(f"\n  {name} = {value!r}" for name, value in (detail["spec"].get("params") or {}).items())
    plural = "" if detail["total"] == 1 else "s"
    return f"{detail['name']}{about}\n{detail['total']} task{plural}, mode {detail['mode']}{params}"


def status(detail: RunNow, *, exact: bool, width: int | None = None) -> str:
    """A run's tasks. Only if ``exact`` with what differs from run to run: its id and how long things took."""
    reason = f" ({detail['reason']})" if detail["reason"] else ""
    head = f"{detail['workflow']}: {detail['state']}{reason}"
    if not exact:
        rows = [(state(view), view["task"], view["reason"]) for view in detail["tasks"]]
        return f"{head}\n{columns(('state', 'task', 'reason'), rows)}"
    took = seconds(detail["started_at"], detail["ended_at"])
    about = f"run {detail['id'][:8]}" + (f", {took}" if took else "")
    return f"{head}\n{about}\n{tasks(detail['tasks'], detail['progress'], width)}"


def summary(detail: RunDetail) -> str:
    """How a run ended, in one line."""
    counts = [f"{n} {name}" for name, n in detail["counts"].items() if n]
    took = seconds(detail["started_at"], detail["ended_at"])
    return f"{detail['workflow']}: {detail['state']}" + (f" in {took}" if took else "") + f" ({', '.join(counts)})"


def task_line(view: TaskRunView) -> str:
    took, reason = _took(view), view["reason"]
    return f"{state(view):<11} {view['task']}" + (f"  {took}" if took else "") + (f"  ({reason})" if reason else "")


def environment(found: TaskEnvironment) -> str:
    """How a task is started: its command, where, by which interpreter, with which variables."""
    lines = [
        ("command", " ".join(map(shlex.quote, found["argv"]))),
        ("folder", found["cwd"]),
        ("interpreter", found["python"] or "none: `python3` of the PATH is taken for scripts"),
        ("not yet known", ", ".join(found["missing"])),
    ]
    head = "\n".join(f"{name:<13}  {text}" for name, text in lines if text)
    kinds = {"spec": "set by the workflow", "wattle": "set by wattle"}
    blocks = [(title, [v for v in found["variables"] if v["source"] == kind]) for kind, title in kinds.items()]
    told = [f"{title}:\n" + "\n".join(f"  {v['name']}={v['value']}" for v in some) for title, some in blocks if some]
    removed = [f"taken away: {', '.join(found['removed'])}"] if found["removed"] else []
    return "\n\n".join([head, *told, *removed, "All else is as in the environment of the server."])


def asked(state: str, what: str) -> str:
    """What became of the wish that something stops or ends, by the state that it was answered with."""
    if state == State.CANCELLED:
        return "cancelled"
    return f"{state} already, nothing to {what}" if State(state).final else f"asked to {what}"


def state(view: TaskRunView, far: ProgressView | None = None) -> str:
    """``▶ running``, or ``▶ running 42 %`` if its attempt that runs says how far it is."""
    told = far is not None and view["state"] == "running" and far["attempt"] == view["attempt"]
    return f"{ICONS[view['state']]} {view['state']}" + (f" {percent(far['fraction'])}" if far and told else "")


def _took(view: TaskRunView) -> str:
    return seconds(view["started_at"], view["ended_at"])
