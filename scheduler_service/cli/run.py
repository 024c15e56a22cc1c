"""``run``: the service in the foreground."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service import log_setup
from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.cli.configuration import find, read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings


def run(paths: Sequence[Path]) -> int:
    """Returns once the service has stopped."""
    found = find(paths)
    settings = read(found)
    log_setup.setup(settings.logging.level, settings.logging.format, settings.logging.file)
    try:
        return asyncio.run(_serve(settings, found.sentence))
    finally:
        log_setup.stop_logging()


async def _serve(settings: Settings, note: str) -> int:
    return await BackgroundScheduler(settings, config_note=note).run()
