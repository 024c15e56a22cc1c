"""``prune``: what is older than the configuration keeps it goes, through the running service or without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.errors import NotRunning
from scheduler_service.pruning import prune_stopped
from scheduler_service.settings.units import format_duration
from scheduler_service.web.client import ControlClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings
    from scheduler_service.web.views import PruneReport


def prune(paths: Sequence[Path], *, dry_run: bool, as_json: bool) -> int:
    """Raises ``DataDirectoryError`` where nothing has run yet."""
    settings = settings_of(paths)
    said = asyncio.run(_prune(settings, dry_run=dry_run))
    if as_json:
        print_json({**said.model_dump(mode="json"), "dry_run": dry_run})
        return 0
    kept = settings.retention
    line(f"{'Would be removed' if dry_run else 'Removed'}: {said.message}.")
    line(f"Kept are {format_duration(kept.history)} of history and of notices, {format_duration(kept.raw)} of answers")
    line(f"as they came (at most {kept.raw_size:,} bytes of them), and whatever is still needed.")
    return 0


async def _prune(settings: Settings, *, dry_run: bool) -> PruneReport:
    if not dry_run:
        try:
            return await ControlClient(settings.service.data_dir).prune()
        except NotRunning:
            pass
    return await prune_stopped(settings, dry_run=dry_run)
