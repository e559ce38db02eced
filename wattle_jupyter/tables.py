"""What verbs print: plain text, aligned. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from wattle_jupyter.model import State
from wattle_jupyter.wire import RunDetail, RunSummary, TaskRunView, WorkflowDetail, WorkflowSummary

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


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their heads, each column as wide as its widest cell."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def seconds(start: str | None, end: str | None) -> str:
    """The time between two instants: ``< 0.1 s``, ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``; else empty."""
    if not start or not end:
        return ""
    took = max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
    if took < 0.1:
        return "< 0.1 s"
    if took < 10:
        return f"{took:.1f} s"
    if took < 60:
        return f"{took:.0f} s"
    minutes, rest = divmod(round(took), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def some(number: int, word: str) -> str:
    """``1 task``, ``3 tasks``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def workflows(found: Sequence[WorkflowSummary]) -> str:
    rows = [(w["name"], str(w["total"]), w["mode"], w["status"], w["description"]) for w in found]
    return columns(("workflow", "tasks", "mode", "latest run", "description"), rows)


def runs(found: Sequence[RunSummary]) -> str:
    return columns(("run", "workflow", "state", "done", "took", "reason"), [_run_row(run) for run in found])


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


def status(detail: RunDetail, *, exact: bool) -> str:
    """A run's tasks. Only if ``exact`` with what differs from run to run: its id and how long things took."""
    reason = f" ({detail['reason']})" if detail["reason"] else ""
    head = f"{detail['workflow']}: {detail['state']}{reason}"
    if not exact:
        rows = [(_state(view), view["task"], view["reason"]) for view in detail["tasks"]]
        return f"{head}\n{columns(('state', 'task', 'reason'), rows)}"
    timed = [(_state(v), v["task"], _took(v), str(v["attempts"]), v["reason"]) for v in detail["tasks"]]
    took = seconds(detail["started_at"], detail["ended_at"])
    about = f"run {detail['id'][:8]}" + (f", {took}" if took else "")
    return f"{head}\n{about}\n{columns(('state', 'task', 'took', 'attempts', 'reason'), timed)}"


def summary(detail: RunDetail) -> str:
    """How a run ended, in one line."""
    counts = [f"{n} {name}" for name, n in detail["counts"].items() if n]
    took = seconds(detail["started_at"], detail["ended_at"])
    return f"{detail['workflow']}: {detail['state']}" + (f" in {took}" if took else "") + f" ({', '.join(counts)})"


def task_line(view: TaskRunView) -> str:
    took, reason = _took(view), view["reason"]
    return f"{_state(view):<11} {view['task']}" + (f"  {took}" if took else "") + (f"  ({reason})" if reason else "")


def asked(state: str, what: str) -> str:
    """What became of the wish that something stops or ends, by the state that it was answered with."""
    if state == State.CANCELLED:
        return "cancelled"
    return f"{state} already, nothing to {what}" if State(state).final else f"asked to {what}"


def _state(view: TaskRunView) -> str:
    return f"{ICONS[view['state']]} {view['state']}"


def _took(view: TaskRunView) -> str:
    return seconds(view["started_at"], view["ended_at"])
