"""Care for the store: backups of its database, runs that are not needed any more, and who changed what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from wattle_jupyter import backups
from wattle_jupyter.backups import Backup
from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.handlers.base import WattleHandler, reads, writes
from wattle_jupyter.model import Json
from wattle_jupyter.retention import Rule
from wattle_jupyter.view import stamp
from wattle_jupyter.wire import BackupView


def backup_view(backup: Backup) -> BackupView:
    return BackupView(
        name=backup.name, path=str(backup.path), why=backup.why, created_at=stamp(backup.at), size=backup.size
    )


class BackupsHandler(WattleHandler):
    @reads
    async def get(self) -> None:
        self.answer([backup_view(b) for b in backups.listed(self.engine.store.folder)])

    @writes
    async def post(self) -> None:
        self.read_object()
        self.answer(backup_view(await self.engine.store.back_up("by-hand")), 201)


class AuditHandler(WattleHandler):
    @reads
    async def get(self) -> None:
        text = self.get_query_argument("limit", "100")
        if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 4 or not 1 <= int(text) <= 1000:
            raise InvalidRequest(f"limit must be a whole number from 1 to 1000, not {text[:40]!r}")
        self.answer(await asyncio.to_thread(self.engine.audit.newest, int(text)))


class CleanupHandler(WattleHandler):
    @reads
    async def get(self) -> None:
        told = {name: _number(self.get_query_argument(name, "0")) for name in ("keep_runs", "keep_days")}
        self.answer(await self.engine.retention.preview(_rule(told)))

    @writes
    async def post(self) -> None:
        rule = _rule(self.read_object("keep_runs", "keep_days"))
        if rule == Rule():
            raise InvalidRequest("say which runs stay: keep_runs (the newest of each workflow), keep_days, or both")
        self.answer(await self.engine.retention.clean(rule))


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _rule(told: Mapping[str, Json]) -> Rule:
    for name, value in told.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
            raise InvalidRequest(f"{name} must be a whole number from 0 (no limit) to 1000000, not {str(value)[:40]!r}")
    return Rule(told.get("keep_runs", 0), told.get("keep_days", 0))


class RunUndeleteHandler(WattleHandler):
    @writes
    async def post(self, text: str) -> None:
        self.read_object()
        run = await self.engine.retention.undelete(text)
        self.answer(await self.engine.scheduler.summary(run))
