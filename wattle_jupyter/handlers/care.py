"""Care for the store: backups of its database."""

from __future__ import annotations

from wattle_jupyter import backups
from wattle_jupyter.backups import Backup
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
