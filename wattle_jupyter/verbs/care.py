"""Verbs that care for the store: backups, restores, runs that are not needed, who changed what."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wattle_jupyter import tables
from wattle_jupyter.client import Client
from wattle_jupyter.errors import Conflict, StoreLocked
from wattle_jupyter.objects import size_text
from wattle_jupyter.places import store_dir
from wattle_jupyter.verbs.scene import BadUsage, Outcome, Scene

_PATIENCE = 600.0  # seconds for a backup: some 25 ms for each MB, while others work


def backup(args: argparse.Namespace, scene: Scene) -> Outcome:
    folder = scene.store or store_dir(os.environ)
    if args.path and Path(args.path).expanduser().is_file():
        raise BadUsage(f"{scene.prog} backup: {args.path} exists; name a file that does not, or a folder")
    with _progress(folder, scene):
        made = _make(folder)
    if args.path:
        made["path"] = _copy(Path(made["path"]), Path(args.path).expanduser().absolute())
        made["name"] = made["path"]
    words = f"{made['path']} ({size_text(made['size'])})\nback to it: `{scene.prog} restore {made['name']}`"
    return Outcome(text=words, data=made)


def _make(folder: Path) -> dict[str, Any]:
    """By the owner of the store, or here where nobody owns it."""
    from wattle_jupyter import backups  # noqa: PLC0415  a kernel does without sqlite3

    try:
        made = backups.make_unowned(folder)
    except StoreLocked:
        return dict(Client(folder, start=False, timeout=_PATIENCE).request("POST", "backups", body={}))
    return {"name": made.name, "path": str(made.path), "why": made.why, "size": made.size}


def _copy(made: Path, target: Path) -> str:
    """Whole under its name, or not there at all."""
    if target.is_dir():
        target /= made.name
    draft = target.with_name(f"{target.name}.part")
    try:
        shutil.copyfile(made, draft)
        draft.chmod(0o600)
        draft.rename(target)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise Conflict(f"{target} cannot be written: {error.strerror}; the backup itself is {made}") from error
    return str(target)


@contextmanager
def _progress(folder: Path, scene: Scene) -> Iterator[None]:
    """How much of it is written, for those that take a while."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            with suppress(OSError):
                written = sum(part.stat().st_size for part in (folder / "backups").glob("*.part"))
                whole = (folder / "wattle.db").stat().st_size
                sys.stderr.write(f"\r{size_text(written)} of about {size_text(whole)} …\x1b[K")
                sys.stderr.flush()

    if not scene.moving:
        yield
        return
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        sys.stderr.write("\r\x1b[K")


def restore(args: argparse.Namespace, scene: Scene) -> Outcome:
    from wattle_jupyter import backups  # noqa: PLC0415

    folder = scene.store or store_dir(os.environ)
    source = backups.find(folder, args.backup)
    try:
        done = backups.restore(folder, source)
    except StoreLocked:
        cure = "end that server (JupyterLab, or `wattle serve`) and say it again; running tasks go on meanwhile"
        raise StoreLocked(f"the store {folder} is in use by a server, which would not notice: {cure}") from None
    words = [f"restored: {tables.some(done.runs, 'run')}, from {source}"]
    data = {"source": str(source), "runs": done.runs, "schema": done.schema, "aside": None}
    if done.aside is not None:
        data["aside"] = str(done.aside)
        words.append(f"what was there before is kept: `{scene.prog} restore {done.aside.parent.name}` brings it back")
    words.append("tasks that were started after the backup was made are taken up when a server next opens the store")
    return Outcome(text="\n".join(words), data=data)


def clean(args: argparse.Namespace, scene: Scene) -> Outcome:
    limits = {"keep_runs": args.keep_runs, "keep_days": args.keep_days}
    if not any(limits.values()):
        raise BadUsage(f"{scene.prog} clean: say which runs stay: --keep-runs N, --keep-days N, or both")
    if args.dry_run:
        told = scene.client.request("GET", "cleanup", query=limits)
    else:
        told = scene.client.request("POST", "cleanup", body=limits)
    rows = [(line["workflow"], str(line["runs"]), size_text(line["bytes"])) for line in told["workflows"]]
    what = "would be deleted" if args.dry_run else "deleted; `undelete RUN` undoes it for a time"
    words = [f"{tables.some(told['runs'], 'run')} {what} ({size_text(told['bytes'])})"]
    if rows:
        words.append(tables.columns(("WORKFLOW", "RUNS", "SIZE"), rows, scene.width))
    if told["objects"]:
        what = "would be deleted" if args.dry_run else "deleted for good"
        many = f"{tables.some(told['objects'], 'object')} that nothing names any more"
        words.append(f"{many} {what} ({size_text(told['object_bytes'])})")
    return Outcome(text="\n".join(words), data=told)


def undelete(args: argparse.Namespace, scene: Scene) -> Outcome:
    run = scene.client.request("POST", f"runs/{quote(args.run, safe='')}/undelete", body={})
    return Outcome(text=f"{run['workflow']}: {run['state']}, there again", data=run)


def audit(args: argparse.Namespace, scene: Scene) -> Outcome:
    found = scene.client.request("GET", "audit", query={"limit": args.number})
    rows = [
        tuple(map(_plain, (e["at"][:19].replace("T", " "), e["user"], e["verb"], e["target"][:40], e["outcome"])))
        for e in found
    ]
    head = ("TIME (UTC)", "USER", "REQUEST", "OF", "OUTCOME")
    text = tables.columns(head, rows, scene.width) if rows else "nothing was changed yet"
    return Outcome(text=text, data=found)


def _plain(text: str) -> str:
    """Names come from whoever asked: nothing in them may steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
