"""A person's backup: through the running service, or of a directory in which none runs; and how things stand."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler_service.backup_scheduler import BackupScheduler
from scheduler_service.clock import MILLISECOND, SystemClock, to_iso_seconds
from scheduler_service.errors import StoreError
from scheduler_service.stopped import stopped_directory
from scheduler_service.web.views import BackupReport, BackupRequest, BackupView

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from scheduler_service.backups.making import Progress
    from scheduler_service.clock import Instant
    from scheduler_service.models import Event
    from scheduler_service.settings.loaded import Settings

REPORT_EVERY = 0.1
"""Seconds."""


async def follow_backup(backups: BackupScheduler, request: BackupRequest) -> AsyncGenerator[BackupReport, None]:
    """How far it is, now and then, and what came of it. Who stops listening does not stop the backup."""
    latest: list[Progress] = []
    making = backups.begin(
        lambda progress: latest.__setitem__(slice(None), [progress]),
        None if request.directory is None else Path(request.directory),
    )
    told: Progress | None = None
    while not making.done():
        await asyncio.wait([making], timeout=REPORT_EVERY)
        if latest and latest[0] != told:
            told = latest[0]
            yield BackupReport.model_validate({"phase": told.phase, "done": told.done, "total": told.total})
    made = making.result()
    yield BackupReport(
        phase="done",
        done=made.size,
        total=made.size,
        path=str(made.path.absolute()),
        members=len(made.manifest.members),
        removed=made.removed,
        left_out=made.manifest.left_out,
    )


async def back_up_stopped(settings: Settings, request: BackupRequest) -> AsyncGenerator[BackupReport, None]:
    """As ``follow_backup``, of a directory in which nothing runs; it is held meanwhile.

    Raises ``AlreadyRunning``, ``DataDirectoryError`` or ``BackupFailed``.
    """
    async with stopped_directory(settings) as ledger:
        backups = BackupScheduler(settings, ledger, SystemClock(), _unheard)
        try:
            async with aclosing(follow_backup(backups, request)) as reports:
                async for report in reports:
                    yield report
        finally:
            await backups.stop()


async def view_of(backups: BackupScheduler, now: Instant) -> BackupView | None:
    """None where none was made, none is to be made, and none failed."""
    try:
        known = await backups.known()
    except StoreError:
        return None
    due = backups.next_after(now)
    if known.made_at is None and due is None and backups.problem is None:
        return None
    return BackupView(
        made_at=None if known.made_at is None else to_iso_seconds(known.made_at),
        age_ms=None if known.made_at is None else max(0, now - known.made_at) // MILLISECOND,
        path=known.path,
        bytes=known.size,
        next_at=None if due is None else to_iso_seconds(due),
        problem=backups.problem,
    )


def _unheard(event: Event) -> None:
    del event
