"""Care for the store: backups of its database, and who changed what."""

from __future__ import annotations

import asyncio

from wattle_jupyter import backups
from wattle_jupyter.backups import Backup
from wattle_jupyter.errors import InvalidRequest
from wattle_jupyter.handlers.base import WattleHandler, reads, writes
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
