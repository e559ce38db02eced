"""A store, notebooks and logs whose every text is an attack on the page that shows it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wattle_jupyter.store import Store

PAYLOADS = [
    line.replace("PWN", "window.__pwned=1")
    for line in (Path(__file__).resolve().parents[1] / "fixtures" / "xss.txt").read_text().splitlines()
]
ALL = "a" * 32
"""Id of the run with a task for each payload."""

_IMG = "<img src=x onerror=window.__pwned=1>"
_ANSI = (
    "\x1b]8;;javascript:window.__pwned=1\x07link\x1b]8;;\x07",
    f"\x1b]0;{_IMG}\x07",
    '\x1b[38;2;1;2;3"onfocus=window.__pwned=1 autofocus x="mx',
    f"\x1b[1m<b\x1b[0m>\x1b[31m{_IMG}",
    f"Traceback: {_IMG}",
    'https://canary.example/"onfocus=window.__pwned=1',
    f"50%|#####     | {_IMG}\r60%<svg onload=window.__pwned=1>",
)
LOG = "\n".join([*PAYLOADS, *_ANSI, f"ERROR the last line {_IMG}"]).encode() + b"\n"


def stock(folder: Path) -> None:
    """Fill a store that no server owns yet: a run for each payload, and :data:`ALL`."""

    async def fill() -> None:
        store = await Store.open(folder)
        try:
            await store.write(_insert)
        finally:
            await store.close()

    folder.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=lambda: asyncio.run(fill()))  # Playwright holds this thread's event loop
    thread.start()
    thread.join()
    for attempt in map(attempt_id, range(len(PAYLOADS))):
        (folder / "attempts" / attempt).mkdir(mode=0o700)
        (folder / "attempts" / attempt / "log").write_bytes(LOG)


def attempt_id(n: int) -> str:
    return f"{n:032x}"


def _row(db: sqlite3.Connection, table: str, **fields: Any) -> None:
    marks = ",".join("?" * len(fields))
    db.execute(f"INSERT INTO {table} ({','.join(fields)}) VALUES ({marks})", tuple(fields.values()))


def _insert(db: sqlite3.Connection) -> None:
    for n, payload in enumerate(PAYLOADS):
        _run(db, f"{n + 1:032x}", payload, [payload], n)
    _run(db, ALL, PAYLOADS[0], PAYLOADS, len(PAYLOADS))


def _run(db: sqlite3.Connection, run: str, name: str, tasks: list[str], n: int) -> None:
    now = time.time() - 3600 + n
    workflow = uuid.uuid4().hex
    spec = {"name": name, "params": {"p": name}, "tasks": {task: {"run": task, "env": {"E": task}} for task in tasks}}
    _row(
        db, "workflow", id=workflow, name=name, hash=hashlib.sha256(run.encode()).hexdigest()[:32],
        version=1 if run != ALL else 2, spec=json.dumps(spec), total=len(tasks), created_at=now, updated_at=now,
    )  # fmt: skip
    _row(
        db, "run", id=run, workflow_id=workflow, workflow=name, workflow_hash="h",
        params=json.dumps({"p": name, name: name}),
        mode="dependency", priority="normal", user=name, cause="api", scripts="{}", given="{}", total=len(tasks),
        state="failed", reason=f"{name} failed: {name}", created_at=now, started_at=now, ended_at=now + 5,
    )  # fmt: skip
    for position, task in enumerate(tasks):
        _task(db, run, position, task, now, attempt_id(position) if run == ALL else None)


def _task(db: sqlite3.Connection, run: str, position: int, task: str, now: float, attempt: str | None) -> None:
    ident, count = uuid.uuid4().hex, int(attempt is not None)
    _row(
        db, "task_run", id=ident, run=run, position=position, task=task, state="failed", reason=task, round=0,
        failures=count, losses=0, attempts=count, attempt=attempt, started_at=now, ended_at=now + 5,
    )  # fmt: skip
    if attempt is None:
        return
    _row(
        db, "attempt", id=attempt, task_run=ident, run=run, n=1, round=0, executor="local", host=task, epoch=1,
        state="failed", reason=task, boot_id="b", pid=1, code=1, created_at=now, started_at=now, ended_at=now + 5,
        log_size=len(LOG),
    )  # fmt: skip
    _row(db, "value", attempt=attempt, name=task, kind="json", ref=json.dumps({task: task}), size=None)
    _row(db, "value", attempt=attempt, name=f"f{task}", kind="file", ref=json.dumps(f"/nowhere/{task}"), size=3)


def outputs() -> Iterator[dict[str, Any]]:
    """Outputs as a hostile notebook may hold them, one for each payload, and one that names the run :data:`ALL`."""
    for n, payload in enumerate(PAYLOADS):
        saved = {
            "version": 1, "workflow": payload, "state": "failed",
            "tasks": [
                {"task": payload, "state": "failed", "reason": payload},
                {"task": "b", "state": None, "reason": ""},
            ],
            "edges": [{"src": payload, "dst": "b", "kind": "data"}],
        }  # fmt: skip
        inside = f"{payload}<script>window.__pwned=1</script>"
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{inside}</svg>'
        wattle = {"run": f"{n:x}" * 4 if n % 2 else payload, "store": payload, "final": {**saved, "svg": svg}}
        yield _output(saved, wattle, payload, svg)
    yield _output(saved, {"run": ALL}, "all", svg)


def _output(saved: Any, wattle: Any, text: str, svg: str) -> dict[str, Any]:
    data = {"text/plain": text, "image/svg+xml": svg, "application/vnd.wattle.run.v1+json": saved}
    return {"output_type": "display_data", "data": data, "metadata": {"wattle": wattle}}
